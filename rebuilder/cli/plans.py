"""`plan`: what an update would rebuild, and why.

What only the database is asked with loads when it is asked: a plan of a document need not wait for it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from rebuilder.cli.client import server_option, source
from rebuilder.cli.context import Context
from rebuilder.cli.formatting import format_reasons, left_out, names
from rebuilder.cli.output import as_json, bold, joined, json_option, print_line, styled, table
from rebuilder.config import Settings
from rebuilder.domain.change import Severity
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Stream
from rebuilder.domain.impact import Reason, Skipped
from rebuilder.domain.plan import Draft, Plan, PlannedRebuild
from rebuilder.domain.times import format_duration
from rebuilder.engine.plan_preview import AskedUpdates, builds_named, changes_from, of_document
from rebuilder.inventory import loader
from rebuilder.inventory.document import Document
from rebuilder.queries import plan as planned

SHOWN = 100
F = TypeVar("F", bound=Callable[..., Any])
severity_option = click.option(
    "--severity", type=click.Choice([str(severity) for severity in Severity]), default="unspecified", show_default=True,
    help="How severe the update is.",
)
stream_option = click.option("--stream", help="The stream the update is for; default: those that its dist tag matches.")


def update_options(required: bool) -> Callable[[F], F]:
    """The options of the verbs that ask about updates."""
    options = (
        click.option("--update", "updates", multiple=True, required=required, metavar="NVR",
                     help="A source build with its epoch or without, as openssl-1:3.2.2-1.fc42. Can be repeated."),
        stream_option,
        severity_option,
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
    "--descendants", type=click.Choice(["affected", "all"]), help="Which descendants are rebuilt."
)


@click.command()
@update_options(required=False)
@click.option("--base", metavar="SPEC[@DIGEST]",
              help="A build of somebody else's image that images are built on: by default what its registry has now.")
@document_option
@descendants_option
@click.option("--explain", is_flag=True, help="Show every reason, and every image left out.")
@server_option
@json_option
@click.pass_obj
def plan(
    context: Context,
    updates: tuple[str, ...],
    stream: str | None,
    severity: str,
    base: str | None,
    document: Path | None,
    descendants: str | None,
    explain: bool,
    server: str | None,
    json_: bool,
) -> None:
    """What an update, or a new base, would rebuild, in which order, and why. Changes nothing."""
    request = AskedUpdates(updates, stream, Severity(severity))
    _check(request, base, document, server)
    if document is not None:
        plan = draft_of(document_in(document), request, context.settings.with_descendants(descendants)).plan
        _show(plan, explain, json_)
        return
    with source(context, server) as answering:
        plan = answering.plan_on(base, descendants) if base else answering.plan(request, descendants)
        _show(plan, explain, json_, f"new base {base}" if base else "")


def _check(request: AskedUpdates, base: str | None, document: Path | None, server: str | None) -> None:
    """Raises UsageError for what says two things, or nothing."""
    if bool(request.names) == bool(base):
        raise click.UsageError("give --update NVR, or --base SPEC[@DIGEST]; they cannot be combined")
    if base and (document is not None or request.stream is not None):
        raise click.UsageError("--base cannot be combined with --inventory or --stream")
    if document is not None and server is not None:
        raise click.UsageError("--server cannot be combined with --inventory")


def _show(plan: Plan, explain: bool, json_: bool, occasion: str = "") -> None:
    if json_:
        as_json(planned.written(plan))
    else:
        show(plan, explain, occasion)


def draft_for(context: Context, updates: AskedUpdates, document: Path | None, settings: Settings) -> Draft:
    """The plan for these updates, on the document or else the database.

    Raises RequestError for what is no NVR, an unknown stream, a wrong document or an empty inventory.
    """
    if document is not None:
        return draft_of(document_in(document), updates, settings)
    from rebuilder.queries import plan_preview
    from rebuilder.store.database import reading

    with reading(context.stored) as connection:
        return plan_preview.draft(connection, updates, settings, time.time())


def document_in(path: Path) -> Document:
    """The inventory document in this file. Raises RequestError for what is wrong in it, and where it has no images."""
    document = loader.read(path)
    if not document.images:
        raise RequestError(f"{path}: the inventory is empty")
    return document


def draft_of(document: Document, updates: AskedUpdates, settings: Settings) -> Draft:
    """The plan for these updates on the document. Raises RequestError for what is no NVR, and an unknown stream."""
    builds = builds_named(updates.names, document)
    configured = {one.name: one for one in (*settings.known_streams, *document.streams)}
    used = dict.fromkeys(image.stream for image in document.images)
    streams = tuple(configured.get(name) or Stream(name) for name in used)
    return of_document(document, changes_from(builds, streams, updates), settings)


def _why(rebuild: PlannedRebuild[Reason], explain: bool, occasion: str) -> object:
    return joined("; ", format_reasons(rebuild.reasons, explain)) if rebuild.reasons else occasion


def _by_reason(skipped: Sequence[Skipped]) -> str:
    """How many are left out for which reason: nothing to rebuild is not the same as nothing that lacks it."""
    counts = Counter(str(one.reason) for one in skipped).most_common()
    return f" ({', '.join(f'{count} {reason}' for reason, count in counts)})" if counts else ""


def show(plan: Plan, explain: bool, occasion: str = "") -> None:
    """The plan as people read it; `occasion` is why what no change asks for is rebuilt."""
    if not plan.rebuilds:
        click.echo("nothing to rebuild")
    else:
        shown = plan.rebuilds if explain else plan.rebuilds[:SHOWN]
        rows = [(r.level, bold(r.image), names(r.depends_on), _why(r, explain, occasion)) for r in shown]
        table(("level", "image", "after", "why"), rows)
        if len(shown) < len(plan.rebuilds):
            click.echo(f"and {len(plan.rebuilds) - len(shown)} more; --explain and --json show all")
        estimate = plan.estimate
        print_line(
            f"{len(plan.rebuilds)} rebuilds, {format_duration(estimate.makespan_s)} on {estimate.slots} slots "
            f"(work {format_duration(estimate.work_s)}; longest chain ",
            joined(" -> ", map(bold, estimate.critical_path)), ")",
        )
    for skipped in plan.skipped if explain else ():
        print_line(styled("left out", skipped.reason), ": ", bold(skipped.image), ": ",
            left_out(skipped.reason, skipped.by))  # fmt: skip
    for applied in plan.applied:
        if applied.change is None:
            did = f"left out {applied.images} image{'' if applied.images == 1 else 's'}"
        else:
            did = f"{applied.change} waits for `rebuilder approve`"
        print_line("rule ", bold(applied.rule), f": {did}")
    click.echo(f"{len(plan.skipped)} left out{_by_reason(plan.skipped)}, {plan.untouched} do not carry it")
