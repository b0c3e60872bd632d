"""An engine whose images and builds are Koji's: messages are the fast path, and polling finds what they miss."""

from __future__ import annotations

from pathlib import Path

import pytest
from integration import koji_site
from integration.koji_site import FIX, IMAGES, SSL, STREAM, Site
from sqlalchemy import Engine
from support import koji_hub
from support.api_client import Client
from support.pushing import announced

from rebuilder.builders.koji import KojiBuilder
from rebuilder.domain.lifecycle import OPEN
from rebuilder.domain.rpm import SourceBuild
from rebuilder.messages import ImagePushedV1
from rebuilder.queries import logs
from rebuilder.store import rebuilds
from rebuilder.store.database import reading

running = koji_site.running


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
