"""The API's lists, as JSON or CSV: the newest first, images by name, or what needs attention first; filtered, in parts.

What else is a table at heart is here too: the queue, holds, and how far a fix has come.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from rebuilder.queries import (
    build_records,
    coverage,
    externals,
    image_records,
    packages,
    pull_specs,
    queue,
    records,
    status,
)
from rebuilder.queries.rebuild import Rebuild, rebuild
from rebuilder.store import attention_order, lists
from rebuilder.web.csv_lists import DESCRIBED
from rebuilder.web.dependencies import Configured, Reader
from rebuilder.web.etags import TaggedList
from rebuilder.web.parameters import (
    BinaryPackage,
    Changes,
    ChangeState,
    Form,
    Images,
    ImageStates,
    InStream,
    InWave,
    MessageStates,
    Order,
    Page,
    Part,
    RebuildStates,
    Search,
    Text,
    Times,
    WaveStates,
    build_filter,
    cursor_of,
    paginate,
)

router = APIRouter(route_class=TaggedList, responses=DESCRIBED)


@router.get("/waves")
def list_waves(
    connection: Reader, part: Part, images: Images, changes: Changes, times: Times,
    state: WaveStates = (), q: Search = "", order: Order = "newest",
) -> Page[status.WaveInBrief]:
    """Waves, with how far they are."""
    fetch = partial(lists.waves, connection, build_filter(images, changes, times, states=state, text=q))
    rows = attention_order.ordered(order, fetch, attention_order.WAVES, part, lambda wave: wave.id)
    briefs = status.briefs(connection, [wave for wave, _ in rows])
    return paginate(rows, part, lambda wave: briefs[wave.id])


@router.get("/rebuilds")
def list_rebuilds(
    connection: Reader, part: Part, images: Images, changes: Changes, times: Times,
    wave: InWave, state: RebuildStates = (), q: Search = "", order: Order = "newest",
) -> Page[Rebuild]:
    """Rebuilds."""
    fetch = partial(lists.rebuilds, connection, build_filter(images, changes, times, states=state, wave=wave, text=q))
    rows = attention_order.ordered(order, fetch, attention_order.REBUILDS, part, lambda entry: entry.id)
    return paginate(rows, part, rebuild)


@router.get("/images")
def list_images(
    connection: Reader, settings: Configured, part: Part, images: Images, lacking: Changes, rpm: BinaryPackage,
    state: ImageStates = (),
    last_rebuild: Annotated[RebuildStates, Query(description="How its newest rebuild stands.")] = (),
    q: Search = "",
    order: Annotated[Literal["name", "need"], Query(
        description="`name`: by name and stream. `need`: what needs attention first.")] = "name",
) -> Page[image_records.Image]:
    """The images of the inventory; `package` (a source) or `rpm` asks for those that carry it.

    `update` (an alias, a CVE or an NVR) asks for those that lack it, `severity` for what they lack at worst.
    """
    filters = build_filter(images, lacking, rpm=rpm, currencies=state, states=last_rebuild, text=q)
    if order == "need":
        rows = image_records.images_by_need(connection, filters, part, settings, time.time()).items
    else:
        rows = image_records.images(connection, filters, part, settings, time.time())
    following = cursor_of(rows, part, lambda image: image.image)
    return Page(items=rows[: part.limit - 1], next=following)


@router.get("/builds")
def list_builds(
    connection: Reader, part: Part, images: Images, times: Times, rpm: BinaryPackage, q: Search = ""
) -> Page[build_records.ImageBuild]:
    """Finished builds of images; `package` (a source) or `rpm` asks for those with it."""
    rows = lists.builds(connection, build_filter(images, times, rpm=rpm, text=q), part)
    return paginate([(entry, entry.id) for entry in rows], part, build_records.build)


@router.get("/changes")
def list_changes(
    connection: Reader, part: Part, changes: Changes, times: Times, stream: InStream,
    package: Annotated[Text, Query(description="The source package.", examples=["openssl"])] = "",
    state: ChangeState = (), q: Search = "", order: Order = "newest",
) -> Page[records.Change]:
    """Source builds that are new in streams."""
    packages.check(connection, package)
    filters = build_filter(changes, times, stream=stream, package=package, states=state, text=q)
    fetch = partial(lists.changes, connection, filters)
    rows = attention_order.ordered(order, fetch, attention_order.CHANGES, part, lambda entry: entry.noticed.id)
    return paginate(rows, part, records.change)


@router.get("/messages")
def list_messages(
    connection: Reader, part: Part, times: Times,
    topic: Annotated[Text, Query(description="A glob of the topic.", examples=["*.bodhi.update.*"])] = "",
    state: MessageStates = (), q: Search = "", order: Order = "newest",
) -> Page[records.Message]:
    """Messages from the bus, and what became of them."""
    fetch = partial(lists.messages, connection, build_filter(times, states=state, text=q), topic)
    rows = attention_order.ordered(order, fetch, attention_order.MESSAGES, part, lambda entry: entry.seq)
    return paginate(rows, part, records.message)


@router.get("/actions")
def list_actions(
    connection: Reader, part: Part, times: Times, q: Search = "", order: Order = "newest"
) -> Page[records.Action]:
    """What operators did, and asked for."""
    fetch = partial(lists.audit_entries, connection, build_filter(times, text=q))
    rows = attention_order.ordered(order, fetch, attention_order.ACTIONS, part, lambda entry: entry.id)
    return paginate(rows, part, records.action)


@router.get("/queue")
def read_queue(
    connection: Reader, settings: Configured, limit: Annotated[int, Query(ge=1, le=5000)] = 100, _form: Form = None
) -> queue.Queue:
    """What waits for a slot, in the order in which it will start, and why it has not. CSV has what runs first."""
    return queue.read(connection, settings, time.time(), limit)


@router.get("/holds")
def read_holds(connection: Reader, _form: Form = None) -> tuple[records.Held, ...]:
    """The images that must not be built."""
    return records.held(connection, time.time())


@router.get("/externals")
def list_externals(connection: Reader, _form: Form = None) -> tuple[externals.External, ...]:
    """The images of others that images are built on."""
    return externals.read(connection)


@router.get("/pull-specs")
def list_pull_specs(
    connection: Reader, settings: Configured, images: Images, _form: Form = None
) -> tuple[pull_specs.PullSpecs, ...]:
    """What to pull: each image of the inventory by digest, as its floating tags point to it."""
    return pull_specs.read(connection, build_filter(images), settings)


@router.get("/coverage/{name:path}")
def read_coverage(connection: Reader, settings: Configured, name: Text, _form: Form = None) -> coverage.Coverage:
    """Is the fix everywhere? For an update's alias, a CVE or a build's NVR: each image that carries the package.

    For SPEC or SPEC@DIGEST of an external parent: each image on it, and whether it stands on that digest.

    CSV has a row for each fix and image.
    """
    return coverage.read(connection, name, settings, time.time())
