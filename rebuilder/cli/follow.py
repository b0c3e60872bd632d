"""`--wait`: follow what was asked for to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import click
from msgspec import Struct
from sqlalchemy import Connection

from rebuilder.cli.context import Context
from rebuilder.cli.output import progress
from rebuilder.domain.lifecycle import ENDED, STOPPED, State
from rebuilder.store import lease, open_rebuilds, rebuilds, waves
from rebuilder.store.database import reading
from rebuilder.store.waves import WaveEntry

LOOK_SECONDS = 0.5
SHOWN = 20  # failures that are named

wait_option = click.option("--wait", is_flag=True, help="Follow it to the end; exit status 1 where a rebuild failed.")
Find = Callable[[Connection], Collection[int] | None]


def follow(context: Context, find: Find) -> int:
    """Show the progress of the waves that `find` finds (None: not known yet) until they are finished.

    Gives 1 where a rebuild in them failed, was canceled or is blocked. Ctrl-C ends it, and nothing else.
    """
    with reading(context.stored) as connection:
        if not lease.read(connection).owner:
            click.echo("note: no engine is running: start `rebuilder run`; waiting for it", err=True)
    announced: set[int] = set()
    with progress("rebuilding") as advance:
        while True:
            look = _look(context, find)
            advance(look.ended, look.rebuilds)
            _tell_what_waits(look.waves, announced)
            if look.finished:
                break
            time.sleep(LOOK_SECONDS)
    _tell_what_failed(context, look.counts)
    return _outcome(look.counts)


class _Look(Struct, frozen=True):
    """How the waves stand: how many rebuilds of each are in which state. They are not `known` before they are made."""

    known: bool
    waves: Sequence[WaveEntry]
    counts: Mapping[int, Mapping[State, int]]

    @property
    def rebuilds(self) -> int:
        return sum(sum(states.values()) for states in self.counts.values())

    @property
    def ended(self) -> int:
        return sum(count for states in self.counts.values() for state, count in states.items() if state in ENDED)

    @property
    def finished(self) -> bool:
        return self.known and all(wave.state == "finished" for wave in self.waves)


def _look(context: Context, find: Find) -> _Look:
    with reading(context.stored) as connection:
        ids = find(connection)
        entries = [waves.find(connection, ident) for ident in sorted(ids or ())]
        return _Look(ids is not None, entries, open_rebuilds.counts_of(connection, [wave.id for wave in entries]))


def _tell_what_waits(entries: Iterable[WaveEntry], announced: set[int]) -> None:
    """Say once of each wave that it waits for an operator; `announced` remembers it."""
    for wave in entries:
        if wave.state == "planned" and wave.approved_at is None and wave.id not in announced:
            announced.add(wave.id)
            click.echo(f"wave {wave.id} waits for `rebuilder approve {wave.id}`", err=True)


def _tell_what_failed(context: Context, counts: Mapping[int, Mapping[State, int]]) -> None:
    """Name what failed, why, and where its log is."""
    with reading(context.stored) as connection:
        failed = rebuilds.failed_in(connection, list(counts), SHOWN)
    for entry in failed:
        reason = entry.reason or "no reason was given"
        click.echo(f"{entry.image} failed: {reason} (`rebuilder log --rebuild {entry.id}`)")


def _outcome(counts: Mapping[int, Mapping[State, int]]) -> int:
    """Say how the rebuilds of each wave ended; 1 where one did not succeed."""
    for ident, states in counts.items():
        click.echo(f"wave {ident}: {', '.join(f'{states[state]} {state}' for state in State if state in states)}")
    if not counts:
        click.echo("nothing to rebuild")
    return int(any(state in STOPPED for states in counts.values() for state in states))
