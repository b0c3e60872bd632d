"""Catches up what no message told of: at the start, at intervals, and when images changed at their source."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain

from sqlalchemy import Connection, Engine, select

from rebuilder.config import Settings
from rebuilder.domain.change import Change
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Fault, Manifest
from rebuilder.domain.rollback import rolled_back
from rebuilder.domain.rpm import EVR, Rpm, SourceBuild, is_stale
from rebuilder.domain.wording import some
from rebuilder.engine import inventory_sync, planning, retry_mended
from rebuilder.engine.backoff import Backoff, Failure
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.context import Context
from rebuilder.inventory.koji import tag_builds
from rebuilder.inventory.koji.session import KojiSession
from rebuilder.inventory.source import source_of
from rebuilder.store import changes, installed_packages, inventory, plan_acceptance, rebuilds, rollbacks
from rebuilder.store.database import reading
from rebuilder.store.models import Image

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 15.0, 600.0


class Reconciliation:
    """The inventory at its source, what Koji's tags offer, and what is stale and in no plan.

    `ready` is false until there are images to plan for: until then no change is planned.
    """

    kinds = woken_by = frozenset({Kind.INVENTORY, Kind.RECONCILE})

    def __init__(self, context: Context) -> None:
        self._context = context
        settings = context.settings
        with reading(context.engine) as connection:
            has_images = connection.scalar(select(Image.id).limit(1)) is not None
        source = source_of(settings)
        named = source.is_named(settings)
        self._moves = named and source.moves
        self.ready = has_images or not named
        now = context.clock.monotonic()
        self._read_at = now if self._moves or (named and not has_images) else None
        self._ask_koji_at = now
        self._look_at: float | None = now if self._read_at is None else None
        self._again_at = now + settings.reconcile.every_seconds
        self._rebuilt: tuple[str, ...] = ()
        self._failures = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self.fatal: Exception | None = None
        self._faults: tuple[Fault, ...] = ()

    def failure(self, kind: Kind) -> Failure | None:
        """Why the inventory, or what Koji's tags offer, could not be read last."""
        return self._failures.of(kind)

    @property
    def busy(self) -> bool:
        """Whether something is still to be caught up before all can be said to be done."""
        now = self._context.clock.monotonic()
        due = self._look_at is not None or (self._read_at is not None and now >= self._read_at)
        return not self.ready or due or self._context.calls.any_out(*self.kinds)

    @property
    def due_to_look(self) -> bool:
        """Whether it is time to look for what is stale and in no plan."""
        return self._look_at is not None

    def check(self, *, until_idle: bool) -> None:
        """Raises what keeps the inventory from being read, where no image is known and waiting is of no use."""
        if self.fatal is not None and (until_idle or isinstance(self.fatal, RequestError)):
            raise self.fatal

    def images_changed(self) -> None:
        """Somebody else built an image: the inventory is read soon, with what else is built meanwhile."""
        soon = self._context.clock.monotonic() + self._context.settings.settle_seconds
        self._read_at = soon if self._read_at is None else min(self._read_at, soon)

    def look_soon(self) -> None:
        """Something else became possible, as that an external parent has an update now."""
        self._look_at = self._context.clock.monotonic()

    def ask(self) -> None:
        context, now = self._context, self._context.clock.monotonic()
        if now >= self._again_at:
            self._begin(now)
        if self._read_at is not None and now >= self._read_at and not self._failures.resting(Kind.INVENTORY, now):
            heard = partial(context.calls.heard_of, Kind.INVENTORY, Kind.INVENTORY)
            read = partial(inventory_sync.fetch, context.engine, context.settings, lambda *_: heard())
            if context.calls.start(Kind.INVENTORY, Kind.INVENTORY, read):
                self._read_at = None
        if context.hub is not None and now >= self._ask_koji_at and not self._failures.resting(Kind.RECONCILE, now):
            look = partial(missed_updates, context.engine, context.hub, context.settings)
            if context.calls.start(Kind.RECONCILE, Kind.RECONCILE, look):
                self._ask_koji_at = self._again_at

    def _begin(self, now: float) -> None:
        """It is time for a round: the source is read where images can change there, and all is compared."""
        settings = self._context.settings
        self._again_at = now + settings.reconcile.every_seconds
        self._ask_koji_at = now
        if self._moves:
            self._read_at = now
        else:
            self._look_at = now

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        for answer in answers:
            if answer.error is not None:
                self._failed(answer)
            elif answer.kind is Kind.INVENTORY:
                self._save(connection, answer.value)
            else:
                self._failures.succeeded(Kind.RECONCILE)
                new = changes.unknown(connection, answer.value)
                changes.notice(connection, new, None, "", self._context.clock.now())
        return len(answers)

    def _failed(self, answer: Answer) -> None:
        now = self._context.clock.monotonic()
        failure = self._failures.failed(answer.kind, str(answer.error), now)
        what = "the inventory" if answer.kind is Kind.INVENTORY else "what Koji's tags offer"
        log.error("%s cannot be read, next try in %.0f s: %s", what, failure.until - now, answer.error)
        if answer.kind is Kind.RECONCILE:
            self._ask_koji_at = failure.until
            return
        self._read_at = failure.until
        if self.ready:
            self._look_at = now
        else:
            self.fatal = answer.error

    def _save(self, connection: Connection, fetched: inventory_sync.ReadInventory) -> None:
        now = self._context.clock.now()
        try:
            saved = inventory_sync.save(connection, fetched, now)
        except RequestError as error:  # it makes no graph
            self._failed(Answer(Kind.INVENTORY, Kind.INVENTORY, error=error))
            return
        self._failures.succeeded(Kind.INVENTORY)
        self._tell(saved.faults)
        self._rebuilt = saved.rebuilt if self.ready else ()
        self.ready, self.fatal = True, None
        self._look_at = self._context.clock.monotonic()

    def _tell(self, faults: tuple[Fault, ...]) -> None:
        """Tell the log once of each that could not be read."""
        for fault in set(faults) - set(self._faults):
            log.error("an image cannot be read and keeps its last known state: %s", fault.told)
        self._faults = faults

    def catch_up(self, connection: Connection) -> int:
        """Retry what was mended, plan what is stale and in no plan, where it is time to; how much came of it."""
        if self._look_at is None:
            return 0
        self._look_at, rebuilt, self._rebuilt = None, self._rebuilt, ()
        now, settings = self._context.clock.now(), self._context.settings
        retried = retry_mended.retry(self._context.transitions(connection))
        if settings.reconcile.foreign_builds == "plan":
            changes.notice(connection, changes_from_foreign_builds(connection, rebuilt), None, "", now)
        if source_of(settings).follows_koji_tags:
            handle_rolled_back(connection, settings, now)
        wave_id = planning.catch_up(connection, settings, now)
        if wave_id is not None:
            log.info("wave %d catches up what was missed", wave_id)
        return retried + int(wave_id is not None)


def missed_updates(engine: Engine, hub: KojiSession, settings: Settings) -> list[Change]:
    """What the streams' tags have newer than some image. Raises InfrastructureError."""
    missed: dict[Change, None] = {}
    for stream in settings.known_streams:
        with reading(engine) as connection:
            rpms = [rpm for rpm in installed_packages.rpms_in(connection, stream.name) if stream.holds(rpm.release)]
        carried: dict[str, list[Rpm]] = {}
        for rpm in rpms:
            carried.setdefault(rpm.source, []).append(rpm)
        tags = settings.streams[stream.name].koji_tags
        for build in chain.from_iterable(tag_builds.newest(hub, tag, sorted(carried)) for tag in tags):
            change = Change(build, stream.name)
            if stream.takes(build.evr.release) and any(map(change.makes_stale, carried.get(build.name, ()))):
                missed[change] = None
    return list(missed)


def changes_from_foreign_builds(connection: Connection, rebuilt: Iterable[str]) -> list[Change]:
    """The changes by which builds that somebody else made leave the images built on them stale."""
    graph = inventory.load(connection)
    newer: dict[Change, None] = {}
    for image in rebuilt:
        above = _manifest(connection, image)
        for child in graph.children(image) if image in graph else ():
            newer.update(dict.fromkeys(_newer(above, _manifest(connection, child), graph.image(child).stream)))
    return list(newer)


def handle_rolled_back(connection: Connection, settings: Settings, now: float) -> int | None:
    """Plan what stands on builds that were rolled back, and all below it: the id of the wave, where there is a new one.

    It is only told where others' builds are not to be planned for. What failed waits for an operator, as always.
    """
    graph, builds = inventory.load(connection), inventory.current_builds(connection)
    gone = rollbacks.taken_back(connection)
    affected = {item.image: item for item in rolled_back(graph.images, builds, gone, by_nvr=True)}
    unsettled = rebuilds.unsettled(connection) if affected else {}
    images = [image for image in affected if image not in unsettled]
    if not images:
        return None
    if settings.reconcile.foreign_builds != "plan":
        log.warning("%d images stand on builds that were rolled back (%s): run `rebuilder rebuild IMAGE "
                    "--with-descendants` for each", len(images), ", ".join(sorted(images)[:5]))
        return None
    drafted = planning.draft_by_hand(connection, graph, images, settings, below=True)
    note = f"rolled back: {some(f'{affected[image].parent} is {affected[image].current} again' for image in images)}"
    wave_id, _ = plan_acceptance.by_hand(connection, drafted, note, "", now)
    log.warning("%s: %d images stand on builds that were taken back", note, len(images))
    return wave_id


def _manifest(connection: Connection, image: str) -> Manifest:
    build = inventory.manifest_of(connection, image)
    return build.manifest if build and build.manifest else Manifest(frozenset())


def _newer(above: Manifest, below: Manifest, stream: str) -> list[Change]:
    """What the parent has newer than the child."""
    return newer_builds(above.rpms, below.rpms, stream)


def newer_builds(above: Iterable[Rpm], below: Iterable[Rpm], stream: str) -> list[Change]:
    """The source builds of which there are RPMs above that are newer than those below, as changes of the stream."""
    offers = {(rpm.name, rpm.arch): rpm for rpm in above}
    pairs = ((offers.get((rpm.name, rpm.arch)), rpm) for rpm in below)
    return [Change(_source_build(new), stream) for new, old in pairs if new and is_stale(old, _source_build(new).evr)]


def _source_build(rpm: Rpm) -> SourceBuild:
    if not rpm.source_evr:
        return SourceBuild(rpm.source, rpm.evr)
    version, _, release = rpm.source_evr.rpartition("-")
    return SourceBuild(rpm.source, EVR(rpm.epoch if version == rpm.version else None, version, release))
