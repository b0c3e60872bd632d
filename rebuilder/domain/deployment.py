"""What a deployment takes over: the images of a stream by digest, as tools of deployment write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from rebuilder.domain.errors import RequestError
from rebuilder.domain.external import at_digest, pinned, repository
from rebuilder.domain.image_name import name_of

COMPONENT = {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": "Component"}


class Deployable(Struct, frozen=True):
    """An image (name:stream) and the pull specs by digest of the build that may be run; the first is the best one."""

    image: str
    pull_specs: tuple[str, ...]

    @property
    def name(self) -> str:
        """The image's name without its stream."""
        return name_of(self.image)


def by_digest(tags: Sequence[str], digest: str) -> tuple[str, ...]:
    """The pull specs by digest of a build: one for each repository that `tags`, its pull specs, name.

    A repository for which no digest is pinned has the build's own one; without any it is left out.
    """
    pinned = {repository(spec): spec for spec in reversed(tags) if "@" in spec}
    places = dict.fromkeys(map(repository, tags))
    own = {place: at_digest(place, digest) for place in places} if digest else {}
    return tuple(pull_spec for place in places if (pull_spec := pinned.get(place) or own.get(place)))


def as_compose(images: Iterable[Deployable]) -> dict[str, object]:
    """A Compose file with one service for each image, called by its name: to be merged with the one that runs them.

    Raises RequestError for an image in two streams.
    """
    services = _unique((image.name, image, image.pull_specs[0]) for image in images if image.pull_specs)
    return {"services": {name: {"image": spec} for name, spec in services.items()}}


def as_kustomize(images: Iterable[Deployable]) -> dict[str, object]:
    """A component of Kustomize, which sets the digest of every repository. Raises RequestError for two of one."""
    digests = _unique((repository(spec), image, pinned(spec)) for image in images for spec in image.pull_specs)
    return {**COMPONENT, "images": [{"name": place, "digest": digest} for place, digest in digests.items()]}


def _unique(entries: Iterable[tuple[str, Deployable, str]]) -> dict[str, str]:
    """The values by their names, each of one image."""
    by_name: dict[str, tuple[Deployable, str]] = {}
    for name, image, value in entries:
        before, _ = by_name.setdefault(name, (image, value))
        if before is not image:
            both = f"{before.image} and {image.image}"
            raise RequestError(f"{name} would be both {both}: choose with --stream, or name images")
    return {name: value for name, (_, value) in by_name.items()}
