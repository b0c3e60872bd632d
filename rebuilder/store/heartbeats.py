"""The last heartbeat of each loop: how other processes know that it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, select

from rebuilder.store import lease
from rebuilder.store.models import Heartbeat
from rebuilder.store.read_cache import cached
from rebuilder.store.upsert import insert_of

LATE_SECONDS = 60.0  # a loop that is silent for so long, and for several heartbeats, has stopped
MISSED = 6  # heartbeats
STANDBY = "standby:"
STANDBY_NAME = 20  # characters that tell engines apart
FORGOTTEN_SECONDS = 3600.0
INVENTORY = "inventory"  # no loop: what the last reading of the inventory's source left as it was, whoever read it
TOLD = 3  # faults whose words are kept


class CallsOut(msgspec.Struct, frozen=True):
    """Calls of a kind that are out: how many, how many past their time limit, and the age of the oldest in seconds."""

    kind: str
    count: int
    overdue: int
    oldest: float


class Problem(msgspec.Struct, frozen=True):
    """What does not work, since when and why, and when it is tried again. Moments are seconds since the epoch."""

    what: str
    since: float
    reason: str
    until: float | None = None


class Activity(msgspec.Struct, frozen=True):
    """What the engine waits for.

    `in_doubt` has the keys of submissions that were not answered, each with the reason; `at_builder` the refs of builds
    that the builder has and has not begun with; `repositories` the build tags whose repositories are waited for, by
    stream and the tag that they take from; `unread_images` counts those that their source has and that cannot be read;
    `process` names the engine's own, as the lease does.
    """

    calls: tuple[CallsOut, ...] = ()
    problems: tuple[Problem, ...] = ()
    in_doubt: dict[str, str] = {}
    at_builder: tuple[str, ...] = ()
    repositories: dict[str, tuple[str, ...]] = {}
    unread_images: int = 0
    process: str = ""


NOTHING = Activity()


class HeartbeatEntry(Struct, frozen=True):
    """`loop` last passed at `at`, and means to beat `every` so many seconds; `trouble` is what it met last.

    `activity` is what the engine waits for; empty for other loops.
    """

    loop: str
    at: float
    every: float
    trouble: str = ""
    activity: Activity = NOTHING

    def late(self, now: float) -> bool:
        """Whether too many heartbeats were missed for it to be chance; one of a time to come is of a clock set back."""
        return abs(now - self.at) > max(MISSED * self.every, LATE_SECONDS)


def record_heartbeat(
    connection: Connection, loop: str, every: float, now: float, trouble: str = "",
    detail: Activity | None = None,
) -> None:
    """A heartbeat of the loop, at `now` (seconds since the epoch); the next one follows after `every` seconds."""
    activity = None if detail is None else msgspec.to_builtins(detail)
    row = {"loop": loop, "at": now, "every": every, "trouble": trouble, "detail": activity}
    connection.execute(_upsert(connection.dialect.name), row)


@cache
def _upsert(dialect: str) -> Any:
    """Made once: it is asked for each second."""
    new = insert_of(dialect)(Heartbeat)
    same = {name: new.excluded[name] for name in ("at", "every", "trouble", "detail")}
    return new.on_conflict_do_update(index_elements=[Heartbeat.loop], set_=same)


def stands_by(connection: Connection, process: str, every: float, now: float) -> None:
    """This engine waits until it may act, and says so again after `every` seconds.

    Those that ended without a word a while ago are forgotten.
    """
    record_heartbeat(connection, _standby(process), every, now, detail=Activity(process=process))
    long_ago = Heartbeat.loop.startswith(STANDBY), Heartbeat.at < now - FORGOTTEN_SECONDS
    connection.execute(delete(Heartbeat).where(*long_ago))


def stands_by_no_more(connection: Connection, process: str) -> None:
    """It acts, or was told to end."""
    stopped(connection, [_standby(process)])


def _standby(process: str) -> str:
    return STANDBY + process[-STANDBY_NAME:]


def standbys(beats: Mapping[str, HeartbeatEntry], now: float) -> list[str]:
    """The processes that wait until they may act."""
    return [b.activity.process for name, b in beats.items() if name.startswith(STANDBY) and not b.late(now)]


def engine_stopped(connection: Connection, now: float) -> float | None:
    """When an engine that once ran was last heard of, in seconds since the epoch; None: one runs, or none ever did."""
    beat = read(connection).get("engine")
    if beat is None:
        return lease.let_go(connection)
    return beat.at if beat.late(now) else None


def stopped(connection: Connection, loops: Sequence[str]) -> None:
    """These loops ended because they were told to."""
    connection.execute(delete(Heartbeat).where(Heartbeat.loop.in_(loops)))


def unread(connection: Connection, faults: Sequence[str], now: float) -> None:
    """The source was read, and this of it could not be: that stands until it is read again, with or without an engine.

    What cannot be read for a while keeps the moment since when.
    """
    if not faults:
        stopped(connection, [INVENTORY])
        return
    before = problems({name: beat for name, beat in read(connection).items() if name == INVENTORY})
    examples = "; ".join(faults[:TOLD]) + (" …" if len(faults) > TOLD else "")
    reason = f"{len(faults)} cannot be read and keep their last known state: {examples}"
    problem = Problem("images", before[0].since if before else now, reason)
    record_heartbeat(connection, INVENTORY, 0.0, now, detail=Activity(problems=(problem,), unread_images=len(faults)))


def problems(beats: Mapping[str, HeartbeatEntry]) -> tuple[Problem, ...]:
    """What does not work: of the engine that runs, and of the inventory's source."""
    return tuple(p for name in ("engine", INVENTORY) if name in beats for p in beats[name].activity.problems)


def read(connection: Connection) -> Mapping[str, HeartbeatEntry]:
    """The last heartbeat of each loop that has not been told to end."""
    return cached(connection, "heartbeats", lambda: _read(connection))


def _read(connection: Connection) -> dict[str, HeartbeatEntry]:
    columns = Heartbeat.loop, Heartbeat.at, Heartbeat.every, Heartbeat.trouble, Heartbeat.detail
    return {
        loop: HeartbeatEntry(loop, at, every, trouble, msgspec.convert(detail or {}, Activity))
        for loop, at, every, trouble, detail in connection.execute(select(*columns).order_by(Heartbeat.loop))
    }
