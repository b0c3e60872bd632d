"""`status`, `wave`, `inbox`: what goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

import click
from sqlalchemy import Connection

from rebuilder.cli import plans
from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json, joined, length, say, table, when
from rebuilder.cli.words import sentences
from rebuilder.domain.lifecycle import OPEN, STOPPED, State
from rebuilder.store import actions, causes, changes, holds, inbox, progress, rebuilds, waves
from rebuilder.store.database import reading


@click.command()
@click.option("--json", "json_", is_flag=True)
@click.pass_obj
def status(context: Context, json_: bool) -> int:
    """What is being rebuilt, what comes next, what failed. Exit status 1 where an image's last rebuild failed."""
    with reading(context.engine) as connection:
        open_ones = rebuilds.in_states(connection, OPEN)
        messages, settling = inbox.counts(connection), changes.settling(connection)
        paused, asked = holds.paused(connection), actions.requested(connection)
        recent, stopped = waves.latest(connection, 5), rebuilds.any_stopped(connection)
        counted = {wave.id: rebuilds.counts(connection, wave.id) for wave in recent}
    if json_:
        as_json({
            "messages": dict(messages),
            "settling": settling,
            "rebuilds": [{"image": e.image, "wave": e.wave_id, "state": str(e.state), "severity": e.severity,
                          "attempt": e.attempt, "reason": e.reason} for e in open_ones],
            "waves": [{"id": w.id, "state": w.state, "created": when(w.created_at),
                       "rebuilds": {str(k): v for k, v in counted[w.id].items()}} for w in recent],
            "paused": {"who": paused.who, "reason": paused.reason, "since": when(paused.since)} if paused else None,
            "requests": [{"verb": str(r.verb), "target": r.target, "who": r.who, "reason": r.reason} for r in asked],
            "well": not stopped,
        })
        return int(stopped)
    if open_ones:
        table(("image", "state", "wave", "severity", "attempt", "reason"),
              [(e.image, e.state, e.wave_id, e.severity, e.attempt or "", e.reason) for e in open_ones[:50]])
        if len(open_ones) > 50:
            click.echo(f"and {len(open_ones) - 50} more")
    else:
        click.echo("nothing is being rebuilt")
    if recent:
        table(("wave", "state", "planned", "rebuilds"),
              [(w.id, w.state, when(w.created_at), _asked(w) or _counted(counted[w.id])) for w in recent])
    if paused:
        click.echo(f"paused since {when(paused.since)} by {paused}: no builds are started")
    for request in asked:
        click.echo(f"asked for: {request.target}: {request}")
    unread, rejected = messages.get("new", 0), messages.get("rejected", 0)
    click.echo(f"{unread} messages unread, {rejected} rejected; {settling} changes settle")
    return int(stopped)


def _asked(found: waves.WaveEntry) -> str:
    """What a wave waits for; nothing where it has begun."""
    if found.state != "planned":
        return ""
    waits = "is about to begin" if found.approved_at else f"waits for `rebuilder approve {found.id}`"
    return f"{waits} (rule {found.rule})"


def _counted(found: object) -> str:
    assert isinstance(found, dict)
    return ", ".join(f"{found[state]} {state}" for state in State if found.get(state))


@click.command()
@click.argument("wave_id", metavar="ID", type=int)
@click.option("--story", is_flag=True, help="Every step of its rebuilds, in the order in which it happened.")
@click.option("--json", "json_", is_flag=True)
@click.pass_obj
def wave(context: Context, wave_id: int, story: bool, json_: bool) -> int:
    """One wave: its rebuilds, parents first, and why they are there. Exit status 1 where one failed."""
    with reading(context.engine) as connection:
        found = waves.find(connection, wave_id)
        if found.state == "planned":
            return _proposed(connection, context, found, json_)
        entries = rebuilds.of_wave(connection, wave_id)
        steps = progress.steps_of_wave(connection, wave_id) if story else []
        reasons = causes.reasons_of(connection, [entry.id for entry in entries])
    stopped = any(entry.state in STOPPED for entry in entries)
    if story:
        _tell(steps, json_)
        return int(stopped)
    if json_:
        as_json({
            "id": found.id, "state": found.state,
            "created": when(found.created_at), "finished": when(found.finished_at),
            "rebuilds": [
                {"image": e.image, "level": e.level, "state": str(e.state), "severity": e.severity,
                 "attempt": e.attempt, "reason": e.reason, "note": e.note, "ref": e.ref, "log": e.log,
                 "started": when(e.started_at), "ended": when(e.ended_at),
                 "causes": [sentence.plain for sentence in sentences(reasons.get(e.id, ()), True)]}
                for e in entries
            ],
        })
        return int(stopped)
    rows = [
        (e.level, e.image, e.state,
         length(e.ended_at - e.started_at) if e.ended_at and e.started_at else "",
         e.reason or e.note or joined("; ", sentences(reasons.get(e.id, ()), False)))
        for e in entries
    ]
    table(("level", "image", "state", "took", "why"), rows, title=f"wave {found.id}, {found.state}")
    return int(stopped)


def _tell(steps: Sequence[progress.Step], json_: bool) -> None:
    if json_:
        as_json([{"at": when(s.at), "image": s.image, "event": s.event, "state": s.state, "reason": s.reason}
                 for s in steps])
    else:
        table(("at", "image", "event", "state", "reason"), [(when(s.at), *astuple(s)[1:]) for s in steps])


def _proposed(connection: Connection, context: Context, found: waves.WaveEntry, json_: bool) -> int:
    """A wave that waits for an operator: what it would do if it were approved now."""
    drafted = plans.proposed(connection, found.id, context.settings).plan
    if json_:
        as_json({"id": found.id, "state": found.state, "created": when(found.created_at), "finished": None,
                 "rule": found.rule, "rebuilds": [], "plan": plans.written(drafted)})
        return 0
    plans.show(drafted, explain=False)
    say(f"wave {found.id} {_asked(found)}")
    return 0


@click.command("inbox")
@click.option("--state", type=click.Choice(["new", "accepted", "ignored", "rejected"]))
@click.option("--limit", type=click.IntRange(1, 10000), default=50, show_default=True)
@click.option("--json", "json_", is_flag=True)
@click.pass_obj
def inbox_(context: Context, state: str | None, limit: int, json_: bool) -> None:
    """The newest messages received, and what became of them."""
    with reading(context.engine) as connection:
        found = inbox.listing(connection, state, limit)
    if json_:
        as_json([
            {"id": kept.message.id, "topic": kept.message.topic, "received": when(kept.received_at),
             "state": kept.state, "reason": kept.reason}
            for kept in found
        ])
        return
    table(("received", "topic", "state", "reason", "id"),
          [(when(k.received_at), k.message.topic, k.state, k.reason, k.message.id) for k in found])


VERBS: tuple[click.Command, ...] = (status, wave, inbox_)
