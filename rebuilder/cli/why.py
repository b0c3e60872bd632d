"""`why`: why an image was rebuilt, or was not."""

from __future__ import annotations

from collections.abc import Iterator

import click
from msgspec.structs import replace
from rich.text import Text

from rebuilder.cli.client import server_option, source
from rebuilder.cli.context import Context
from rebuilder.cli.formatting import format_reason, format_reasons, lacks, left_out, names, told_of
from rebuilder.cli.output import as_json, bold, joined, json_option, line, print_line, styled
from rebuilder.cli.plans import update_options
from rebuilder.domain.change import Severity
from rebuilder.domain.external import short
from rebuilder.domain.impact import Skip
from rebuilder.domain.reasons import reason_of
from rebuilder.domain.times import format_time
from rebuilder.engine.plan_preview import AskedUpdates
from rebuilder.queries import plan as planned
from rebuilder.queries.why import OldBase, ToldRebuild, VerdictOnChange, Why


@click.command()
@click.argument("image")
@update_options(required=False)
@server_option
@json_option
@click.pass_obj
def why(
    context: Context, image: str, updates: tuple[str, ...], stream: str | None, severity: str, server: str | None,
    json_: bool,
) -> None:
    """Why an image was rebuilt, or was not; with --update, whether that would rebuild it."""
    with source(context, server) as client:
        reply = client.would(image, AskedUpdates(updates, stream, Severity(severity))) if updates else client.why(image)
        if json_:
            as_json(reply)
        elif isinstance(reply, Why):
            print_line(joined("\n", _told(reply)))
        else:
            for verdict in reply.verdicts:
                print_line(_about(verdict), ": ", _in_words(verdict, "would be rebuilt"))


def _about(verdict: VerdictOnChange) -> str:
    """The change that a verdict is on, with its severity and its update."""
    change = planned.change_of(verdict.change)
    return told_of(replace(change, update=verdict.update or ""))


def _told(answer: Why) -> Iterator[Text]:
    yield line(bold(answer.image), f": build {answer.build[:40] if answer.build else 'none'}")
    yield from _now(answer)
    for rebuild in answer.rebuilds:
        yield from _rebuild(rebuild)
    absent = 0
    for verdict in answer.not_rebuilt:
        if verdict.verdict == "not-installed":
            absent += 1
        else:
            yield line(_about(verdict), ": ", _in_words(verdict, "will be rebuilt"))
    if absent:
        yield line(f"not for {absent} of the last changes: it does not carry them")


def _now(answer: Why) -> Iterator[Text]:
    """What it stands on, who holds it, and what it lacks: RPMs, and its base."""
    for at in answer.externals.values():
        yield line(f"    built on {at}")
    for taken in filter(None, (answer.rolled_back, answer.taken_back)):
        yield line(styled(taken, "stale"))
    if answer.held:
        held = answer.held
        by = f"{held.who}: {held.reason}" if held.reason else held.who
        yield line(styled("held", "held"), f" since {format_time(held.since)} by ", bold(by))
    if answer.missing:
        yield line(styled("lacks", "stale"), f" {lacks(answer)}")
    if answer.base:
        yield _on_old_base(answer.base)


def _on_old_base(base: OldBase) -> Text:
    since = f", since {format_time(base.since)}" if base.since else ""
    at = f"its build stands on {short(base.stands_on)}" if base.stands_on else "its build is older"
    rule = f"; rule {base.rule} keeps it from being rebuilt for that" if base.rule else ""
    return line(styled("on an old base", "stale"), f": {base.spec} is {short(base.digest)}{since}; {at}{rule}")


def _rebuild(rebuild: ToldRebuild) -> Iterator[Text]:
    why = f": {rebuild.why}" if rebuild.why else ""
    yield line(rebuild.state, f" in wave {rebuild.wave}, planned {format_time(rebuild.planned)}{why}")
    for written in rebuild.reasons:
        reason = planned.told_by(written)
        yield line("    ", format_reason(reason), f"; {told_of(reason.change)}")
    for base in rebuild.bases:
        yield line(f"    {base.spec} became {short(base.digest)}")
    if rebuild.note and not rebuild.bases:
        yield line(f"    {rebuild.note}")
    for message in rebuild.messages:
        yield line(f"    told by message {message}")


def _in_words(verdict: VerdictOnChange, rebuilt: str) -> Text:
    word = verdict.verdict
    if word == "not-installed":
        return line(styled("would not be rebuilt", word), ": it does not carry it")
    if word != "rebuild":
        since = f" since {format_time(verdict.since)}" if verdict.since else ""
        having = f" ({', '.join(verdict.installed)})" if verdict.installed else ""
        return line(styled("not rebuilt", word), ": ", left_out(Skip(word), verdict.by or ""), since, having)
    after = line(", after ", names(verdict.depends_on)) if verdict.depends_on else ""
    reasons = [reason_of(reason, planned.change_of(verdict.change)) for reason in verdict.reasons]
    return line(styled(rebuilt, word), after, ": ", joined("; ", format_reasons(reasons, True)), *_waits(verdict))


def _waits(verdict: VerdictOnChange) -> Iterator[object]:
    """What the rebuild waits for."""
    if verdict.approval:
        wave = f" as wave {verdict.approval.wave}" if verdict.approval.wave else ""
        yield from (f"; waits{wave} for `rebuilder approve` (rule ", bold(verdict.approval.rule), ")")
    if verdict.waits:
        until = f", until {format_time(verdict.until)} at the most" if verdict.until else ""
        yield f"; waits for {verdict.waits}{until}"
