"""Koji says what a change is, and which changes no message told of."""

from __future__ import annotations

from typing import Any

from integration import koji_site
from integration.koji_site import FIX, IMAGES, OLD, SSL, STREAM, UPDATES
from integration.workbench import Workbench, image
from sqlalchemy import Engine, select
from support import koji_hub
from support.koji_tasks import FAILED

from rebuilder.queries import pending
from rebuilder.queries import why as explained
from rebuilder.store import changes
from rebuilder.store.database import reading
from rebuilder.store.models import Change

running = koji_site.running


def bench(store: Engine, running: koji_hub.Hub, *images: Any, **settings: Any) -> Workbench:
    koji = {"hub": running.url, "timeout_seconds": 5}
    return Workbench(store, images or (image("base"),), koji=koji, **settings)


def told(store: Engine) -> list[tuple[int | None, list[str] | None]]:
    with reading(store) as connection:
        return [tuple(row) for row in connection.execute(select(Change.epoch, Change.rpms).order_by(Change.id))]  # type: ignore[misc]


# --- what changes are


def test_the_epoch_and_the_rpms_are_koji_s_whatever_the_message_says(store: Engine, running: koji_hub.Hub) -> None:
    running.koji.source_build(FIX, "openssl", "openssl-libs", epoch=1)
    made = bench(store, running)
    made.tell(FIX)
    made.finish()
    assert told(store) == [(1, ["openssl", "openssl-libs"])]
    assert made.states() == [("base", "succeeded")]


def test_a_lower_epoch_is_no_update_though_its_version_is_higher(store: Engine, running: koji_hub.Hub) -> None:
    running.koji.source_build("openssl-4.0-1.fc42", "openssl-libs", epoch=0)
    made = bench(store, running)
    made.tell("openssl-4.0-1.fc42")
    made.finish()
    assert made.states() == []


def test_koji_is_asked_once_of_a_build_that_two_streams_and_two_messages_tell_of(
    store: Engine, running: koji_hub.Hub
) -> None:
    running.koji.source_build(FIX, "openssl-libs", epoch=1)
    made = bench(store, running, streams={"f42": {"bodhi_releases": ["F42"]}, "other": {"bodhi_releases": ["F42"]}})
    made.tell(FIX)
    made.finish()
    running.calls.clear()
    made.tell(FIX, ident="again", severity="high")
    made.finish()
    assert told(store) == [(1, ["openssl-libs"])] * 2
    assert running.calls["listBuildRPMs"] == 0


def test_a_package_that_the_update_has_no_more_rebuilds_nothing(store: Engine, running: koji_hub.Hub) -> None:
    running.koji.source_build(FIX, "openssl", epoch=1)
    made = bench(store, running)
    made.tell(FIX)
    made.finish()
    assert made.states() == []


def test_what_is_no_build_of_rpms_or_not_complete_is_forgotten(store: Engine, running: koji_hub.Hub) -> None:
    running.koji.image("openssl-3.2.2-7.fc42", IMAGES, [SSL])
    broken = running.koji.source_build("openssl-3.2.3-1.fc42", "openssl-libs", epoch=1)
    running.koji.builds[broken]["state"] = FAILED
    made = bench(store, running)
    made.tell("openssl-3.2.2-7.fc42", "openssl-3.2.3-1.fc42")
    made.finish()
    assert told(store) == []
    assert made.states() == []


def test_what_koji_does_not_know_is_taken_as_it_was_told(store: Engine, running: koji_hub.Hub) -> None:
    made = bench(store, running)
    made.tell(FIX)
    made.finish()
    assert made.states() == [("base", "succeeded")]


def test_nothing_is_guessed_while_koji_is_away_and_nothing_is_lost(store: Engine, running: koji_hub.Hub) -> None:
    running.koji.source_build(FIX, "openssl-libs", epoch=1)
    made = bench(store, running)
    made.tell(FIX, severity="urgent")
    with running.away():
        made.passes(300)
        assert made.states() == []
        with reading(store) as connection:
            assert changes.settling(connection) == 1
    made.finish()
    assert made.states() == [("base", "succeeded")]


def test_an_update_that_bodhi_takes_back_while_it_settles_is_forgotten(store: Engine, running: koji_hub.Hub) -> None:
    running.koji.source_build(FIX, "openssl-libs", epoch=1)
    made = bench(store, running, settle_seconds=60)
    made.tell(FIX)
    made.passes()
    update = {"alias": "FEDORA-1", "builds": [{"nvr": FIX, "epoch": 0}], "release": {"name": "F42"}}
    made.receive("bodhi.update.request.unpush", {"agent": "kasal", "update": {**update, "alias": "FEDORA-2"}}, "other")
    made.passes()
    with reading(store) as connection:
        assert changes.settling(connection) == 1
    made.receive("bodhi.update.request.unpush", {"agent": "kasal", "update": update}, "unpush")
    made.finish()
    with reading(store) as connection:
        assert changes.settling(connection) == 0
    assert made.states() == []


# --- what was missed


def test_what_is_tagged_and_was_never_told_of_is_caught_up(store: Engine, running: koji_hub.Hub) -> None:
    running.koji.source_build(FIX, "openssl-libs", epoch=1, tag=UPDATES)
    running.koji.source_build("bash-9-1.fc43", "bash", tag=UPDATES)
    running.koji.source_build("zsh-9-1.fc42", "zsh", tag=UPDATES)
    streams = {"f42": STREAM, "idle": {"koji_tags": [UPDATES]}}
    base = image("base", rpms=(OLD, "bash-5.2-1.fc42.x86_64"))
    made = bench(store, running, base, streams=streams, reconcile={"every_seconds": 100})
    made.passes(10)
    assert made.states() == [("base", "succeeded")]
    made.passes(250)
    assert made.states() == [("base", "succeeded")]
    assert told(store) == [(1, ["openssl-libs"])]


def test_reconciling_leaves_alone_what_waits_for_its_repository(store: Engine, running: koji_hub.Hub) -> None:
    running.koji.source_build(FIX, "openssl-libs", epoch=1, tag=UPDATES)
    streams = {"f42": {**STREAM, "repo_tags": ["f42-build"]}}
    made = bench(store, running, streams=streams, reconcile={"every_seconds": 10})
    with running.away():
        made.passes()
    body = {"name": "openssl", "version": "3.2.2", "release": "1.fc42", "tag": UPDATES}
    made.receive("buildsys.tag", body, "tag")
    made.passes(100)
    assert made.states() == []
    made.loop.beat()
    with reading(store) as connection:
        (waits,) = pending.read(connection, made.settings, 5)
        assert (waits.waits, waits.until is not None) == ("the repository of f42-build", True)
        (verdict,) = explained.read(connection, "base:f42", made.settings, made.clock.now).not_rebuilt
        assert (verdict.verdict, verdict.waits) == ("rebuild", "the repository of f42-build")
    made.receive("buildsys.repo.done", {"tag": "f42-build"}, "done")
    made.finish()
    assert made.states() == [("base", "succeeded")]


def test_a_hub_that_is_away_does_not_keep_the_rest_from_being_caught_up(store: Engine, running: koji_hub.Hub) -> None:
    made = bench(store, running, streams={"f42": STREAM}, reconcile={"every_seconds": 10})
    with running.away():
        made.passes(50)
    assert made.loop.at_rest()
