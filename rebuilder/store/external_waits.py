"""Which images wait for an external parent: it lacks all that they lack, and they upgrade nothing themselves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct
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
    external_parents = externals.known(connection, _sources(missing.values()))
    if not external_parents:
        return {}
    lineages = _Lineages.read(connection)
    waiting = lineages.on_lacking(external_parents, missing)
    if wait is Wait.AUTO:
        upgrading = _upgrading(connection, lineages.of_all(waiting))
        waiting = {image: one for image, one in waiting.items() if upgrading.isdisjoint(lineages.of(image))}
    return {image: str(parent) for image, parent in waiting.items()}


def _sources(missing: Iterable[Sequence[Change]]) -> set[str]:
    """The source packages of all that is missing; many images lack the very same."""
    alike = {id(changes): changes for changes in missing}
    return {change.build.name for changes in alike.values() for change in changes}


class _Lineages(Struct, frozen=True):
    """What images are built on, by the ids of images: the parent among ours, or the external one's pull spec."""

    parents: Mapping[int, int]
    externals: Mapping[int, str]

    @classmethod
    def read(cls, connection: Connection) -> _Lineages:
        rows = connection.execute(_BASES).all()
        return cls(
            {row.image_id: row.parent_id for row in rows if row.parent_id is not None},
            {row.image_id: row.external for row in rows if row.external},
        )

    def of(self, image: int) -> list[int]:
        """The image, and those that it is built on, up to the one on an external parent or on none."""
        lineage = [image]
        while lineage[-1] in self.parents:
            lineage.append(self.parents[lineage[-1]])
        return lineage

    def of_all(self, images: Iterable[int]) -> set[int]:
        """All that these images are, or are built on."""
        return {image for one in images for image in self.of(one)}

    def on_lacking(
        self, external_parents: Mapping[str, ExternalImage], missing: Mapping[int, Sequence[Change]]
    ) -> dict[int, ExternalImage]:
        """The images whose external parent lacks all that they are `missing`, each with that."""
        lacking = {}
        for image, changes in missing.items():
            parent = external_parents.get(self.externals.get(self.of(image)[-1], ""))
            if parent is not None and all(_lacks(parent, change) for change in changes):
                lacking[image] = parent
        return lacking


def _lacks(parent: ExternalImage, change: Change) -> bool:
    rpms = [rpm for rpm in parent.rpms if rpm.source == change.build.name]
    return bool(rpms) and all(map(change.makes_stale, rpms))


def _upgrading(connection: Connection, image_ids: Collection[int]) -> set[int]:
    """Those of these images that upgrade packages of their parents."""
    ids: set[int] = set()
    for part in chunks(sorted(image_ids), 500):
        rows = connection.execute(select(Image.id, cast(Image.source, Text)).where(Image.id.in_(part)))
        ids.update(ident for ident, source in rows if _SOURCE.decode(source).upgrades)
    return ids
