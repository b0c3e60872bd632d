"""The sdist and the wheel of these sources, for the files that install them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
