"""Images, what they are built on, and what is in their builds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from enum import StrEnum
from functools import cached_property, lru_cache

from msgspec import Struct, field

from rebuilder.domain.image_name import key_of
from rebuilder.domain.rpm import MODULE, Rpm

DEFAULT_STREAM = "default"
NAME = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*")
LONGEST_NAME = 255  # characters: a name and a stream are in one index, whose keys PostgreSQL has of 2,700 bytes
LONGEST_SPEC = 500  # of somebody else's image: a registry, a name and a digest
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
GLOB = re.compile(r"(\*|\?|\[\w[\w-]*\])")
WILD = {"*": r"\w*", "?": r"\w"}
DIST_TAG = re.compile(r"\.(?:module[_+])?[a-z]+\d*")
DIST = re.compile(r"\.(?:fc\d|eln|el\d|amzn|azl|cm\d|lp\d|mga|oe\d|module[_+])")


def image_name(text: str) -> str:
    """The text, which is a name that an image can have in any storage and registry. Raises ValueError."""
    if not NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a valid image name: use lower case letters, digits, and . _ - between them")
    if len(text) > LONGEST_NAME:
        raise ValueError(f"{text[:60]!r}… is not a valid image name: it has more than {LONGEST_NAME} characters")
    return text


def stream_name(text: str) -> str:
    """The text, which is a tag that an image can have. Raises ValueError."""
    if not TAG.fullmatch(text):
        raise ValueError(f"{text!r} is not a valid stream of an image: use letters, digits, and . _ - between them")
    return text


class ParentKind(StrEnum):
    """`base` is the final stage's FROM; `stage` is another stage's FROM, or a COPY --from an image."""

    BASE = "base"
    STAGE = "stage"


class Parent(Struct, frozen=True):
    """An image that another is built on: one of the inventory (`image`, as name:stream) or an external pull spec."""

    kind: ParentKind
    image: str = ""
    external: str = ""

    def __str__(self) -> str:
        return self.image or self.external


class PinnedParent(Struct, frozen=True):
    """An external parent at one moment: `spec` is what Containerfiles call it, `at` its full pull spec by digest."""

    spec: str
    at: str


class Care(Struct, frozen=True):
    """What is said of an image for those who look after it.

    `owners` are the people to turn to, `test` is the command that tells whether a build is good, or `test_script` the
    path of the script that does; `test_timeout` are the seconds that it may take, and `max_age` those after which a
    build is too old; 0 is not said. With `test_network` the test may use the network. With `gate` somebody else is
    waited for, who says whether the build is good.
    """

    owners: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    test_timeout: float = 0.0
    max_age: float = 0.0
    test_script: str = ""
    test_network: bool = False
    gate: bool = False


class Source(Struct, frozen=True):
    """Where an image is built from: a commit of a git repository, or a folder with its build file.

    `target` is the stage that it ends with, where that is not the last one. `build_args` and `platforms` are what the
    source itself says of them, `registry` is the prefix by which the file names other images of the inventory. `digest`
    is that of all that is in the folder, and of what is said of how it is built. `upgrades` is the command by which the
    final stage upgrades what its parent has, "" where there is none.
    """

    git: str = ""
    ref: str = ""
    commit: str = ""
    path: str = ""
    containerfile: str = ""
    target: str = ""
    build_args: tuple[tuple[str, str], ...] = ()
    platforms: tuple[str, ...] = ()
    registry: str = ""
    digest: str = ""
    upgrades: str = ""
    care: Care = field(default_factory=Care)

    @property
    def version(self) -> str:
        """What tells one state of the source from another; empty where it is unknown."""
        return self.commit or self.digest


class Image(Struct, frozen=True):
    """A stream of builds of one container component.

    `estimate` is the length of a build in seconds until history knows better; 0 is unknown.
    `pull_spec` is the name that its children's Containerfiles use for it, where it is not name:stream.
    """

    name: str
    stream: str = DEFAULT_STREAM
    parents: tuple[Parent, ...] = ()
    source: Source = field(default_factory=Source)
    estimate: float = 0.0
    pull_spec: str = ""

    @property
    def key(self) -> str:
        """`name:stream`, by which images are named everywhere."""
        return key_of(self.name, self.stream)

    @property
    def externals(self) -> tuple[str, ...]:
        """The pull specs of its external parents, each once."""
        return tuple(dict.fromkeys(parent.external for parent in self.parents if parent.external))

    def __str__(self) -> str:
        return self.key


class Stream(Struct, frozen=True):
    """A line of releases that images and RPMs share, as f42. One with no `dist` takes every change.

    `dist` are dist tags, or patterns of them: `*`, `?` and `[12]` as in a glob. One that ends in a letter fits with a
    number behind it: `.eln` fits `.eln148`.
    """

    name: str
    dist: tuple[str, ...] = ()

    def takes(self, release: str) -> bool:
        """Whether an RPM with this release belongs to the stream: `1.fc42` and `1.fc42.1`, but never `1.fc421`.

        A module's RPMs carry the platform in place of the dist tag: `1.module_f42+12+ab` for .fc42,
        `1.module+el9.4.0+12+ab` for .el9.
        """
        return not self.dist or _expression(self.dist).search(release) is not None

    def holds(self, release: str) -> bool:
        """Whether an RPM of the stream's images with this release is the stream's: one without a dist tag is, too."""
        return self.takes(release) or not has_dist(release)


def has_dist(release: str) -> bool:
    """Whether the release has the dist tag of some distribution. Builds for one release alone have none."""
    return DIST.search(release) is not None


def dist_of(release: str) -> str:
    """The dist tag in the release, as .fc42 in 1.fc42.1; "" where it has none."""
    match = DIST.search(release)
    whole = DIST_TAG.match(release, match.start()) if match else None
    return whole[0] if whole else ""


def _module_marks(dist: str) -> tuple[str, ...]:
    platform = dist.lstrip(".")
    if platform.startswith("fc"):
        platform = "f" + platform[2:]
    return f"{MODULE}_{platform}", f"{MODULE}+{platform}"


@lru_cache(maxsize=256)
def _expression(dists: tuple[str, ...]) -> re.Pattern[str]:
    """Finds any of the dist tags in a release, where nothing lengthens it."""
    marks = [mark for dist in dists for mark in (dist, *_module_marks(dist))]
    return re.compile(f"(?:{'|'.join(map(_mark, marks))})(?![0-9A-Za-z])")


def _mark(pattern: str) -> str:
    """The regular expression of one dist tag."""
    parts = GLOB.split(pattern)
    text = "".join(WILD.get(part) or (part if GLOB.fullmatch(part) else re.escape(part)) for part in parts)
    return text + (r"\d*" if pattern[-1:].isalpha() else "")


def dist_tags(texts: Iterable[str]) -> tuple[str, ...]:
    """The dist tags, without those that are empty. Raises ValueError for what is not a valid dist tag."""
    tags = tuple(text for text in texts if text)
    for text in tags:
        if re.search(r"[\s/:-]", GLOB.sub("", text)):
            raise ValueError(f"{text!r} is not a valid dist tag: use .fc42, .eln or .el9*")
    return tags


class Manifest(Struct, frozen=True, dict=True):
    """Every RPM in an image build, inherited ones included, over all architectures: what `rpm -qa` says."""

    rpms: frozenset[Rpm]

    @cached_property
    def digest(self) -> str:
        """The same for the same set of RPMs, whatever their order."""
        return hashlib.sha256("\n".join(sorted(map(_line, self.rpms))).encode()).hexdigest()

    @classmethod
    def of(cls, rpms: Iterable[Rpm]) -> Manifest:
        """A manifest of these RPMs; one that is listed twice counts once."""
        return cls(frozenset(rpms))


@lru_cache(maxsize=65536)
def _line(rpm: Rpm) -> str:
    return f"{rpm.nevra} {rpm.sourcerpm}"


class ImageBuild(Struct, frozen=True):
    """One finished build of an image. `ident` is its NVR or image id, `parents` the idents it was built on.

    `externals` are the external parents that it is known to stand on. `manifest` is None where it could not be read:
    such an image is reported as unknown, never guessed at. `tags` has
    the pull specs by which others find it. `built` is when it was built (seconds since the epoch), where a source says
    so.
    """

    image: str
    ident: str
    manifest: Manifest | None = None
    parents: tuple[str, ...] = ()
    digest: str = ""
    tags: tuple[str, ...] = ()
    built: float | None = None
    externals: tuple[PinnedParent, ...] = ()


class Fault(Struct, frozen=True):
    """An image that could not be read from its source; `told` says why, with the file and its line."""

    image: str
    told: str


class Inventory(Struct, frozen=True):
    """All images of one source, their streams, and their current builds; `faults` has what could not be read.

    `hints` tell people of what may be meant otherwise.
    """

    images: tuple[Image, ...]
    streams: tuple[Stream, ...] = ()
    builds: tuple[ImageBuild, ...] = ()
    faults: tuple[Fault, ...] = ()
    hints: tuple[str, ...] = ()
