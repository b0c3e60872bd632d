"""Names of images: as people write them in a Dockerfile, and in full."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from rebuilder.domain.external import LATEST, repository

SCRATCH = "scratch"  # FROM scratch: no parent at all
OFFICIAL = "library"  # what the registry of Docker puts before a name without a namespace


class PullSpec(Struct, frozen=True):
    """`registry` is empty where none is named; without a digest there is always a tag."""

    registry: str
    path: tuple[str, ...]
    tag: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> PullSpec:
        """The parts of `[registry/][namespace/]name[:tag][@digest]`; those that are not there are empty."""
        place, _, digest = text.partition("@")
        *before, last = place.split("/")
        name, _, tag = last.partition(":")
        registry = before.pop(0) if before and _is_registry(before[0]) else ""
        if before[:1] == [OFFICIAL]:
            del before[0]
        return cls(registry, (*before, name), tag or ("" if digest else LATEST), digest)

    def means(self, full: PullSpec) -> bool:
        """Whether what is written here may be looked up as that one, apart from tag and digest.

        A site may put all images into one organization: then `f42/httpd` is `ORGANIZATION/f42-httpd` there.
        """
        if self.registry and self.registry != full.registry:
            return False
        return full.path[-len(self.path) :] == self.path or full.path[1:] == ("-".join(self.path),)

    def same_version(self, other: PullSpec) -> bool:
        """Whether both name the same tag, or the same digest; a tag may stand for a digest."""
        if self.digest and other.digest:
            return self.digest == other.digest
        return self.tag == other.tag or not (self.tag and other.tag)


def _is_registry(text: str) -> bool:
    return "." in text or ":" in text or text == "localhost"


def match(text: str, specs: Collection[str]) -> str:
    """The pull spec that a FROM was looked up as, among these; empty where none fits, or not one alone."""
    if text in specs:
        return text
    written = PullSpec.parse(text)
    named = {spec: PullSpec.parse(spec) for spec in specs}
    fitting = [spec for spec, full in named.items() if written.means(full) and written.same_version(full)]
    return fitting[0] if len(fitting) == 1 else ""


def full_spec(spec: str) -> str:
    """A pull spec with the tag that it means."""
    return spec if repository(spec) != spec else f"{spec}:{LATEST}"
