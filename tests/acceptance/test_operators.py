"""`retry`, `cancel`, `rebuild`, `pause`, `resume` and `wave --story` as a user types them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.buildah_world import until
from support.users import User, update


@pytest.fixture
def user(tmp_path: Path) -> User:
    found = User(tmp_path)
    found.types("inventory", "sync")
    return found


def states(user: User, wave: str, status: int = 0) -> dict[str, str]:
    return {rebuild["image"]: rebuild["state"] for rebuild in user.reads("wave", wave, status=status)["rebuilds"]}


def test_a_failure_is_retried_and_its_story_told(user: User) -> None:
    user.configure(simulated='failures = ["base:f42"]')
    user.types("replay", "-", stdin=update())
    assert user.types("run", "--until-idle").returncode == 1
    assert states(user, "1", status=1) == {"base:f42": "failed", "httpd:f42": "blocked"}
    user.configure()
    asked = user.types("retry", "1", "--who", "ann", "--reason", "mirror is back")
    assert asked.stdout.startswith("queued; no engine is running")
    assert user.reads("status", status=1)["requests"] == [
        {"verb": "retry", "target": "1", "who": "ann", "reason": "mirror is back"}
    ]
    assert user.types("run", "--until-idle").returncode == 0
    assert states(user, "1") == {"base:f42": "succeeded", "httpd:f42": "succeeded"}
    story = [(s["image"], s["event"], s["state"]) for s in user.reads("wave", "1", "--story")]
    assert story[:2] == [("base:f42", "planned", "waiting"), ("httpd:f42", "planned", "waiting")]
    assert ("base:f42", "retried", "waiting") in story
    assert story[-1] == ("httpd:f42", "built", "succeeded")
    assert "retry by ann: mirror is back" in user.types("wave", "1", "--story").stdout


def test_the_engine_answers_while_it_runs(user: User) -> None:
    with subprocess.Popen(user.command("engine"), env=user.environment, stderr=subprocess.DEVNULL) as engine:
        try:
            until(lambda: user.reads("status")["active"])
            assert user.types("rebuild", "httpd:f42", "--with-descendants").stdout == (
                "wave 1 rebuilds httpd:f42, app:f42\n"
            )
        finally:
            engine.terminate()
    assert user.types("run", "--until-idle").returncode == 0
    assert states(user, "1") == {"httpd:f42": "succeeded", "app:f42": "succeeded"}


def test_where_no_engine_runs_what_it_should_do_is_queued_and_the_answer_says_so(user: User) -> None:
    user.types("inventory", "sync")
    done = user.types("rebuild", "base:f42")
    assert (done.returncode, done.stdout) == (0, "queued; no engine is running: start `rebuilder run`\n")
    assert user.types("engine", "--until-idle").returncode == 0
    assert user.reads("wave", "1")["rebuilds"][0]["state"] == "succeeded"


def test_commands_take_several_images_and_patterns_and_ask_first(user: User) -> None:
    refused = user.types("hold", "httpd", "app:*", "--who", "ann")
    assert refused.returncode == 2
    assert refused.stderr == (
        "  httpd:f42\n  app:f42\nrebuilder: hold is about these 2; confirm with --yes\n"
    )
    assert user.reads("hold", "--list") == []
    done = user.types("hold", "httpd", "app:*", "--yes", "--who", "ann", "--reason", "freeze", "--until", "2h")
    assert [line.split(" until ")[0] for line in done.stdout.splitlines()] == ["httpd:f42 is held", "app:f42 is held"]
    held = user.reads("hold", "--list")
    assert [(one["image"], one["who"], one["reason"]) for one in held] == [
        ("app:f42", "ann", "freeze"), ("httpd:f42", "ann", "freeze")
    ]
    table = user.types("hold", "--list").stdout
    assert "app:f42" in table and "freeze" in table
    assert user.types("release", "*:f42", "--yes").stdout == "app:f42 is released\nhttpd:f42 is released\n"
    assert user.types("hold", "--list").stdout == "no image is on hold\n"


def test_a_wrong_name_among_several_does_nothing_and_a_pattern_that_fits_nothing_is_told(user: User) -> None:
    done = user.types("hold", "httpd:f42", "htpd:f42", "--yes")
    assert (done.returncode, user.reads("hold", "--list")) == (2, [])
    assert "did you mean httpd:f42" in done.stderr
    assert user.is_refused("rebuild", "web-*") == "rebuilder: no image matches web-*"
    assert "no image matches htpd*; did you mean httpd:f42?" in user.is_refused("hold", "htpd*")
    assert "of the 1 images that match httpd*, none is held" in user.types("release", "httpd*").stderr
    assert "name images to hold" in user.types("hold").stderr


def test_a_pause_may_end_by_itself(user: User) -> None:
    assert "2020-01-01 is in the past" in user.is_refused("pause", "--until", "2020-01-01")
    assert user.types("pause", "--until", "2h", "--who", "ann").stdout.startswith("paused until 20")
    paused = user.reads("status")["paused"]
    assert paused["who"] == "ann" and paused["until"] > paused["since"]
    assert " until 20" in user.types("status").stdout


def test_a_paused_engine_says_so_and_starts_nothing(user: User) -> None:
    assert "paused" in user.types("pause", "--who", "ann", "--reason", "mirror").stdout
    assert "already, by ann: mirror" in user.types("pause").stdout
    user.types("replay", "-", stdin=update())
    assert user.types("run", "--until-idle").returncode == 0
    assert states(user, "1") == {"base:f42": "queued", "httpd:f42": "waiting"}
    assert "by ann: mirror: no builds are started" in user.types("status").stdout
    assert user.reads("status")["paused"]["who"] == "ann"
    user.types("resume")
    assert user.types("run", "--until-idle").returncode == 0
    assert states(user, "1") == {"base:f42": "succeeded", "httpd:f42": "succeeded"}
    assert "not paused" in user.types("resume").stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("retry", "7"), "there is no wave 7"),
        (("cancel", "ghost:f42"), "unknown image ghost:f42"),
        (("rebuild",), "name images, or give --unknown"),
        (("rebuild", "base:f42", "--unknown"), "name images, or give --unknown"),
        (("rebuild", "ghost:f42"), "unknown image ghost:f42"),
        (("rebuild", "7"), "no such image: 7"),
        (("wave", "7", "--story"), "there is no wave 7"),
    ],
)
def test_a_wrong_request_is_one_line(user: User, arguments: tuple[str, ...], word: str) -> None:
    assert word in user.is_refused(*arguments)


def test_the_first_builds_are_made_of_all_images_of_unknown_contents_at_once(user: User) -> None:
    document = user.folder / "inventory.yaml"
    document.write_text(document.read_text() + "  - {name: first, stream: f42, parents: [base]}\n"
                        "  - {name: second, stream: f42, parents: [first]}\n")  # fmt: skip
    user.types("inventory", "sync")
    assert user.types("rebuild", "--unknown", "--yes").returncode == 0
    assert user.types("run", "--until-idle").returncode == 0
    assert states(user, "1") == {"first:f42": "succeeded", "second:f42": "succeeded"}
    assert [rebuild["image"] for rebuild in user.reads("wave", "1")["rebuilds"]] == ["first:f42", "second:f42"]


def test_where_every_image_is_known_no_first_build_is_made(user: User) -> None:
    done = user.types("rebuild", "--unknown")
    assert (done.returncode, done.stdout) == (0, "nothing to rebuild: the contents of every image are known\n")


def test_a_rollback_that_cannot_be_is_one_line_and_changes_nothing(user: User) -> None:
    user.types("inventory", "sync")
    assert "base:f42 has no earlier good build" in user.is_refused("rollback", "base", "--reason", "leaks")
    assert "a rollback needs a reason" in user.is_refused("rollback", "base")
    assert "unknown image ghost" in user.is_refused("rollback", "ghost", "--reason", "leaks")
    user.types("replay", "-", stdin=update())
    user.types("run", "--until-idle")
    assert "no earlier good build nothing; there are: " in user.is_refused(
        "rollback", "base", "--to", "nothing", "--reason", "leaks")  # fmt: skip
    asked = user.types("rollback", "base", "--reason", "leaks", "--who", "ann")
    assert asked.stdout == "queued; no engine is running: start `rebuilder run`\n"
    assert "asked for: base:f42: rollback by ann: leaks" in user.types("status").stdout
    user.types("run", "--until-idle")
    actions = user.types("hold", "--list").stdout
    assert actions == "no image is on hold\n"  # simulated builds are in no registry


def test_status_with_every_rebuild_still_says_what_the_images_are(user: User) -> None:
    """--all shows more, and leaves nothing out: least of all how many images are stale."""
    assert "images: 5 current" in user.types("status").stdout
    told = user.types("status", "--all").stdout
    assert "images: 5 current" in told
    user.types("update", "openssl-3.2.2-1.fc42")
    assert "1 message unread, 0 rejected; 0 changes are pending" in user.types("status").stdout
