"""`plan`, `why`: what an update would rebuild, and why an image was rebuilt or was not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.text import Text
from sqlalchemy import Connection

from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json, joined, length, line, marked, named, say, table, when
from rebuilder.cli.words import because, left_out, names, sentences, told_of, written_reason, written_skip
from rebuilder.config import Settings
from rebuilder.domain.affected import Skip
from rebuilder.domain.change import Change, Severity
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Stream
from rebuilder.domain.plan import Plan
from rebuilder.domain.rpm import SourceBuild
from rebuilder.engine import intake, planning
from rebuilder.engine import why as explaining
from rebuilder.engine.planning import Draft
from rebuilder.engine.why import Answer, Verdict
from rebuilder.inventory import file
from rebuilder.store import waves
from rebuilder.store.database import reading

SEVERITIES = [str(severity) for severity in Severity]
SHOWN = 100
F = TypeVar("F", bound=Callable[..., Any])


def update_options(required: bool) -> Callable[[F], F]:
    """The options of the verbs that ask about updates."""
    options = (
        click.option("--update", "updates", multiple=True, required=required, metavar="NVR",
                     help="A source build: name-[epoch:]version-release. May be given several times."),
        click.option("--stream", help="The stream the update is for; else those that its dist tag fits."),
        click.option("--severity", type=click.Choice(SEVERITIES), default="unspecified", show_default=True),
    )

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


document_option = click.option(
    "--inventory", "document", type=click.Path(path_type=Path), metavar="FILE",
    help="Plan on this inventory document instead of the database.",
)

descendants_option = click.option(
    "--descendants", type=click.Choice(["affected", "all"]), help="What of the images below is rebuilt."
)


@click.command()
@update_options(required=True)
@document_option
@descendants_option
@click.option("--explain", is_flag=True, help="Every reason, and every image left out.")
@click.option("--json", "json_", is_flag=True)
@click.pass_obj
def plan(
    context: Context,
    updates: tuple[str, ...],
    stream: str | None,
    severity: str,
    document: Path | None,
    descendants: str | None,
    explain: bool,
    json_: bool,
) -> None:
    """What an update would rebuild, in which order, and why. Changes nothing."""
    settings = context.settings
    if descendants:
        settings = settings.model_copy(update={"descendants": descendants})
    found = draft_for(context, updates, stream, severity, document, settings).plan
    if json_:
        as_json(written(found))
    else:
        show(found, explain)


def draft_for(
    context: Context, updates: Sequence[str], stream: str | None, severity: str, document: Path | None,
    settings: Settings,
) -> Draft:
    """The plan for these updates, on the document or else the database.

    Raises RequestError for what is no NVR, an unknown stream, a wrong document or an empty inventory.
    """
    builds = [SourceBuild.parse(update) for update in updates]
    if document is not None:
        return _draft_of(document, builds, stream, Severity(severity), settings)
    with reading(context.engine) as connection:
        wanted = planning.changes_from(builds, _streams(connection, settings), stream, Severity(severity))
        return planning.draft(connection, wanted, settings, time.time())


def _draft_of(
    document: Path, builds: list[SourceBuild], stream: str | None, severity: Severity, settings: Settings
) -> Draft:
    inventory = file.read(document)
    if not inventory.images:
        raise RequestError(f"{document}: the inventory is empty")
    configured = {known.name: known for known in settings.known_streams}
    configured.update({known.name: known for known in inventory.streams})
    used = dict.fromkeys(image.stream for image in inventory.images)
    known = tuple(configured.get(name) or Stream(name) for name in used)
    return planning.draft_of(inventory, planning.changes_from(builds, known, stream, severity), settings)


def proposed(connection: Connection, wave_id: int, settings: Settings) -> Draft:
    """What a wave that waits for an operator would do if it were approved now."""
    wanted = [item.change for item in waves.changes_of(connection, wave_id)]
    return planning.draft(connection, wanted, settings, time.time(), approved=True)


def _streams(connection: Connection, settings: Settings) -> tuple[Stream, ...]:
    known = intake.known_streams(connection, settings)
    if not known:
        raise RequestError("the inventory is empty: run `rebuilder inventory sync` first")
    return known


def written(plan: Plan) -> dict[str, Any]:
    """The plan as scripts read it; `policy` only where a rule had a say."""
    answer: dict[str, Any] = {
        "changes": [_change(change) for change in plan.changes],
        "rebuilds": [
            {"image": rebuild.image, "depends_on": list(rebuild.depends_on), "level": rebuild.level,
             "reasons": [written_reason(reason) for reason in rebuild.reasons]}
            for rebuild in plan.rebuilds
        ],
        "skipped": [written_skip(skipped) for skipped in plan.skipped],
        "untouched": plan.untouched,
        "estimate": {
            "makespan_s": plan.estimate.makespan_s,
            "critical_path": list(plan.estimate.critical_path),
            "work_s": plan.estimate.work_s,
            "slots": plan.estimate.slots,
        },
    }
    if plan.applied:
        answer["policy"] = [
            {"rule": a.rule, "action": str(a.action), **({"change": _change(a.change)} if a.change else {
                "images": a.images})}
            for a in plan.applied
        ]
    return answer


def _change(change: Change) -> dict[str, str]:
    return {"source": change.build.name, "evr": str(change.build.evr), "stream": change.stream,
            "severity": str(change.severity)}


def show(plan: Plan, explain: bool) -> None:
    """The plan as people read it."""
    if not plan.rebuilds:
        click.echo("nothing to rebuild")
    else:
        shown = plan.rebuilds if explain else plan.rebuilds[:SHOWN]
        rows = [(r.level, named(r.image), names(r.depends_on), joined("; ", sentences(r.reasons, explain)))
                for r in shown]
        table(("level", "image", "after", "why"), rows)
        if len(shown) < len(plan.rebuilds):
            click.echo(f"and {len(plan.rebuilds) - len(shown)} more; --explain and --json show all")
        found = plan.estimate
        say(
            f"{len(plan.rebuilds)} rebuilds, {length(found.makespan_s)} on {found.slots} slots "
            f"(work {length(found.work_s)}; longest chain ", joined(" -> ", map(named, found.critical_path)), ")"
        )
    for skipped in plan.skipped if explain else ():
        say(marked("left out", skipped.reason), ": ", named(skipped.image), ": ",
            left_out(skipped.reason, skipped.by))  # fmt: skip
    for applied in plan.applied:
        if applied.change is None:
            did = f"left out {applied.images} image{'' if applied.images == 1 else 's'}"
        else:
            did = f"{applied.change} waits for `rebuilder approve`"
        say("rule ", named(applied.rule), f": {did}")
    click.echo(f"{len(plan.skipped)} left out, {plan.untouched} do not carry it")


@click.command()
@click.argument("image")
@update_options(required=False)
@click.option("--json", "json_", is_flag=True)
@click.pass_obj
def why(
    context: Context, image: str, updates: tuple[str, ...], stream: str | None, severity: str, json_: bool
) -> None:
    """Why an image was rebuilt, or was not; with --update, whether that would rebuild it."""
    settings, now = context.settings, time.time()
    if not updates:
        with reading(context.engine) as connection:
            _streams(connection, settings)
            answer = explaining.why(connection, image, settings, now)
        if json_:
            as_json(_written_answer(answer))
        else:
            say(joined("\n", _told(answer)))
        return
    builds = [SourceBuild.parse(update) for update in updates]
    with reading(context.engine) as connection:
        wanted = planning.changes_from(builds, _streams(connection, settings), stream, Severity(severity))
        verdicts = explaining.would(connection, image, wanted, settings, now)
    if json_:
        as_json({"image": image, "verdicts": [_written_verdict(verdict) for verdict in verdicts]})
    else:
        for verdict in verdicts:
            say(told_of(verdict.change), ": ", _in_words(verdict, "would be rebuilt"))


def _written_answer(answer: Answer) -> dict[str, Any]:
    return {
        "image": answer.image,
        "build": answer.build.ident if answer.build else None,
        "held": {"who": answer.held.who, "reason": answer.held.reason, "since": when(answer.held.since)}
        if answer.held else None,
        "rebuilds": [
            {"wave": t.entry.wave_id, "state": str(t.entry.state), "why": t.entry.reason,
             "planned": when(t.entry.created_at), "ended": when(t.entry.ended_at) or None,
             "reasons": [
                 {**written_reason(r), "change": _change(r.change), "update": r.change.update or None,
                  "url": r.change.url or None}
                 for r in t.reasons
             ],
             "messages": list(t.messages)}
            for t in answer.rebuilds
        ],
        "not_rebuilt": [_written_verdict(verdict) for verdict in answer.others],
    }


def _written_verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "change": _change(verdict.change),
        "verdict": verdict.word,
        "by": verdict.by or None,
        "reasons": [written_reason(reason) for reason in verdict.reasons],
        "depends_on": list(verdict.depends_on),
        "installed": list(verdict.installed),
        "since": when(verdict.since) or None,
        "approval": {"rule": verdict.rule, "wave": verdict.wave} if verdict.rule else None,
    }


def _told(answer: Answer) -> Iterator[Text]:
    yield line(named(answer.image), f": build {answer.build.ident[:40] if answer.build else 'none'}")
    if answer.held:
        yield line(marked("held", "held"), f" since {when(answer.held.since)} by ", named(answer.held))
    for told in answer.rebuilds:
        entry = told.entry
        because_of = f": {entry.reason}" if entry.reason else ""
        yield line(entry.state, f" in wave {entry.wave_id}, planned {when(entry.created_at)}{because_of}")
        for reason in told.reasons:
            yield line("    ", because(reason), f"; {told_of(reason.change)}")
        for message in told.messages:
            yield line(f"    told by message {message}")
    absent = [verdict for verdict in answer.others if verdict.word == "not-installed"]
    for verdict in answer.others:
        if verdict.word != "not-installed":
            yield line(told_of(verdict.change), ": ", _in_words(verdict, "is to be rebuilt"))
    if absent:
        yield line(f"not for {len(absent)} of the last changes: it does not carry them")


def _in_words(verdict: Verdict, rebuilt: str) -> Text:
    if verdict.word == "not-installed":
        return line(marked("would not be rebuilt", verdict.word), ": it does not carry it")
    if verdict.word != "rebuild":
        since = f" since {when(verdict.since)}" if verdict.since else ""
        having = f" ({', '.join(verdict.installed)})" if verdict.installed else ""
        because_of = left_out(Skip(verdict.word), verdict.by)
        return line(marked("not rebuilt", verdict.word), ": ", because_of, since, having)
    after = line(", after ", names(verdict.depends_on)) if verdict.depends_on else ""
    wave = f" as wave {verdict.wave}" if verdict.wave else ""
    asked = line(f"; waits{wave} for `rebuilder approve` (rule ", named(verdict.rule), ")") if verdict.rule else ""
    return line(marked(rebuilt, verdict.word), after, ": ", joined("; ", sentences(verdict.reasons, True)), asked)


VERBS: tuple[click.Command, ...] = (plan, why)
