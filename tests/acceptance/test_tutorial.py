"""The tutorial, followed word by word: its commands are run as they stand, with Fedora's registry and dnf made here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from support import servers
from support.registries import insecure, registry
from support.users import ROOT

from rebuilder.demo import rootfs, rpms
from rebuilder.demo.rpms import SourcePackage

TUTORIAL = ROOT / "docs" / "tutorial.md"
# What the tutorial asks of dnf, done by the small rpm of the demonstration's root file system.
DNF = """#!/bin/bash
set -e
case "$2" in
    upgrade) upgrade-all ;;
    install) shift 2; install-rpm "$@" ;;
    *) echo "dnf: unknown command: $*" >&2; exit 1 ;;
esac
"""


def openssl(version: str) -> SourcePackage:
    return SourcePackage("openssl", version, "1.fc42", ("openssl-libs",), epoch=1)


@pytest.fixture
def fedora(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment in which Fedora's registry is one of this machine, and RPMs come from a repository here."""
    servers.need("buildah", "buildah", "busybox")
    servers.need("rpm", "rpm", "rpmbuild", "createrepo_c")
    repository = tmp_path / "repo"
    for package in (openssl("3.2.1"), SourcePackage("httpd", "2.4.62", "1.fc42", ("httpd",))):
        rpms.make(package, repository, tmp_path / "rpmbuild")
    (tmp_path / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/storage"\nrunroot = "{tmp_path}/run"\n'
    )
    (tmp_path / "containers.conf").write_text(f'[containers]\nvolumes = ["{repository}:/repo:ro"]\n')
    program = tmp_path / "bin" / "rebuilder"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m rebuilder "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "BUILDAH_ISOLATION": "chroot",
        "CONTAINERS_STORAGE_CONF": str(tmp_path / "storage.conf"),
        "CONTAINERS_CONF": str(tmp_path / "containers.conf"),
    }
    with registry(tmp_path / "registry") as running:
        publish(tmp_path, running.host, environment)
        yield environment | {"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf")}


def publish(folder: Path, host: str, environment: dict[str, str]) -> None:
    """Push the image that stands for Fedora's own, and let its name lead there."""
    root = folder / "fedora" / "rootfs"
    rootfs.make(root)
    (root / "usr/local/bin/dnf").write_text(DNF)
    (root / "usr/local/bin/dnf").chmod(0o755)
    (folder / "fedora" / "Containerfile").write_text("FROM scratch\nCOPY rootfs/ /\nRUN install-rpm openssl-libs\n")
    plain = environment | {"CONTAINERS_REGISTRIES_CONF": str(insecure(folder, host))}
    for command in (
        ["buildah", "bud", "--tag=fedora", str(folder / "fedora")],
        ["buildah", "push", "fedora", f"docker://{host}/fedora:42"],
        ["buildah", "rmi", "--all", "--force"],
    ):
        subprocess.run(command, env=plain, check=True, capture_output=True, timeout=60)
    (folder / "registries.conf").write_text(
        f'[[registry]]\nprefix = "registry.example.com"\nlocation = "{host}"\ninsecure = true\n'
    )


def blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL)


def test_the_tutorial_works_as_it_is_written(fedora: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    shell = ["bash", "--norc", "-e", "-o", "pipefail"]
    told: list[str] = []
    with subprocess.Popen(
        shell, cwd=place, env=fedora, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number, block in enumerate(blocks()):
            if "update.json" in block:  # from here on the repository has the update, too
                rpms.make(openssl("3.2.2"), tmp_path / "repo", tmp_path / "rpmbuild")
            process.stdin.write(f"{block}\necho '--- {number}'\n")
            process.stdin.flush()
            told.append(read_to(process.stdout, f"--- {number}\n"))
        process.stdin.close()
    assert process.returncode == 0
    listed, built, planned, rebuilt, again = told[-5:]
    assert re.search(r"base:f42 .*none", listed)
    assert "openssl-libs-1:3.2.1-1.fc42" in built
    assert planned.index("base:f42") < planned.index("httpd:f42")
    assert re.search(r"httpd:f42 +succeeded", rebuilt)
    assert "base:f42" in rebuilt
    assert "nothing to rebuild" in again


def read_to(stream: IO[str], end: str) -> str:
    """What the shell printed up to a line; a shell that ended before is a command that failed."""
    lines: list[str] = []
    for line in stream:
        if line == end:
            return "".join(lines)
        lines.append(line)
    pytest.fail("a command of the tutorial failed:\n" + "".join(lines[-30:]))
