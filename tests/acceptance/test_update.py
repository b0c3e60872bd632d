"""`update`, `status NAME…` and `--wait` as a user types them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.users import User

NVR, CVE, ALIAS = "openssl-3.2.2-1.fc42", "CVE-2026-12345", "FEDORA-2026-abcdef1234"


@pytest.fixture
def user(tmp_path: Path) -> User:
    found = User(tmp_path)
    found.types("inventory", "sync")
    return found


@contextmanager
def an_engine(user: User) -> Iterator[None]:
    with subprocess.Popen(user.command("engine"), env=user.environment, stderr=subprocess.DEVNULL) as engine:
        try:
            yield
        finally:
            engine.terminate()


def test_an_update_that_an_operator_tells_of_is_planned_as_bodhis_is(user: User) -> None:
    done = user.types("update", NVR, "--severity", "urgent", "--cve", CVE.lower(), "--alias", ALIAS)
    assert (done.returncode, done.stdout) == (0, f"{NVR} in f42: accepted\n")
    assert user.types("update", NVR, "--severity", "urgent", "--cve", CVE, "--alias", ALIAS).stdout == (
        f"{NVR} in f42: it was said before\n"
    )
    assert user.types("run", "--until-idle").returncode == 0
    for name in (CVE, ALIAS, NVR):
        (found,) = user.reads("status", name)["updates"]
        assert (found["percent"], found["everywhere"], found["fixes"][0]["cves"]) == (100.0, True, [CVE])
        assert user.reads("plan", "--update", name)["rebuilds"] == []
    (image,) = user.reads("status", "base")["images"]
    assert (image["image"], image["state"], image["missing"]) == ("base:f42", "current", [])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("openssl-libs-3.2.2-1.fc42",), f"its source is openssl: did you mean {NVR}?"),
        (("opensl-3.2.2-1.fc42",), f"did you mean {NVR}?"),
        ((NVR, "--cve", "2026-1"), "'2026-1' is no CVE id"),
        ((NVR, "--stream", "f99"), "unknown stream f99"),
    ],
)
def test_what_no_image_carries_is_refused_and_told_to_nobody(user: User, words: tuple[str, ...], told: str) -> None:
    assert told in user.is_refused("update", *words)
    if not words[1:]:
        for verb in (("plan",), ("simulate",), ("why", "base")):
            assert told in user.is_refused(*verb, "--update", *words)
    assert user.reads("status")["messages"] == {}


def test_what_waits_follows_to_the_end_and_fails_where_a_rebuild_did(user: User) -> None:
    user.configure(simulated='failures = ["base:f42"]')
    with an_engine(user):
        done = user.types("update", NVR, "--wait")
        assert done.returncode == 1
        failure, told = done.stdout.splitlines()[-2:]
        assert failure == "base:f42 failed: simulated failure (`rebuilder log --rebuild 1`)"
        assert told == "wave 1: 1 failed, 1 blocked"
    user.configure()
    with an_engine(user):
        done = user.types("retry", "base", "--wait")
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "wave 1: 2 succeeded")
        assert user.types("rebuild", "httpd", "--wait").stdout.splitlines()[-1] == "wave 2: 1 succeeded"


def test_a_log_that_is_empty_is_not_passed_over_in_silence(user: User) -> None:
    user.types("update", NVR)
    user.types("run", "--until-idle")
    done = user.types("log", "base")
    assert (done.returncode, done.stdout) == (0, "")
    assert "base: the log is empty, or its builder keeps none that can be read" in done.stderr


APPROVAL = 'policy = [{name = "ask first", action = "approve", package = "openssl"}]'


@pytest.mark.parametrize(
    ("simulated", "status", "told"),
    [("", 0, "wave 1: 2 succeeded"), ('failures = ["base:f42"]', 1, "wave 1: 1 failed, 1 blocked")],
    ids=["all is built", "a build fails"],
)
def test_who_approves_a_wave_may_wait_for_its_end(user: User, simulated: str, status: int, told: str) -> None:
    user.configure(more=APPROVAL, simulated=simulated)
    user.types("update", NVR)
    user.types("run", "--until-idle")
    (need,) = user.reads("status")["needs"][1:]  # the first is that no engine runs
    assert (need["kind"], need["do"]) == ("approval", "`rebuilder approve 1`")
    with an_engine(user):
        done = user.types("approve", "1", "--wait")
        assert (done.returncode, done.stdout.splitlines()[-1]) == (status, told), done.stderr
