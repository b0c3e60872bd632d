"""`update`: say that an update is out, through the inbox like a message."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import click
from sqlalchemy import Connection

from rebuilder.cli.context import Context, whoami
from rebuilder.cli.follow import follow, wait_option
from rebuilder.cli.output import as_json, json_option
from rebuilder.cli.plans import severity_option, stream_option
from rebuilder.cli.terminal import printable
from rebuilder.domain.change import CVE, NO_CVE, Change, Severity
from rebuilder.domain.errors import RequestError
from rebuilder.domain.message import storable
from rebuilder.engine.plan_preview import AskedUpdates
from rebuilder.queries import packages
from rebuilder.store import change_lookup, inbox, waves
from rebuilder.store.database import reading

TOPIC = "rebuilder.update.available"


@click.command()
@click.argument("nvrs", metavar="NVR...", nargs=-1, required=True)
@severity_option
@stream_option
@click.option("--alias", default="", help="The update's name, as FEDORA-2026-0123456789.")
@click.option("--cve", "cves", multiple=True, metavar="CVE", help="A CVE that it fixes. Can be repeated.")
@wait_option
@json_option
@click.pass_obj
def update(
    context: Context, nvrs: tuple[str, ...], severity: str, stream: str | None, alias: str, cves: tuple[str, ...],
    wait: bool, json_: bool,
) -> int:
    """Announce an update, as a message from Bodhi would: it is pending for a while, planned, and rebuilt.

    Each NVR is a source build: name-[epoch:]version-release. Announced twice, it counts once.
    """
    _check_cves(cves)
    with reading(context.stored) as connection:
        announced = packages.changes_named(connection, AskedUpdates(nvrs, stream, Severity(severity)), context.settings)
    body = {
        "builds": [{"nvr": str(change.build), "stream": change.stream} for change in announced],
        "severity": severity, "alias": alias, "cves": " ".join(cve.upper() for cve in cves),
    }  # fmt: skip
    message = storable(None, TOPIC, {"who": whoami()}, body)
    (new,) = inbox.receive(context.stored, [message])
    if json_:
        as_json({"message": message.id, "fate": "accepted" if new else "duplicate", "builds": body["builds"]})
    else:
        for change in announced:
            click.echo(printable(f"{change}: {'accepted' if new else 'it was said before'}"))
    return follow(context, lambda connection: _waves(connection, message.id, announced)) if wait else 0


def _check_cves(cves: Iterable[str]) -> None:
    for cve in cves:
        if not CVE.fullmatch(cve):
            raise RequestError(NO_CVE.format(repr(cve)))


def _waves(connection: Connection, message_id: str, announced: Sequence[Change]) -> Collection[int] | None:
    """The waves that take the changes up; None while they are not planned. Raises RequestError if it was rejected."""
    state, reason = inbox.fate(connection, message_id)
    if state == "new":
        return None
    if state == "rejected":
        raise RequestError(f"the message was rejected: {reason}")
    ids = change_lookup.planned_ids(connection, announced)
    return None if ids is None else {wave.id for ident in ids for wave in waves.taking_up(connection, ident)}
