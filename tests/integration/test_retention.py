"""What is old goes, and nothing that is in use goes with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from integration.workbench import SSL, Workbench, image
from sqlalchemy import Engine, event, func, select, text

from rebuilder.domain.change import Change
from rebuilder.domain.image import ImageBuild, Manifest
from rebuilder.domain.message import Delivery
from rebuilder.domain.rpm import Rpm, SourceBuild
from rebuilder.store import changes, dead_letters, image_states, inventory, manifests, models, outbox, retention
from rebuilder.store.database import reading
from rebuilder.store.retention import Access
from rebuilder.store.retention_rules import Limits
from rebuilder.store.sync import record_builds

DAY = 86400.0
ALL = ("rebuilds", "waves", "changes", "messages", "image builds")


class Quick(Access):
    def rest(self, seconds: float) -> None:
        """Nobody else is here."""


def limits(bench: Workbench, days: float = 90) -> Limits:
    now = bench.clock.now
    then = now - days * DAY
    return Limits(then, then, then, then, now)


def prune(bench: Workbench, days: float = 90) -> dict[str, int]:
    gone = retention.prune(Quick(bench.store), limits(bench, days))
    return {name: count for name, count in gone.items() if count}


def updates(bench: Workbench, count: int, start: int = 2) -> None:
    """So many updates, each of which rebuilds all that carries the package, a day after the one before."""
    for number in range(start, start + count):
        bench.tell(f"openssl-3.2.{number}-1.fc42")
        bench.finish()
        bench.clock.now += DAY


def rows(store: Engine) -> dict[str, list[str]]:
    with reading(store) as connection:
        tables = models.Base.metadata.tables.values()
        return {table.name: sorted(map(repr, connection.execute(select(table)))) for table in tables}


def number_of(store: Engine, model: type[models.Base]) -> int:
    with reading(store) as connection:
        return connection.scalar(select(func.count()).select_from(model)) or 0


def test_nothing_goes_before_its_time(store: Engine) -> None:
    bench = Workbench(store)
    updates(bench, 3)
    before = rows(store)
    bench.clock.now += 80 * DAY
    assert prune(bench) == {}
    assert rows(store) == before


def test_what_is_old_goes_and_each_image_keeps_its_last_rebuild_and_its_build(store: Engine) -> None:
    bench = Workbench(store)
    updates(bench, 4)
    current = {name: bench.installed(name) for name in ("base", "mid", "app", "alone")}
    last = bench.rebuilds()[-4:]
    bench.clock.now += 100 * DAY
    gone = prune(bench)
    assert {name: gone[name] for name in ALL} == {
        "rebuilds": 12, "waves": 3, "changes": 3, "messages": 3, "image builds": 12,
    }  # fmt: skip
    assert [entry.id for entry in bench.rebuilds()] == [entry.id for entry in last]
    assert {name: bench.installed(name) for name in current} == current
    assert number_of(store, models.ManifestRpm) == 2, "the current manifest, and the one that the last rebuild replaced"
    assert number_of(store, models.Rpm) == 2
    assert prune(bench) == {}


def test_the_engine_goes_on_as_if_nothing_had_been_deleted(store: Engine) -> None:
    bench = Workbench(store)
    updates(bench, 3)
    bench.clock.now += 100 * DAY
    prune(bench)
    before = len(bench.submitted())
    bench.restart()
    bench.finish()
    assert len(bench.submitted()) == before, "nothing that is done is done again"
    updates(bench, 1, start=9)
    assert sorted(bench.submitted()[before:]) == ["alone", "app", "base", "mid"]


def test_a_failed_rebuild_and_what_is_blocked_by_it_stay_with_all_that_they_rest_on(store: Engine) -> None:
    bench = Workbench(store, simulated={"failures": ["mid:f42"]})
    updates(bench, 1)
    bench.clock.now += 100 * DAY
    before = rows(store)
    gone = prune(bench)
    assert set(gone) <= {"image builds", "manifests", "RPMs"}
    after = rows(store)
    for table in ("rebuild", "rebuild_edge", "transition", "cause", "change", "wave", "message"):
        assert after[table] == before[table], table
    assert ("mid", "failed") in bench.states() and ("app", "blocked") in bench.states()


def test_a_parent_stays_as_long_as_the_rebuild_that_waited_for_it(store: Engine) -> None:
    bench = Workbench(store, [image("base"), image("app", "base")])
    updates(bench, 1)
    bench.ask("rebuild", "base:f42")
    bench.finish()
    states = bench.rebuilds()
    bench.clock.now += 100 * DAY
    prune(bench)
    assert {entry.id for entry in bench.rebuilds()} == {entry.id for entry in states}, "app's last one rests on base's"


def test_nothing_of_an_image_on_hold_goes(store: Engine) -> None:
    bench = Workbench(store)
    updates(bench, 2)
    with store.begin() as connection:
        ident = inventory.ids(connection)["mid:f42"]
        connection.execute(models.Hold.__table__.insert().values(image_id=ident, who="me", reason="", since=0.0))
    bench.clock.now += 100 * DAY
    gone = prune(bench)
    assert "changes" not in gone, "it may have to catch up with them"
    assert {entry.image for entry in bench.rebuilds()[:-4]} == {"base:f42", "mid:f42"}, "mid's rests on base's"


def test_what_is_not_announced_yet_stays(store: Engine) -> None:
    bench = Workbench(store, notify={"enabled": True, "events": ["image.succeeded"]})
    updates(bench, 3)
    bench.clock.now += 100 * DAY
    unsent = number_of(store, models.Outbox)
    assert set(prune(bench)) & {"rebuilds", "waves", "changes"} == set()
    assert number_of(store, models.Outbox) == unsent == 12
    with store.begin() as connection:
        outbox.refuse(connection, {letter.seq: "no" for letter in outbox.unsent(connection, 4)}, 0.0)
        outbox.confirmed(connection, [letter.seq for letter in outbox.unsent(connection, 100)])
    assert prune(bench)["refused notifications"] == 4


def test_an_unread_message_stays_and_dead_letters_go(store: Engine) -> None:
    bench = Workbench(store)
    bench.tell("openssl-3.2.2-1.fc42")
    with store.begin() as connection:
        dead_letters.keep(connection, Delivery("x", "t", {}, b"\0", "utf-8"), "why", bench.clock.now)
    bench.clock.now += 100 * DAY
    assert prune(bench) == {"dead letters": 1}
    assert number_of(store, models.Message) == 1


def test_a_build_that_a_current_one_was_built_on_stays(store: Engine) -> None:
    bench = Workbench(store, [image("base"), image("app", "base")])
    with store.begin() as connection:
        known = inventory.ids(connection)
        content = Manifest.of([Rpm.parse(SSL, "openssl")])
        record_builds(connection, [ImageBuild("app:f42", "two", content, ("first",))], known, bench.clock.now)
        record_builds(connection, [ImageBuild("base:f42", "second", content)], known, bench.clock.now)
        record_builds(connection, [ImageBuild("base:f42", "third", content)], known, bench.clock.now)
    bench.clock.now += 100 * DAY
    assert prune(bench) == {"image builds": 1}
    with reading(store) as connection:
        assert set(connection.scalars(select(models.ImageBuild.ident))) == {"first", "two", "third"}


def test_a_manifest_that_somebody_is_about_to_use_stays(store: Engine) -> None:
    bench = Workbench(store, [image("base")])
    content = Manifest.of([Rpm.parse("zlib-1-1.fc42.x86_64", "")])
    with store.begin() as connection:
        manifests.intern(connection, [content])
    if store.dialect.name == "postgresql":
        with store.begin() as connection:
            manifests.intern(connection, [content])
            assert "manifests" not in prune(bench)
    assert prune(bench)["manifests"] == 1


def test_a_rehearsal_counts_what_would_go_and_changes_nothing(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 50)
    bench = Workbench(store, images(20))
    updates(bench, 5)
    bench.clock.now += 100 * DAY
    before = rows(store)
    with retention.rehearsing(store) as access:
        told = retention.prune(access, limits(bench))
    assert rows(store) == before
    assert told["rebuilds"] == 80
    assert retention.prune(Quick(store), limits(bench)) == told


def test_a_build_is_recorded_while_a_rehearsal_is_under_way(store: Engine) -> None:
    bench = Workbench(store, [image("base")])
    updates(bench, 5)
    bench.clock.now += 100 * DAY
    new = Manifest(frozenset({Rpm.parse("zlib-0:1.3.1-1.fc42.x86_64")}))
    with retention.rehearsing(store) as access:
        assert retention.prune(access, limits(bench))["image builds"]
        with store.begin() as connection:
            if store.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL lock_timeout = '2s'"))
            assert manifests.intern(connection, [new])


def test_a_change_that_an_image_lacks_stays_though_a_newer_one_came_and_was_withdrawn(store: Engine) -> None:
    bench = Workbench(store, [image("base")])
    for nvr in ("openssl-3.2.2-1.fc42", "openssl-3.2.3-1.fc42"):
        with store.begin() as connection:
            changes.notice(connection, [Change(SourceBuild.parse(nvr), "f42")], None, "", bench.clock.now)
            changes.planned(connection, [changes.noticed(connection)])
    with store.begin() as connection:
        changes.withdraw(connection, [changes.noticed(connection)], bench.clock.now)
    bench.clock.now += 100 * DAY
    prune(bench)
    with reading(store) as connection:
        assert image_states.read(connection, bench.clock.now)["base:f42"].state == "stale"


def images(count: int) -> list[Any]:
    return [image("base"), *(image(f"app{number}", "base") for number in range(count - 1))]


def test_a_batch_is_small_and_others_get_in_between(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 10)
    bench = Workbench(store, images(30))
    updates(bench, 4)
    bench.clock.now += 100 * DAY
    deleted: list[int] = []
    rested: list[float] = []

    class Watched(Access):
        def rest(self, seconds: float) -> None:
            rested.append(seconds)
            with store.begin() as connection:  # an engine writes meanwhile
                connection.execute(models.Tally.__table__.update().values(seconds=1.0))

    def count(_c: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM rebuild "):
            deleted.append(cursor.rowcount)

    listen: Callable[..., Any] = event.listen
    listen(store, "after_cursor_execute", count)
    gone = retention.prune(Watched(store), limits(bench))
    event.remove(store, "after_cursor_execute", count)
    assert sum(deleted) == gone["rebuilds"] == 90
    assert max(deleted) <= 10
    assert len(rested) >= 9 and min(rested) > 0


def test_killed_between_two_batches_the_next_one_goes_on(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 7)
    bench = Workbench(store, images(20))
    updates(bench, 4)
    bench.clock.now += 100 * DAY

    class Dying(Access):
        left = 3

        def rest(self, seconds: float) -> None:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retention.prune(Dying(store), limits(bench))
    assert prune(bench)["rebuilds"] == 60 - 21
    assert bench.installed("app3") == {"openssl-libs-1:3.2.5-1.fc42.x86_64"}
