"""What takes long to make, once: the sdist and the wheel of these sources, a world with its first images, a browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from support import browser, servers
from support.browser import Watched
from support.buildah_world import Machine, machine

ROOT = Path(__file__).resolve().parents[2]
VERSION = "7.8.9"
# What a checkout has beside its sources.
LEFT = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "*.pyc")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with an sdist, and with the wheel that was made of it: what the sdist lacks, the wheel lacks too."""
    sources, to = tmp_path_factory.mktemp("sources") / "rebuilder", tmp_path_factory.mktemp("dist")
    made = {"build", "dist", "site"}
    shutil.copytree(ROOT, sources, ignore=lambda at, names: (
        {*LEFT(at, names), *made} if Path(at) == ROOT else set(LEFT(at, names))))  # fmt: skip
    subprocess.run([str(sources / ".ci/manual"), sys.executable], check=True)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(to), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env=os.environ | {"SETUPTOOLS_SCM_PRETEND_VERSION": VERSION})  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return to


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def first_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A base and a child that stand on the old openssl; the new one is in the repository. To be copied."""
    servers.need("buildah", "buildah", "busybox")
    servers.need("rpm", "rpm", "rpmbuild", "createrepo_c")
    with machine(tmp_path_factory.mktemp("first")) as made:
        made.write("child", "FROM base\nRUN true\n")
        made.build("child", "first-child", (made.build("base", "first-base"),))
        made.offer("3.2.2")
        yield made


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    servers.need("chromium", browser.CHROMIUM)
    with browser.chromium() as running:
        yield running


@pytest.fixture
def tab(chromium: Browser) -> Iterator[tuple[Page, Watched]]:
    with browser.tab(chromium) as opened:
        yield opened
