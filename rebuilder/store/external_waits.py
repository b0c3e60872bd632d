"""Which images wait for an external parent: it lacks all that they lack, and they upgrade nothing themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, Text, cast, select

from rebuilder.domain.change import Change
from rebuilder.domain.external import ExternalImage, Wait
from rebuilder.domain.image import Source
from rebuilder.store import externals
from rebuilder.store.models import Image, ImageParent
from rebuilder.store.upsert import chunks

_SOURCE = msgspec.json.Decoder(Source)
_BASES = select(ImageParent.image_id, ImageParent.parent_id, ImageParent.external).where(ImageParent.kind == "base")


def read(connection: Connection, missing: Mapping[int, Sequence[Change]], wait: Wait = Wait.AUTO) -> dict[int, str]:
    """The images (by id) that wait, with their parents in words. `missing` has what each of them lacks."""
    if wait is Wait.BUILD or not missing:
        return {}
    alike = {id(lacks): lacks for lacks in missing.values()}.values()  # many images lack the very same
    known = externals.known(connection, {change.build.name for lacks in alike for change in lacks})
    if not known:
        return {}
    bases = {row.image_id: row for row in connection.execute(_BASES)}
    lines = {image: list(_line(image, bases)) for image in missing}
    tops = {image: known.get(bases[line[-1]].external) for image, line in lines.items() if line[-1] in bases}
    found = {
        image: parent for image, parent in tops.items()
        if parent is not None and all(_lacks(parent, change) for change in missing[image])
    }  # fmt: skip
    if wait is Wait.WAIT:
        return {image: str(parent) for image, parent in found.items()}
    upgrading = _upgrading(connection, {at for image in found for at in lines[image]})
    return {image: str(parent) for image, parent in found.items() if upgrading.isdisjoint(lines[image])}


def _line(image: int, bases: Mapping[int, object]) -> Iterator[int]:
    """The image, and those that it is built on, up to the one on an external parent or on none."""
    at: int | None = image
    while at is not None:
        yield at
        at = getattr(bases.get(at), "parent_id", None)


def _lacks(parent: ExternalImage, change: Change) -> bool:
    rpms = [rpm for rpm in parent.rpms if rpm.source == change.build.name]
    return bool(rpms) and all(map(change.makes_stale, rpms))


def _upgrading(connection: Connection, image_ids: Collection[int]) -> set[int]:
    """Those of these images that upgrade packages of their parents."""
    found: set[int] = set()
    for part in chunks(sorted(image_ids), 500):
        rows = connection.execute(select(Image.id, cast(Image.source, Text)).where(Image.id.in_(part)))
        found.update(ident for ident, source in rows if _SOURCE.decode(source).upgrades)
    return found
