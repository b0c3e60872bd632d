"""The API's lists: the newest first, images by name; narrowed, and in pages."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from rebuilder.queries import rebuilds, records, status
from rebuilder.store import lists
from rebuilder.web.dependencies import Configured, Reader
from rebuilder.web.etags import Tagged
from rebuilder.web.parameters import (
    Changes,
    Images,
    ImageStateWord,
    Page,
    Part,
    RebuildState,
    Text,
    Times,
    build_filter,
    paginate,
)

router = APIRouter(route_class=Tagged)


@router.get("/waves")
def list_waves(
    connection: Reader, part: Part, images: Images, changes: Changes, times: Times,
    state: Annotated[tuple[Literal["planned", "running", "finished"], ...], Query()] = (),
) -> Page[status.WaveInBrief]:
    """Waves, with how far they are."""
    found = lists.waves(connection, build_filter(images, changes, times, states=state), part)
    return paginate(found, part, lambda wave: status.brief(connection, wave), lambda wave: wave.id)


@router.get("/rebuilds")
def list_rebuilds(
    connection: Reader, part: Part, images: Images, changes: Changes, times: Times,
    state: Annotated[tuple[RebuildState, ...], Query()] = (),
    wave: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
) -> Page[rebuilds.Rebuild]:
    """Rebuilds."""
    found = lists.rebuilds(connection, build_filter(images, changes, times, states=state, wave=wave), part)
    return paginate(found, part, rebuilds.rebuild, lambda entry: entry.id)


@router.get("/images")
def list_images(
    connection: Reader, settings: Configured, part: Part, images: Images,
    state: Annotated[tuple[ImageStateWord, ...], Query(description="What the image is.")] = (),
    last_rebuild: Annotated[tuple[RebuildState, ...], Query(description="How its newest rebuild stands.")] = (),
) -> Page[records.Image]:
    """The images of the inventory; `package` asks for those whose current build carries it."""
    wanted = build_filter(images, currencies=state, states=last_rebuild)
    found = records.images(connection, wanted, part, settings, time.time())
    return paginate(found, part, lambda image: image, lambda image: image.image)


@router.get("/builds")
def list_builds(connection: Reader, part: Part, images: Images, times: Times) -> Page[records.ImageBuild]:
    """Finished builds of images; `package` asks for those that have it in them."""
    found = lists.builds(connection, build_filter(images, times), part)
    return paginate(found, part, records.build, lambda entry: entry.id)


@router.get("/changes")
def list_changes(
    connection: Reader, part: Part, changes: Changes, times: Times, stream: Text = "", package: Text = "",
    state: Annotated[tuple[Literal["settling", "planned"], ...], Query()] = (),
) -> Page[records.Change]:
    """Source builds that are new in streams."""
    wanted = build_filter(changes, times, stream=stream, package=package, states=state)
    found = lists.changes(connection, wanted, part)
    return paginate(found, part, records.change, lambda noted: noted.noticed.id)


@router.get("/messages")
def list_messages(
    connection: Reader, part: Part, times: Times,
    topic: Annotated[Text, Query(description="A glob.")] = "",
    state: Annotated[tuple[Literal["new", "accepted", "ignored", "rejected"], ...], Query()] = (),
) -> Page[records.Message]:
    """Messages from the bus, and what became of them."""
    found = lists.messages(connection, build_filter(times, states=state), topic, part)
    return paginate(found, part, records.message, lambda kept: kept.seq)


@router.get("/actions")
def list_actions(connection: Reader, part: Part) -> Page[records.Action]:
    """What operators did, and asked for."""
    return paginate(lists.audit_entries(connection, part), part, records.action, lambda deed: deed.id)
