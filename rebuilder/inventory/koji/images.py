"""The images that are tagged in the streams' tags, with their parents and what is in them."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from rebuilder.config import Settings
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest, Parent
from rebuilder.domain.image_name import ImageName, name_of
from rebuilder.domain.rollback import is_newer
from rebuilder.domain.wording import few
from rebuilder.inventory.koji.build import FLATPAK, ContainerBuild, ParentRef, evr_of, unsupported
from rebuilder.inventory.koji.current import not_tagged_yet
from rebuilder.inventory.koji.manifests import AT_ONCE, Contents
from rebuilder.inventory.koji.pull_spec import full_spec
from rebuilder.inventory.koji.session import Denied, KojiSession, ask
from rebuilder.inventory.koji.tag_builds import latest
from rebuilder.inventory.source import ManifestCache, Progress

NAMED = 5  # images in one line
READ_TOGETHER = 150  # builds; what was read is kept after so many


class NoCache(Struct, frozen=True):
    """Keeps nothing."""

    def get(self, nvrs: Collection[str]) -> Mapping[str, Manifest]:
        return {}

    def put(self, manifests: Mapping[str, Manifest]) -> None:
        return None


class Known(Struct, frozen=True):
    """What was read before: the images, the idents of their current builds whose manifests are known, and a cache."""

    images: Mapping[str, Image] = field(default_factory=dict)
    builds: Mapping[str, str] = field(default_factory=dict)
    cache: ManifestCache = field(default_factory=NoCache)


class _Tagged(Struct, frozen=True):
    """The newest build of an image in its stream's tags."""

    key: str
    stream: str
    build: int
    nvr: str


def read(hub: KojiSession, settings: Settings, remembered: Known, progress: Progress | None = None) -> Inventory:
    """All images of the streams' tags. Only builds that are not known yet are looked into.

    Raises InfrastructureError where the hub is away, and RequestError for a tag that it does not have.
    """
    tagged = _tagged(hub, settings)
    kept = _kept(hub, settings, tagged, remembered)
    fresh = {item.key: item for item in tagged if item.key not in kept}
    answers = dict(zip(fresh, _told(hub, [item.build for item in fresh.values()]), strict=True))
    refused = _refused(answers, settings)
    read_now = _parsed({key: build for key, build in answers.items() if key not in refused})
    branches = _branches(hub, read_now.values())
    parents = _Parents(hub, tagged, kept, read_now)
    names = {key: item.stream for key, item in fresh.items()}
    images = list(map(remembered.images.__getitem__, kept))
    images += [_image(key, names[key], build, branches, parents, settings) for key, build in read_now.items()]
    images = parents.again(images)
    manifests = _manifests(hub, list(read_now.values()), remembered.cache, progress)
    made = [ImageBuild(key, nvr) for key, nvr in kept.items()]
    made += [image_build(key, build, manifests.get(build.nvr)) for key, build in read_now.items()]
    return Inventory(tuple(images), settings.known_streams, tuple(made), hints=tuple(_left_out(refused)))


def _parsed(answers: Mapping[str, Mapping[str, Any] | None]) -> dict[str, ContainerBuild]:
    """Those of the answers that are builds of containers."""
    builds = {key: ContainerBuild.parse(build) for key, build in answers.items()}
    return {key: build for key, build in builds.items() if build is not None}


def _left_out(refused: Mapping[str, str]) -> Iterator[str]:
    """A line for each kind of what is not built here."""
    for kind in sorted(set(refused.values())):
        names = sorted(key for key, other in refused.items() if other == kind)
        yield f"left out, because rebuilder does not build {kind}: {few(names, NAMED)}"


def _refused(answers: Mapping[str, Mapping[str, Any] | None], settings: Settings) -> dict[str, str]:
    """The images that are not built here, and why: Koji's own builder takes operator manifests, OSBS needs more."""
    bundles = settings.own_builder.takes_bundles
    kinds = {key: unsupported(build) for key, build in answers.items()}
    return {key: kind for key, kind in kinds.items() if kind and (kind == FLATPAK or not bundles)}


def _manifests(
    hub: KojiSession, builds: Sequence[ContainerBuild], cache: ManifestCache, progress: Progress | None
) -> dict[str, Manifest]:
    """What is in these builds, by their NVRs, as far as it can be read."""
    by_nvr = dict(cache.get([build.nvr for build in builds]))
    missing = [build for build in builds if build.nvr not in by_nvr]
    contents = Contents(hub)
    for part in (missing[start : start + READ_TOGETHER] for start in range(0, len(missing), READ_TOGETHER)):
        manifests = contents.read([build.id for build in part], partial(_tell, progress, len(by_nvr), len(builds)))
        read_now = {build.nvr: content for build in part if (content := manifests[build.id]) is not None}
        cache.put(read_now)
        by_nvr |= read_now
    _tell(progress, 0, len(builds), len(builds))
    return by_nvr


def _tell(progress: Progress | None, before: int, total: int, done: int) -> None:
    if progress is not None:
        progress(before + done, total)


def image_build(key: str, build: ContainerBuild, manifest: Any) -> ImageBuild:
    """The build as one of that image."""
    above = tuple(dict.fromkeys(parent.nvr for parent in build.above if parent.nvr))
    return ImageBuild(key, build.nvr, manifest, above, build.digest, build.published)


def _tagged(hub: KojiSession, settings: Settings) -> list[_Tagged]:
    tags = [(stream, tag) for stream, fed in settings.streams.items() for tag in fed.koji_tags]
    if not tags:
        raise RequestError("no Koji tags to read images from: set consumer_config.streams.NAME.koji_tags")
    newest: dict[str, _Tagged] = {}
    for stream, tag in tags:
        try:
            rows = latest(hub, "listTagged", tag, latest=True, inherit=True, type="image")
        except Denied as error:
            raise RequestError(f"consumer_config.streams.{stream}.koji_tags: {tag}: {error}") from None
        for row in rows:
            item = _Tagged(f"{row['name']}:{stream}", stream, int(row["build_id"]), str(row["nvr"]))
            if item.key not in newest or newest[item.key].build < item.build:
                newest[item.key] = item
    return list(newest.values())


def newest_tagged(hub: KojiSession, tags: Sequence[str], package: str) -> str:
    """The NVR of the package's newest image in these tags; empty where they have none. Raises InfrastructureError."""
    rows: list[Mapping[str, Any]] = []
    for tag in tags:
        with suppress(Denied):
            rows += latest(hub, "getLatestBuilds", tag, package=package, type="image")
    return str(max(rows, key=lambda row: int(row["build_id"]))["nvr"]) if rows else ""


def _kept(hub: KojiSession, settings: Settings, tagged: Sequence[_Tagged], remembered: Known) -> dict[str, str]:
    """The images that need not be looked at, each with its build: the one in the tag, or a newer one of ours.

    A build may be tagged long after it was made: until then, the older one in the tag is not what the image is now.
    """
    kept, ahead, tags = {}, {}, {}
    for item in tagged:
        build = remembered.builds.get(item.key) if item.key in remembered.images else None
        if build == item.nvr:
            kept[item.key] = build
        elif build is not None and is_newer(build, item.nvr):
            ahead[item.key] = build
            tags[item.key] = settings.streams[item.stream].koji_tags
    return {**kept, **not_tagged_yet(hub, ahead, tags, time.time())}


def _told(hub: KojiSession, builds: Iterable[int | str]) -> Iterator[Mapping[str, Any] | None]:
    """What Koji says of each of these builds; None where it does not know it."""
    for answer in hub.many([ask("getBuild", build) for build in builds], at_once=AT_ONCE):
        yield None if isinstance(answer, Denied) else answer


def _branches(hub: KojiSession, builds: Iterable[ContainerBuild]) -> dict[int, str]:
    """The git branch that each task was told to build from, by the task."""
    tasks = [build.task for build in builds if build.task]
    answers = hub.many([ask("getTaskRequest", task) for task in tasks], at_once=AT_ONCE)
    pairs = zip(tasks, answers, strict=True)
    return {task: _branch(request) for task, request in pairs if not isinstance(request, Denied)}


def _branch(request: Any) -> str:
    options = [part for part in request or () if isinstance(part, dict)]
    return next((str(part["git_branch"]) for part in options if part.get("git_branch")), "")


def _image(
    key: str, stream: str, build: ContainerBuild, branches: Mapping[int, str], parents: _Parents, settings: Settings
) -> Image:
    branch = branches.get(build.task) or settings.streams[stream].git_branch or stream
    above: dict[str, Parent] = {}
    for parent in build.above:
        resolved = parents.parent(key, stream, parent)
        above.setdefault(str(resolved), resolved)
    source, pull_spec = replace(build.source, ref=branch), build.published[0] if build.published else ""
    return Image(build.name, stream, tuple(above.values()), source, build.seconds, pull_spec)


class _Parents:
    """Finds the images of the inventory that others are built on."""

    def __init__(
        self,
        hub: KojiSession,
        tagged: Sequence[_Tagged],
        kept: Mapping[str, str],
        read_now: Mapping[str, ContainerBuild],
    ) -> None:
        self._hub = hub
        self._keys = {*kept, *read_now}
        self._by_nvr = {item.nvr: item.key for item in tagged} | {nvr: key for key, nvr in kept.items()}
        self._streams: dict[str, list[str]] = {}
        for item in tagged:
            self._streams.setdefault(name_of(item.key), []).append(item.stream)
        self._published = {spec: key for key, build in read_now.items() for spec in build.published}
        self._unread = dict(kept)
        self._nvrs = self._named(above.build for build in read_now.values() for above in build.above if not above.nvr)

    def _named(self, builds: Iterable[int]) -> dict[int, str]:
        """The NVRs of builds of which only the number was told."""
        numbers = sorted({build for build in builds if build})
        answers = zip(numbers, self._hub.many([ask("getBuild", build) for build in numbers]), strict=True)
        return {build: str(answer["nvr"]) for build, answer in answers if answer and not isinstance(answer, Denied)}

    def parent(self, child: str, stream: str, above: ParentRef) -> Parent:
        """The parent as the graph has it; one that is in none of the tags is external."""
        nvr = above.nvr or self._nvrs.get(above.build, "")
        key = self._of_build(nvr, stream) if nvr else ""
        key = key or (self._of_spec(full_spec(above.spec)) if above.spec else "")
        if key in self._keys and key != child:
            return Parent(above.kind, key)
        return Parent(above.kind, external=above.spec or nvr or f"Koji's build {above.build}")

    def again(self, images: Sequence[Image]) -> list[Image]:
        """The same images; what was external when it was read may be in the tags by now."""
        new = {spec: key for spec, key in self._published.items() if key in self._keys}
        return [
            replace(image, parents=tuple(
                Parent(parent.kind, new[full_spec(parent.external)])
                if parent.external and new.get(full_spec(parent.external), image.key) != image.key else parent
                for parent in image.parents
            ))
            for image in images
        ]

    def _of_build(self, nvr: str, stream: str) -> str:
        """The image that has this build, or had it: then in the child's stream, or in the only one there is."""
        if nvr in self._by_nvr:
            return self._by_nvr[nvr]
        name = evr_of(nvr)[0]
        streams = self._streams.get(name, [])
        if stream in streams:
            return str(ImageName(name, stream))
        return str(ImageName(name, streams[0])) if len(streams) == 1 else ""

    def _of_spec(self, spec: str) -> str:
        """The image that is published under this pull spec; those that were not read now are, where need be."""
        if spec not in self._published and self._unread:
            unread, self._unread = self._unread, {}
            for key, answer in zip(unread, _told(self._hub, unread.values()), strict=True):
                build = ContainerBuild.parse(answer)
                self._published |= dict.fromkeys(build.published if build else (), key)
        return self._published.get(spec, "")
