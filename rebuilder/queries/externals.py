"""Images of others that ours are built on: what registries have of them, and what is in that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from rebuilder.domain.errors import UnknownError
from rebuilder.queries.answer import Answer
from rebuilder.queries.moment import Moment, moment
from rebuilder.store import externals
from rebuilder.store.externals import StoredExternal


class External(Answer):
    """An external parent: the digest that its registry told last, there `since` then, and the images built on it.

    `name` is the full name that was asked for, `previous` the digest before. `offered` is what the tag of a pull spec
    with a digest names now. `trouble` says why it could not be asked last. `platforms` has how the contents are known:
    rpmdb, sbom, none (it has no RPMs), or why they are not.
    """

    spec: str
    name: str | None
    digest: str | None
    previous: str | None
    since: Moment | None
    asked: Moment | None
    offered: str | None
    trouble: str | None
    platforms: dict[str, str]
    images: tuple[str, ...]


class ExternalInFull(External):
    """The same with its RPMs, by platform; null where they are unknown."""

    rpms: dict[str, tuple[str, ...] | None]


def read(connection: Connection) -> tuple[External, ...]:
    """All that images of the inventory are built on, by pull spec; those that were not asked for yet included."""
    used, stored = externals.images_on(connection), externals.stored(connection)
    return tuple(External(**_told(spec, images, stored.get(spec))) for spec, images in sorted(used.items()))


def in_full(connection: Connection, spec: str) -> ExternalInFull:
    """One external parent. Raises UnknownError for a pull spec that no image is built on."""
    used, stored = externals.images_on(connection), externals.stored(connection)
    if spec not in used:
        raise UnknownError(f"no image is built on {spec}")
    contents = externals.manifests_of(connection, spec)
    rpms = {
        platform: None if content is None else tuple(sorted(rpm.nevra for rpm in content.rpms))
        for platform, content in contents.items()
    }
    return ExternalInFull(**_told(spec, used[spec], stored.get(spec)), rpms=rpms)


def _told(spec: str, images: Sequence[str], stored: StoredExternal | None) -> dict[str, Any]:
    if stored is None:
        stored = StoredExternal(spec, "", "", "", "", "", None, None)
    return {
        "spec": spec, "name": stored.name or None, "digest": stored.digest or None, "previous": stored.previous or None,
        "since": moment(stored.since), "asked": moment(stored.asked_at), "offered": stored.offered or None,
        "trouble": stored.trouble or None, "platforms": dict(stored.platforms), "images": tuple(images),
    }  # fmt: skip
