"""`wave`: one wave."""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.text import Text

from rebuilder.cli import plans
from rebuilder.cli.client import server_option, source
from rebuilder.cli.context import Context
from rebuilder.cli.formatting import format_reasons
from rebuilder.cli.output import as_json, joined, json_option, print_line, table
from rebuilder.cli.status import asked_of
from rebuilder.domain.lifecycle import STOPPED
from rebuilder.domain.times import format_duration, format_time
from rebuilder.queries import plan as planned
from rebuilder.queries import rebuilds


@click.command()
@click.argument("wave_id", metavar="ID", type=int)
@click.option("--story", is_flag=True, help="Every step of its rebuilds, in the order in which it happened.")
@server_option
@json_option
@click.pass_obj
def wave(context: Context, wave_id: int, story: bool, server: str | None, json_: bool) -> int:
    """One wave: its rebuilds, parents first, and why they are there. Exit status 1 where one failed."""
    with source(context, server) as client:
        wave = client.wave(wave_id)
        if story:
            _tell(client.story(wave_id), json_)
        elif json_:
            as_json(wave)
        else:
            _show(wave)
        return int(any(entry.state in STOPPED for entry in wave.rebuilds))


def _show(wave: rebuilds.Wave) -> None:
    """What the wave would do while it waits for approval, then what it does."""
    if wave.plan is not None:
        plans.show(planned.read(wave.plan), explain=False)
        print_line(f"wave {wave.id} {asked_of(wave)}")
        return
    rows = [(e.level, e.image, e.state, _took(e), e.reason or e.note or _reasons(e)) for e in wave.rebuilds]
    table(("level", "image", "state", "took", "why"), rows, title=f"wave {wave.id}, {wave.state}{_eta(wave)}")


def _took(entry: rebuilds.InWave) -> str:
    return format_duration((entry.ended - entry.started).total_seconds()) if entry.ended and entry.started else ""


def _reasons(entry: rebuilds.InWave) -> Text:
    return joined("; ", format_reasons([planned.told_by(cause) for cause in entry.causes], False))


def _tell(steps: Sequence[rebuilds.Step], json_: bool) -> None:
    if json_:
        as_json(steps)
    else:
        table(("at", "image", "event", "state", "reason"),
              [(format_time(s.at), s.image, s.event, s.state, s.reason) for s in steps])


def _eta(wave: rebuilds.Wave) -> str:
    """When the wave will be done, and how sure that is."""
    if wave.unknown:
        return ", done at an unknown time"
    if not wave.eta:
        return ""
    between = (
        f" (between {format_time(wave.eta_earliest)} and {format_time(wave.eta_latest)})"
        if wave.eta_earliest and wave.eta_latest and wave.eta_earliest != wave.eta_latest
        else ""
    )
    return f", done about {format_time(wave.eta)}{between}"
