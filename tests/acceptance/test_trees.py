"""A folder tree of Containerfiles, as a user of the command has one."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import servers
from support.users import User

TREE = """\
[consumer_config]
builder = "simulated"
[consumer_config.inventory]
source = "containerfiles"
path = "{folder}/tree"
stream = "f42"
[consumer_config.streams]
f42 = {{dist = ".fc42"}}
c9s = {{dist = ".el9"}}
[consumer_config.buildah]
root = "{folder}/storage"
runroot = "{folder}/run"
storage_driver = "vfs"
"""


@pytest.fixture
def owner(tmp_path: Path) -> User:
    """Somebody with a tree whose build files have names of their own."""
    servers.need("buildah", "buildah")
    user = User(tmp_path)
    (tmp_path / "config.toml").write_text(TREE.format(folder=tmp_path))
    for name, base in (
        ("python/Containerfile.fedora", "fedora:42"), ("python/Containerfile.c9s", "centos:9"),
        ("tools/fedora.Dockerfile", "fedora:42"), ("base/Containerfile", "fedora:42"),
        ("web/Containerfile", "ghcr.example.com/team/base"),
    ):  # fmt: skip
        place = tmp_path / "tree" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"FROM {base}\n")
    return user


def test_sync_says_what_it_left_aside_and_how_to_take_it(owner: User) -> None:
    (owner.folder / "tree/circle").symlink_to(".")
    done = owner.types("inventory", "sync")
    assert done.returncode == 0 and "added: base:f42" in done.stdout
    first, second, third = done.stderr.splitlines()
    assert "3 build files of other names left aside" in first
    assert first.endswith('rebuilder.toml beside them or at the root of the tree: containerfile = "Containerfile.c9s"')
    assert second.endswith("/tree: 1 link to folders not followed: circle leads to the root, which is read already")
    assert third.endswith('set registry = "ghcr.example.com/team" in the rebuilder.toml at its root')


def test_a_file_beside_them_takes_them_and_all_it_says_can_be_read_again(owner: User) -> None:
    tree = owner.folder / "tree"
    (tree / "rebuilder.toml").write_text('registry = "ghcr.example.com/team"\nowners = ["infra"]\n')
    (tree / "python/rebuilder.toml").write_text(
        'containerfile = {f42 = "Containerfile.fedora", c9s = "Containerfile.c9s"}\nmax_age = "30d"\ntest = ["true"]\n'
    )
    (tree / "tools/rebuilder.toml").write_text('containerfile = "fedora.Dockerfile"\nowners = "alice"\n')
    done = owner.types("inventory", "sync")
    assert (done.returncode, done.stderr) == (0, "")
    listed = {row["image"]: row["parents"] for row in owner.reads("inventory", "list")}
    assert listed == {
        "base:f42": ["fedora:42"], "python:f42": ["fedora:42"], "python:c9s": ["centos:9"], "tools:f42": ["fedora:42"],
        "web:f42": ["base:f42"],
    }  # fmt: skip
    shown = owner.types("inventory", "show", "python:c9s").stdout
    assert "owners: infra" in shown and "test: true" in shown and "too old after: 30 d" in shown
    source = owner.reads("inventory", "show", "python:c9s")["source"]
    assert source["containerfile"] == "Containerfile.c9s"
    assert source["care"] == {"owners": ["infra"], "test": ["true"], "max_age": 2592000.0}
    (owner.folder / "copy.yaml").write_text(owner.types("inventory", "export").stdout)
    copied = User(owner.folder)
    (owner.folder / "inventory.yaml").write_text((owner.folder / "copy.yaml").read_text())
    copied.environment["XDG_STATE_HOME"] = str(owner.folder / "other")
    assert copied.types("inventory", "sync").returncode == 0
    assert copied.reads("inventory", "show", "python:c9s")["source"] == source


def test_a_wrong_file_is_one_line_and_stops_no_other_image(owner: User) -> None:
    (owner.folder / "tree/base/rebuilder.toml").write_text("# ours\nnmae = 'x'\n")
    done = owner.types("inventory", "sync")
    assert done.returncode == 1
    assert f"rebuilder: {owner.folder}/tree/base/rebuilder.toml:2: nmae: unknown key" in done.stderr.splitlines()


def test_what_cannot_be_read_is_told_until_it_is_mended_also_where_no_engine_runs(owner: User) -> None:
    tree = owner.folder / "tree"
    assert owner.types("inventory", "sync").returncode == 0
    assert owner.reads("status")["problems"] == []
    (tree / "base/Containerfile").write_text("FROM fedora:42\nnonsense\n")
    assert owner.types("inventory", "sync", "--dry-run").returncode == 1
    assert owner.reads("status")["problems"] == [], "a rehearsal changes nothing"
    assert owner.types("inventory", "sync").returncode == 1
    (first,) = owner.reads("status")["problems"]
    assert first["what"] == "images"
    assert "1 cannot be read and keep their last known state: " in first["reason"]
    assert "base/Containerfile:2:" in first["reason"]
    assert "base/Containerfile:2:" in owner.types("status").stdout
    owner.types("run", "--until-idle")
    assert owner.reads("status")["problems"] == [first], "an engine that came and went leaves it as it was"
    (tree / "base/Containerfile").write_text("FROM fedora:42\n")
    assert owner.types("inventory", "sync").returncode == 0
    assert owner.reads("status")["problems"] == []


def test_a_folder_s_name_never_moves_the_cursor(owner: User) -> None:
    for name in ("esc\x1b[31m", "c1\x9b31m"):
        (owner.folder / "tree" / name).mkdir(parents=True)
        (owner.folder / "tree" / name / "Containerfile").write_text("FROM scratch\n")
    told = owner.types("inventory", "sync").stderr
    assert told.count("is not a valid image name") == 2
    assert [c for c in told if c != "\n" and not c.isprintable()] == []
