"""`status`: what goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import Console, Group, RenderableType

from rebuilder.cli.client import Source, server_option, source
from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json, console, json_option, line, make_table, styled
from rebuilder.domain.errors import RequestError, UnreachableError
from rebuilder.domain.lifecycle import State
from rebuilder.domain.times import format_time
from rebuilder.domain.wording import few
from rebuilder.queries.attention import Need
from rebuilder.queries.moment import Moment
from rebuilder.queries.status import SHOWN, Notifications, OpenRebuild, Problem, Status, WaveInBrief
from rebuilder.queries.updates import UpdateUnderWay

if TYPE_CHECKING:
    from rebuilder.queries import rebuilds

NAMED = 5  # images in one line
WATCH_SECONDS = 2.0
KINDS = {
    "engine": "failed", "problem": "failed", "failure": "failed", "approval": "policy", "gate": "testing",
    "promotion": "waiting", "rollback": "held", "hold": "held",
    "unknown": "unknown",
}  # fmt: skip


@click.command()
@click.argument("names", nargs=-1, metavar="[IMAGE|UPDATE|NVR|CVE|SPEC]...")
@click.option("--all", "all_", is_flag=True, help="Show every open rebuild in a row of its own.")
@click.option("--watch", "-w", is_flag=True, help="Refresh every two seconds, until Ctrl-C.")
@server_option
@json_option
@click.pass_obj
def status(
    context: Context, names: tuple[str, ...], all_: bool, watch: bool, server: str | None, json_: bool
) -> int:
    """What needs attention, which updates are under way and how far, and whether the engine runs; or just what these
    images, updates, CVEs or external parents are. Exit status 1 where an image's last rebuild failed, or what is named
    is not current; not where no engine runs, which is told first: `rebuilder doctor` ends with 1 then.
    """
    if watch and (json_ or names):
        raise RequestError("--watch cannot be combined with --json or names")
    with source(context, server) as client:
        if names:
            from rebuilder.cli import status_by_name

            return status_by_name.show(client, names, json_)
        if watch:
            return _watch(client, all_)
        status = client.status()
        if json_:
            as_json(status)
        else:
            console().print(_shown(status, all_))
        return int(not status.well)


def _watch(client: Source, all_: bool) -> int:
    """Show the status until somebody ends it, also while a server is away."""
    status, screen = client.status(), console()
    with _display(screen) as show:
        try:
            show(_shown(status, all_))
            while True:
                time.sleep(WATCH_SECONDS)
                status, missing = _again(client, status)
                show(Group(_shown(status, all_), *missing))
        except KeyboardInterrupt:
            return int(not status.well)


def _again(client: Source, before: Status) -> tuple[Status, list[RenderableType]]:
    """The status now; the one before and why, where there is no answer."""
    try:
        return client.status(), []
    except UnreachableError as error:
        return before, [line(error)]


@contextmanager
def _display(screen: Console) -> Iterator[Callable[[RenderableType], None]]:
    """Something that shows one thing in the place of the one before, or after it where there is no terminal."""
    if screen.is_terminal:
        from rich.live import Live  # takes a while to load

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


def _shown(status: Status, all_: bool) -> RenderableType:
    parts: list[RenderableType] = [*_needs(status), *_updates(status)]
    parts += [*(_rebuilds(status) if all_ else _queue(status)), _images(status), *_waves(status)]
    parts += [line(_problem(problem)) for problem in status.problems]
    parts += [
        line(f"{c.count} calls ({c.kind}) are out, {c.overdue} past their limit, the oldest since {c.oldest_s:.0f} s")
        for c in status.calls
        if c.overdue
    ]
    parts += [line(f"{p.change} ({p.stream}) waits for {p.waits}{_until(p.until)}") for p in status.pending]
    return Group(*parts, *_orders(status), *_notifications(status.notifications), *_engine_and_inbox(status))


def _needs(status: Status) -> Iterator[RenderableType]:
    if not status.needs:
        yield line(styled("nothing needs you", "succeeded"))
        return
    yield make_table(
        ("needs you", "what", "since", "do"),
        [(styled(need.kind, KINDS[need.kind]), f"{need.what}{_named(need)}",
          format_time(need.since) if need.since else "", need.do) for need in status.needs],
    )  # fmt: skip


def _named(need: Need) -> str:
    more = f" and {need.count - len(need.images)} more" if need.count > len(need.images) else ""
    return f": {', '.join(need.images)}{more}" if need.images and need.kind not in ("hold", "rollback") else ""


def _updates(status: Status) -> Iterator[RenderableType]:
    if status.updates:
        yield make_table(("update", "severity", "fixes", "done", "failed", "eta"), [
            (f"{u.name} ({', '.join(u.builds[:3])})" if u.builds and u.builds != (u.name,) else u.name, u.severity,
             ", ".join(u.cves[:3]), f"{u.done} of {u.total}", _failed(u),
             _eta(u) if u.eta else "unknown" if u.done < u.total else "")
            for u in status.updates
        ])  # fmt: skip


def _eta(update: UpdateUnderWay) -> str:
    """When it should be done, and the range that holds that four times in five."""
    if update.eta is None or update.eta_earliest is None or update.eta_latest is None:
        return ""
    ends = update.eta_earliest, update.eta_latest
    hours = all(end.date() == update.eta.date() for end in ends)
    low, high = (f"{end:%H:%MZ}" if hours else format_time(end) for end in ends)
    return f"{format_time(update.eta)} ({low} to {high})"


def _failed(update: UpdateUnderWay) -> str:
    names = few(update.failed, NAMED)
    return f"{names}; {update.blocked} blocked" if update.blocked else names


def _queue(status: Status) -> Iterator[RenderableType]:
    """The queue in one line."""
    counts = ", ".join(f"{count} {state}" for state, count in status.open.items())
    yield line(f"queue: {counts} (--all shows them)" if counts else "nothing is being rebuilt")


def _images(status: Status) -> RenderableType:
    """How many images there are of each state."""
    return line("images: ", ", ".join(f"{count} {state}" for state, count in status.images.items() if count) or "none")


def _rebuilds(status: Status) -> Iterator[RenderableType]:
    if not status.rebuilds:
        yield line("nothing is being rebuilt")
        return
    yield make_table(
        ("image", "state", "wave", "severity", "attempt", "waits for, or reason"),
        [(e.image, e.state, e.wave, e.severity, e.attempt or "", _waits(e)) for e in status.rebuilds[: SHOWN // 2]],
    )
    others = sum(status.open.values()) - min(len(status.rebuilds), SHOWN // 2)
    if others:
        yield line(f"and {others} more")


def _waves(status: Status) -> Iterator[RenderableType]:
    if status.waves:
        yield make_table(
            ("wave", "state", "planned", "rebuilds"),
            [(w.id, w.state, format_time(w.created), asked_of(w) or _counted(w.rebuilds)) for w in status.waves],
        )


def _orders(status: Status) -> Iterator[RenderableType]:
    """What operators ordered, and the engine still has to do or holds to."""
    if status.paused:
        by = f"{status.paused.who}: {status.paused.reason}" if status.paused.reason else status.paused.who
        times = f"since {format_time(status.paused.since)}{_ends(status.paused.until)}"
        yield line(f"paused {times} by {by}: no builds are started")
    for request in status.requests:
        reason = f": {request.reason}" if request.reason else ""
        yield line(f"asked for: {request.target}: {request.verb} by {request.who}{reason}")


def _engine_and_inbox(status: Status) -> Iterator[RenderableType]:
    seen = f" since {format_time(status.engine.seen)}" if status.engine.seen else ""
    acts = f"alive, {status.active or 'no engine holds the lease'}" if status.engine.alive else f"not running{seen}"
    yield line(f"engine: {acts}{_standing_by(status.standbys)}")
    unread, rejected = status.messages.get("new", 0), status.messages.get("rejected", 0)
    changes = "1 change is" if status.settling == 1 else f"{status.settling} changes are"
    yield line(f"{unread} message{'' if unread == 1 else 's'} unread, {rejected} rejected; {changes} pending")
    if status.dead_letters:
        yield line(f"{status.dead_letters} deliveries are set aside unread: `rebuilder inbox dead` lists them")


def _standing_by(names: Sequence[str]) -> str:
    return f"; standing by: {', '.join(names)}" if names else ""


def _waits(entry: OpenRebuild) -> str:
    return f"{entry.waits}{_until(entry.until)}" if entry.waits else entry.reason


def _until(moment: Moment | None) -> str:
    return f", until {format_time(moment)} at the most" if moment else ""


def _ends(moment: Moment | None) -> str:
    return f" until {format_time(moment)}" if moment else ""


def _problem(problem: Problem) -> str:
    again = f"; next try at {format_time(problem.until)}" if problem.until else ""
    return f"{problem.what}: has not worked since {format_time(problem.since)}: {problem.reason}{again}"


def _notifications(notices: Notifications) -> list[RenderableType]:
    """Those that could not be sent, and how many wait; nothing where all are sent."""
    parts: list[RenderableType] = []
    if notices.set_aside:
        parts.append(make_table(
            ("notification", "image", "wave", "at", "was not sent"),
            [(n.topic, n.image or "", n.wave, format_time(n.at), n.reason) for n in notices.newest],
        ))  # fmt: skip
        parts.append(line(f"{notices.set_aside} notifications are set aside: the broker or their schema refuses them"))
    if notices.waiting:
        parts.append(line(f"{notices.waiting} notifications wait for the broker"))
    return parts


def asked_of(wave: WaveInBrief | rebuilds.Wave) -> str:
    """What a wave waits for; nothing where it has begun."""
    if wave.state != "planned":
        return ""
    waits = "is about to begin" if wave.approved else f"waits for `rebuilder approve {wave.id}`"
    return f"{waits} (rule {wave.rule})"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[state]} {state}" for state in State if counts.get(state))
