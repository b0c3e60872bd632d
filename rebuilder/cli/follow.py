"""`--wait`: follow what was asked for to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import click
from sqlalchemy import Connection

from rebuilder.cli.context import Context
from rebuilder.cli.output import progress
from rebuilder.domain.lifecycle import ENDED, STOPPED, State
from rebuilder.store import lease, open_rebuilds, waves
from rebuilder.store.database import reading

LOOK_SECONDS = 0.5

wait_option = click.option("--wait", is_flag=True, help="Follow it to the end; exit status 1 where a rebuild failed.")
Find = Callable[[Connection], Collection[int] | None]


def follow(context: Context, find: Find) -> int:
    """Show the progress of the waves that `find` finds (None: not known yet) until they are finished.

    Gives 1 where a rebuild in them failed, was canceled or is blocked. Ctrl-C ends it, and nothing else.
    """
    with reading(context.stored) as connection:
        if not lease.read(connection).owner:
            click.echo("note: no engine is running: start `rebuilder run`; waiting for it", err=True)
    told: set[int] = set()
    with progress("rebuilding") as advance:
        while True:
            with reading(context.stored) as connection:
                found = find(connection)
                entries = [waves.find(connection, ident) for ident in sorted(found or ())]
                counts = open_rebuilds.counts_of(connection, [wave.id for wave in entries])
            done = sum(n for wave in counts.values() for state, n in wave.items() if state in ENDED)
            advance(done, sum(n for wave in counts.values() for n in wave.values()))
            for wave in entries:
                if wave.state == "planned" and wave.approved_at is None and wave.id not in told:
                    told.add(wave.id)
                    click.echo(f"wave {wave.id} waits for `rebuilder approve {wave.id}`", err=True)
            if found is not None and all(wave.state == "finished" for wave in entries):
                break
            time.sleep(LOOK_SECONDS)
    for ident, states in counts.items():
        click.echo(f"wave {ident}: {', '.join(f'{states[state]} {state}' for state in State if state in states)}")
    if not counts:
        click.echo("nothing to rebuild")
    return int(any(state in STOPPED for states in counts.values() for state in states))
