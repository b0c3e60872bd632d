"""Which stream an RPM in an image is of: the image's, or that of the parent which it came from.

Pure. An image may be built on one of another stream (a tool of f42 on a base of f44): what it has from there is what
that stream offers, and nothing that its own stream offers will ever replace it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rebuilder.domain.graph import Graph
from rebuilder.domain.image import dist_of
from rebuilder.domain.image_name import stream_of
from rebuilder.domain.rpm import Rpm


class ParentRef(NamedTuple):
    """A parent's RPMs and its stream; `foreign` has those of its RPMs that are of another one."""

    rpms: Iterable[Rpm]
    stream: str
    foreign: Mapping[Rpm, str]


NONE: Mapping[Rpm, str] = {}


def foreign(rpms: Iterable[Rpm], stream: str, above: Sequence[ParentRef]) -> Mapping[Rpm, str]:
    """Those of an image's RPMs that are of another stream than the image, each with that.

    A parent's RPM of that name, architecture and dist tag is where it came from, be it a newer one by now.
    """
    if all(parent.stream == stream and not parent.foreign for parent in above):
        return NONE
    origins: dict[tuple[str, str, str], str] = {}
    for parent in above:
        for rpm in parent.rpms:
            origins.setdefault((rpm.name, rpm.arch, dist_of(rpm.release)), parent.foreign.get(rpm, parent.stream))
    streams = {rpm: origins.get((rpm.name, rpm.arch, dist_of(rpm.release)), stream) for rpm in rpms}
    return {rpm: of for rpm, of in streams.items() if of != stream}


def foreigners(graph: Graph, rpms: Mapping[str, Sequence[Rpm]]) -> dict[str, Mapping[Rpm, str]]:
    """For each of these images that has any: its RPMs that are of another stream, each with that."""
    layers = graph.layers(rpms)
    foreign_rpms: dict[str, Mapping[Rpm, str]] = {}
    for key, bases in zip(layers.names, layers.bases, strict=True):
        parents = [layers.names[base] for base in bases]
        above = [ParentRef(rpms[name], stream_of(name), foreign_rpms.get(name, NONE)) for name in parents]
        if others := foreign(rpms[key], stream_of(key), above):
            foreign_rpms[key] = others
    return foreign_rpms
