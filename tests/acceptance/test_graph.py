"""`graph` as a user types it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import pytest
from support import servers, terminal
from support.users import User, update

NVR = "openssl-3.2.3-1.fc42"
LAYERS = r"""
version: 1
streams: {f41: {dist: .fc41}, f42: {dist: .fc42}}
images:
  - name: base
    stream: f42
    parents: [{external: "registry.example.com/fedora:42"}]
    rpms: [&old {nevra: "openssl-libs-1:3.2.1-1.fc42.x86_64", source: openssl}]
  - {name: builder, stream: f42, rpms: [*old]}
  - {name: httpd, stream: f42, parents: [base], rpms: [*old]}
  - name: app
    stream: f42
    rpms: [*old]
    parents: [httpd, {image: builder, kind: stage}, {external: "registry.example.com/go:1", kind: stage}]
  - {name: two, stream: f42, parents: [httpd, base], rpms: []}
  - name: current
    stream: f42
    parents: [base]
    rpms: [{nevra: "openssl-libs-1:3.2.9-1.fc42.x86_64", source: openssl}]
  - {name: old, stream: f41, rpms: [{nevra: "openssl-libs-1:3.1.0-1.fc41.x86_64", source: openssl}]}
"""
TREE = """\
base:f42 on registry.example.com/fedora:42 (external)
├── httpd:f42
│   ├── app:f42 also on builder:f42 (stage), registry.example.com/go:1 (external, stage)
│   └── two:f42 also on base:f42
└── current:f42
builder:f42
old:f41
"""
PLANNED = """\
base:f42 rebuild on registry.example.com/fedora:42 (external)
├── httpd:f42 rebuild
│   └── app:f42 rebuild also on builder:f42 (stage), registry.example.com/go:1 (external, stage)
└── current:f42 already-current
builder:f42 rebuild
old:f41 other-stream
"""
FINISHED = """\
base:f42 succeeded on registry.example.com/fedora:42 (external)
└── httpd:f42 failed
    └── app:f42 blocked also on builder:f42 (stage), registry.example.com/go:1 (external, stage)
builder:f42 succeeded
"""
ODD = ['q"uote', r"back\slash", "a&amp;b", "<b>", "[bold]x[/]", "ünï"]


def with_layers(folder: Path) -> User:
    user = User(folder)
    (folder / "inventory.yaml").write_text(LAYERS)
    return user


def stored(folder: Path) -> User:
    user = with_layers(folder)
    assert user.types("inventory", "sync").returncode == 0
    return user


def built(folder: Path) -> User:
    """A user whose first wave is over: httpd could not be built."""
    user = stored(folder)
    user.configure(simulated='failures = ["httpd:f42"]')
    user.types("replay", "-", stdin=update())
    assert user.types("run", "--until-idle").returncode == 1
    return user


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> User:
    """For tests that change nothing."""
    return stored(tmp_path_factory.mktemp("reader"))


@pytest.fixture(scope="module")
def watcher(tmp_path_factory: pytest.TempPathFactory) -> User:
    """For tests that change nothing, after a wave."""
    return built(tmp_path_factory.mktemp("watcher"))


def said(user: User, *options: str) -> str:
    done = user.types("graph", *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def states(user: User, *options: str) -> dict[str, str | None]:
    return {image["image"]: image["state"] for image in user.reads("graph", *options)["images"]}


def words_of(svg: str) -> list[str]:
    """What can be read in the drawing, which must be well-formed."""
    return [found.text or "" for found in ElementTree.fromstring(svg.encode()).iter() if found.tag.endswith("}text")]


def document(folder: Path, names: Collection[str]) -> str:
    """The path of an inventory of images of these names, each on the one before."""
    order = list(names)
    images = [{"name": name, "parents": order[at - 1 : at] if at else []} for at, name in enumerate(order)]
    (folder / "layers.json").write_text(json.dumps({"version": 1, "images": images}))
    return str(folder / "layers.json")


# --- the tree


def test_the_layers_are_a_tree_with_every_image_once(reader: User) -> None:
    assert said(reader) == TREE


def test_a_document_is_drawn_with_no_database(tmp_path: Path) -> None:
    user = with_layers(tmp_path)
    assert said(user, "--inventory", str(tmp_path / "inventory.yaml")) == TREE
    assert not (tmp_path / "state").exists()


def test_an_image_is_shown_with_all_it_is_built_on_and_all_built_on_it(reader: User) -> None:
    assert said(reader, "--image", "builder:f42") == (
        "builder:f42\napp:f42 on httpd:f42, builder:f42 (stage), registry.example.com/go:1 (external, stage)\n"
    )
    assert list(states(reader, "--image", "app:f42")) == ["base:f42", "builder:f42", "httpd:f42", "app:f42"]
    assert list(states(reader, "--image", "base:f42")) == ["base:f42", "httpd:f42", "app:f42", "two:f42", "current:f42"]
    assert said(reader, "--image", "old:f41") == "old:f41\n"


def test_an_update_is_drawn_with_what_is_rebuilt_and_what_is_left_out(reader: User) -> None:
    assert said(reader, "--update", NVR) == PLANNED
    path = str(reader.folder / "inventory.yaml")
    assert said(reader, "--update", NVR, "--inventory", path) == PLANNED
    assert "RPMs of bash" in reader.is_refused("graph", "--update", "bash-5-1.fc42")


def test_the_family_of_an_image_is_whole_also_where_an_update_is_drawn(reader: User) -> None:
    assert states(reader, "--update", NVR, "--image", "httpd:f42") == {
        "base:f42": "rebuild", "httpd:f42": "rebuild", "app:f42": "rebuild", "two:f42": None,
    }  # fmt: skip


def test_a_wave_is_drawn_with_the_states_of_its_rebuilds(watcher: User) -> None:
    assert said(watcher, "--wave", "1") == FINISHED
    assert states(watcher, "--wave", "1", "--image", "two:f42") == {
        "base:f42": "succeeded", "httpd:f42": "failed", "two:f42": None,
    }  # fmt: skip


def test_a_wave_shows_an_image_that_has_left_the_inventory_since(tmp_path: Path) -> None:
    user = built(tmp_path)
    (tmp_path / "inventory.yaml").write_text("version: 1\nimages: [{name: base, stream: f42}]\n")
    assert user.types("inventory", "sync").returncode == 0
    assert said(user) == "base:f42\n"
    assert states(user, "--wave", "1") == {
        "base:f42": "succeeded", "builder:f42": "succeeded", "httpd:f42": "failed", "app:f42": "blocked",
    }  # fmt: skip
    edges = {(edge["parent"], edge["child"]) for edge in user.reads("graph", "--wave", "1")["edges"]}
    assert edges == {("base:f42", "httpd:f42"), ("httpd:f42", "app:f42"), ("builder:f42", "app:f42")}


def test_a_wave_that_waits_for_approval_is_drawn_as_what_it_would_do(tmp_path: Path) -> None:
    user = stored(tmp_path)
    user.configure(more='policy = [{name = "ask first", action = "approve", package = "openssl"}]')
    user.types("replay", "-", stdin=update())
    user.types("run", "--until-idle")
    assert user.reads("wave", "1")["state"] == "planned"
    assert said(user, "--wave", "1") == PLANNED


def test_in_a_pipe_a_deep_chain_has_one_whole_line_for_each_image(tmp_path: Path) -> None:
    names = [f"image-with-a-long-name-{number}" for number in range(200)]
    lines = said(User(tmp_path), "--inventory", document(tmp_path, names)).splitlines()
    assert [line.split("── ")[-1].split(" ")[0] for line in lines] == [f"{name}:default" for name in names]
    assert lines[40].endswith("(continued below)")
    assert lines[41] == f"{names[41]}:default on {names[40]}:default"


def test_ten_thousand_images_are_drawn(tmp_path: Path) -> None:
    user, names = User(tmp_path), [f"i{number}" for number in range(10_000)]
    path = document(tmp_path, names)
    assert len(said(user, "--inventory", path).splitlines()) == 10_000
    assert len(user.reads("graph", "--inventory", path)["edges"]) == 9_999


# --- on a terminal


def test_a_narrow_terminal_has_room_for_every_name(reader: User, tmp_path: Path) -> None:
    path = document(tmp_path, [f"image-{number}" for number in range(100)])
    told = terminal.plain(terminal.shown(reader.command("graph", "--inventory", path), reader.environment, 60))
    assert max(map(len, told.splitlines())) <= 60
    assert [number for number in range(100) if f"image-{number}:default" not in told] == []
    assert "image-8:default on image-7:default\n" in told


def test_a_terminal_has_the_states_in_colour_and_a_pipe_has_none(watcher: User) -> None:
    coloured = terminal.shown(watcher.command("graph", "--wave", "1"), watcher.environment, 120)
    assert terminal.plain(coloured) == FINISHED
    assert "\x1b[1;31mfailed\x1b[0m" in coloured
    assert "\x1b[32msucceeded\x1b[0m" in coloured
    sober = terminal.shown(watcher.command("graph", "--wave", "1"), {**watcher.environment, "NO_COLOR": "1"}, 120)
    assert "\x1b[1;31m" not in sober
    assert terminal.plain(sober) == FINISHED


def test_the_image_that_was_asked_about_stands_out_on_a_terminal(reader: User) -> None:
    told = terminal.shown(reader.command("graph", "--image", "httpd:f42"), reader.environment, 120)
    assert "\x1b[1mhttpd:f42\x1b[0m" in told
    assert "\x1b[1mbase:f42" not in told


def test_what_is_in_a_name_never_moves_the_cursor(tmp_path: Path) -> None:
    user = User(tmp_path)
    assert user.types("inventory", "sync").returncode == 0
    with closing(sqlite3.connect(tmp_path / "state/rebuilder/rebuilder.db")) as database, database:
        for old, new in (("base", "esc\x1b[31m"), ("app", "c1\x9b31m")):  # no source has such names, but who knows
            database.execute("UPDATE image SET name = ? WHERE name = ?", (new, old))
    for options in ((), ("--format", "dot"), ("--json",)):
        told = terminal.shown(user.command("graph", *options), user.environment)
        assert [c for c in told if c != "\n" and not c.isprintable()] == []
        assert "31m:f42" in told


# --- for programs


def test_the_json_has_the_images_parents_first_and_the_edges(reader: User) -> None:
    found = reader.reads("graph", "--image", "app:f42", "--update", NVR)
    assert found == {
        "images": [
            {"image": "base:f42", "state": "rebuild",
             "external": [{"name": "registry.example.com/fedora:42", "kind": "base"}]},
            {"image": "builder:f42", "state": "rebuild", "external": []},
            {"image": "httpd:f42", "state": "rebuild", "external": []},
            {"image": "app:f42", "state": "rebuild",
             "external": [{"name": "registry.example.com/go:1", "kind": "stage"}]},
        ],
        "edges": [
            {"parent": "base:f42", "child": "httpd:f42", "kind": "base"},
            {"parent": "httpd:f42", "child": "app:f42", "kind": "base"},
            {"parent": "builder:f42", "child": "app:f42", "kind": "stage"},
        ],
    }  # fmt: skip
    assert json.loads(said(reader, "--format", "json")) == reader.reads("graph")


def test_graphviz_draws_the_dot_without_a_warning(watcher: User) -> None:
    servers.need("graphviz", "dot")
    dot = said(watcher, "--format", "dot", "--wave", "1")
    done = subprocess.run(["dot", "-Tsvg"], input=dot, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert {"httpd:f42", "failed", "base:f42", "succeeded", "app:f42", "blocked"} <= set(words_of(done.stdout))


def test_the_svg_has_every_image_in_it(reader: User) -> None:
    assert sorted(words_of(said(reader, "--format", "svg"))) == sorted(
        [*states(reader), "registry.example.com/fedora:42", "registry.example.com/go:1"]
    )


def test_names_are_drawn_letter_by_letter(tmp_path: Path) -> None:
    user, path, keys = User(tmp_path), document(tmp_path, ODD), [f"{name}:default" for name in ODD]
    assert list(states(user, "--inventory", path)) == keys
    assert [line.split("── ")[-1] for line in said(user, "--inventory", path).splitlines()] == keys
    assert sorted(words_of(said(user, "--inventory", path, "--format", "svg"))) == sorted(keys)


def test_every_format_needs_no_other_program(reader: User, tmp_path: Path) -> None:
    poor = User(tmp_path)
    poor.environment["PATH"] = str(tmp_path)
    path = str(reader.folder / "inventory.yaml")
    assert said(poor, "--format", "svg", "--inventory", path) == said(reader, "--format", "svg")
    assert said(poor, "--format", "dot", "--inventory", path).startswith("digraph")


def test_the_svg_of_a_wave_has_its_states_and_colours(watcher: User) -> None:
    svg = said(watcher, "--format", "svg", "--wave", "1")
    assert sorted(set(words_of(svg)) & {"failed", "succeeded", "blocked"}) == ["blocked", "failed", "succeeded"]
    assert svg.count('class="edge stage"') == 2, "what is copied from an image is dashed"
    assert 'stroke="#b3001b"' in svg


# --- wrong requests


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--image", "ghost:f42"), "unknown image ghost:f42"),
        (("--image", "bse"), "unknown image bse; did you mean base:f42?"),
        (("--update", NVR, "--image", "ghost:f42"), "unknown image ghost:f42"),
        (("--wave", "7"), "there is no wave 7"),
        (("--wave", "x"), "'x' is not a valid integer"),
        (("--update", "openssl"), "not an NVR"),
        (("--update", NVR, "--stream", "f99"), "unknown stream f99"),
        (("--update", "openssl-3-1.fc99"), "no stream takes openssl-3-1.fc99"),
        (("--update", NVR, "--wave", "1"), "--wave cannot be combined with --update or --inventory"),
        (("--inventory", "x.yaml", "--wave", "1"), "--wave cannot be combined with --update or --inventory"),
        (("--stream", "f42"), "--stream and --severity need --update"),
        (("--severity", "high"), "--stream and --severity need --update"),
        (("--inventory", "/nowhere/at/all.yaml"), "/nowhere/at/all.yaml"),
        (("--format", "png"), "png"),
    ],
)
def test_a_wrong_request_is_one_line(reader: User, options: tuple[str, ...], word: str) -> None:
    assert word in reader.is_refused("graph", *options)


@pytest.mark.parametrize("options", [(), ("--update", NVR), ("--wave", "1"), ("--format", "svg")])
def test_an_empty_inventory_is_one_line(tmp_path: Path, options: tuple[str, ...]) -> None:
    user = User(tmp_path)
    user.types("db", "upgrade")
    assert "the inventory is empty" in user.is_refused("graph", *options)


def test_an_empty_document_is_one_line(tmp_path: Path) -> None:
    path = document(tmp_path, [])
    for options in ((), ("--update", NVR)):
        assert f"{path}: the inventory is empty" in User(tmp_path).is_refused("graph", "--inventory", path, *options)


def test_a_reader_that_has_seen_enough_is_no_trouble(tmp_path: Path) -> None:
    user = User(tmp_path)
    path = document(tmp_path, [f"i{number}" for number in range(10_000)])
    with subprocess.Popen(
        user.command("graph", "--inventory", path), env=user.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        assert (running.wait(60), running.stderr.read()) == (0, b"")
