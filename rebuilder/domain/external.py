"""External parents: images that others build, and what a rebuild on them can bring in.

Pure. An RPM that an image has from its external parent stays old, however often the image is rebuilt, until that parent
has a newer one; unless the image upgrades packages itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from msgspec import Struct, field

from rebuilder.domain.change import Change
from rebuilder.domain.image import Image, ParentKind
from rebuilder.domain.policy import Rule
from rebuilder.domain.rpm import Rpm

LATEST = "latest"  # the tag that a pull spec without one means
SHORT = 12  # characters of a digest that people read


class Wait(StrEnum):
    """What is done with an image whose external parent still has the old RPM. `auto`: built where it upgrades."""

    WAIT = "wait"
    BUILD = "build"
    AUTO = "auto"


class ExternalImage(Struct, frozen=True):
    """An external parent as its registry has it: `digest` is there since `since` (seconds since the epoch).

    `rpms` are those that its platforms in use have of the packages that were asked about. `pinned` says that the pull
    spec names the digest itself; `offered` is then what its tag names now, "" where that is not known.
    """

    spec: str
    digest: str = ""
    since: float | None = None
    rpms: Sequence[Rpm] = ()
    pinned: bool = False
    offered: str = ""

    def __str__(self) -> str:
        since = f", since {datetime.fromtimestamp(self.since, UTC):%Y-%m-%d %H:%M}" if self.since is not None else ""
        place = self.spec.partition("@")[0]
        advice = f"; its tag is {self.offered} now: pin that" if self.pinned and self.offered else ""
        return f"{place} ({short(self.digest)}{since}{advice})"

    def lacks(self, change: Change, rpm: Rpm) -> bool:
        """Whether it is where the image has the RPM from, and has none that the change would not make stale."""
        here = [mine for mine in self.rpms if (mine.name, mine.arch) == (rpm.name, rpm.arch)]
        return bool(here) and all(map(change.makes_stale, here))


def short(digest: str) -> str:
    """A digest as people read it: sha256:0123456789ab."""
    kind, colon, value = digest.partition(":")
    return f"{kind}{colon}{value[:SHORT]}"


def repository(spec: str) -> str:
    """The pull spec without its tag and digest; its registry may have a port."""
    head, slash, last = spec.partition("@")[0].rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def tag(spec: str) -> str:
    """The tag that the pull spec names, or means where it names none."""
    last = spec.partition("@")[0].rpartition("/")[2]
    return last.partition(":")[2] or LATEST


def pinned(spec: str) -> str:
    """The digest that the pull spec names; "" where it names a tag."""
    return spec.partition("@")[2]


def at_digest(spec: str, digest: str) -> str:
    """The same repository's image of that digest."""
    return f"{repository(spec)}@{digest}"


class ExternalDigest(Struct, frozen=True):
    """An external parent at one digest."""

    spec: str
    digest: str

    def __str__(self) -> str:
        return f"{self.spec}@{self.digest}"


class BaseMoved(Struct, frozen=True):
    """The image does not stand on the digest that its external `base` has, `since` then (seconds since the epoch).

    `at` is the one that it stands on, "" where that is not known.
    """

    image: str
    base: ExternalDigest
    since: float | None = None
    at: str = ""

    def __str__(self) -> str:
        return f"its base {self.base.spec} is {short(self.base.digest)} now"


class Externals(Struct, frozen=True):
    """What is known of external parents, by pull spec, and what the operators want with images on old ones."""

    known: Mapping[str, ExternalImage] = field(default_factory=dict)
    wait: Wait = Wait.AUTO

    def __bool__(self) -> bool:
        return bool(self.known)

    def below(self, image: Image, change: Change, rpm: Rpm) -> ExternalImage | None:
        """The image's own external parent, where it hands the old RPM on to it."""
        for parent in image.parents:
            external = self.known.get(parent.external) if parent.kind is ParentKind.BASE else None
            if external is not None and external.lacks(change, rpm):
                return external
        return None

    def upgrades(self, image: Image, rules: Iterable[Rule]) -> str:
        """Why a rebuild may bring in what the parent lacks; "" where it cannot. `rules` are those about the change."""
        ruled = next((rule for rule in rules if rule.external and rule.fits_image(image)), None)
        wait = Wait(ruled.external) if ruled else self.wait
        if wait is Wait.BUILD:
            return f"rule {ruled.name}" if ruled else 'external = "build"'
        return image.source.upgrades if wait is Wait.AUTO else ""
