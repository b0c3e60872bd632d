"""What to pull: for each image the pull specs by digest of the build that is delivered."""

from __future__ import annotations

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.deployment import by_digest
from rebuilder.domain.image_name import ImageName
from rebuilder.queries.answer import Answer
from rebuilder.queries.moment import Moment, moment
from rebuilder.store import published
from rebuilder.store.filters import Filter
from rebuilder.store.published import Published


class PullSpecs(Answer):
    """An image (name:stream), and its delivered build: the one that its floating tags point to.

    `pull_specs` are by digest, one for each repository, in the order of the configuration; none where nothing of the
    image is in a registry. `is_current` is whether the delivered build is the image's current one; `pushed` is when
    that was done from here, null where its builder did it.
    """

    image: str
    name: str
    stream: str
    ident: str | None
    build_id: int | None
    digest: str | None
    pull_specs: tuple[str, ...]
    is_current: bool
    pushed: Moment | None


def read(connection: Connection, criteria: Filter, settings: Settings) -> tuple[PullSpecs, ...]:
    """The images of the inventory that are wanted, by name and stream."""
    return tuple(map(_answer, published.read(connection, criteria, floating=settings.registry.floating)))


def _answer(entry: Published) -> PullSpecs:
    name, stream = ImageName.of(entry.image)
    return PullSpecs(
        image=entry.image, name=name, stream=stream, ident=entry.build or None, build_id=entry.build_id,
        digest=entry.digest or None, pull_specs=by_digest(entry.tags, entry.digest), is_current=entry.current,
        pushed=moment(entry.since),
    )  # fmt: skip
