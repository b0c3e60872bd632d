"""`rebuilder.toml` in a folder tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Care, Image
from rebuilder.inventory import containerfiles
from rebuilder.inventory.containerfiles import Tree
from rebuilder.inventory.tree_naming import Naming


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return folder


def scan(folder: Path, files: dict[str, str], **naming: object) -> Tree:
    return containerfiles.scan(write(folder, files), Naming("f42", streams=("f42", "c9s"), **naming))  # type: ignore[arg-type]


def found(tree: Tree) -> dict[str, list[str]]:
    assert tree.faults == ()
    return {image.key: [str(parent) for parent in image.parents] for image in tree.images}


def only(tree: Tree) -> Image:
    assert tree.faults == ()
    (image,) = tree.images
    return image


CASES = {
    "python/Containerfile.fedora": "FROM registry.example.com/fedora:42\n",
    "python/Containerfile.c9s": "FROM registry.example.com/centos:9\n",
    "tools/fedora.Dockerfile": "FROM registry.example.com/fedora:42\n",
}


def test_build_files_of_other_names_are_images_once_a_file_beside_them_says_so(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r'3 build files of other names .*containerfile = "Containerfile.c9s"'):
        scan(tmp_path, CASES)
    beside = {
        "python/rebuilder.toml": 'containerfile = {f42 = "Containerfile.fedora", c9s = "Containerfile.{stream}"}\n',
        "tools/rebuilder.toml": 'containerfile = "fedora.Dockerfile"\n',
    }
    tree = scan(tmp_path, beside)
    assert found(tree) == {
        "python:f42": ["registry.example.com/fedora:42"],
        "python:c9s": ["registry.example.com/centos:9"],
        "tools:f42": ["registry.example.com/fedora:42"],
    }
    assert tree.hints == ()


def test_patterns_at_the_root_are_for_every_folder_and_streams_are_those_whose_files_are_there(tmp_path: Path) -> None:
    tree = scan(tmp_path, {
        "rebuilder.toml": 'containerfile = ["Containerfile.{stream}", "Containerfile"]\n',
        "base/Containerfile.f42": "FROM fedora:42\n",
        "base/Containerfile.c9s": "FROM centos:9\n",
        "web/Containerfile": "FROM base\n",
        "app/Containerfile.c9s": "FROM base\n",
        "app/Containerfile.rhel": "FROM ubi\n",
    })  # fmt: skip
    assert found(tree) == {
        "base:f42": ["fedora:42"], "base:c9s": ["centos:9"], "web:f42": ["base:f42"], "web:c9s": ["base:c9s"],
        "app:c9s": ["base:c9s"],
    }  # fmt: skip
    (hint,) = tree.hints
    assert "1 build file of other names left aside" in hint and "Containerfile.rhel" in hint


def test_an_image_of_another_stream_may_be_a_parent(tmp_path: Path) -> None:
    tree = scan(tmp_path, {
        "base/Containerfile": "FROM fedora\n", "base/rebuilder.toml": 'streams = ["f42", "c9s"]\n',
        "tool/Containerfile": "FROM base:c9s\nCOPY --from=localhost/base / /\n",
    })  # fmt: skip
    assert found(tree)["tool:f42"] == ["base:c9s", "base:f42"]


def test_one_file_makes_several_images_by_their_targets(tmp_path: Path) -> None:
    tree = scan(tmp_path, {
        "shop/Containerfile": "FROM base AS web\nFROM tools AS worker\nFROM scratch\n",
        "shop/rebuilder.toml": '[target]\nshop-web = "web"\nshop-worker = "worker"\n',
        "top/Containerfile": "FROM shop-worker\n",
        "one/Containerfile": "FROM a AS one\nFROM b\n", "one/rebuilder.toml": 'target = "one"\n',
    })  # fmt: skip
    assert found(tree) == {
        "shop-web:f42": ["base"], "shop-worker:f42": ["tools"], "top:f42": ["shop-worker:f42"], "one:f42": ["a"],
    }  # fmt: skip
    assert [image.source.target for image in tree.images] == ["one", "web", "worker", ""]


def test_a_target_that_is_no_stage_is_told_with_its_file(tmp_path: Path) -> None:
    tree = scan(tmp_path, {"a/Containerfile": "FROM x AS one\n", "a/rebuilder.toml": 'target = "two"\n'})
    assert [fault.told for fault in tree.faults] == [
        f"{tmp_path}/a/Containerfile:1: there is no stage two to stop at; there are: one"
    ]


def test_what_the_root_says_holds_where_the_folder_says_nothing(tmp_path: Path) -> None:
    root = 'owners = "infra"\ntest = ["true"]\nmax_age = "30d"\n[build_args]\nV = "1"\nW = "1"\n'
    own = 'owners = ["alice", "bob"]\nbuild_args = {W = "2"}\nplatforms = "linux/arm64"\ntest_timeout = "5m"\n'
    tree = scan(tmp_path, {
        "rebuilder.toml": root, "a/Containerfile": "ARG V\nARG W\nFROM x:$V$W-$TARGETARCH\n", "a/rebuilder.toml": own,
    })  # fmt: skip
    image = only(tree)
    assert found(tree) == {"a:f42": ["x:12-arm64"]}
    assert image.source.build_args == (("V", "1"), ("W", "2")) and image.source.platforms == ("linux/arm64",)
    assert image.source.care == Care(("alice", "bob"), ("true",), 300.0, 30 * 86400.0)


def test_a_name_is_taken_before_the_folder_s(tmp_path: Path) -> None:
    tree = scan(tmp_path, {
        "c++/Containerfile": "FROM x\n", "c++/rebuilder.toml": 'name = "cpp"\n', "web/Containerfile": "FROM cpp\n",
    })  # fmt: skip
    assert found(tree) == {"cpp:f42": ["x"], "web:f42": ["cpp:f42"]}


def test_siblings_are_found_by_the_registry_that_the_root_names(tmp_path: Path) -> None:
    tree = scan(tmp_path, {
        "rebuilder.toml": 'registry = "ghcr.example.com/team"\n',
        "base/Containerfile": "FROM fedora:42\n",
        "web/Containerfile":
            "FROM ghcr.example.com/team/base\nCOPY --from=docker://ghcr.example.com/team/base:f42 / /\n",
        "app/Containerfile": "FROM containers-storage:localhost/base\nCOPY --from=oci-archive:/srv/x.tar / /\n",
    })  # fmt: skip
    assert found(tree) == {
        "base:f42": ["fedora:42"], "web:f42": ["base:f42", "base:f42"],
        "app:f42": ["base:f42", "oci-archive:/srv/x.tar"],
    }  # fmt: skip
    assert {image.source.registry for image in tree.images} == {"ghcr.example.com/team"}


def test_folders_that_are_ignored_are_not_read(tmp_path: Path) -> None:
    tree = scan(tmp_path, {
        "rebuilder.toml": 'ignore = ["vendor/**", "test/**", "**/fixtures"]\n',
        "base/Containerfile": "FROM x\n", "base/test/Containerfile": "FROM x\n", "base/fixtures/Containerfile": "bad\n",
        "vendor/Containerfile": "bad\n", "vendor/a/b/Dockerfile": "bad\n", "test/x/Dockerfile.fedora": "bad\n",
        "web/Containerfile": "FROM x\n", "web/rebuilder.toml": "ignore = 'examples/*/'\n",
        "web/examples/one/Containerfile": "bad\n", "web/examples/Containerfile": "FROM x\n",
    })  # fmt: skip
    assert sorted(found(tree)) == ["base:f42", "examples:f42", "test:f42", "web:f42"]
    assert tree.hints == ()


@pytest.mark.parametrize(("text", "line", "told"), [
    ("name = 'x'\nnmae = 'y'\n", 2, "nmae: unknown key"),
    ("\n[build_args]\nA = 1\n", 3, "build_args.A: "),
    ("build_args = {A = 1}\n", 1, "build_args.A: "),
    ("# c\n\nplatforms = [\n 'amd64',\n]\n", 3, "platforms: .*use linux/arm64"),
    ("name = 'A b'", 1, "name: .*is not a valid image name"),
    ("streams = ['a/b']", 1, "streams: .*not a valid stream"),
    ("containerfile = '../x'", 1, "containerfile: .*not a file in the folder"),
    ("containerfile = 'x.{name}'", 1, "containerfile: .*only {stream} is filled in"),
    ("target = {'A' = 'x'}", 1, "target: .*is not a valid image name"),
    ("target.a = ''", 1, "target: .*a stage must have a name"),
    ("max_age = 'soon'", 1, "max_age: .*12h or 30d"),
    ("max_age = -1", 1, "max_age: .*greater than 0"),
    ("test = 'true'", 1, "test: must be a list"),
    ("name = 'x'\nname = 'y'\n", 2, "not TOML: "),
    ("name =", 1, "not TOML: "),
    ("registry = 'x'", 1, "registry: unknown key .it is a key of the file at the tree's root"),
])  # fmt: skip
def test_what_is_wrong_in_a_folder_s_file_is_named_with_its_line_and_stops_no_other(
    tmp_path: Path, text: str, line: int, told: str
) -> None:
    files = {"a/Containerfile": "FROM x\n", "a/rebuilder.toml": text, "b/Containerfile": "FROM a\n"}
    tree = scan(tmp_path, files)
    assert [(image.key, [str(parent) for parent in image.parents]) for image in tree.images] == [("b:f42", ["a:f42"])]
    (fault,) = tree.faults
    assert fault.image == "a:f42" and "\n" not in fault.told
    with pytest.raises(RequestError, match=rf"/a/rebuilder.toml:{line}: {told}"):
        raise RequestError(fault.told)


def test_a_file_that_is_wrong_leaves_all_images_of_its_folder_as_they_were(tmp_path: Path) -> None:
    known = {str(tmp_path / "a"): ["one:f42", "two:f42"]}
    tree = scan(tmp_path, {"a/Containerfile": "FROM x\n", "a/rebuilder.toml": "target = 1\n"}, known=known)
    assert [fault.image for fault in tree.faults] == ["one:f42", "two:f42"]


def test_what_is_wrong_at_the_root_is_wrong_for_all(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"/rebuilder.toml:2: registri: unknown key"):
        scan(tmp_path, {"a/Containerfile": "FROM x\n", "rebuilder.toml": "\nregistri = 'x'\n"})


@pytest.mark.parametrize(("text", "told"), [
    ("streams = ['f42', 'c9s']\ncontainerfile = 'Containerfile.{stream}'\n", "2: no Containerfile.c9s for stream c9s"),
    ("owners = 'me'\ncontainerfile = ['x', 'y']\n", "2: no x or y for stream f42"),
])  # fmt: skip
def test_a_file_that_is_named_and_not_there_is_told(tmp_path: Path, text: str, told: str) -> None:
    tree = scan(tmp_path, {"a/Containerfile.f42": "FROM x\n", "a/rebuilder.toml": text})
    assert [fault.told for fault in tree.faults] == [f"{tmp_path}/a/rebuilder.toml:{told} beside it"]


def test_a_file_beside_no_containerfile_is_told(tmp_path: Path) -> None:
    tree = scan(tmp_path, {"a/Containerfile": "FROM x\n", "b/rebuilder.toml": "owners = 'me'\n"})
    assert [fault.told for fault in tree.faults] == [
        f"{tmp_path}/b/rebuilder.toml:1: no Containerfile or Dockerfile for stream f42 beside it"
    ]


def test_folders_of_one_name_in_different_streams_need_no_longer_names(tmp_path: Path) -> None:
    tree = scan(tmp_path, {
        "f42/httpd/Containerfile": "FROM x\n", "c9s/httpd/Containerfile": "FROM y\n",
        "c9s/httpd/rebuilder.toml": "streams = 'c9s'\n",
    })  # fmt: skip
    assert found(tree) == {"httpd:c9s": ["y"], "httpd:f42": ["x"]}


def test_links_to_folders_are_followed_once_and_never_in_a_circle(tmp_path: Path) -> None:
    write(tmp_path, {"a/Containerfile": "FROM x\n", ".store/base/Containerfile": "FROM y\n"})
    write(tmp_path.parent / f"{tmp_path.name}-outside", {"Containerfile": "FROM z\n"})
    for link, to in (
        ("a/up", ".."), ("a/self", "."), ("b", "a"), ("base", ".store/base"), ("base-2", ".store/base"),
        (".store/base/again", "../../a"), ("out", f"../{tmp_path.name}-outside"),
    ):  # fmt: skip
        (tmp_path / link).symlink_to(to)
    tree = containerfiles.scan(tmp_path, Naming("f42"))
    assert found(tree) == {"a:f42": ["x"], "base:f42": ["y"]}
    (hint,) = tree.hints
    assert hint.startswith(f"{tmp_path}: 6 links to folders not followed: ")
    links = containerfiles.walk(tmp_path).links
    assert set(links) == {
        "a/up leads to the root, which is read already", "a/self leads to a, which is read already",
        "b leads to a, which is read already", "base-2 leads to base, which is read already",
        "base/again leads to a, which is read already", "out leads out of the tree",
    }  # fmt: skip


def test_a_settings_file_that_leads_out_of_the_tree_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("password = 'x'\n")
    (tmp_path / "tree").mkdir()
    write(tmp_path / "tree", {"a/Containerfile": "FROM x\n"})
    (tmp_path / "tree/a/rebuilder.toml").symlink_to(tmp_path / "secret")
    (fault,) = containerfiles.scan(tmp_path / "tree", Naming("f42")).faults
    assert "leads out of" in fault.told and "password" not in fault.told
