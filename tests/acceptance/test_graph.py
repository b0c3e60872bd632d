"""`graph` as a user types it."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from acceptance.test_cli import PLAN, User, update

ODD = """\
version: 1
images:
  - {name: 'q"\\&<b>'}
  - {name: 'über', parents: ['q"\\&<b>']}
"""
TREE = """\
base:f42
└── httpd:f42
    └── app:f42
old:f41
new:f42
"""


@pytest.fixture
def user(tmp_path: Path) -> User:
    found = User(tmp_path)
    found.types("inventory", "sync")
    return found


def on_a_terminal(user: User, *arguments: str) -> str:
    """What the command prints where it prints to a terminal."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in user.environment.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    with subprocess.Popen(user.command(*arguments), env=environment, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        said = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:
                break
            if not part:
                break
            said += part
    os.close(ours)
    assert child.returncode == 0, said
    return said.decode()


def test_the_graph_is_an_indented_tree(user: User) -> None:
    assert user.types("graph").stdout == TREE
    assert user.types("graph", "--inventory", str(user.folder / "inventory.yaml")).stdout == TREE


def test_one_image_is_shown_with_its_family(user: User) -> None:
    assert user.types("graph", "--image", "httpd:f42").stdout == "".join(TREE.splitlines(keepends=True)[:3])


def test_an_update_is_drawn_over_the_graph(user: User) -> None:
    found = user.reads("graph", *PLAN[1:], "--json")
    assert {image["image"]: image["state"] for image in found["images"]} == {
        "base:f42": "rebuild", "httpd:f42": "rebuild", "old:f41": "other-stream", "new:f42": "already-current"
    }  # fmt: skip
    assert "httpd:f42 rebuild" in user.types("graph", *PLAN[1:]).stdout


def test_a_wave_is_drawn_over_the_graph(user: User) -> None:
    user.configure(simulated='failures = ["base:f42"]')
    user.types("replay", "-", stdin=update())
    user.types("run", "--until-idle")
    found = user.reads("graph", "--wave", "1", "--format", "json")
    assert {i["image"]: i["state"] for i in found["images"]} == {"base:f42": "failed", "httpd:f42": "blocked"}
    assert found["edges"] == [{"parent": "base:f42", "child": "httpd:f42", "kind": "base"}]


def test_graphviz_draws_every_image_whatever_its_name(user: User) -> None:
    path = user.folder / "odd.yaml"
    path.write_text(ODD, encoding="utf-8")
    drawn = ElementTree.fromstring(user.types("graph", "--inventory", str(path), "--format", "svg").stdout)
    texts = {element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert texts == {'q"\\&<b>:default', "über:default"}


def test_without_graphviz_svg_is_one_line_that_says_what_to_do(user: User) -> None:
    user.environment["PATH"] = str(user.folder)
    assert "install graphviz" in user.is_refused("graph", "--format", "svg")
    assert user.types("graph", "--format", "dot").stdout.startswith("digraph")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--image", "ghost:f42"), "unknown image ghost:f42"),
        (("--wave", "7"), "there is no wave 7"),
        (("--wave", "1", "--update", "a-1-1"), "--wave goes neither"),
        (("--update", "openssl"), "not an NVR"),
        (("--update", "a-1-1.fc42", "--stream", "f99"), "unknown stream f99"),
        (("--severity", "high"), "go with --update"),
    ],
)
def test_a_wrong_request_is_one_line(user: User, options: tuple[str, ...], word: str) -> None:
    assert word in user.is_refused("graph", *options)


def test_an_empty_inventory_is_one_line(tmp_path: Path) -> None:
    assert "the inventory is empty" in User(tmp_path).is_refused("graph")


def test_ten_thousand_images_are_drawn(user: User) -> None:
    images = "".join(f"  - {{name: i{at}{f', parents: [i{at // 3}]' if at else ''}}}\n" for at in range(10_000))
    path = user.folder / "many.yaml"
    path.write_text(f"version: 1\nimages:\n{images}", encoding="utf-8")
    assert len(user.types("graph", "--inventory", str(path)).stdout.splitlines()) == 10_000
    assert len(user.reads("graph", "--inventory", str(path), "--json")["edges"]) == 9_999


def test_colours_are_for_terminals_alone(user: User) -> None:
    for arguments in (("graph", *PLAN[1:]), (*PLAN, "--explain"), ("why", "new:f42", *PLAN[1:])):
        assert "\x1b[" not in user.types(*arguments).stdout
        assert "\x1b[" in on_a_terminal(user, *arguments)
