"""Why an image was rebuilt, why it was not, and whether an update would rebuild it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct
from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.change import Change
from rebuilder.domain.external import ExternalImage
from rebuilder.domain.image import ImageBuild
from rebuilder.domain.impact import InstalledPackages, Reason, Skip
from rebuilder.domain.lifecycle import RebuildRecord
from rebuilder.domain.plan import Plan, make_plan
from rebuilder.domain.rollback import RolledBack
from rebuilder.domain.schedule import durations
from rebuilder.inventory.source import source_of
from rebuilder.store import causes, changes, holds, installed_packages, inventory, rebuilds, rollbacks, waves
from rebuilder.store.changes import StoredChange
from rebuilder.store.holds import Held
from rebuilder.store.rollbacks import StandingRollback
from rebuilder.store.waves import WaveEntry

RECENT_CHANGES = 50
RECENT_REBUILDS = 10


class Verdict(Struct, frozen=True):
    """What one change means for one image now.

    `word` is rebuild, not-installed, or a skip reason of the plan; `by` is what that names. `installed` has the
    image's RPMs of the package, there unchanged `since` (seconds since the epoch), where that is known. `rule` is
    the one that asks for approval, `wave` the wave that waits for it. `parent` is the external one that it waits for.
    """

    change: Change
    word: str
    by: str = ""
    reasons: tuple[Reason, ...] = ()
    depends_on: tuple[str, ...] = ()
    installed: tuple[str, ...] = ()
    since: float | None = None
    rule: str = ""
    wave: int | None = None
    parent: ExternalImage | None = None


class Told(Struct, frozen=True):
    """A rebuild of the image, and what each of its reasons came from: the id of the message, where there was one."""

    entry: RebuildRecord
    reasons: tuple[Reason, ...]
    messages: tuple[str, ...]


class Answer(Struct, frozen=True):
    """The image's last rebuilds, newest first, and what the recent changes that did not rebuild it mean for it.

    `build` is its current one, without its manifest.
    """

    image: str
    build: ImageBuild | None
    held: Held | None
    rebuilds: tuple[Told, ...]
    others: tuple[Verdict, ...]
    rolled_back: RolledBack | None
    taken_back: StandingRollback | None


def what_if(
    connection: Connection, image: str, offers: Sequence[Change], settings: Settings, now: float
) -> tuple[Verdict, ...]:
    """What each of these changes, alone, would mean for the image. Raises UnknownError for an unknown image."""
    holds.image_id(connection, image)
    family = _Family(connection, image, {change.build.name for change in offers}, settings, now)
    return tuple(family.verdict(change) for change in offers)


class _Family:
    """An image and what it is built on: nothing else has a say in whether a change would rebuild it."""

    def __init__(
        self, connection: Connection, image: str, sources: Iterable[str], settings: Settings, now: float
    ) -> None:
        self._connection = connection
        self._image = image
        self._slots = settings.slots
        keys = inventory.family_above(connection, image)
        self._graph = inventory.subgraph(connection, keys)
        self._carried = installed_packages.carried(connection, sources, keys)
        self._terms = settings.terms({key: str(hold) for key, hold in holds.held(connection, now).items()})
        self._seconds = durations(self._graph.images)
        self._since: dict[str, float | None] = {}

    @property
    def readable(self) -> bool:
        """Whether the image's current build could be read."""
        return self._image not in self._carried.unknown

    @property
    def streams(self) -> set[str]:
        """The image's stream, and those of what it is built on: what it has from there is of them."""
        return {image.stream for image in self._graph.images}

    def carries(self, source: str) -> bool:
        """Whether the image has RPMs of the source package."""
        return any(rpm.source == source for rpm in self._carried.rpms.get(self._image, ()))

    def verdict(self, change: Change) -> Verdict:
        """What the change means for the image."""
        plan = make_plan(
            self._graph, self._of(change.build.name), [change], self._terms,
            slots=self._slots, seconds=self._seconds,
        )
        (merged,) = plan.changes
        for rebuild in plan.rebuilds:
            if rebuild.image == self._image:
                return Verdict(merged, "rebuild", "", rebuild.reasons, rebuild.depends_on, rule=_rule_of(plan))
        skipped = next((skipped for skipped in plan.skipped if skipped.image == self._image), None)
        if skipped is None:
            return Verdict(merged, "not-installed")
        installed = self._installed(change.build.name)
        since = self._unchanged(change.build.name) if skipped.reason is Skip.ALREADY_CURRENT else None
        return Verdict(merged, str(skipped.reason), skipped.by, installed=installed, since=since,
                       parent=skipped.parent)

    def _installed(self, source: str) -> tuple[str, ...]:
        rpms = self._carried.rpms.get(self._image, ())
        return tuple(sorted(rpm.nevra for rpm in rpms if rpm.source == source))

    def _of(self, source: str) -> InstalledPackages:
        """What is carried of one source package."""
        by_image = {
            image: mine
            for image, rpms in self._carried.rpms.items()
            if (mine := [rpm for rpm in rpms if rpm.source == source])
        }
        return InstalledPackages(by_image, self._carried.unknown, self._carried.externals)

    def _unchanged(self, source: str) -> float | None:
        if source not in self._since:
            self._since[source] = installed_packages.since(self._connection, self._image, source)
        return self._since[source]


def _rule_of(plan: Plan) -> str:
    """The first rule that was applied to a change; an empty text where none was."""
    return next((applied.rule for applied in plan.applied if applied.change is not None), "")


def why(connection: Connection, image: str, settings: Settings, now: float) -> Answer:
    """All there is to say about the image. Raises RequestError where there is no such image."""
    held = holds.held(connection, now).get(image)
    image_id = holds.image_id(connection, image)
    history = _told(connection, image_id)
    taken = {reason.change.build for entry in history for reason in entry.reasons}
    recent = [item for item in changes.recent(connection, RECENT_CHANGES) if item.change.build not in taken]
    family = _Family(connection, image, {item.change.build.name for item in recent}, settings, now)
    waiting = waves.waiting_by_change(connection)
    others = tuple(_other(family, item, settings, waiting.get(item.id)) for item in recent)
    by_nvr = source_of(settings).follows_koji_tags
    rolled_back = inventory.stands_on_rolled_back(connection, image, by_nvr=by_nvr)
    taken_back = rollbacks.standing(connection, [image]).get(image)
    build = inventory.current_builds(connection, [image]).get(image)
    return Answer(image, build, held, history, others, rolled_back, taken_back)


def _told(connection: Connection, image_id: int) -> tuple[Told, ...]:
    entries = rebuilds.of_image(connection, image_id, RECENT_REBUILDS)
    reasons = causes.reasons_of(connection, [entry.id for entry in entries])
    messages = causes.messages_of(connection, [entry.id for entry in entries])
    return tuple(Told(entry, reasons.get(entry.id, ()), messages.get(entry.id, ())) for entry in entries)


def _other(family: _Family, item: StoredChange, settings: Settings, wave: WaveEntry | None) -> Verdict:
    """What a change means; `wave` waits for an operator with it. Only one of a package that is in the image, or may be,
    is worth a plan.
    """
    if family.readable and not family.carries(item.change.build.name) and settings.descendants != "all":
        return Verdict(item.change, "not-installed")
    if item.withdrawn:
        return Verdict(item.change, str(Skip.WITHDRAWN))
    if item.change.stream not in family.streams:
        return Verdict(item.change, str(Skip.OTHER_STREAM))
    verdict = family.verdict(item.change)
    if wave is None:
        return verdict
    return Verdict(verdict.change, verdict.word, verdict.by, verdict.reasons, verdict.depends_on, rule=wave.rule,
                   wave=wave.id)  # fmt: skip
