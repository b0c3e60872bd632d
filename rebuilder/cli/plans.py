"""`plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json, length, table
from rebuilder.domain.change import Severity
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Stream
from rebuilder.domain.plan import Plan, Reason
from rebuilder.domain.rpm import SourceBuild
from rebuilder.engine import intake, planning
from rebuilder.inventory import file
from rebuilder.store.database import reading

SEVERITIES = [str(severity) for severity in Severity]


@click.command()
@click.option("--update", "updates", multiple=True, required=True, metavar="NVR",
              help="A source build: name-[epoch:]version-release. May be given several times.")
@click.option("--stream", help="The stream the update is for; else those that its dist tag fits.")
@click.option("--severity", type=click.Choice(SEVERITIES), default="unspecified", show_default=True)
@click.option("--inventory", "document", type=click.Path(path_type=Path), metavar="FILE",
              help="Plan on this inventory document instead of the database.")
@click.option("--descendants", type=click.Choice(["affected", "all"]), help="What of the images below is rebuilt.")
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
    builds = [SourceBuild.parse(update) for update in updates]
    if document is not None:
        inventory = file.read(document)
        if not inventory.images:
            raise RequestError(f"{document}: the inventory is empty")
        configured = {known.name: known for known in settings.known_streams}
        configured.update({known.name: known for known in inventory.streams})
        used = dict.fromkeys(image.stream for image in inventory.images)
        known = tuple(configured.get(name) or Stream(name) for name in used)
        drafted = planning.draft_of(
            inventory, planning.changes_from(builds, known, stream, Severity(severity)), settings
        )
    else:
        with reading(context.engine) as connection:
            known = intake.known_streams(connection, settings)
            if not known:
                raise RequestError("the inventory is empty: run `rebuilder inventory sync` first")
            wanted = planning.changes_from(builds, known, stream, Severity(severity))
            drafted, _ = planning.draft(connection, wanted, settings)
    if json_:
        as_json(written(drafted))
    else:
        _show(drafted, explain)


def written(plan: Plan) -> dict[str, Any]:
    """The plan as scripts read it."""
    return {
        "changes": [
            {"source": change.build.name, "evr": str(change.build.evr), "stream": change.stream,
             "severity": str(change.severity)}
            for change in plan.changes
        ],
        "rebuilds": [
            {"image": rebuild.image, "depends_on": list(rebuild.depends_on), "level": rebuild.level,
             "reasons": [_reason(reason) for reason in rebuild.reasons]}
            for rebuild in plan.rebuilds
        ],
        "skipped": [{"image": image, "reason": str(reason)} for image, reason in plan.skipped],
        "untouched": plan.untouched,
        "estimate": {
            "makespan_s": plan.estimate.makespan_s,
            "critical_path": list(plan.estimate.critical_path),
            "work_s": plan.estimate.work_s,
            "slots": plan.estimate.slots,
        },
    }


def _reason(reason: Reason) -> dict[str, str | None]:
    return {
        "kind": reason.kind,
        "installed": reason.installed or None,
        "available": reason.change.build.evr.version_release,
        "inherited_from": reason.inherited_from or None,
    }


def _show(plan: Plan, explain: bool) -> None:
    if not plan.rebuilds:
        click.echo("nothing to rebuild")
    else:
        rows = [
            (r.level, r.image, ", ".join(r.depends_on), "; ".join(sentences(r.reasons, explain)))
            for r in plan.rebuilds
        ]
        table(("level", "image", "after", "why"), rows)
        found = plan.estimate
        click.echo(
            f"{len(plan.rebuilds)} rebuilds, {length(found.makespan_s)} on {found.slots} slots "
            f"(work {length(found.work_s)}; longest chain {' -> '.join(found.critical_path)})"
        )
    shown = plan.skipped if explain else ()
    for image, reason in shown:
        click.echo(f"left out: {image}: {reason}")
    click.echo(f"{len(plan.skipped)} left out, {plan.untouched} do not carry it")


def sentences(reasons: tuple[Reason, ...], every: bool) -> list[str]:
    """The reasons in words; one and the number of the others unless `every` is asked for."""
    said = []
    for reason in reasons:
        if reason.kind == "parent":
            said.append(f"its parent {reason.inherited_from} is rebuilt for {reason.change.build}")
        else:
            origin = f" (from {reason.inherited_from})" if reason.inherited_from else ""
            said.append(f"{reason.installed}{origin} < {reason.change.build.evr.version_release}")
    return said if every or len(said) < 2 else [said[0], f"and {len(said) - 1} more"]


VERBS: tuple[click.Command, ...] = (plan,)
