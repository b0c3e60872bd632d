"""Where each name that a Containerfile has for a parent leads: to exactly the builds that the request names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from rebuilder.domain.build import BuildRequest
from rebuilder.domain.errors import InfrastructureError, RequestError
from rebuilder.domain.image import Image, PinnedParent
from rebuilder.inventory import containerfile, containerfile_stages, tree_naming, tree_walk
from rebuilder.inventory.buildah_cli import Storage
from rebuilder.inventory.containerfile import Base, Recipe
from rebuilder.registry.short_names import full_names

HELD = "container-image://"  # what is in the storage, by its id
FAR = "docker-image://"  # what is in a registry


class Pin(Struct, frozen=True):
    """A name in a Containerfile, and where it leads."""

    base: Base
    place: str

    @property
    def names(self) -> tuple[str, ...]:
        """The name, filled in as newer versions of buildah look it up, and as it is written for 1.28."""
        return tuple(dict.fromkeys((self.base.spec, *self.base.written)))

    @property
    def external(self) -> tuple[PinnedParent, ...]:
        """The external parent that it pins by digest, if any."""
        at = self.place.removeprefix(FAR)
        return (PinnedParent(self.base.spec, at),) if "@" in at else ()


class Pinning(Struct, frozen=True):
    """Finds the pins of builds. `registry` is where the images are published, where their source does not say.

    `build_args` are the configuration's.
    """

    storage: Storage
    registry: str
    build_args: Mapping[str, str]

    def arguments(self, image: Image) -> dict[str, str]:
        """The build arguments: the configuration's, and before them those of the image's own source."""
        return {**self.build_args, **dict(image.source.build_args)}

    def pins(self, order: BuildRequest, file: Path, platform: str = "") -> tuple[Pin, ...]:
        """For each name that the Containerfile has for a parent whose build is known, where that build is.

        A file that cannot be read or parsed any more pins nothing: buildah itself will say what is wrong with it.
        Raises InfrastructureError for a stage that has its image's name: buildah would take the image for the stage.
        """
        image = order.image
        options = containerfile_stages.Options(self.arguments(image), image.source.target, platform)
        try:
            recipe = containerfile.read(tree_walk.text_of(file, Path(image.source.path)), options)
        except (OSError, RequestError):
            return ()
        return tuple(self._of(order, recipe, file))

    def _of(self, order: BuildRequest, recipe: Recipe, file: Path) -> Iterator[Pin]:
        """A name that also means a stage pins no external parent: the tag of that is what is built on."""
        ours = self._ours(order)
        external = {parent.spec: f"{FAR}{parent.at}" for parent in order.externals}
        itself = tree_naming.tag(order.image.key)
        for base in recipe.parents:
            is_stage = base.spec.lower() in recipe.hidden
            if is_stage and base.spec in ours:
                problem = f"{file}:{base.line}: a stage has the name of its image, {base.spec}: rename it"
                raise InfrastructureError(problem)
            place = ours.get(base.spec) or ("" if is_stage else external.get(base.spec))
            if place:
                yield Pin(base, place)
            elif f"{tree_naming.LOCAL}{_tagged(base.spec)}" == itself:
                # `nginx` on nginx is built on somebody else's image of that name, never on itself.
                yield Pin(base, self._elsewhere(base.spec))

    def _ours(self, order: BuildRequest) -> dict[str, str]:
        """Where the builds of its parents in the inventory are, by all that its Containerfile may call them."""
        places = {}
        for parent in order.parents:
            places.update(dict.fromkeys(self._specs(order.image, parent.image), f"{HELD}{parent.ident}"))
        return places

    def _specs(self, image: Image, parent: str) -> Iterator[str]:
        """All that the image's Containerfile may call the parent."""
        naming = tree_naming.Naming(image.stream, registry=image.source.registry or self.registry)
        return naming.specs(parent, image.stream)

    def _elsewhere(self, spec: str) -> str:
        """Where somebody else's image of that short name is: in the storage, or at the first registry to ask."""
        ids, names = self.storage.ids(), full_names(_tagged(spec))
        return next((f"{HELD}{ids[name]}" for name in names if name in ids), f"{FAR}{names[0]}")


def _tagged(spec: str) -> str:
    """The name with its tag: where none is written, it is `latest`."""
    return spec if ":" in spec.rpartition("/")[2] else f"{spec}:latest"
