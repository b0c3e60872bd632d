"""The HTTP API, for scripts: what can be read. `api_lists` has the lists, `api_actions` what changes something."""

from __future__ import annotations

import time
from threading import BoundedSemaphore
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from rebuilder.domain.change import Severity
from rebuilder.domain.errors import UnreachableError
from rebuilder.engine import base_preview
from rebuilder.engine.plan_preview import AskedUpdates
from rebuilder.queries import (
    build_records,
    externals,
    graph_view,
    image_records,
    logs,
    plan,
    plan_preview,
    rebuilds,
    records,
    status,
    why,
)
from rebuilder.web import api_actions, api_events, api_lists, problems
from rebuilder.web.dependencies import Configured, Database, Logs, Reader
from rebuilder.web.etags import Tagged
from rebuilder.web.parameters import Ident, ImageName, SeverityWord, Text

MOST_UPDATES = 20
NVR = Annotated[Text, Field(min_length=1, description="A source build: name-[epoch:]version-release")]

router = APIRouter(prefix="/api/v1", route_class=Tagged, responses=problems.ANY)


@router.get("/status")
def read_status(connection: Reader, settings: Configured) -> status.Status:
    """What is being rebuilt, what comes next, what failed."""
    return status.read(connection, settings, time.time())


@router.get("/waves/{wave_id}")
def read_wave(connection: Reader, settings: Configured, wave_id: Ident) -> rebuilds.Wave:
    """A wave: its rebuilds, parents first, and why they are there."""
    return rebuilds.wave(connection, wave_id, settings, time.time())


@router.get("/waves/{wave_id}/story")
def read_story(connection: Reader, wave_id: Ident) -> tuple[rebuilds.Step, ...]:
    """Every step of the wave's rebuilds, in the order in which it happened."""
    return rebuilds.story(connection, wave_id)


@router.get("/rebuilds/{rebuild_id}")
def read_rebuild(connection: Reader, settings: Configured, rebuild_id: Ident) -> rebuilds.RebuildInFull:
    """A rebuild: why it is there, its story, when it will be done."""
    return rebuilds.read(connection, rebuild_id, settings, time.time())


@router.get("/images/{image:path}/why")
def read_why(
    connection: Reader,
    settings: Configured,
    image: ImageName,
    update: Annotated[tuple[NVR, ...], Query(max_length=MOST_UPDATES)] = (),
    stream: Text = "",
    severity: SeverityWord = "unspecified",
) -> why.Why | why.WhatIf:
    """Why the image was rebuilt, or was not; with updates, whether they would rebuild it."""
    if update:
        return why.what_if(connection, image, _asked(update, stream, severity), settings, time.time())
    return why.read(connection, image, settings, time.time())


@router.get("/rebuilds/{rebuild_id}/log")
def read_rebuild_log(
    log: Logs,
    rebuild_id: Ident,
    attempt: Annotated[int | None, Query(ge=1, lt=2**31)] = None,
    offset: Annotated[int, Query(ge=0, lt=2**40)] = 0,
    test: bool = False,
) -> logs.LogChunk:
    """What an attempt of a rebuild says, by default its last one, from a character on; as far as it is written.

    With `test`, what the test of the new image says.
    """
    return log.of_rebuild(rebuild_id, attempt, offset, test)


@router.get("/images/{image:path}/log")
def read_log(
    log: Logs, image: ImageName, offset: Annotated[int, Query(ge=0, lt=2**40)] = 0, test: bool = False
) -> logs.LogChunk:
    """What the image's last build, or with `test` its test, says from a character on; as far as it is written."""
    return log.read(image, offset, test)


@router.get("/images/{image:path}")
def read_image(connection: Reader, settings: Configured, image: ImageName) -> image_records.ImageInFull:
    """An image: what it is and lacks, its current build, parents and children."""
    return image_records.image_in_full(connection, image, settings, time.time())


@router.get("/externals/{spec:path}")
def read_external(connection: Reader, spec: Text) -> externals.ExternalInFull:
    """An image of others that images are built on, by its pull spec: its digest, and what is in it."""
    return externals.in_full(connection, spec)


@router.get("/builds/{build_id}")
def read_build(connection: Reader, build_id: Ident) -> build_records.BuildInFull:
    """An image build, and what changed since the one before."""
    return build_records.build_in_full(connection, build_id)


@router.get("/manifests/{digest}")
def read_manifest(connection: Reader, digest: Text) -> build_records.Manifest:
    """Every RPM of a build, inherited ones included."""
    return build_records.manifest(connection, digest)


@router.get("/changes/{change_id}")
def read_change(connection: Reader, change_id: Ident) -> records.Change:
    """A source build that is new in a stream."""
    return records.one_change(connection, change_id)


@router.get("/messages/{message_id:path}")
def read_message(connection: Reader, message_id: Text) -> records.MessageInFull:
    """A message as it came from the bus, and what became of it."""
    return records.message_in_full(connection, message_id)


@router.get("/graph")
def read_graph(
    connection: Reader,
    settings: Configured,
    image: Annotated[Text, Query(description="Only this image's family.")] = "",
    wave: Annotated[int | None, Query(ge=1, lt=2**31, description="Only this wave's images, with states.")] = None,
    update: Annotated[tuple[NVR, ...], Query(max_length=MOST_UPDATES)] = (),
    stream: Text = "",
    severity: SeverityWord = "unspecified",
) -> graph_view.Drawing:
    """The images and what they are built on."""
    request = graph_view.GraphRequest(image or None, wave, _asked(update, stream, severity))
    return graph_view.read(connection, request, settings, time.time()).document


class AskedPlan(BaseModel):
    """Updates, and the terms on which to plan them."""

    model_config = ConfigDict(extra="forbid")

    updates: Annotated[tuple[NVR, ...], Field(min_length=1, max_length=MOST_UPDATES)]
    stream: Text | None = None
    severity: SeverityWord = "unspecified"
    descendants: Literal["affected", "all"] | None = None


@router.post("/plan")
def make_plan(connection: Reader, settings: Configured, asked: AskedPlan) -> plan.WrittenPlan:
    """What updates would rebuild, in which order, and why. Changes nothing."""
    terms = settings.with_descendants(asked.descendants)
    updates = _asked(asked.updates, asked.stream, asked.severity)
    drafted = plan_preview.draft(connection, updates, terms, time.time())
    return plan.written(drafted.plan)


_ASKING = BoundedSemaphore(2)  # plans for which registries are asked at a time


@router.get("/plan")
def plan_on_base(
    engine: Database,
    settings: Configured,
    base: Annotated[Text, Query(description="SPEC, as its registry has it now, or SPEC@DIGEST.")],
    descendants: Annotated[
        Literal["affected", "all"] | None, Query(description="Also descendants that lack nothing: all.")
    ] = None,
) -> plan.WrittenPlan:
    """What a build of an external parent would rebuild, in which order, and why. Its registry is asked."""
    if not _ASKING.acquire(blocking=False):
        raise UnreachableError("registries are being asked for other plans: try again in a moment")
    try:
        terms = settings.with_descendants(descendants)
        return plan.written(base_preview.draft(engine, base, terms, time.time()).plan)
    finally:
        _ASKING.release()


def _asked(names: tuple[str, ...], stream: str | None, severity: str) -> AskedUpdates:
    return AskedUpdates(names, stream or None, Severity(severity))


router.include_router(api_lists.router)
router.include_router(api_events.router)
router.include_router(api_actions.router)
