"""What is taken back: updates by Bodhi, and builds that leave Koji's tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from integration import koji_site
from integration.koji_site import FIX, IMAGES, SSL, STREAM, UPDATES, Site
from sqlalchemy import Engine
from support import koji_hub

from rebuilder.domain.rpm import SourceBuild
from rebuilder.engine import why
from rebuilder.store import changes, inventory
from rebuilder.store.database import reading

running = koji_site.running


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
