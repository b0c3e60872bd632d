"""A container build as Koji tells of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, TypeGuard

from msgspec import Struct

from rebuilder.domain.external import LATEST, repository
from rebuilder.domain.image import ImageBuild, ParentKind, Source
from rebuilder.inventory.koji.pull_spec import SCRATCH, match

FLATPAK, OPERATOR = "Flatpaks", "operator manifests with OSBS"
SCM = "git+"
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


class BuildState(IntEnum):
    """Koji's numbers."""

    BUILDING = 0
    COMPLETE = 1
    DELETED = 2
    FAILED = 3
    CANCELED = 4


class ParentRef(Struct, frozen=True):
    """A parent by its pull spec; its build is 0 and its NVR empty where Koji has no build of it."""

    kind: ParentKind
    spec: str
    build: int = 0
    nvr: str = ""


class ContainerBuild(Struct, frozen=True):
    """A build of a container image. `published` has the pull specs by which others find it, the best one first.

    `task` is the one that built it, 0 where there is none; `seconds` is what it took, 0 where that is not known.
    """

    id: int
    nvr: str
    name: str
    source: Source
    above: tuple[ParentRef, ...]
    published: tuple[str, ...]
    digest: str
    task: int
    seconds: float

    @classmethod
    def parse(cls, answer: Mapping[str, Any] | None) -> ContainerBuild | None:
        """Read what `getBuild` answers; None for what is no container image: other builds, Flatpaks, no build."""
        extra = (answer or {}).get("extra") or {}
        image = extra.get("image")
        task = int(extra.get("container_koji_task_id") or 0)
        if not answer or not _is_container_image(image, task):
            return None
        index = image.get("index") or {}
        return cls(
            int(answer["id"]), answer["nvr"], answer["name"], _source(answer.get("source") or ""), tuple(_above(image)),
            tuple(dict.fromkeys(_published(index))), digest_of(index.get("digests") or {}), task, _seconds(answer),
        )


def _is_container_image(image: object, task: int) -> TypeGuard[Mapping[str, Any]]:
    """Whether `extra.image` of a build is that of a container: not of a Flatpak, and made by OSBS."""
    return isinstance(image, dict) and not image.get("flatpak") and (bool(task) or "index" in image)


def unsupported(answer: Mapping[str, Any] | None) -> str:
    """What a build of `getBuild` is that OSBS makes and we do not have made: empty for all others.

    atomic-reactor notes both in `extra`, operator manifests also in an older form.
    """
    extra = (answer or {}).get("extra") or {}
    if isinstance(extra.get("image"), dict) and extra["image"].get("flatpak"):
        return FLATPAK
    if "operator-manifests" in (extra.get("typeinfo") or {}) or extra.get("operator_manifests_archive"):
        return OPERATOR
    return ""


def evr_of(nvr: str) -> tuple[str, str, str]:
    """Name, version and release; a container's version need not have a digit."""
    name, version, release = nvr.rsplit("-", 2)
    return name, version, release


def koji_parent_nvr(base: ImageBuild | None) -> str:
    """The NVR to build the last FROM on, which is the base's; empty where Koji has no such build."""
    ident = base.ident if base is not None else ""
    return ident if ident.count("-") >= 2 and "/" not in ident and ":" not in ident else ""


def digest_of(digests: Mapping[str, str]) -> str:
    """The digest for all architectures, where there is one."""
    indexes = [digests[kind] for kind in INDEXES if kind in digests]
    return str((indexes or list(digests.values()) or [""])[0])


def _source(url: str) -> Source:
    """Whoever made the build wrote this. What git, to which it is handed, would take for an option is no source."""
    place, _, commit = url.partition("#")
    git = place.removeprefix(SCM)
    if not url.isprintable() or git.startswith("-") or commit.startswith("-"):
        return Source()
    return Source(git=git, commit=commit)


def _seconds(answer: Mapping[str, Any]) -> float:
    began, ended = answer.get("start_ts"), answer.get("completion_ts")
    return max(0.0, float(ended) - float(began)) if began and ended else 0.0


def _stages(froms: Sequence[str], builds: Mapping[str, Any]) -> list[ParentRef]:
    """Each of the FROMs once, then the builds that none of them names."""
    specs = dict.fromkeys(match(text, builds) or text for text in froms if text != SCRATCH) | dict.fromkeys(builds)
    return [ParentRef(ParentKind.STAGE, spec, *_named(builds.get(spec))) for spec in specs]


def _above(image: Mapping[str, Any]) -> Iterator[ParentRef]:
    """The parents in the order of their FROMs, but the base first.

    The base is the build that Koji names; else the last FROM, if Koji knows no build of it. Where it is neither, the
    image is made from scratch, and all that it names are stages. atomic-reactor writes `parent_images` as the
    Dockerfile has them, and the keys of `parent_image_builds` as it looked them up, with the registry.
    """
    builds: Mapping[str, Any] = image.get("parent_image_builds") or {}
    froms = [str(text) for text in image.get("parent_images") or () if text]
    parents = _stages(froms, builds)
    base = int(image.get("parent_build_id") or 0)
    at = _place_of_base(parents, base, froms[-1:] == [SCRATCH])
    if at is not None:
        first = parents.pop(at)
        yield ParentRef(ParentKind.BASE, first.spec, first.build, first.nvr)
    elif base:
        yield ParentRef(ParentKind.BASE, "", base)
    yield from parents


def _place_of_base(parents: Sequence[ParentRef], base: int, from_scratch: bool) -> int | None:
    """Where the base is among the parents; `base` is the number of its build, 0 where Koji names none."""
    if base:
        return next((place for place, above in enumerate(parents) if above.build == base), None)
    return len(parents) - 1 if parents and not parents[-1].build and not from_scratch else None


def _named(build: Mapping[str, Any] | None) -> tuple[int, str]:
    return (int(build["id"]), str(build["nvr"])) if build else (0, "")


def _published(index: Mapping[str, Any]) -> Iterator[str]:
    pulls = [str(spec) for spec in index.get("pull") or ()]
    floating = [str(tag) for tag in index.get("floating_tags") or ()]
    tags = sorted(floating, key=lambda tag: tag != LATEST) + [str(tag) for tag in index.get("tags") or ()]
    for place in dict.fromkeys(map(repository, pulls)):
        yield from (f"{place}:{tag}" for tag in tags)
    yield from pulls
