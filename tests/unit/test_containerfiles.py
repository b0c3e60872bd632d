"""Folder trees of Containerfiles."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Image, Inventory, Parent, ParentKind
from rebuilder.engine import inventory_sync
from rebuilder.inventory import containerfiles
from rebuilder.inventory.tree_naming import Naming


def tree(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        place = folder / name.replace("__", "/")
        place.mkdir(parents=True)
        (place / "Containerfile").write_text(text)
    return folder


def test_a_tree_s_images_find_each_other_by_any_of_their_names(tmp_path: Path) -> None:
    children = {"a": "FROM base\n", "b": "FROM localhost/base:f42\n", "c": "FROM base:f42\n"}
    folder = tree(tmp_path, base="FROM fedora:42\n", **children)
    found = {image.name: [str(parent) for parent in image.parents] for image in containerfiles.read(folder, "f42")}
    assert found == {"base": ["fedora:42"], "a": ["base:f42"], "b": ["base:f42"], "c": ["base:f42"]}


def test_folders_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    folder = tree(tmp_path, x__web="FROM scratch\n", y__web="FROM x-web\n")
    assert [image.key for image in containerfiles.read(folder, "s")] == ["x-web:s", "y-web:s"]


def test_a_containerfile_is_preferred_to_a_dockerfile(tmp_path: Path) -> None:
    tree(tmp_path, a="FROM one\n")
    (tmp_path / "a" / "Dockerfile").write_text("FROM two\n")
    (image,) = containerfiles.read(tmp_path, "s")
    assert [str(parent) for parent in image.parents] == ["one"]


def test_an_unknown_local_parent_is_an_error_with_file_and_line(tmp_path: Path) -> None:
    folder = tree(tmp_path, a="# a comment\nFROM localhost/nowhere\n")
    with pytest.raises(RequestError, match=r"a/Containerfile:2: unknown parent localhost/nowhere"):
        containerfiles.read(folder, "s")


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_tree_without_images_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError):
        containerfiles.read(tmp_path / name, "s")


def test_an_image_remembers_its_folder_and_its_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Dockerfile").write_text("FROM scratch\n")
    (image,) = containerfiles.read(tmp_path, "s")
    assert (image.source.path, image.source.containerfile) == (str(tmp_path / "a"), "Dockerfile")


def test_kinds_of_parents_are_kept(tmp_path: Path) -> None:
    both = "FROM base:s\nCOPY --from=localhost/tools:latest / /\n"
    folder = tree(tmp_path, tools="FROM x\n", base="FROM x\n", app=both)
    app = next(image for image in containerfiles.read(folder, "s") if image.name == "app")
    assert [(parent.image, parent.kind) for parent in app.parents] == [
        ("base:s", ParentKind.BASE), ("tools:s", ParentKind.STAGE),
    ]  # fmt: skip


def test_another_tag_of_a_tree_s_image_is_another_image(tmp_path: Path) -> None:
    folder = tree(tmp_path, base="FROM scratch\n", app="FROM base:f41\n")
    app = next(image for image in containerfiles.read(folder, "f42") if image.name == "app")
    assert [parent.external for parent in app.parents] == ["base:f41"]


def test_a_file_that_does_not_parse_is_named_with_its_line(tmp_path: Path) -> None:
    folder = tree(tmp_path, a="FROM x\nBOGUS\n")
    with pytest.raises(RequestError, match=r"a/Containerfile:2: ") as error:
        containerfiles.read(folder, "s")
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    folder = tree(tmp_path, a="FROM x\n")
    (folder / "a" / "Containerfile").write_bytes(b"FROM \xff\n")
    with pytest.raises(RequestError, match=r"a/Containerfile:1: an image's name that is not UTF-8"):
        containerfiles.read(folder, "s")
    (folder / "a" / "Containerfile").write_bytes("FROM x\n".encode("utf-16"))
    with pytest.raises(RequestError, match=r"a/Containerfile: not UTF-8"):
        containerfiles.read(folder, "s")


SECRET = "root:$6$secret:19000:0:99999:7:::"


def refusal(folder: Path) -> str:
    with pytest.raises(RequestError) as raised:
        containerfiles.read(folder, "s")
    told = str(raised.value)
    assert "\n" not in told and SECRET[:8] not in told
    return told


def odd(folder: Path, make: Callable[[Path], object]) -> Path:
    """A tree with one image, whose Containerfile `make` makes."""
    (folder / "tree" / "a").mkdir(parents=True)
    make(folder / "tree" / "a" / "Containerfile")
    return folder / "tree"


def test_a_link_out_of_the_tree_is_refused_and_nothing_of_what_it_leads_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text(SECRET)
    assert "out of" in refusal(odd(tmp_path, lambda file: file.symlink_to(tmp_path / "shadow")))


def test_a_link_within_the_tree_is_followed(tmp_path: Path) -> None:
    tree(tmp_path, a="FROM one\n", b="FROM two\n")
    (tmp_path / "b" / "Containerfile").unlink()
    (tmp_path / "b" / "Containerfile").symlink_to("../a/Containerfile")
    assert [str(image.parents[0]) for image in containerfiles.read(tmp_path, "s")] == ["one", "one"]


@pytest.mark.parametrize(
    ("make", "why"),
    [(os.mkfifo, "not a plain file"), (lambda file: file.symlink_to(file), "itself"),
     (lambda file: file.symlink_to("/dev/zero"), "out of"), (lambda file: file.symlink_to("gone"), "No such file"),
     (lambda file: file.write_text("# " + "x" * 2_000_000), "larger than")],
)  # fmt: skip
def test_what_is_no_plain_file_is_refused(tmp_path: Path, make: Callable[[Path], object], why: str) -> None:
    assert why in refusal(odd(tmp_path, make))


@pytest.mark.parametrize("line", ["FROM --x", "FROM -x", "FROM a\nCOPY --from=-x a b", "ARG A=-x\nFROM $A"])
def test_no_image_s_name_can_be_taken_for_an_option(tmp_path: Path, line: str) -> None:
    assert refusal(tree(tmp_path, a=f"{line}\n"))


def test_a_folder_named_as_its_base_is_built_on_somebody_else_s_image(tmp_path: Path) -> None:
    folder = tree(tmp_path, nginx="FROM nginx\n", app="FROM nginx\n")
    found = {image.name: [str(parent) for parent in image.parents] for image in containerfiles.read(folder, "f42")}
    assert found == {"app": ["nginx:f42"], "nginx": ["nginx"]}


def test_a_stage_that_nothing_uses_puts_no_image_behind_another(tmp_path: Path) -> None:
    folder = tree(tmp_path, base="FROM web AS test\nFROM fedora:42\n", web="FROM base\n")
    found = {image.name: [str(parent) for parent in image.parents] for image in containerfiles.read(folder, "f42")}
    assert found == {"base": ["fedora:42"], "web": ["base:f42"]}


def test_a_file_that_is_wrong_spoils_no_other(tmp_path: Path) -> None:
    folder = tree(tmp_path, base="FROM fedora:42\n", bad="FROM base\nnonsense\n", web="FROM base\n", app="FROM bad\n")
    found = containerfiles.scan(folder, Naming("f42"))
    assert [image.name for image in found.images] == ["app", "base", "web"]
    ((image, told),) = [(fault.image, fault.told) for fault in found.faults]
    assert image == "bad:f42" and told.endswith("bad/Containerfile:2: unknown instruction nonsense")
    with pytest.raises(RequestError, match="bad/Containerfile:2"):
        containerfiles.read(folder, "f42")


def test_what_cannot_be_read_stays_as_it_was_and_what_is_built_on_the_unknown_waits(tmp_path: Path) -> None:
    folder = tree(tmp_path, base="FROM fedora:42\n", bad="nonsense\n", app="FROM bad\n", top="FROM app\n")
    found = containerfiles.scan(folder, Naming("f42"))
    taken = Inventory(found.images, faults=found.faults)
    new = inventory_sync.with_last_known(taken, {})
    assert [image.name for image in new.images] == ["base"]
    assert [fault.image for fault in new.faults] == ["bad:f42", "app:f42", "top:f42"]
    before = Image("bad", "f42", (Parent(ParentKind.BASE, "base:f42"),))
    known = inventory_sync.with_last_known(taken, {before.key: before})
    assert {image.name for image in known.images} == {"base", "bad", "app", "top"}
    assert [fault.image for fault in known.faults] == ["bad:f42"]


def test_a_tree_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    found = containerfiles.scan(tree(tmp_path, bad="nonsense\n"), Naming("f42"))
    with pytest.raises(RequestError, match="bad/Containerfile:1"):
        inventory_sync.with_last_known(Inventory(found.images, faults=found.faults), {})


def test_a_name_stays_whatever_other_folders_appear(tmp_path: Path) -> None:
    folder = tree(tmp_path, apps__httpd="FROM fedora:42\n", web="FROM httpd\n")
    before = containerfiles.read(folder, "f42")
    assert [image.name for image in before] == ["httpd", "web"]
    tree(tmp_path, old__httpd="FROM fedora:42\n")
    known = {image.source.path: [image.key] for image in before}
    after = containerfiles.scan(folder, Naming("f42", known)).images
    assert [(image.name, [str(parent) for parent in image.parents]) for image in after] == [
        ("httpd", ["fedora:42"]), ("old-httpd", ["fedora:42"]), ("web", ["httpd:f42"]),
    ]  # fmt: skip


def test_two_folders_that_would_make_one_image_are_both_named(tmp_path: Path) -> None:
    folder = tree(tmp_path, **{"a-b": "FROM x\n", "a__b": "FROM y\n", "c__b": "FROM z\n"})
    tree(folder, web="FROM a-b\n", other="FROM z\n")
    found = containerfiles.scan(folder, Naming("f42"))
    ((image, told),) = [(fault.image, fault.told) for fault in found.faults]
    assert image == "a-b:f42" and re.search(r"/a/b and .*/a-b would both be the image a-b: rename one", told)
    made = {image.name: [str(parent) for parent in image.parents] for image in found.images}
    assert made == {"c-b": ["z"], "other": ["z"], "web": ["a-b:f42"]}  # which is no external a-b now


def test_of_two_folders_with_one_name_the_one_that_has_it_keeps_it(tmp_path: Path) -> None:
    folder = tree(tmp_path, Base="FROM x\n", base="FROM y\n", web="FROM base\n")
    found = containerfiles.scan(folder, Naming("f42", {str(folder / "base"): ["base:f42"]}))
    made = {image.name: [str(parent) for parent in image.parents] for image in found.images}
    assert made == {"base": ["y"], "web": ["base:f42"]}
    ((image, told),) = [(fault.image, fault.told) for fault in found.faults]
    assert image == "Base:f42" and re.search("/Base and .*/base would both be the image base", told)


@pytest.mark.parametrize("name", ["c++", "my image", "_x", "x.", "a._b"])
def test_a_folder_whose_name_no_image_can_have_is_refused_by_its_name_and_no_other(tmp_path: Path, name: str) -> None:
    tree(tmp_path, good="FROM x\n", **{f"at/{name}": "FROM x\n"})
    found = containerfiles.scan(tmp_path, Naming("f42"))
    assert [image.name for image in found.images] == ["good"]
    ((told,),) = [[fault.told for fault in found.faults]]
    assert told.startswith(f"{tmp_path}/at/{name}: {name!r} is not a valid image name") and "rebuilder.toml" in told


def test_a_parent_that_was_of_the_tree_does_not_become_external_in_silence(tmp_path: Path) -> None:
    folder = tree(tmp_path, web="FROM base\n", nginx="FROM nginx\n")
    known = {str(folder / "base"): ["base:f42"], str(folder / "old"): ["nginx:f42"]}
    (hint,) = containerfiles.scan(folder, Naming("f42", known)).hints
    assert hint == (
        "web:f42 is now built on the external base: base:f42 was an image of the tree, and its folder is gone"
    )


def test_a_sibling_may_be_named_as_it_is_published(tmp_path: Path) -> None:
    folder = tree(tmp_path, base="FROM fedora:42\n", web="FROM ghcr.example.com/team/base:latest\n")
    for registry in ("ghcr.example.com/team", "ghcr.example.com/team/"):
        found = containerfiles.scan(folder, Naming("f42", registry=registry))
        assert [str(parent) for image in found.images for parent in image.parents] == ["fedora:42", "base:f42"]
        assert found.hints == ()
    (hint,) = containerfiles.scan(folder, Naming("f42")).hints
    assert hint == (
        "web on ghcr.example.com/team/base:latest: external, though a folder of the tree has that name; "
        'if that is meant, set registry = "ghcr.example.com/team" in the rebuilder.toml at its root'
    )


def test_build_files_of_other_names_are_counted(tmp_path: Path) -> None:
    folder = tree(tmp_path, base="FROM fedora:42\n")
    for name in ("Containerfile.fedora", "Dockerfile.c9s", "app.Dockerfile", "Dockerfile.dockerignore", "notes.txt"):
        (folder / "base" / name).write_text("FROM x\n")
    (hint,) = containerfiles.scan(folder, Naming("f42")).hints
    assert "3 build files of other names left aside" in hint and 'containerfile = "Containerfile.fedora"' in hint
    (folder / "base" / "Containerfile").unlink()
    with pytest.raises(RequestError, match=r"no Containerfile or Dockerfile in it: 3 build files of other names"):
        containerfiles.scan(folder, Naming("f42"))


def test_a_folder_whose_name_is_no_text_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = tree(tmp_path, a="FROM fedora:42\n", real="FROM fedora:42\n")
    (folder / "real").rename(folder / os.fsdecode(b"x\xff"))
    (folder / "link").symlink_to(os.fsdecode(b"x\xff"))
    found = containerfiles.scan(folder, Naming("f42"))
    assert [image.key for image in found.images] == ["a:f42"]
    assert any(r"not UTF-8 text: x\xff; rename" in hint for hint in found.hints)
    for hint in found.hints:
        hint.encode()
