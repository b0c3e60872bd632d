"""Images, their builds and what is in them; changes, messages, holds, and what operators did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.change import Change as ChangeValue
from rebuilder.domain.currency import Currency, ImageState, need_of
from rebuilder.domain.deployment import by_digest
from rebuilder.domain.errors import UnknownError
from rebuilder.domain.rpm import Rpm
from rebuilder.queries import image_state
from rebuilder.queries.answer import Answer
from rebuilder.queries.image_state import StateOfImage
from rebuilder.queries.moment import Moment, moment
from rebuilder.store import builds, holds, image_states, inventory, lists, manifests, search
from rebuilder.store.filters import Filter, PageRequest
from rebuilder.store.inbox import InboxEntry
from rebuilder.store.lists import AuditEntry, BuildEntry, ChangeEntry, ImageEntry


class Parent(Answer):
    """What an image is built on; `external` where that is not in the inventory."""

    name: str
    kind: str
    external: bool


class Image(StateOfImage):
    """An image with its state and its current build."""

    image: str
    build: str | None
    build_id: int | None
    manifest: str | None
    recorded: Moment | None
    usual_seconds: float | None


class Care(Answer):
    """What is said of an image for those who look after it; times are seconds, null where nothing is said."""

    owners: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    test_timeout: float | None = None
    max_age: float | None = None


class ImageInFull(Image):
    """An image with its neighbours. One that has left the inventory is not `present`."""

    present: bool
    source: dict[str, str]
    build_args: dict[str, str]
    platforms: tuple[str, ...]
    care: Care
    parents: tuple[Parent, ...]
    children: tuple[str, ...]


class ImageBuild(Answer):
    """A finished build. `manifest` is null where its contents are unknown.

    `externals` has the external parents that it was built on, by what its file calls them: their pull specs by digest.
    `tags` are the pull specs under which it was pushed; `pull_specs` has one by digest for each repository.
    """

    id: int
    image: str
    ident: str
    digest: str
    parents: tuple[str, ...]
    externals: dict[str, str]
    tags: tuple[str, ...]
    pull_specs: tuple[str, ...]
    manifest: str | None
    recorded: Moment
    rebuild: int | None
    wave: int | None


class Updated(Answer):
    """An RPM that is of another version in the later build."""

    before: str
    after: str


class Differences(Answer):
    """What changed from one build to the next."""

    since: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    updated: tuple[Updated, ...]


class BuildInFull(ImageBuild):
    """A build and what changed since the one before; null for the first, and where one of the two is not known."""

    changed: Differences | None


class Package(Answer):
    """An RPM and the source package that it was built from."""

    nevra: str
    source: str
    source_rpm: str | None


class Manifest(Answer):
    """All RPMs of a build; the digest is that of this content."""

    digest: str
    rpms: tuple[Package, ...]


class Change(Answer):
    """A source build that is new in a stream, and the message that told of it first."""

    id: int
    source: str
    evr: str
    nvr: str
    stream: str
    severity: str
    update: str
    url: str
    type: str
    cves: tuple[str, ...]
    state: str
    noticed: Moment
    message: str | None


class Message(Answer):
    """A message received, and what became of it."""

    seq: int
    id: str
    topic: str
    received: Moment
    state: str
    reason: str


class MessageInFull(Message):
    """A message as it came."""

    headers: dict[str, Any]
    body: Any


class Held(Answer):
    """An image that must not be built; `until` is when that ends by itself."""

    image: str
    who: str
    reason: str
    since: Moment
    until: Moment | None


class Action(Answer):
    """What an operator did or asked for; null in `done` while the engine has not carried it out."""

    id: int
    at: Moment
    who: str
    verb: str
    target: str
    reason: str
    done: Moment | None
    answer: str


@dataclass(frozen=True, slots=True)
class ImagesByNeed:
    """A part of the images that are wanted, what needs somebody first.

    `counts` are of all that fit but for what they should be; `total` of all that fit.
    """

    items: list[Image]
    counts: Mapping[Currency, int]
    total: int


def images_by_need(
    connection: Connection, wanted: Filter, page: PageRequest, settings: Settings, now: float
) -> ImagesByNeed:
    """The images of the inventory that are wanted, what needs somebody first; `page.after` is an image's name."""
    states = image_state.read(connection, settings, now)
    narrowed = replace(wanted, currencies=()) != Filter()
    names = lists.image_names(connection, wanted) if narrowed else states.keys()
    fitting = [found for found in states.values() if found.image in names and _lacks(found, wanted)]
    chosen = [found for found in fitting if _is_chosen(found, wanted)]
    chosen.sort(key=lambda found: (need_of(found), found.image))
    shown = _page(chosen, page)
    entries = lists.images_of(connection, [found.id for found in shown])
    items = [Image.model_validate(_image(entries[found.id], found)) for found in shown]
    return ImagesByNeed(items, image_states.counts(fitting), len(chosen))


def _is_chosen(found: ImageState, wanted: Filter) -> bool:
    return not wanted.currencies or found.state in wanted.currencies


def _page(chosen: Sequence[ImageState], page: PageRequest) -> Sequence[ImageState]:
    """The part of the images that follows the one that `page.after` names."""
    names = [found.image for found in chosen]
    first = names.index(page.after) + 1 if page.after in names else 0
    return chosen[first : first + page.limit]


def _lacks(found: ImageState, wanted: Filter) -> bool:
    """Whether the image lacks the update or the fix of the CVE, or something so severe, where that is asked for."""
    if wanted.severities and found.severity not in wanted.severities:
        return False
    about = (offered.change for offered in found.missing)
    return not wanted.update or any(wanted.update in (change.update, *change.cves) for change in about)


def images(
    connection: Connection, wanted: Filter, page: PageRequest, settings: Settings, now: float
) -> list[Image]:
    """The images of the inventory that are wanted, by name and stream."""
    if wanted.currencies or wanted.update or wanted.severities:
        states = image_state.read(connection, settings, now)
        among = {
            found.id
            for found in states.values()
            if _is_chosen(found, wanted) and _lacks(found, wanted)
        }
        entries = lists.images(connection, wanted, page, among)
    else:
        entries = lists.images(connection, wanted, page)
        states = image_state.read(connection, settings, now, {entry.image for entry in entries})
    return [Image.model_validate(_image(entry, states.get(entry.image))) for entry in entries]


def _image(entry: ImageEntry, state: ImageState | None) -> dict[str, object]:
    """An image, and what it is; one that left the inventory is nothing any more."""
    gone = ImageState(entry.image, entry.id, Currency.UNKNOWN, why="it left the inventory", last_rebuild=entry.state)
    return {
        **image_state.fields(state or gone),
        "image": entry.image, "build": entry.build or None, "build_id": entry.build_id,
        "manifest": entry.manifest or None, "recorded": moment(entry.recorded_at),
        "usual_seconds": entry.measured,
    }


def image_in_full(connection: Connection, key: str, settings: Settings, now: float) -> ImageInFull:
    """One image. Raises UnknownError."""
    entry = lists.image(connection, key)
    if entry is None:  # one that left the inventory is found by its whole name only
        key = search.image_named(connection, key)
        entry = lists.image(connection, key)
    assert entry is not None
    found = inventory.find(connection, [key])[key]
    state = image_state.read(connection, settings, now, [key]).get(key)
    return ImageInFull.model_validate({
        **_image(entry, state), "present": entry.present, **_source(entry.source),
        "parents": [Parent(name=str(p), kind=str(p.kind), external=bool(p.external)) for p in found.parents],
        "children": inventory.children(connection, entry.id),
    })


def build(entry: BuildEntry) -> ImageBuild:
    """A build as an answer."""
    return ImageBuild.model_validate(_build(entry))


def _build(entry: BuildEntry) -> dict[str, object]:
    return {
        "id": entry.id, "image": entry.image, "ident": entry.ident, "digest": entry.digest, "parents": entry.parents,
        "externals": dict(entry.externals), "tags": entry.tags,
        "pull_specs": by_digest(entry.tags, entry.digest), "manifest": entry.manifest or None,
        "recorded": moment(entry.recorded_at), "rebuild": entry.rebuild_id,
        "wave": entry.wave_id,
    }


def build_in_full(connection: Connection, ident: int) -> BuildInFull:
    """One build. Raises UnknownError."""
    entry = lists.build(connection, ident)
    if entry is None:
        raise UnknownError(f"there is no image build {ident}")
    before = lists.build_before(connection, entry)
    return BuildInFull.model_validate({**_build(entry), "changed": differences(connection, before, entry)})


def differences(connection: Connection, before: BuildEntry | None, after: BuildEntry) -> Differences | None:
    """What changed from one build to the other, where both could be read."""
    if before is None or not before.manifest or not after.manifest:
        return None
    if before.manifest == after.manifest:
        return Differences(since=before.ident, added=(), removed=(), updated=())
    found = builds.difference(_rpms(connection, before.manifest), _rpms(connection, after.manifest))
    return Differences(
        since=before.ident,
        added=tuple(map(str, found.added)),
        removed=tuple(map(str, found.removed)),
        updated=tuple(
            Updated(before=", ".join(map(str, old)), after=", ".join(map(str, new))) for old, new in found.changed
        ),
    )


def _rpms(connection: Connection, digest: str) -> frozenset[Rpm]:
    ident = lists.manifest(connection, digest)
    if ident is None:
        raise UnknownError(f"there is no manifest {digest}")
    return manifests.read(connection, [ident])[ident].rpms


def manifest(connection: Connection, digest: str) -> Manifest:
    """What a build has in it. Raises UnknownError."""
    rpms = sorted(_rpms(connection, digest), key=lambda rpm: rpm.nevra)
    found = (Package(nevra=rpm.nevra, source=rpm.source, source_rpm=rpm.sourcerpm or None) for rpm in rpms)
    return Manifest(digest=digest, rpms=tuple(found))


def change(noted: ChangeEntry) -> Change:
    """A change as an answer."""
    value: ChangeValue = noted.noticed.change
    return Change(
        id=noted.noticed.id, source=value.build.name, evr=str(value.build.evr), nvr=value.build.nvr,
        stream=value.stream, severity=value.severity, update=value.update, url=value.url, type=value.type,
        cves=value.cves, state=noted.state, noticed=moment(noted.noticed_at), message=noted.noticed.message or None,
    )


def one_change(connection: Connection, ident: int) -> Change:
    """One change. Raises UnknownError."""
    found = lists.change(connection, ident)
    if found is None:
        raise UnknownError(f"there is no change {ident}")
    return change(found)


def message(kept: InboxEntry) -> Message:
    """A message as an answer."""
    return Message.model_validate(_message(kept))


def _message(kept: InboxEntry) -> dict[str, object]:
    return {"seq": kept.seq, "id": kept.message.id, "topic": kept.message.topic, "received": moment(kept.received_at),
            "state": kept.state, "reason": kept.reason}


def message_in_full(connection: Connection, ident: str) -> MessageInFull:
    """One message. Raises UnknownError."""
    kept = lists.message(connection, ident)
    if kept is None:
        raise UnknownError(f"there is no message {ident}")
    return MessageInFull.model_validate({**_message(kept), "headers": kept.message.headers, "body": kept.message.body})


def held(connection: Connection, now: float) -> tuple[Held, ...]:
    """All holds that are in force, by image."""
    return tuple(
        Held(image=h.image, who=h.who, reason=h.reason, since=moment(h.since), until=moment(h.until))
        for h in holds.held(connection, now).values()
    )


def action(deed: AuditEntry) -> Action:
    """What an operator did as an answer."""
    return Action(id=deed.id, at=moment(deed.at), who=deed.who, verb=deed.verb, target=deed.target,
                  reason=deed.reason, done=moment(deed.done_at), answer=deed.answer)


def one_action(connection: Connection, ident: int) -> Action:
    """What an operator did under that number. Raises UnknownError."""
    found = lists.audit_entry(connection, ident)
    if found is None:
        raise UnknownError(f"there is no action {ident}")
    return action(found)


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    """Where the image is built from and how, as the store has it; what is not said is left out."""
    return {
        "source": {key: value for key, value in source.items() if value and isinstance(value, str)},
        "build_args": dict(source.get("build_args", ())), "platforms": tuple(source.get("platforms", ())),
        "care": {key: value for key, value in source.get("care", {}).items() if value},
    }  # fmt: skip
