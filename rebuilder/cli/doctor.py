"""`doctor`: looks at an installation as an operator would, and says what to do about what is wrong."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import click
from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import Connection

from rebuilder import config, config_file
from rebuilder.builders.plugin import configured
from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json
from rebuilder.cli.terminal import one_line
from rebuilder.config import Settings
from rebuilder.domain.errors import RequestError, UnreachableError
from rebuilder.domain.lifecycle import State
from rebuilder.domain.wording import few
from rebuilder.engine import factory
from rebuilder.inventory.source import source_of
from rebuilder.store import database, dead_letters, heartbeats, inbox, installed_packages, inventory, rebuilds
from rebuilder.web.broker import Broker

ROOM = 2**30  # bytes that must be free where builds and the database are
UNREAD_SECONDS = 60.0


class Diagnosis(Struct, frozen=True):
    """One thing that was looked at: what is wrong with it, and how to mend that. With neither, it is well."""

    about: str
    detail: str
    mend: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is to be mended."""
        return not self.mend


@click.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
@click.pass_obj
def doctor(context: Context, json_: bool) -> int:
    """Look at configuration, database, broker, processes, builder and images; say what is wrong and how to mend it.

    Changes nothing. Exit status 1 where something is wrong.
    """
    results = list(diagnoses(context))
    wrong = [one for one in results if not one.ok]
    if json_:
        as_json([asdict(one) | {"ok": one.ok} for one in results])
        return int(bool(wrong))
    for one in results:
        click.echo(one_line(f"{'ok' if one.ok else 'wrong'}: {one.about}: {one.detail}"))
        if not one.ok:
            click.echo(f"    -> {one_line(one.mend)}")
    click.echo(f"{len(wrong)} of {len(results)} need mending" if wrong else f"all {len(results)} are well")
    return int(bool(wrong))


def diagnoses(context: Context) -> Iterator[Diagnosis]:
    """All that is looked at, in the order in which things depend on each other; ends where nothing more can be told."""
    try:
        settings = context.settings
        factory.check(settings)
    except RequestError as error:
        yield Diagnosis("configuration", str(error), "mend that; `rebuilder init` writes a new one")
        return
    yield Diagnosis("configuration", str(context.origin))
    yield from _builder(settings)
    yield _room(settings)
    bus = config_file.bus(context.origin.path)
    yield _broker(bus)
    if forbidden := database.forbidden(settings.database):
        yield Diagnosis("database", forbidden.detail, forbidden.mend)
        return
    try:
        engine = database.as_it_is(settings.database)
        version = database.revision(engine)
    except (UnreachableError, RequestError) as error:
        yield Diagnosis("database", str(error), "start it, or mend database_url; `rebuilder db upgrade` makes one")
        return
    if version != database.HEAD:
        mismatch = f"{database.where(engine)} is at version {version or 'none'}, this rebuilder needs {database.HEAD}"
        newer = version is not None and version > database.HEAD
        yield Diagnosis("database", mismatch, "install that newer rebuilder" if newer else "rebuilder db upgrade")
        return
    yield Diagnosis("database", f"{database.where(engine)} answers, at version {version}")
    with database.reading(engine) as connection:
        yield from _processes(connection, settings, bus, time.time())
        yield from _images(connection, settings)


def _builder(settings: Settings) -> Iterator[Diagnosis]:
    source = source_of(settings)
    for command in dict.fromkeys((*configured(settings).commands, *source.commands)):
        path = shutil.which(command)
        install = f"apt-get install {command}, or dnf install {command}"
        yield Diagnosis(command, path or "is not installed", "" if path else install)
    for key, place in source.folders(settings).items():
        if place is not None and not place.is_dir():
            yield Diagnosis("inventory", f"{place} is not a folder", f"make it, or mend {key}")


def _room(settings: Settings) -> Diagnosis:
    """Whether there is room for builds and for SQLite's file; both are below the state directory by default."""
    place = settings.buildah.root or config.state_directory()
    there = next(path for path in (place, *place.parents) if os.access(path, os.F_OK, effective_ids=True))
    free = shutil.disk_usage(there).free
    space = f"{free / 2**30:.1f} GiB free at {there}"
    mend = "rebuilder db prune, or keep less ([consumer_config.retention])" if free < ROOM else ""
    return Diagnosis("disk", space, mend)


def _broker(bus: config_file.Bus) -> Diagnosis:
    if not bus.configured:
        return Diagnosis("broker", "none is configured: messages come by `rebuilder update` and `replay` alone")
    where = urlsplit(bus.url).hostname or bus.url
    state = Broker(bus).state
    if not state.reachable:
        return Diagnosis("broker", f"{where}: {state.trouble}", "start it, or mend amqp_url and [tls]")
    if state.trouble:
        return Diagnosis("broker", f"{where}: {state.trouble}", "start `rebuilder consume`: it declares its queues")
    unread = [name for name, queue in state.queues.items() if not queue.consumers]
    if unread:
        problem = f"no consumer reads {', '.join(unread)}, where {state.waiting} messages wait"
        return Diagnosis("broker", problem, "rebuilder run, or systemctl start rebuilder-consumer")
    return Diagnosis("broker", f"{where} answers, {state.waiting} messages wait")


def _processes(connection: Connection, settings: Settings, bus: config_file.Bus, now: float) -> Iterator[Diagnosis]:
    beats = heartbeats.read(connection)
    loops = ["engine", *(["publisher"] if settings.announced and bus.configured else [])]
    for name in loops:
        beat = beats.get(name)
        if beat is None:
            yield Diagnosis(name, "does not run", f"rebuilder run, or systemctl start rebuilder-{name}")
        elif beat.late(now):
            mend = f"see its log, and start it again: systemctl restart rebuilder-{name}"
            yield Diagnosis(name, f"last heartbeat {now - beat.at:.0f} s ago", mend)
        else:
            yield Diagnosis(name, f"last heartbeat {max(0, now - beat.at):.0f} s ago")
    for problem in heartbeats.problems(beats):
        yield Diagnosis(problem.what, problem.reason, "mend what it names: the engine tries again by itself")
    yield from _messages(connection, now)


def _messages(connection: Connection, now: float) -> Iterator[Diagnosis]:
    oldest, counts = inbox.oldest_unread(connection), inbox.counts(connection)
    waits = 0.0 if oldest is None else now - oldest
    mend = "an engine must run: it reads them" if waits > UNREAD_SECONDS else ""
    yield Diagnosis("inbox", f"the oldest unread message waits for {waits:.0f} s" if waits else "all are read", mend)
    if rejected := counts.get("rejected", 0):
        mend = "rebuilder inbox --state rejected: retry or drop them"
        yield Diagnosis("inbox", f"{rejected} messages were rejected", mend)
    if dead := dead_letters.count(connection):
        yield Diagnosis("inbox", f"{dead} deliveries could not be kept", "rebuilder inbox dead: retry or drop them")


def _images(connection: Connection, settings: Settings) -> Iterator[Diagnosis]:
    images, unknown = inventory.load(connection).images, installed_packages.unread(connection)
    if not images:
        source = "" if source_of(settings).is_named(settings) else ", after [consumer_config.inventory] names a source"
        yield Diagnosis("images", "there are none", f"rebuilder inventory sync{source}")
        return
    counts = f"{len(images)}, " + (f"the contents of {len(unknown)} are unknown" if unknown else "all known")
    yield Diagnosis("images", counts, "rebuilder rebuild --unknown" if unknown else "")
    if failed := sorted(rebuilds.images_in(connection, [State.FAILED])):
        mend = f"rebuilder log {failed[0]} says why; then rebuilder retry {failed[0]}"
        yield Diagnosis("rebuilds", f"failed: {few(failed)}", mend)
