"""`why`, `hold`, `release` and `approve` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import terminal
from support.users import PLAN, User, update

NVR = "openssl-3.2.2-1.fc42"


@pytest.fixture
def user(tmp_path: Path) -> User:
    found = User(tmp_path)
    found.types("inventory", "sync")
    return found


def verdict(user: User, image: str, *options: str) -> dict[str, object]:
    (found,) = user.reads("why", image, "--update", NVR, *options, "--json")["verdicts"]
    assert isinstance(found, dict)
    return found


def test_why_says_whether_an_update_would_rebuild_an_image(user: User) -> None:
    found = verdict(user, "httpd:f42", "--severity", "high")
    assert found["change"] == {"source": "openssl", "evr": "1:3.2.2-1.fc42", "stream": "f42", "severity": "high"}
    assert (found["verdict"], found["depends_on"]) == ("rebuild", ["base:f42"])
    assert found["reasons"] == [{"kind": "rpm", "installed": "openssl-libs-1:3.2.1-1.fc42.x86_64",
                                 "available": "3.2.2-1.fc42", "inherited_from": "base:f42"}]  # fmt: skip
    said = user.types("why", "httpd:f42", "--update", NVR).stdout
    assert "would be rebuilt, after base:f42: openssl-libs-1:3.2.1-1.fc42.x86_64 (from base:f42)" in said


def test_why_says_why_an_update_would_not_rebuild_an_image(user: User) -> None:
    assert verdict(user, "app:f42")["verdict"] == "not-installed"
    assert verdict(user, "old:f41")["verdict"] == "other-stream"
    current = verdict(user, "new:f42")
    assert (current["verdict"], current["installed"]) == ("already-current", ["openssl-libs-1:3.2.2-1.fc42.x86_64"])
    assert current["since"]
    user.types("hold", "base:f42", "--who", "ann", "--reason", "tests are broken")
    assert (verdict(user, "base:f42")["verdict"], verdict(user, "base:f42")["by"]) == ("held", "ann: tests are broken")
    below = verdict(user, "httpd:f42")
    assert (below["verdict"], below["by"]) == ("parent-left-out", "base:f42")
    user.types("release", "base:f42")
    assert verdict(user, "base:f42")["verdict"] == "rebuild"


def test_a_plan_says_how_many_images_lack_the_update_and_are_left_out_all_the_same(user: User) -> None:
    """Nothing to rebuild is not the same as all being well."""
    user.types("hold", "base:f42", "--who", "ann")
    told = user.types(*PLAN).stdout
    assert "nothing to rebuild" in told
    assert "4 left out (1 held, 1 parent-left-out, 1 other-stream, 1 already-current)" in told


def test_a_rule_is_named_by_plan_and_why(user: User) -> None:
    user.configure(more='policy = [{name = "not httpd", action = "deny", image = "httpd"}]')
    assert (verdict(user, "httpd:f42")["verdict"], verdict(user, "httpd:f42")["by"]) == ("policy", "not httpd")
    plan = user.reads(*PLAN, "--json")
    assert {"image": "httpd:f42", "reason": "policy", "by": "not httpd"} in plan["skipped"]
    assert plan["policy"] == [{"rule": "not httpd", "action": "deny", "images": 1}]
    assert "rule not httpd: left out 1 image" in user.types(*PLAN).stdout


def test_why_tells_the_story_of_an_image_that_was_rebuilt(user: User) -> None:
    user.types("replay", "-", stdin=update("m1"))
    user.types("run", "--until-idle")
    found = user.reads("why", "httpd:f42")
    (told,) = found["rebuilds"]
    assert (told["wave"], told["state"], told["messages"]) == (1, "succeeded", ["m1"])
    (reason,) = told["reasons"]
    assert (reason["inherited_from"], reason["update"]) == ("base:f42", "FEDORA-1")
    said = user.types("why", "httpd:f42").stdout
    for word in ("succeeded in wave 1", "(from base:f42) < 3.2.2-1.fc42", "FEDORA-1", "message m1"):
        assert word in said
    said = user.types("why", "new:f42").stdout
    assert "not rebuilt: already current since" in said
    assert user.reads("why", "app:f42")["not_rebuilt"][0]["verdict"] == "not-installed"


def test_a_wave_waits_for_approval_and_every_verb_says_so(user: User) -> None:
    user.configure(more='policy = [{name = "ask first", action = "approve", package = "openssl"}]')
    user.types("replay", "-", stdin=update())
    user.types("run", "--until-idle")
    wave = user.reads("wave", "1")
    assert (wave["state"], wave["rule"], len(wave["plan"]["rebuilds"])) == ("planned", "ask first", 2)
    for verb in (("wave", "1"), ("status",)):
        assert "waits for `rebuilder approve 1` (rule ask first)" in user.types(*verb).stdout
    (waiting,) = user.reads("why", "base:f42")["not_rebuilt"]
    assert waiting["approval"] == {"rule": "ask first", "wave": 1}
    assert "waits as wave 1 for `rebuilder approve`" in user.types("why", "base:f42").stdout
    assert user.types("approve", "1", "--who", "ann").stdout == "wave 1 is approved\n"
    assert user.types("approve", "1").returncode == 0, "approving twice is no mistake"
    user.types("run", "--until-idle")
    wave = user.reads("wave", "1")
    assert (wave["state"], [r["state"] for r in wave["rebuilds"]]) == ("finished", ["succeeded", "succeeded"])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("why", "nothing:f42"), "unknown image nothing:f42"),
        (("why", "nothing:f42", "--update", NVR), "unknown image nothing:f42"),
        (("why", "base:f42", "--update", "openssl"), "not an NVR"),
        (("why", "base:f42", "--update", NVR, "--stream", "f99"), "unknown stream f99"),
        (("hold", "nothing:f42"), "unknown image"),
        (("hold", "base:f42", "--until", "soon"), "is not a valid time"),
        (("hold", "base:f42", "--until", "2001-01-01"), "is in the past: give a time in the future"),
        (("release", "nothing:f42"), "unknown image"),
        (("approve", "99"), "there is no wave 99"),
        (("approve", "x"), "'x' is not a valid integer"),
    ],
)
def test_a_wrong_request_is_one_line(user: User, arguments: tuple[str, ...], word: str) -> None:
    assert word in user.is_refused(*arguments)


def test_without_images_there_is_nothing_to_ask_about(tmp_path: Path) -> None:
    empty = User(tmp_path)
    empty.types("db", "upgrade")
    assert "the inventory is empty" in empty.is_refused("why", "base:f42")
    assert "the inventory is empty" in empty.is_refused("why", "base:f42", "--update", NVR)


def test_a_hold_says_until_when(user: User) -> None:
    assert user.types("hold", "base:f42", "--until", "2099-01-31T12:00").stdout == (
        "base:f42 is held until 2099-01-31 12:00:00Z\n"
    )
    assert user.types("release", "base:f42").stdout == "base:f42 is released\n"
    assert user.types("release", "base:f42").stdout == "base:f42 was not held\n"
    assert json.loads(user.types("why", "base:f42", "--json").stdout)["held"] is None


def on_a_terminal(user: User, *arguments: str, **environment: str) -> str:
    return terminal.shown(user.command(*arguments), {**user.environment, **environment}, 160)


def test_a_terminal_has_colours_for_verdicts_and_a_pipe_has_none(user: User) -> None:
    user.types("hold", "base:f42", "--who", "ann")
    for image, verdict in (("new:f42", "\x1b[32mnot rebuilt\x1b[0m: already current"),
                           ("base:f42", "\x1b[35mnot rebuilt\x1b[0m: held by \x1b[1mann\x1b[0m"),
                           ("httpd:f42", "it would be built on the old \x1b[1mbase:f42\x1b[0m, which")):  # fmt: skip
        arguments = ("why", image, "--update", NVR)
        coloured, piped = on_a_terminal(user, *arguments), user.types(*arguments).stdout
        assert verdict in coloured
        assert "\x1b" not in piped
        assert terminal.plain(coloured) == piped
    user.types("release", "base:f42")
    told = on_a_terminal(user, "why", "httpd:f42", "--update", NVR)
    assert "\x1b[1;33mwould be rebuilt\x1b[0m, after \x1b[1mbase:f42\x1b[0m: " in told
    assert "(from \x1b[1mbase:f42\x1b[0m)" in told
    assert "33m" not in on_a_terminal(user, "why", "httpd:f42", "--update", NVR, NO_COLOR="1")


def test_a_terminal_has_colours_for_what_became_of_an_image(user: User) -> None:
    user.configure(simulated='failures = ["httpd:f42"]')
    user.types("replay", "-", stdin=update("m1"))
    user.types("run", "--until-idle")
    for image, state in (("base:f42", "\x1b[32msucceeded\x1b[0m"), ("httpd:f42", "\x1b[1;31mfailed\x1b[0m")):
        coloured, piped = on_a_terminal(user, "why", image), user.types("why", image).stdout
        assert coloured.startswith(f"\x1b[1m{image}\x1b[0m: build ")
        assert f"{state} in wave 1" in coloured
        assert terminal.plain(coloured) == piped
        assert "\x1b" not in piped


def test_an_explained_plan_has_colours_on_a_terminal_and_none_in_a_pipe(user: User) -> None:
    arguments = (*PLAN, "--explain")
    coloured, piped = on_a_terminal(user, *arguments), user.types(*arguments).stdout
    assert "\x1b" not in piped
    for bold in ("base:f42", "httpd:f42", "old:f41"):
        assert f"\x1b[1m{bold}" in coloured
    assert "\x1b[2mleft out\x1b[0m: \x1b[1mold:f41\x1b[0m: of another stream" in coloured
    assert "\x1b[32mleft out\x1b[0m: \x1b[1mnew:f42\x1b[0m: already current" in coloured
    assert [line.split() for line in terminal.plain(coloured).splitlines()] == [
        line.split() for line in piped.splitlines()
    ]


def test_what_somebody_wrote_never_moves_the_cursor(user: User) -> None:
    user.types("hold", "base:f42", "--who", "ann\x1b[2J", "--reason", "bell\x07 and c1 \x9b31m [bold]x[/]")
    told = on_a_terminal(user, "why", "base:f42", "--update", NVR)
    assert "held by \x1b[1mann?[2J: bell? and c1 ?31m [bold]x[/]\x1b[0m" in told
    assert [c for c in terminal.plain(told) if c != "\n" and not c.isprintable()] == []
    told = on_a_terminal(user, "why", "base:f42", "--json")
    assert [c for c in told if c != "\n" and not c.isprintable()] == []
    found = user.reads("why", "base:f42")["held"]
    assert (found["who"], found["reason"]) == ("ann\x1b[2J", "bell\x07 and c1 \x9b31m [bold]x[/]")


def test_why_says_what_an_image_lacks_although_a_rebuild_for_it_succeeded(user: User) -> None:
    """A document's older word that was insisted on, or a build that was taken back: history alone looks well."""
    user.types("update", NVR, "--severity", "high")
    user.types("run", "--until-idle")
    assert "lacks" not in user.types("why", "httpd:f42").stdout
    user.types("inventory", "sync", "--reset", "httpd:f42")
    found = user.reads("why", "httpd:f42", "--json")
    assert found["rebuilds"][0]["state"] == "succeeded"
    assert (found["state"], [one["nvr"] for one in found["missing"]]) == ("stale", [NVR])
    assert f"lacks {NVR} (high) since " in user.types("why", "httpd:f42").stdout
