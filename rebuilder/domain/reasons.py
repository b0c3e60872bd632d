"""Reasons as people and programs read them: one sentence for the terminal and the pages, one JSON for all answers.

What a reason has is named here and in the tables, and in the schemas of the messages, which stand alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NotRequired

from msgspec import Struct
from typing_extensions import TypedDict

from rebuilder.domain.change import Change
from rebuilder.domain.impact import Reason


class WrittenReason(TypedDict):
    """Why an image is rebuilt; `external` where the RPM may come from outside the inventory.

    `upgrades` says by what the change may come in although the external parent lacks it. `compared` is the source
    build of the installed RPM, where that has a version of its own.
    """

    kind: str
    installed: str | None
    available: str
    inherited_from: str | None
    external: NotRequired[str]
    compared: NotRequired[str]
    upgrades: NotRequired[str]


# What the description of the API says of them, with an example each, where no other answer has a key of that name.
MEANINGS: dict[str, tuple[str, Any]] = {
    "available": ("The version and release that is available.", "3.2.6-2.fc42"),
    "compared": ("The source build that was compared, where the RPM has a version of its own.", "openssl-3.2.4-3.fc42"),
    "inherited_from": ("The image that brought the RPM in (name:stream); null for the image itself.", "fedora:f42"),
    "upgrades": ("What the RPM would become.", "3.2.6-2.fc42"),
}


def written_reason(reason: Reason) -> WrittenReason:
    """A reason as scripts read it."""
    written: WrittenReason = {
        "kind": reason.kind,
        "installed": reason.installed or None,
        "available": reason.change.build.evr.version_release,
        "inherited_from": reason.inherited_from or None,
    }
    if reason.external:
        written["external"] = reason.external
    if reason.compared:
        written["compared"] = reason.compared
    if reason.upgrades:
        written["upgrades"] = reason.upgrades
    return written


def reason_of(document: WrittenReason, change: Change) -> Reason:
    """The reason that a server wrote, with the change that it is about."""
    return Reason(
        document["kind"], change, document["installed"] or "", document["inherited_from"] or "",
        document.get("external", ""), document.get("compared", ""), document.get("upgrades", ""),
    )


def stale_rpm(reason: Reason) -> dict[str, str | None]:
    """The RPM that is older than the change, as messages tell it."""
    return {"installed": reason.installed, "inherited_from": reason.inherited_from or None}


class Kind(StrEnum):
    """What a part of a sentence is: `older` stands for 'is older than'."""

    TEXT = "text"
    IMAGE = "image"
    CODE = "code"
    OLDER = "older"


class Part(Struct, frozen=True):
    """A part of a sentence."""

    text: str
    kind: Kind = Kind.TEXT


def sentence(reason: Reason) -> Iterator[Part]:
    """One reason: the RPM, the layer that brought it in, and what is available."""
    if reason.kind == "parent":
        yield from (*brief(reason), Part(" is rebuilt for "), Part(str(reason.change.build), Kind.CODE))
        return
    yield from (Part(reason.installed, Kind.CODE), Part(" ("), *_layer(reason))
    if reason.external:
        yield from (Part(" or from outside the inventory: "), Part(reason.external, Kind.CODE))
    if reason.compared:
        yield from (Part(", of "), Part(reason.compared, Kind.CODE))
    yield from (Part(")"), Part("", Kind.OLDER), Part(reason.change.build.evr.version_release, Kind.CODE))
    if reason.upgrades:
        yield from (Part("; its parent lacks it, it may come in by "), Part(reason.upgrades, Kind.CODE))


def brief(reason: Reason) -> Iterator[Part]:
    """The same where the change is told beside it."""
    if reason.kind == "parent":
        yield from (Part("its parent "), Part(reason.inherited_from, Kind.IMAGE))
    else:
        yield from (Part(reason.installed, Kind.CODE), Part(" "), *_layer(reason))


def origin(reason: Reason) -> str:
    """The layer that an RPM is of, in brackets; "" where it is the image's own."""
    return f" (from {reason.inherited_from})" if reason.inherited_from else ""


def _layer(reason: Reason) -> Iterator[Part]:
    if reason.inherited_from:
        yield from (Part("from "), Part(reason.inherited_from, Kind.IMAGE))
    else:
        yield Part("its own")
