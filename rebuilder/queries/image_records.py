"""Images of the inventory, what each of them is, and its neighbours."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.currency import Currency, ImageState, need_of
from rebuilder.queries import image_state, packages
from rebuilder.queries.answer import Answer
from rebuilder.queries.image_state import StateOfImage
from rebuilder.queries.moment import Moment, moment
from rebuilder.store import change_lookup, changes, image_states, inventory, lists, search
from rebuilder.store.filters import Filter, PageRequest
from rebuilder.store.lists import ImageEntry


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


class ImagesByNeed(Struct, frozen=True):
    """A part of the images that are wanted, what needs attention first.

    `counts` are of all that fit but for what they should be; `total` of all that fit.
    """

    items: list[Image]
    counts: Mapping[Currency, int]
    total: int


def images_by_need(
    connection: Connection, criteria: Filter, page: PageRequest, settings: Settings, now: float
) -> ImagesByNeed:
    """The images of the inventory that are wanted, what needs attention first; `page.after` is an image's name."""
    states = image_state.read(connection, settings, now)
    filtered = replace(criteria, currencies=()) != Filter()
    names = lists.image_names(connection, criteria) if filtered else states.keys()
    about = _meant(connection, criteria.update)
    fitting = [state for state in states.values() if state.image in names and _lacks(state, criteria, about)]
    chosen = [state for state in fitting if _is_chosen(state, criteria)]
    chosen.sort(key=lambda state: (need_of(state), state.image))
    shown = _page(chosen, page)
    entries = lists.images_of(connection, [state.id for state in shown])
    items = [Image.model_validate(_image(entries[state.id], state)) for state in shown]
    return ImagesByNeed(items, image_states.counts(fitting), len(chosen))


def _meant(connection: Connection, update: str) -> list[int]:
    """The changes that an update may be called by. Raises RequestError for one that was withdrawn."""
    ids = change_lookup.ids_meant(connection, update)
    packages.refuse_withdrawn(f"update: {update}", changes.of_ids(connection, ids).values())
    return ids


def _is_chosen(state: ImageState, criteria: Filter) -> bool:
    return not criteria.currencies or state.state in criteria.currencies


def _page(chosen: Sequence[ImageState], page: PageRequest) -> Sequence[ImageState]:
    """The part of the images that follows the one that `page.after` names."""
    names = [state.image for state in chosen]
    first = names.index(page.after) + 1 if page.after in names else 0
    return chosen[first : first + page.limit]


def _lacks(state: ImageState, criteria: Filter, about: Collection[int]) -> bool:
    """Whether the image lacks one of these changes (of the update) and something so severe, where that is asked for."""
    if criteria.severities and state.severity not in criteria.severities:
        return False
    return not criteria.update or not state.lack.ids.isdisjoint(about)


def images(
    connection: Connection, criteria: Filter, page: PageRequest, settings: Settings, now: float
) -> list[Image]:
    """The images of the inventory that are wanted, by name and stream."""
    if criteria.currencies or criteria.update or criteria.severities:
        states = image_state.read(connection, settings, now)
        about = _meant(connection, criteria.update)
        among = {
            state.id
            for state in states.values()
            if _is_chosen(state, criteria) and _lacks(state, criteria, about)
        }
        entries = lists.images(connection, criteria, page, among)
    else:
        entries = lists.images(connection, criteria, page)
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
    image = inventory.find(connection, [key])[key]
    state = image_state.read(connection, settings, now, [key]).get(key)
    return ImageInFull.model_validate({
        **_image(entry, state), "present": entry.present, **_source(entry.source),
        "parents": [Parent(name=str(p), kind=str(p.kind), external=bool(p.external)) for p in image.parents],
        "children": inventory.children(connection, entry.id),
    })


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    """Where the image is built from and how, as the store has it; what is not said is left out."""
    return {
        "source": {key: value for key, value in source.items() if value and isinstance(value, str)},
        "build_args": dict(source.get("build_args", ())), "platforms": tuple(source.get("platforms", ())),
        "care": {key: value for key, value in source.get("care", {}).items() if value},
    }  # fmt: skip
