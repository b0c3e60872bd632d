"""An image says of itself what OCI has words for, and which rebuild made it; never what its base says of itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rebuilder.config import RegistrySettings
from rebuilder.domain.annotations import BaseName, Origin, annotations_of, external_base
from rebuilder.domain.build import BuildRequest
from rebuilder.domain.change import Change
from rebuilder.domain.image import Image, Parent, ParentKind, PinnedParent, Source
from rebuilder.domain.rpm import SourceBuild
from rebuilder.inventory.checkout import origin_of, without_login

DIGEST = f"sha256:{'a' * 64}"
CAUSE = Change(SourceBuild.parse("openssl-1:3.2.2-1.fc42"), "f42")


def test_all_of_them_are_said() -> None:
    request = BuildRequest("web-f42-1-1", Image("web", "f42"), causes=(CAUSE,), wave=7)
    origin = Origin("https://example.com/web.git", "abc123")
    assert annotations_of(request, origin, BaseName("registry.example.com/base:f42", DIGEST), 1764345600.9) == {
        "org.opencontainers.image.source": "https://example.com/web.git",
        "org.opencontainers.image.revision": "abc123",
        "org.opencontainers.image.created": "2025-11-28T16:00:00Z",
        "org.opencontainers.image.version": "f42",
        "org.opencontainers.image.base.name": "registry.example.com/base:f42",
        "org.opencontainers.image.base.digest": DIGEST,
        "rebuilder.key": "web-f42-1-1",
        "rebuilder.wave": "7",
        "rebuilder.causes": '["openssl-1:3.2.2-1.fc42"]',
    }


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("fedora:42", "registry.fedoraproject.org/fedora:42"),
        ("fedora", "registry.fedoraproject.org/fedora:latest"),
        (f"registry.fedoraproject.org/fedora:42@{DIGEST}", "registry.fedoraproject.org/fedora:42"),
    ],
)
def test_an_external_base_is_named_in_full_with_the_digest_that_is_pinned(spec: str, name: str) -> None:
    image = Image("web", "f42", (Parent(ParentKind.BASE, external=spec), Parent(ParentKind.STAGE, external="golang")))
    at = f"{name.rpartition(':')[0]}@{DIGEST}"
    pins = PinnedParent("golang", "docker.io/golang@sha256:b"), PinnedParent(spec, at)
    assert external_base(BuildRequest("key", image, externals=pins)) == BaseName(name, DIGEST)
    assert external_base(BuildRequest("key", image)) is None


def test_the_floating_name_is_the_first_one_that_moves() -> None:
    assert RegistrySettings(push=("a.example.com/x/{name}", "b.example.com/{name}")).floating_name("web:f42") == (
        "a.example.com/x/web:f42"
    )
    assert RegistrySettings().floating_name("web:f42") == ""
    assert RegistrySettings(push=("a.example.com/{name}",), tags=("{date}.{n}",)).floating_name("web:f42") == ""


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    return subprocess.run(["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True,
                          text=True).stdout.strip()  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    git(tmp_path, "remote", "add", "origin", "https://user:secret@example.com/images.git")
    for name in ("web", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Containerfile").write_text("FROM scratch\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_folder_in_a_checkout_is_of_its_commit_and_nobody_learns_the_login(tree: Path) -> None:
    source = Source(path=str(tree / "web"), digest="d1")
    assert origin_of(source) == Origin("https://example.com/images.git", git(tree, "rev-parse", "HEAD"))


def test_a_folder_that_differs_from_its_commit_is_not_said_to_be_it(tree: Path) -> None:
    (tree / "web" / "new").write_text("x")
    assert origin_of(Source(path=str(tree / "web"), digest="d2")).revision == "d2"
    assert origin_of(Source(path=str(tree / "other"), digest="d3")).revision == git(tree, "rev-parse", "HEAD")


def test_a_source_that_says_it_itself_is_believed_and_a_plain_folder_has_its_digest(tmp_path: Path) -> None:
    said = Source(git="https://user:secret@example.com/web.git", commit="abc", path=str(tmp_path), digest="d")
    assert origin_of(said) == Origin("https://example.com/web.git", "abc")
    assert origin_of(Source(path=str(tmp_path), digest="d")) == Origin("", "d")
    assert origin_of(Source()) == Origin()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("git@example.com:team/x.git", "git@example.com:team/x.git"),
        ("ssh://git@example.com/x.git", "ssh://git@example.com/x.git"),
        ("http://token@example.com:8080/x.git", "http://example.com:8080/x.git"),
        ("/srv/git/x.git", ""),
        ("../x.git", ""),
        ("file:///srv/git/x.git", ""),
        ("", ""),
    ],
)
def test_what_of_a_remote_can_be_told_to_others(url: str, expected: str) -> None:
    assert without_login(url) == expected
