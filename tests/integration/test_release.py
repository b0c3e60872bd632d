"""What `make release` refuses, before it changes anything, and what it leaves behind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import servers

ROOT = Path(__file__).resolve().parents[2]
COPIED = (
    ".ci/release", ".ci/manual", "packaging/container-rebuilder.spec", "setup.cfg", "pyproject.toml",
    "changes/template.jinja",
)  # fmt: skip
URL = "https://git.example.com/team/rebuilder"
GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]


class Checkout:
    """A small checkout with the release script, whose python writes down what it is asked to do."""

    def __init__(self, folder: Path, build_status: int = 0) -> None:
        servers.need("git", "git")
        self.folder = folder / "checkout"
        for name in COPIED:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.folder / name)
        (self.folder / "CHANGELOG.md").write_text("# Changes\n\n<!-- releases -->\n\n## Before\n\n- The first thing.\n")
        for kind, told in (("fixed", "Waves end.\n"), ("added", "A verb.\n")):
            (self.folder / f"changes/{kind}-thing.{kind}.md").write_text(told)
        (self.folder / ".gitignore").write_text("/dist/\n/man/\n/tools/\n")
        self.git("init", "-q", "-b", "main")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "first")
        self._tools(build_status)

    def _tools(self, build_status: int) -> None:
        """A python that builds an empty wheel and makes no environments, and no rpm and no buildah."""
        tools = self.folder / "tools"
        tools.mkdir()
        python = f"""case "$*" in
            *"-m build"*) mkdir -p dist/1.2.3; touch dist/1.2.3/a.whl dist/1.2.3/a.tar.gz; exit {build_status};;
            *"-m venv"*) exit 1;;
            *"-m towncrier"*) exec {sys.executable} "$@";;
        esac"""
        for name, text in (("python", python), ("rpm", "exit 1"), ("buildah", "echo no base image; exit 1")):
            (tools / name).write_text(f"#!/bin/bash\n{text}\n")
            (tools / name).chmod(0o755)

    def git(self, *words: str) -> str:
        done = subprocess.run([*GIT, *words], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def release(self, version: str, url: str = URL) -> subprocess.CompletedProcess[str]:
        tools = self.folder / "tools"
        names = (f"GIT_{who}_{what}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL"))
        identity = dict.fromkeys(names, "t@example.org")
        environment = os.environ | identity | {
            "PATH": f"{tools}:{os.environ['PATH']}", "RELEASE_PYTHON": str(tools / "python"),
        }  # fmt: skip
        command = [".ci/release", version, url]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, env=environment)

    @property
    def state(self) -> tuple[str, str, str]:
        return self.git("rev-parse", "HEAD"), self.git("tag"), self.git("status", "--porcelain", "--untracked-files=no")


def test_a_release_is_a_commit_with_a_tag_and_a_change_log_of_its_own(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    done = checkout.release("1.2.3")
    assert done.returncode == 0, done.stderr
    assert (checkout.git("tag"), checkout.git("log", "-1", "--format=%s")) == ("v1.2.3", "Release 1.2.3")
    changes = (checkout.folder / "CHANGELOG.md").read_text()
    assert re.search(r"<!-- releases -->\n+## 1.2.3 \(20\S+\)\n\n### Added\n\n- A verb.\n\n### Fixed\n\n- Waves end.\n"
                     r"\n+## Before\n", changes)  # fmt: skip
    assert not list((checkout.folder / "changes").glob("*.md")), "what was told is not told again"
    assert "upstream_version 1.2.3}" in (checkout.folder / "packaging/container-rebuilder.spec").read_text()
    assert checkout.state[2] == ""
    for missing in ("no RPM", "no image: no base image", "no SBOM"):
        assert f"release: {missing}" in done.stdout
    assert f"url = {URL}\n" in (checkout.folder / "setup.cfg").read_text()
    assert "example.org/" not in (checkout.folder / "packaging/container-rebuilder.spec").read_text()
    assert checkout.release("1.2.3").stderr == "release: there is a tag v1.2.3 already\n"


@pytest.mark.parametrize("version", ["", "1.2", "v1.2.3", "1.2.3; rm -rf /"])
def test_what_is_no_version_is_refused(tmp_path: Path, version: str) -> None:
    checkout = Checkout(tmp_path)
    before = checkout.state
    done = checkout.release(version)
    assert (done.returncode, done.stderr) == (2, "release: usage: make release VERSION=1.2.3 (or 1.2.3rc1)\n")
    assert checkout.state == before


def test_a_tree_with_changes_or_nothing_new_is_refused(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    for path in (checkout.folder / "changes").glob("*.md"):
        path.unlink()
    assert "the tree has changes" in checkout.release("1.2.3").stderr
    checkout.git("commit", "-q", "-a", "-m", "nothing new")
    assert "changes/ has no news" in checkout.release("1.2.3").stderr


def test_nothing_is_released_with_an_address_that_is_an_example(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    before = checkout.state
    done = checkout.release("1.2.3", url="")
    assert (done.returncode, checkout.state) == (2, before)
    assert "setup.cfg is an example: make release VERSION=1.2.3 URL=https://" in done.stderr


def test_where_the_build_fails_nothing_is_committed_or_tagged(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, build_status=1)
    before = checkout.state
    done = checkout.release("1.2.3")
    assert done.returncode == 2
    assert "the build failed" in done.stderr
    assert checkout.state == before
