"""The one door for changes of a rebuild's state: what each changes, recorded and announced in one transaction."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, assert_never

from msgspec import Struct
from sqlalchemy import Connection, bindparam, insert, select, update

from rebuilder.domain import lifecycle
from rebuilder.domain.lifecycle import PENDING, Effect, Event, InvalidTransition, RebuildRecord, State
from rebuilder.domain.topics import StateFacts
from rebuilder.store import build_durations, cancellations, counters, outbox, rebuild_dependencies, rebuilds
from rebuilder.store.counters import StoredCounter
from rebuilder.store.models import Rebuild, Transition, Wave
from rebuilder.store.outbox import StateChange

log = logging.getLogger(__name__)
_RECORD = insert(Transition)
Happened = tuple[RebuildRecord, Event]
_Changed = tuple[RebuildRecord, Event, dict[str, Any]]


class Transitions(Struct, frozen=True):
    """Takes rebuilds through events, and carries out what follows from them.

    `connection` has a transaction that the caller commits; `now` is in seconds since the epoch.
    """

    connection: Connection
    now: float
    max_attempts: int = 1

    def apply(self, happened: Sequence[Happened]) -> None:
        """Take rebuilds, each at most once, through events: states, stories, times, notifications, effects.

        However many they are, they cost a few statements. Raises InvalidTransition, with the whole story, for an event
        that cannot happen, or for a rebuild that is no longer what its entry says: then commit none of them.
        """
        if not happened:
            return
        following = [self._follow(entry, event) for entry, event in happened]
        changed = [
            (entry, event, self._columns(entry, event, after))
            for (entry, event), (after, _) in zip(happened, following, strict=True)
        ]
        _update(self.connection, changed)
        _reopen(self.connection, changed)
        record(self.connection, [_step(entry, event, new) for entry, event, new in changed], self.now)
        _trace(changed)
        outbox.came_into(self.connection, [_state_change(*one) for one in changed], self.now)
        caused: dict[Effect, list[Happened]] = {}
        for (entry, event), (_, effects) in zip(happened, following, strict=True):
            for effect in effects:
                caused.setdefault(effect, []).append((entry, event))
        for effect, origins in caused.items():
            self._carry_out(effect, origins)

    def unblock(self, entry: RebuildRecord) -> str:
        """Let a blocked rebuild, and what it blocks in turn, wait again; else the image that still blocks it.

        A rebuild that a later one of its image has taken over stays as it is: what waits for it waits for the later.
        """
        if rebuilds.refresh(self.connection, entry).state is not State.BLOCKED:
            return ""
        if rebuilds.newer(self.connection, entry) is None:
            stopped = rebuild_dependencies.stopped_parents(self.connection, entry.id)
            if stopped:
                return stopped[0].image
            self.apply([(entry, lifecycle.ParentResumed())])
        for child in rebuild_dependencies.blocked_children(self.connection, entry.id):
            self.unblock(child)
        return ""

    def _follow(self, entry: RebuildRecord, event: Event) -> tuple[RebuildRecord, tuple[Effect, ...]]:
        try:
            return lifecycle.step(entry, event, self.max_attempts)
        except InvalidTransition as error:
            history = story(self.connection, entry.id)
            raise InvalidTransition(f"{entry.image} (rebuild {entry.id}): {error}; {history}") from None

    def _columns(self, entry: RebuildRecord, event: Event, after: RebuildRecord) -> dict[str, Any]:
        new: dict[str, Any] = {"state": after.state, "attempt": after.attempt, "reason": event.reason}
        if after.state in lifecycle.ENDED:
            new["ended_at"] = self.now
        match event:
            case lifecycle.Dispatched(key=key, source=source):
                new |= {"key": key, "source": source, "ref": "", "log": "", "started_at": self.now, "begun_at": None,
                        "built_at": None}  # fmt: skip
            case lifecycle.NotSubmitted(again_at=again_at):
                new |= {"spared": after.spared, "not_before": again_at}
            case lifecycle.Accepted(ref=ref, log=log):
                new |= {"ref": ref, "log": log}
            case lifecycle.Built(build_id=build_id) | lifecycle.Proven(build_id=build_id):
                new |= {"build_id": build_id, "built_at": self.now}
            case lifecycle.Failed(build_id=build_id) if build_id is not None:
                new |= {"build_id": build_id}
            case lifecycle.Aborted(again_at=again_at) if after.state is State.QUEUED:
                new |= {"not_before": again_at}
            case lifecycle.Aborted():
                new |= {"reason": f"gave up after {after.attempt - after.spared} attempts: {event.reason}"}
            case lifecycle.Retried(key=key):
                new |= {"key": key, "ref": "", "log": "", "not_before": 0, "started_at": None, "begun_at": None,
                        "built_at": None, "ended_at": None, "build_id": None, "spared": 0}  # fmt: skip
        return new

    def _carry_out(self, effect: Effect, origins: Sequence[Happened]) -> None:
        """The interpreter: every effect of the lifecycle, and nothing else."""
        entries = [entry for entry, _ in origins]
        match effect:
            case Effect.CANCEL_BUILD:
                cancellations.request(self.connection, entries, self.now)
            case Effect.MEASURE_DURATION:
                build_durations.measure(self.connection, [entry.image_id for entry in entries])
            case Effect.RELIEVE_LATER_CHILDREN:
                ids = [entry.id for entry in entries]
                for child in rebuild_dependencies.blocked_by_superseded(self.connection, ids):
                    self.unblock(child)
            case Effect.BLOCK_DESCENDANTS:
                self._each(self._block_below, entries)
            case Effect.RESUME_DESCENDANTS:
                self._each(self._resume, entries)
            case _:
                assert_never(effect)

    @staticmethod
    def _each(act: Callable[[RebuildRecord], None], entries: Iterable[RebuildRecord]) -> None:
        """One after the other: what the one changes, the next one sees."""
        for entry in entries:
            act(entry)

    def _block_below(self, entry: RebuildRecord) -> None:
        descendants = rebuild_dependencies.descendants(self.connection, entry.id)
        below = [child for child in descendants if child.state in PENDING]
        self.apply([(child, lifecycle.ParentStopped(did_not_succeed(entry))) for child in below])

    def _resume(self, entry: RebuildRecord) -> None:
        """What it blocked goes on, or waits with it where a parent of its own is stopped."""
        stopped = rebuild_dependencies.stopped_parents(self.connection, entry.id)
        if stopped:
            waiting = rebuilds.refresh(self.connection, entry)
            self.apply([(waiting, lifecycle.ParentStopped(did_not_succeed(stopped[0])))])
            return
        for child in rebuild_dependencies.blocked_children(self.connection, entry.id):
            self.unblock(child)


def did_not_succeed(entry: RebuildRecord) -> str:
    """Why what is built on it is blocked."""
    return f"{entry.image} did not succeed"


def _trace(changed: Iterable[_Changed]) -> None:
    if log.isEnabledFor(logging.DEBUG):
        for entry, event, new in changed:
            fields = {"image": entry.image, "wave": entry.wave_id, "event": event.name, "state": str(new["state"])}
            log.debug("%s: %s, now %s %s", entry.image, event.name, new["state"], event.reason, extra=fields)


def _update(connection: Connection, changed: Iterable[_Changed]) -> None:
    """Set the columns; those that set the same ones together."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for entry, _, new in changed:
        row = {"of": entry.id, "was": entry.state, **{f"new_{name}": value for name, value in new.items()}}
        alike.setdefault(tuple(new), []).append(row)
    for names, rows in alike.items():
        if connection.execute(_updating(names), rows).rowcount != len(rows):
            states = "; ".join(f"rebuild {row['of']} was {row['was']}" for row in rows)
            raise InvalidTransition(f"changed meanwhile: {states}")


def _reopen(connection: Connection, changed: Iterable[_Changed]) -> None:
    """A finished wave of which something begins anew runs again: its times are those of its last end."""
    waves = {
        entry.wave_id
        for entry, _, new in changed
        if entry.state not in lifecycle.OPEN and new["state"] in lifecycle.OPEN
    }
    if waves:
        again = Wave.id.in_(sorted(waves)), Wave.state == "finished"
        connection.execute(update(Wave).where(*again).values(state="running", finished_at=None))


@cache
def _updating(columns: tuple[str, ...]) -> Any:
    """Sets these columns of the rebuild `of`, if it still is what it `was`. Made once: every transition asks for it."""
    unchanged = Rebuild.id == bindparam("of"), Rebuild.state == bindparam("was")
    return update(Rebuild).where(*unchanged).values({name: bindparam(f"new_{name}") for name in columns})


def _state_change(entry: RebuildRecord, event: Event, new: Mapping[str, Any]) -> StateChange:
    facts = StateFacts(
        attempt=new["attempt"],
        started=new.get("started_at", entry.started_at),
        reason=new["reason"],
        log=new.get("log", entry.log),
        build=new.get("build_id"),
        who=event.who if isinstance(event, lifecycle.Canceled) else "",
    )
    return StateChange(entry.id, entry.wave_id, new["state"], facts)


class Step(Struct, frozen=True):
    """A transition of a rebuild's story; where a builder accepted it, with its name of the build, and its log."""

    rebuild_id: int
    event: str
    state: State
    reason: str = ""
    ref: str = ""
    log: str = ""


def _step(entry: RebuildRecord, event: Event, new: Mapping[str, Any]) -> Step:
    build = (event.ref, event.log) if isinstance(event, lifecycle.Accepted) else ("", "")
    return Step(entry.id, event.name, State(new["state"]), event.reason, *build)


def record(connection: Connection, steps: Sequence[Step], now: float) -> None:
    """Write transitions into the rebuilds' stories, and count them."""
    if not steps:
        return
    connection.execute(_RECORD, [
        {"rebuild_id": step.rebuild_id, "at": now, "event": step.event, "state": str(step.state), "reason": step.reason,
         "ref": step.ref, "log": step.log}
        for step in steps
    ])  # fmt: skip
    happened = Counter(step.event for step in steps)
    ended = Counter(str(step.state) for step in steps if step.state in lifecycle.ENDED)
    counters.add(connection, {
        "step": {event: StoredCounter(count) for event, count in happened.items()},
        "ended": {state: StoredCounter(count) for state, count in ended.items()},
    })  # fmt: skip


def story(connection: Connection, rebuild_id: int) -> str:
    """The transitions of a rebuild so far, in one line."""
    rows = connection.execute(
        select(Transition.event, Transition.state).where(Transition.rebuild_id == rebuild_id).order_by(Transition.id)
    )
    return "story: " + ", ".join(f"{event} -> {state}" for event, state in rows)
