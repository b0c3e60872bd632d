"""On which digests of its parents OSBS put a build, also one for Koji: that stands in the build's log alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rebuilder.domain.image import PinnedParent
from rebuilder.inventory.koji.pull_spec import match

# atomic-reactor's plugin check_base_image says so of each parent, before anything is built. Neither its results nor
# what it tells Koji have the digest: `parent_images` has the FROMs as they are written, `parent_image_builds` null for
# an image that others build (get_parent_image_koji_data in its util.py), `typeinfo` nothing of parents, and an
# archive's `docker.parent_id` (utils/koji.py) is the base's configuration, by which no registry finds it.
TAKEN = re.compile(r"Replacing image '([^'\s]+)' with '([^'\s@]+@sha256:[0-9a-f]{64})'")


def parent_digests(log: Iterable[str], specs: Sequence[str]) -> tuple[PinnedParent, ...]:
    """What the log says of these parents, by what the image's file calls them; `log` is read as far as it takes."""
    digests: dict[str, str] = {}
    for looked_up, at in _taken(log):
        if spec := next((spec for spec in specs if match(spec, [looked_up])), ""):
            digests[spec] = at
        if len(digests) == len(specs):
            break
    return tuple(PinnedParent(spec, digests[spec]) for spec in specs if spec in digests)


def _taken(log: Iterable[str]) -> Iterator[tuple[str, str]]:
    rest = ""
    for part in log:
        *lines, rest = (rest + part).split("\n")
        for line in lines:
            if said := TAKEN.search(line):
                yield said[1], said[2]
    if said := TAKEN.search(rest):
        yield said[1], said[2]
