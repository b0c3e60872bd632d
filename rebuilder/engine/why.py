"""Why an image was rebuilt, why it was not, and whether an update would rebuild it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.affected import Reason, Skip
from rebuilder.domain.change import Change
from rebuilder.domain.image import ImageBuild
from rebuilder.engine import planning
from rebuilder.store import causes, changes, holds, inventory, rebuilds, waves
from rebuilder.store.changes import Noticed
from rebuilder.store.holds import Held

RECENT_CHANGES = 50
RECENT_REBUILDS = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one change means for one image now.

    `word` is rebuild, not-installed, or a skip reason of the plan; `by` is what that names. `installed` has the
    image's RPMs of the package, there unchanged `since` (seconds since the epoch), where that is known. `rule` is
    the one that asks for approval, `wave` the wave that waits for it.
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


@dataclass(frozen=True, slots=True)
class Told:
    """A rebuild of the image, and what each of its reasons came from: the id of the message, where there was one."""

    entry: rebuilds.Entry
    reasons: tuple[Reason, ...]
    messages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The image's last rebuilds, newest first, and what the recent changes that did not rebuild it mean for it."""

    image: str
    build: ImageBuild | None
    held: Held | None
    rebuilds: tuple[Told, ...]
    others: tuple[Verdict, ...]


def would(
    connection: Connection, image: str, wanted: Sequence[Change], settings: Settings, now: float
) -> tuple[Verdict, ...]:
    """What each of these changes, alone, would mean for the image. Raises RequestError for an unknown image."""
    holds.image_id(connection, image)
    return tuple(_verdict(connection, image, change, settings, now) for change in wanted)


def _verdict(connection: Connection, image: str, change: Change, settings: Settings, now: float) -> Verdict:
    plan = planning.draft(connection, [change], settings, now).plan
    (merged,) = plan.changes
    rule = next((applied.rule for applied in plan.applied if applied.change is not None), "")
    for rebuild in plan.rebuilds:
        if rebuild.image == image:
            return Verdict(merged, "rebuild", "", rebuild.reasons, rebuild.depends_on, rule=rule)
    skipped = next((skipped for skipped in plan.skipped if skipped.image == image), None)
    if skipped is None:
        return Verdict(merged, "not-installed")
    installed = inventory.installed(connection, image, change.build.name)
    current = skipped.reason is Skip.ALREADY_CURRENT
    since = inventory.since(connection, image, change.build.name) if current else None
    return Verdict(merged, str(skipped.reason), skipped.by, installed=installed, since=since)


def why(connection: Connection, image: str, settings: Settings, now: float) -> Answer:
    """All there is to say about the image. Raises RequestError where there is no such image."""
    held = holds.held(connection, now).get(image)
    image_id = holds.image_id(connection, image)
    found = _told(connection, image_id)
    taken = {reason.change.build for told in found for reason in told.reasons}
    recent = [item for item in changes.recent(connection, RECENT_CHANGES) if item.change.build not in taken]
    others = tuple(_other(connection, image, item, settings, now) for item in recent)
    return Answer(image, inventory.manifest_of(connection, image), held, found, others)


def _told(connection: Connection, image_id: int) -> tuple[Told, ...]:
    entries = rebuilds.of_image(connection, image_id, RECENT_REBUILDS)
    reasons = causes.reasons_of(connection, [entry.id for entry in entries])
    messages = causes.messages_of(connection, [entry.id for entry in entries])
    return tuple(Told(entry, reasons.get(entry.id, ()), messages.get(entry.id, ())) for entry in entries)


def _other(connection: Connection, image: str, item: Noticed, settings: Settings, now: float) -> Verdict:
    """Only a change of a package that is in the image, or may be, is worth a plan."""
    stream = image.rpartition(":")[2]
    known = inventory.is_known(connection, image)
    if known and not inventory.installed(connection, image, item.change.build.name) and settings.descendants != "all":
        return Verdict(item.change, "not-installed")
    if item.change.stream != stream:
        return Verdict(item.change, str(Skip.OTHER_STREAM))
    found = _verdict(connection, image, item.change, settings, now)
    wave = waves.waiting_for(connection, item.id)
    if wave is None:
        return found
    return Verdict(found.change, found.word, found.by, found.reasons, found.depends_on, rule=wave.rule, wave=wave.id)
