"""The engine with a Koji hub: what changes are, what was missed, and messages as the fast path."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.workbench import AtOnce, Clock, LoopClock, Workbench, image
from sqlalchemy import Engine, select
from support import koji_hub
from support.api_client import Client
from support.koji_tasks import FAILED, Koji, Task
from support.pushing import announced

from consumers.topics import parse
from rebuilder.builders.koji import KojiBuilder
from rebuilder.config import Settings
from rebuilder.domain.lifecycle import OPEN
from rebuilder.domain.message import IncomingMessage
from rebuilder.domain.rpm import SourceBuild
from rebuilder.engine import factory, why
from rebuilder.engine.loop import Loop, Runtime
from rebuilder.messages import ImagePushedV1
from rebuilder.queries import logs, pending
from rebuilder.queries import why as explained
from rebuilder.store import changes, inbox, inventory, rebuilds
from rebuilder.store.database import reading
from rebuilder.store.models import Change, Rebuild

SSL = "openssl-libs-1:3.2.1-1.fc42.x86_64 openssl-3.2.1-1.fc42"
OLD = "openssl-libs-1:3.2.1-1.fc42.x86_64"
FIX = "openssl-3.2.2-1.fc42"
IMAGES = "f42-images"
UPDATES = "f42-updates"
STREAM = {"dist": ".fc42", "koji_tags": [IMAGES, UPDATES], "koji_target": "f42-container"}


@pytest.fixture
def running() -> Iterator[koji_hub.Hub]:
    with koji_hub.Hub(Koji()) as made:
        made.koji.tags |= {IMAGES: [], UPDATES: []}
        yield made


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


# --- images and builds in Koji


class Site:
    """An engine whose images and builds are Koji's, with a clock that the test moves."""

    def __init__(self, store: Engine, running: koji_hub.Hub, folder: Path, **settings: Any) -> None:
        self.store, self.koji, self.clock = store, running.koji, Clock()
        self.clock.now = time.time()
        self.settings = Settings.model_validate({
            "builder": "koji", "settle_seconds": 0, "inventory": {"source": "koji"}, "streams": {"f42": STREAM},
            "reconcile": {"every_seconds": 100_000, "foreign_builds": "plan"},
            "koji": {"hub": running.url, "login": "password", "user": "rebuilder", "poll_seconds": 1000,
                     "password_file": str(koji_hub.password_file(folder)), "timeout_seconds": 5},
            **settings,
        })  # fmt: skip
        builder, asked = factory.builder_for(store, self.settings), factory.koji_session_for(self.settings)
        self.loop = Loop(
            store, self.settings, builder, parse, hub=asked, runtime=Runtime(LoopClock(self.clock), AtOnce())
        )
        self.passes()

    def passes(self, seconds: float = 0) -> None:
        self.clock.now += seconds
        while self.loop.once():
            pass

    def tagged(self, nvr: str) -> None:
        name, version, release = nvr.rsplit("-", 2)
        body = {"name": name, "version": version, "release": release, "tag": UPDATES}
        self.receive("buildsys.tag", body)
        self.receive("buildsys.repo.done", {"tag": UPDATES})

    def finished(self, task: int | None, name: str = "base") -> None:
        body = {"name": name, "version": "42", "release": "2", "epoch": None, "old": 0, "new": 1, "build_id": 1,
                "attribute": "state", "task_id": task, "task": {"method": "buildContainer"}}
        self.receive("buildsys.build.state.change", body)

    def receive(self, topic: str, body: Any) -> None:
        inbox.receive(self.store, [IncomingMessage(f"{topic} {time.monotonic_ns()}", f"org.x.{topic}", {}, body)])

    def states(self) -> list[str]:
        with reading(self.store) as connection:
            return list(connection.scalars(select(Rebuild.state).order_by(Rebuild.id)))

    def current(self, key: str) -> str:
        with reading(self.store) as connection:
            return inventory.current_builds(connection)[key].ident

    def live(self) -> Task:
        (task,) = self.koji.live()
        return task


def offer(running: koji_hub.Hub, nvr: str = FIX) -> None:
    running.koji.source_build(nvr, "openssl-libs", epoch=1)
    running.koji.offered["openssl"] = SourceBuild.parse(nvr)


def test_a_message_about_our_build_is_the_fast_path(store: Engine, running: koji_hub.Hub, tmp_path: Path) -> None:
    running.koji.image("base-42-1", IMAGES, [SSL])
    made = Site(store, running, tmp_path)
    offer(running)
    made.tagged(FIX)
    made.passes()
    task = made.live()
    running.koji.close(task)
    made.passes(500)
    assert made.states() == ["building"], "nobody asked Koji yet"
    made.finished(task.id)
    made.passes()
    assert made.states() == ["succeeded"]
    assert made.current("base:f42") == "base-42-2"


def test_without_a_message_polling_finds_the_end(store: Engine, running: koji_hub.Hub, tmp_path: Path) -> None:
    running.koji.image("base-42-1", IMAGES, [SSL])
    made = Site(store, running, tmp_path)
    offer(running)
    made.tagged(FIX)
    made.passes()
    running.koji.close(made.live())
    made.passes(1001)
    assert made.states() == ["succeeded"]


def test_what_koji_pushed_is_announced_and_in_the_record_by_digest(
    store: Engine, running: koji_hub.Hub, tmp_path: Path
) -> None:
    running.koji.image("base-42-1", IMAGES, [SSL])
    made = Site(store, running, tmp_path, notify={"enabled": True})
    offer(running)
    made.tagged(FIX)
    made.passes()
    running.koji.close(made.live())
    made.passes(1001)
    (pushed,) = [message for message in announced(store) if isinstance(message, ImagePushedV1)]
    (spec,) = pushed.pull_specs
    client = Client(store, made.settings)
    (listed,) = client.reads("pull-specs")
    assert listed["pull_specs"] == client.reads(f"builds/{listed['build_id']}")["pull_specs"] == [spec]
    assert spec.partition("@")[2] == listed["digest"] == pushed.body["build"]["digest"] != ""
    assert all("@" not in name for name in pushed.body["names"])
    assert spec in client.http.get("/images/base:f42").text


@pytest.mark.parametrize(("said", "state", "current"), [
    ("passed", "succeeded", "base-42-2"), ("needs_inspection", "failed", "base-42-1"),
])  # fmt: skip
def test_the_result_of_a_ci_opens_or_closes_the_gate_of_what_koji_built(
    store: Engine, running: koji_hub.Hub, tmp_path: Path, said: str, state: str, current: str
) -> None:
    running.koji.image("base-42-1", IMAGES, [SSL])
    gated = {"f42": {**STREAM, "gate_test": "fedora-ci.koji-build.smoke.functional"}}
    made = Site(store, running, tmp_path, streams=gated)
    offer(running)
    made.tagged(FIX)
    made.passes()
    running.koji.close(made.live())
    made.passes(1001)
    assert (made.states(), made.current("base:f42")) == (["testing"], "base-42-1")
    made.receive("ci.koji-build.test.complete", {
        "version": "1.1.14",
        "artifact": {"type": "koji-build", "id": 123, "component": "base", "issuer": "kasal", "nvr": "base-42-2"},
        "test": {"namespace": "fedora-ci.koji-build", "type": "smoke", "category": "functional", "result": said},
        "run": {"url": "https://ci.example.org/job/7"}, "contact": {"name": "Fedora CI"},
    })  # fmt: skip
    made.passes(10)
    assert (made.states(), made.current("base:f42")) == ([state], current)


def test_an_image_that_somebody_else_built_is_read_and_what_is_on_it_rebuilt(
    store: Engine, running: koji_hub.Hub, tmp_path: Path
) -> None:
    running.koji.image("base-42-1", IMAGES, [SSL])
    running.koji.image("app-1-1", IMAGES, [SSL], {"reg/base": "base-42-1"}, "base-42-1")
    made = Site(store, running, tmp_path)
    running.koji.source_build(FIX, "openssl-libs", epoch=1)
    running.koji.image("base-42-2", IMAGES, ["openssl-libs-1:3.2.2-1.fc42.x86_64 openssl-3.2.2-1.fc42"])
    made.finished(4711)
    made.passes()
    made.passes(1)
    assert made.current("base:f42") == "base-42-2"
    assert made.live().options["koji_parent_build"] == "base-42-2"


def test_an_image_that_is_tagged_later_is_read_then(store: Engine, running: koji_hub.Hub, tmp_path: Path) -> None:
    running.koji.image("base-42-1", IMAGES, [SSL])
    made = Site(store, running, tmp_path)
    running.koji.image("base-42-2", IMAGES, [SSL])
    made.receive("buildsys.tag", {"name": "base", "version": "42", "release": "2", "tag": IMAGES})
    made.passes()
    made.passes(1)
    assert made.current("base:f42") == "base-42-2"


def test_an_engine_starts_while_the_hub_is_away_where_the_images_are_known(
    store: Engine, running: koji_hub.Hub, tmp_path: Path
) -> None:
    running.koji.image("base-42-1", IMAGES, [SSL])
    made = Site(store, running, tmp_path)
    with running.away():
        again = Site(store, running, tmp_path)
    offer(running)
    again.tagged(FIX)
    again.passes(2000)
    running.koji.close(again.live())
    again.passes(2000)
    assert made.current("base:f42") == "base-42-2"
    with reading(store) as connection:
        assert not rebuilds.in_states(connection, sorted(OPEN))


def test_a_log_that_is_followed_is_read_with_one_builder_from_where_it_was_left(
    store: Engine, running: koji_hub.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.koji.image("base-42-1", IMAGES, [SSL])
    made = Site(store, running, tmp_path)
    offer(running)
    made.tagged(FIX)
    made.passes()
    task, parts, closed = made.live(), [], []
    followed = logs.Logs(store, made.settings)
    running.calls.clear()
    offset = 0
    for line in ("STEP 1: FROM base\n", "", "STEP 2: größer\n"):
        task.log += line
        part = followed.read("base:f42", offset)
        assert (part.live, part.built, part.next) == (True, True, offset + len(line))
        parts.append(part.text)
        offset = part.next
    assert "".join(parts) == task.log
    assert running.calls["downloadTaskOutput"] == 2, "what was read is not read again"
    assert running.calls["login"] == 0, "reading needs no name"
    monkeypatch.setattr(KojiBuilder, "close", lambda self: closed.append(self))
    followed.close()
    followed.close()
    assert len(closed) == 1


# --- what is taken back


def untagged(made: Site, nvr: str, tag: str = UPDATES) -> None:
    name, version, release = nvr.rsplit("-", 2)
    made.receive("buildsys.untag", {"name": name, "version": version, "release": release, "tag": tag})


def family(running: koji_hub.Hub) -> None:
    """base, and httpd built on it."""
    running.koji.image("base-42-1", IMAGES, [SSL])
    spec = "registry.example.com/f42/base:latest"
    running.koji.image("httpd-2.4-1", IMAGES, [SSL], {spec: "base-42-1"}, "base-42-1")


def planned_fix(store: Engine, running: koji_hub.Hub, folder: Path) -> tuple[Site, int]:
    """An engine that builds base for the fix, with httpd waiting for it; and the fix's build id."""
    family(running)
    made = Site(store, running, folder)
    fix = running.koji.source_build(FIX, "openssl-libs", epoch=1, tag=UPDATES)
    running.koji.offered["openssl"] = SourceBuild.parse(FIX)
    made.tagged(FIX)
    made.passes()
    assert made.states() == ["building", "waiting"]
    return made, fix


def test_an_untagged_update_takes_its_waiting_rebuilds_along_and_fails_no_build_that_runs(
    store: Engine, running: koji_hub.Hub, tmp_path: Path
) -> None:
    made, fix = planned_fix(store, running, tmp_path)
    running.koji.untag(fix, UPDATES)
    running.koji.offered.clear()  # the build that runs gets the old RPMs again
    untagged(made, FIX)
    made.passes()
    assert made.states() == ["building", "unneeded"]
    running.koji.close(made.live())
    made.finished(None)
    made.passes(2000)
    assert made.states() == ["succeeded", "unneeded"]
    with reading(store) as connection:
        assert changes.taken_up(connection) == []
        verdicts = why.why(connection, "httpd:f42", made.settings, made.clock.now).rebuilds
    assert [told.entry.reason for told in verdicts] == ["openssl-1:3.2.2-1.fc42 was withdrawn"]


def test_a_build_that_moves_to_another_tag_of_its_stream_is_still_offered(
    store: Engine, running: koji_hub.Hub, tmp_path: Path
) -> None:
    made, fix = planned_fix(store, running, tmp_path)
    running.koji.tag(fix, IMAGES)
    running.koji.untag(fix, UPDATES)
    untagged(made, FIX)
    made.passes()
    assert made.states() == ["building", "waiting"]


def test_while_koji_is_away_a_build_that_left_a_tag_is_neither_planned_nor_given_up(
    store: Engine, running: koji_hub.Hub, tmp_path: Path
) -> None:
    family(running)
    made = Site(store, running, tmp_path, settle_seconds=5)
    fix = running.koji.source_build(FIX, "openssl-libs", epoch=1, tag=UPDATES)
    made.tagged(FIX)
    made.passes()
    with running.away():
        untagged(made, FIX)
        made.passes(50)
        assert made.states() == []
        with reading(store) as connection:
            assert changes.settling(connection) == 1
    running.koji.untag(fix, UPDATES)
    made.passes(1000)
    made.passes(10)
    with reading(store) as connection:
        assert changes.settling(connection) == 0
    assert made.states() == []


def test_an_update_that_is_offered_again_is_planned_again(
    store: Engine, running: koji_hub.Hub, tmp_path: Path
) -> None:
    made, fix = planned_fix(store, running, tmp_path)
    running.koji.untag(fix, UPDATES)
    running.koji.offered.clear()
    untagged(made, FIX)
    made.passes()
    running.koji.close(made.live())
    made.finished(None)
    made.passes(2000)
    assert made.states() == ["succeeded", "unneeded"]
    running.koji.tag(fix, UPDATES)
    made.tagged(FIX)
    made.passes(10)
    assert made.states()[2:] == ["building", "waiting"]


def test_what_bodhi_takes_back_is_withdrawn_at_any_time(store: Engine, running: koji_hub.Hub, tmp_path: Path) -> None:
    family(running)
    made = Site(store, running, tmp_path, streams={"f42": {**STREAM, "bodhi_releases": ["F42"]}})
    running.koji.source_build(FIX, "openssl-libs", epoch=1, tag=UPDATES)
    update = {"alias": "FEDORA-1", "builds": [{"nvr": FIX, "epoch": 0}], "release": {"name": "F42"}}
    made.receive("bodhi.update.complete.stable", {"update": {**update, "status": "stable"}})
    made.passes()
    assert made.states() == ["building", "waiting"]
    made.receive("bodhi.update.request.obsolete", {"update": update})
    made.passes()
    assert made.states() == ["building", "unneeded"]


def rolled_back(store: Engine, running: koji_hub.Hub, folder: Path, **settings: Any) -> Site:
    """base and httpd are rebuilt on base-42-2, which is then untagged."""
    family(running)
    bad = running.koji.image("base-42-2", IMAGES, [SSL])
    spec = "registry.example.com/f42/base:latest"
    running.koji.image("httpd-2.4-2", IMAGES, [SSL], {spec: "base-42-2"}, "base-42-2")
    made = Site(store, running, folder, **settings)
    assert made.states() == []
    running.koji.untag(bad, IMAGES)
    untagged(made, "base-42-2", IMAGES)
    made.passes(10)
    made.passes(10)
    assert made.current("base:f42") == "base-42-1"
    return made


def test_what_stands_on_a_build_that_was_rolled_back_is_rebuilt_on_what_the_tag_has_now(
    store: Engine, running: koji_hub.Hub, tmp_path: Path
) -> None:
    made = rolled_back(store, running, tmp_path)
    assert made.states() == ["building"]
    task = made.live()
    assert task.options["koji_parent_build"] == "base-42-1"
    running.koji.close(task)
    made.finished(task.id, "httpd")
    made.passes(2000)
    made.passes(100_000)
    assert made.states() == ["succeeded"], "once is enough"
    with reading(store) as connection:
        assert inventory.stands_on_rolled_back(connection, "httpd:f42", by_nvr=True) is None


def test_a_rollback_is_shown_where_others_builds_are_not_to_be_planned_for(
    store: Engine, running: koji_hub.Hub, tmp_path: Path
) -> None:
    made = rolled_back(store, running, tmp_path, reconcile={"every_seconds": 100_000, "foreign_builds": "ignore"})
    assert made.states() == []
    with reading(store) as connection:
        told = why.why(connection, "httpd:f42", made.settings, made.clock.now).rolled_back
    assert str(told) == "built on base-42-2, which was rolled back: base:f42 is base-42-1 again"
