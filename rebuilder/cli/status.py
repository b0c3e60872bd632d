"""`status`, `wave`: what goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from rebuilder.cli import plans
from rebuilder.cli.client import Source, server_option, source
from rebuilder.cli.context import Context
from rebuilder.cli.formatting import format_reasons
from rebuilder.cli.output import (
    as_json,
    console,
    format_duration,
    format_time,
    joined,
    line,
    make_table,
    print_line,
    table,
)
from rebuilder.domain.errors import RequestError, UnreachableError
from rebuilder.domain.lifecycle import STOPPED, State
from rebuilder.queries import plan as planned
from rebuilder.queries import rebuilds
from rebuilder.queries.moment import Moment
from rebuilder.queries.status import SHOWN, Notifications, OpenRebuild, Problem, Status, WaveInBrief

WATCH_SECONDS = 2.0


@click.command()
@click.option("--watch", "-w", is_flag=True, help="Refresh it every two seconds, until Ctrl-C.")
@server_option
@click.option("--json", "json_", is_flag=True)
@click.pass_obj
def status(context: Context, watch: bool, server: str | None, json_: bool) -> int:
    """What is being rebuilt, what comes next, what failed. Exit status 1 where an image's last rebuild failed."""
    if watch and json_:
        raise RequestError("--watch cannot be combined with --json")
    with source(context, server) as asked:
        if watch:
            return _watch(asked)
        found = asked.status()
        if json_:
            as_json(found)
        else:
            console().print(_shown(found))
        return int(not found.well)


def _watch(asked: Source) -> int:
    """Show the status until somebody ends it, also while a server is away."""
    found, screen = asked.status(), console()
    with _display(screen) as show:
        try:
            show(_shown(found))
            while True:
                time.sleep(WATCH_SECONDS)
                try:
                    found = asked.status()
                    show(_shown(found))
                except UnreachableError as error:
                    show(Group(_shown(found), line(error)))
        except KeyboardInterrupt:
            return int(not found.well)


@contextmanager
def _display(screen: Console) -> Iterator[Callable[[RenderableType], None]]:
    """Something that shows one thing in the place of the one before, or after it where there is no terminal."""
    if screen.is_terminal:
        with Live(console=screen, auto_refresh=False, screen=True) as live:
            yield lambda shown: live.update(shown, refresh=True)
        return
    last = ""

    def show(shown: RenderableType) -> None:
        nonlocal last
        with screen.capture() as drawing:
            screen.print(shown)
        if drawing.get() != last:
            last = drawing.get()
            click.echo(last, nl=False)

    yield show


def _shown(found: Status) -> RenderableType:
    parts: list[RenderableType] = [*_rebuilds(found), *_waves(found)]
    parts += [line(_problem(problem)) for problem in found.problems]
    parts += [
        line(f"{c.count} calls ({c.kind}) are out, {c.overdue} past their limit, the oldest since {c.oldest_s:.0f} s")
        for c in found.calls
        if c.overdue
    ]
    parts += [line(f"{p.change} ({p.stream}) waits for {p.waits}{_until(p.until)}") for p in found.pending]
    return Group(*parts, *_orders(found), *_notifications(found.notifications), *_engine_and_inbox(found))


def _rebuilds(found: Status) -> Iterator[RenderableType]:
    if not found.rebuilds:
        yield line("nothing is being rebuilt")
        return
    yield make_table(
        ("image", "state", "wave", "severity", "attempt", "waits for, or reason"),
        [(e.image, e.state, e.wave, e.severity, e.attempt or "", _waits(e)) for e in found.rebuilds[: SHOWN // 2]],
    )
    others = sum(found.open.values()) - min(len(found.rebuilds), SHOWN // 2)
    if others:
        yield line(f"and {others} more")


def _waves(found: Status) -> Iterator[RenderableType]:
    if found.waves:
        yield make_table(
            ("wave", "state", "planned", "rebuilds"),
            [(w.id, w.state, format_time(w.created), _asked(w) or _counted(w.rebuilds)) for w in found.waves],
        )


def _orders(found: Status) -> Iterator[RenderableType]:
    """What operators ordered, and the engine still has to do or holds to."""
    if found.paused:
        by = f"{found.paused.who}: {found.paused.reason}" if found.paused.reason else found.paused.who
        times = f"since {format_time(found.paused.since)}{_ends(found.paused.until)}"
        yield line(f"paused {times} by {by}: no builds are started")
    for request in found.requests:
        reason = f": {request.reason}" if request.reason else ""
        yield line(f"asked for: {request.target}: {request.verb} by {request.who}{reason}")


def _engine_and_inbox(found: Status) -> Iterator[RenderableType]:
    if found.active or found.standbys:
        yield line(f"engine: {found.active or 'none acts'}{_standing_by(found.standbys)}")
    unread, rejected = found.messages.get("new", 0), found.messages.get("rejected", 0)
    yield line(f"{unread} messages unread, {rejected} rejected; {found.settling} changes settle")
    if found.dead_letters:
        yield line(f"{found.dead_letters} deliveries are set aside unread: `rebuilder inbox dead` lists them")


def _standing_by(names: Sequence[str]) -> str:
    return f"; standing by: {', '.join(names)}" if names else ""


def _waits(entry: OpenRebuild) -> str:
    return f"{entry.waits}{_until(entry.until)}" if entry.waits else entry.reason


def _until(moment: Moment | None) -> str:
    return f", until {format_time(moment)} at the most" if moment else ""


def _ends(moment: Moment | None) -> str:
    return f" until {format_time(moment)}" if moment else ""


def _problem(found: Problem) -> str:
    again = f"; next try at {format_time(found.until)}" if found.until else ""
    return f"{found.what}: does not work since {format_time(found.since)}: {found.reason}{again}"


def _notifications(found: Notifications) -> list[RenderableType]:
    """Those that could not be sent, and how many wait; nothing where all are sent."""
    parts: list[RenderableType] = []
    if found.set_aside:
        parts.append(make_table(
            ("notification", "image", "wave", "at", "was not sent"),
            [(n.topic, n.image or "", n.wave, format_time(n.at), n.reason) for n in found.newest],
        ))  # fmt: skip
        parts.append(line(f"{found.set_aside} notifications are set aside: the broker or their schema refuses them"))
    if found.waiting:
        parts.append(line(f"{found.waiting} notifications wait for the broker"))
    return parts


def _asked(found: WaveInBrief | rebuilds.Wave) -> str:
    """What a wave waits for; nothing where it has begun."""
    if found.state != "planned":
        return ""
    waits = "is about to begin" if found.approved else f"waits for `rebuilder approve {found.id}`"
    return f"{waits} (rule {found.rule})"


def _counted(found: Mapping[str, int]) -> str:
    return ", ".join(f"{found[state]} {state}" for state in State if found.get(state))


@click.command()
@click.argument("wave_id", metavar="ID", type=int)
@click.option("--story", is_flag=True, help="Every step of its rebuilds, in the order in which it happened.")
@server_option
@click.option("--json", "json_", is_flag=True)
@click.pass_obj
def wave(context: Context, wave_id: int, story: bool, server: str | None, json_: bool) -> int:
    """One wave: its rebuilds, parents first, and why they are there. Exit status 1 where one failed."""
    with source(context, server) as asked:
        found = asked.wave(wave_id)
        if story:
            _tell(asked.story(wave_id), json_)
        elif json_:
            as_json(found)
        else:
            _show(found)
        return int(any(entry.state in STOPPED for entry in found.rebuilds))


def _show(found: rebuilds.Wave) -> None:
    """What the wave would do while it waits for approval, then what it does."""
    if found.plan is not None:
        plans.show(planned.read(found.plan), explain=False)
        print_line(f"wave {found.id} {_asked(found)}")
        return
    rows = [(e.level, e.image, e.state, _took(e), e.reason or e.note or _reasons(e)) for e in found.rebuilds]
    table(("level", "image", "state", "took", "why"), rows, title=f"wave {found.id}, {found.state}{_eta(found)}")


def _took(entry: rebuilds.InWave) -> str:
    return format_duration((entry.ended - entry.started).total_seconds()) if entry.ended and entry.started else ""


def _reasons(entry: rebuilds.InWave) -> Text:
    return joined("; ", format_reasons([planned.told_by(cause) for cause in entry.causes], False))


def _tell(steps: Sequence[rebuilds.Step], json_: bool) -> None:
    if json_:
        as_json([step.model_dump(mode="json") for step in steps])
    else:
        table(("at", "image", "event", "state", "reason"),
              [(format_time(s.at), s.image, s.event, s.state, s.reason) for s in steps])


def _eta(found: rebuilds.Wave) -> str:
    """When the wave will be done, and how sure that is."""
    if found.unknown:
        return ", done at an unknown time"
    if not found.eta:
        return ""
    between = (
        f" (between {format_time(found.eta_earliest)} and {format_time(found.eta_latest)})"
        if found.eta_earliest and found.eta_latest and found.eta_earliest != found.eta_latest
        else ""
    )
    return f", done about {format_time(found.eta)}{between}"
