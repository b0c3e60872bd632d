"""No value becomes an option of a command that we call: what each call hands over, as the command itself sees it."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support import bus

import rebuilder
from rebuilder.builders.buildah import BuildahBuilder
from rebuilder.config import BuildahSettings, RegistrySettings
from rebuilder.domain.build import BuildRequest
from rebuilder.domain.image import Image, ImageBuild, Parent, ParentKind, Source
from rebuilder.inventory.buildah_cli import Storage, StorageError
from rebuilder.inventory.koji.build import ContainerBuild
from rebuilder.registry.reader import RegistryReader

EVIL = "--evil=1"
STARTS = re.compile(r"subprocess\.[a-zA-Z_]+|os\.(system|popen|fork|exec\w+|spawn\w+|posix_spawn\w*)|pty\.spawn")
RECORDER = """#!/bin/sh
for word in "$@"; do printf '%s\\0' "$word"; done >> {log}
printf '\\n' >> {log}
case "$*" in *" from "*|*" mount "*) echo --evil=2;; esac
"""
# Each call of another program: where a new one comes, its operands are looked at here, unless all of them are ours.
CALLS = {
    "builders/buildah.py": 1,  # a build that is tried: nothing in it is anybody's
    "builders/process.py": 1,  # what the builder hands over
    "builders/osbs_library.py": 2,  # git for osbs-client, and an exception: no source begins with -
    "cli/consumer.py": 1,  # our own command
    "cli/init.py": 1,  # our own verbs
    "cli/supervisor.py": 1,  # our own verbs
    "inventory/checkout.py": 1,  # the folder is behind -C, which takes any word
    "registry/program.py": 1,  # buildah, looked at here, and rpm with our own folders, and buildah's
    "registry/proxy.py": 1,  # images are named in its socket
    "registry/signing.py": 1,  # the configuration's own command
    "registry/skopeo.py": 1,
    "demo/process.py": 1,
    "demo/rootfs.py": 1,
    "demo/rpms.py": 1,
    "demo/workspace.py": 2,
}


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A buildah and a skopeo that write down what they are called with."""
    log = tmp_path / "told"
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("buildah", "skopeo"):
        program = folder / name
        program.write_text(RECORDER.format(log=log))
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return log


def calls(log: Path) -> list[list[str]]:
    return [line.split("\0")[:-1] for line in log.read_text().splitlines() if line]


def evil_ones(words: list[str]) -> Iterator[int]:
    return (place for place, word in enumerate(words) if word.startswith("--evil"))


def settings(folder: Path) -> BuildahSettings:
    return BuildahSettings(
        root=folder / "root", storage_driver="vfs", isolation="chroot", state=folder / "builds",
        build_args={EVIL: EVIL}, volumes=(EVIL,),
    )  # fmt: skip


@pytest.mark.parametrize("call", ["inspect", "remove", "manifest", "remove_container", "remove_list"])
def test_an_image_s_name_is_an_operand_of_buildah(told: Path, tmp_path: Path, call: str) -> None:
    with suppress(StorageError, ValueError):
        getattr(Storage(settings(tmp_path)), call)(EVIL)
    found = calls(told)
    assert found
    assert any(list(evil_ones(words)) for words in found)
    for words in found:
        assert all(place > words.index("--") for place in evil_ones(words)), words


def test_what_an_image_is_built_from_is_an_operand_of_buildah(told: Path, tmp_path: Path) -> None:
    image = Image("name", "f42", (Parent(ParentKind.BASE, "base:f42"),), Source(path=EVIL, containerfile=EVIL))
    parent = ImageBuild("base:f42", EVIL)
    BuildahBuilder(settings(tmp_path)).submit(BuildRequest("key", image, (parent,), ()))
    bus.until(lambda: told.exists() and calls(told))
    (words,) = calls(told)
    assert words[words.index("--") + 1 :] == [EVIL]
    assert [words[place] for place in evil_ones(words)] == [EVIL]


def test_what_a_registry_is_asked_for_is_an_operand_of_skopeo(told: Path, tmp_path: Path) -> None:
    with suppress(ValueError):
        RegistryReader(RegistrySettings(), tmp_path).resolve(EVIL)
    assert [words[-1] for words in calls(told)] == [f"docker://docker.io/library/{EVIL}"]
    assert not any(list(evil_ones(words)) for words in calls(told))


@pytest.mark.parametrize("url", [f"{EVIL}#abc", f"git+{EVIL}#abc", f"git+https://x/y#{EVIL}", "git+https://x/y\n#abc"])
def test_a_source_that_git_would_take_for_an_option_is_none(url: str) -> None:
    extra = {"container_koji_task_id": 7, "image": {}}
    told = {"id": 1, "nvr": "a-1-1", "name": "a", "source": url, "extra": extra}
    found = ContainerBuild.parse(told)
    assert found is not None
    assert found.source == Source()


def test_each_call_of_another_program_is_known_here() -> None:
    root = Path(rebuilder.__file__).parent
    found = {}
    for path in root.rglob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        called = [node for node in nodes if STARTS.fullmatch(ast.unparse(node.func))]
        assert not any(keyword.arg == "shell" for node in called for keyword in node.keywords), path
        if called:
            found[str(path.relative_to(root))] = len(called)
    assert found == CALLS
