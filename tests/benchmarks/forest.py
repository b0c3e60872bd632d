"""Inventories like those of real registries, of any size, and always the same for the same size and seed.

A few bases, each with its own line of versions; images on them by preferential attachment, so that some have hundreds
of children and most have none; RPM sets that grow from layer to layer and are inherited with their versions.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest, Parent, ParentKind, Stream
from rebuilder.domain.impact import InstalledPackages
from rebuilder.domain.rpm import Rpm

STREAM = Stream("f42", (".fc42",))
EVERYWHERE, SELDOM = "openssl", "seldom"
SELDOM_IMAGES = 10
PACKAGES = 6000
DEEPEST = 6
ON_A_STAGE = 0.1


class Layer(Struct, frozen=True):
    """An image, the RPMs that it adds, and where its base is in the forest (-1 for none)."""

    image: Image
    base: int
    added: tuple[Rpm, ...]


def forest(count: int, rpms: int = 300, seed: int = 1) -> list[Layer]:
    """`count` images, parents first, with `rpms` RPMs each on average."""
    dice = random.Random(seed)
    catalogue = [f"package{number}" for number in range(PACKAGES)]
    binaries = [f"{source}-libs" if number % 2 else source for number, source in enumerate(catalogue)]
    bases = max(1, count // 400)
    depths: list[int] = []
    favourites: list[int] = []  # every image once, and once more for each of its children
    layers: list[Layer] = []
    for at in range(count):
        base = dice.choice(favourites) if at >= bases else -1
        depth = depths[base] + 1 if base >= 0 else 0
        depths.append(depth)
        if depth < DEEPEST:
            favourites += [at] if base < 0 else [at, base]
        wanted = round(rpms * 0.6) if base < 0 else dice.randint(0, round(rpms * 0.25))
        added = [_rpm(catalogue[n], binaries[n], dice) for n in dice.sample(range(PACKAGES), wanted)]
        if base < 0:
            added[0] = _openssl(dice)
        if count - at <= SELDOM_IMAGES:
            added.append(_once(SELDOM, 0, "1.0", SELDOM))
        layers.append(Layer(_image(at, base, dice), base, tuple(added)))
    return layers


def _rpm(source: str, name: str, dice: random.Random) -> Rpm:
    return _once(name, 0, f"{dice.randint(1, 3)}.{len(source)}", source)


def _openssl(dice: random.Random) -> Rpm:
    return _once("openssl-libs", 1, f"3.2.{dice.randint(0, 1)}", EVERYWHERE)


@cache
def _once(name: str, epoch: int, version: str, source: str) -> Rpm:
    return Rpm(name, epoch, version, "1.fc42", "x86_64", source)


def _image(at: int, base: int, dice: random.Random) -> Image:
    parents = [] if base < 0 else [Parent(ParentKind.BASE, f"image{base}:f42")]
    if base > 0 and dice.random() < ON_A_STAGE:
        stage = dice.randrange(base)
        parents.append(Parent(ParentKind.STAGE, f"image{stage}:f42"))
    return Image(f"image{at}", STREAM.name, tuple(parents), estimate=round(dice.lognormvariate(5.5, 0.6), 1))


def manifests(layers: list[Layer]) -> Iterator[Manifest]:
    """The manifest of each image: what its base has, and what it adds."""
    known: list[frozenset[Rpm]] = []
    for layer in layers:
        inherited = known[layer.base] if layer.base >= 0 else frozenset()
        names = {rpm.name for rpm in inherited}
        known.append(inherited.union(rpm for rpm in layer.added if rpm.name not in names))
        yield Manifest(known[-1])


def inventory(layers: list[Layer]) -> Inventory:
    """All of it, as an inventory's source gives it."""
    builds = (
        ImageBuild(layer.image.key, f"{layer.image.name}-1", manifest)
        for layer, manifest in zip(layers, manifests(layers), strict=True)
    )
    return Inventory(tuple(layer.image for layer in layers), (STREAM,), tuple(builds))


def carried(layers: list[Layer], source: str) -> InstalledPackages:
    """What the images carry of one source package, without making all their manifests."""
    found: dict[str, tuple[Rpm, ...]] = {}
    for layer in layers:
        above = found.get(layers[layer.base].image.key, ()) if layer.base >= 0 else ()
        have = tuple(dict.fromkeys((*above, *(rpm for rpm in layer.added if rpm.source == source))))
        if have:
            found[layer.image.key] = have
    return InstalledPackages(found)


def write(layers: list[Layer], path: Path) -> None:
    """All of it as a document for `--inventory`."""
    images = (
        {
            "name": layer.image.name,
            "stream": layer.image.stream,
            "parents": [{"image": str(parent), "kind": str(parent.kind)} for parent in layer.image.parents],
            "rpms": [_written(rpm) for rpm in sorted(manifest.rpms, key=lambda rpm: rpm.name)],
            "duration": layer.image.estimate,
        }
        for layer, manifest in zip(layers, manifests(layers), strict=True)
    )
    with path.open("w", encoding="utf-8") as file:
        file.write('{"version": 1, "streams": {"f42": {"dist": ".fc42"}}, "images": [\n')
        file.write(",\n".join(json.dumps(image) for image in images))
        file.write("\n]}\n")


def _written(rpm: Rpm) -> Any:
    return rpm.nevra if rpm.name == rpm.source else {"nevra": rpm.nevra, "source": rpm.source}
