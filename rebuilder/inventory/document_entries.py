"""What the entries of an inventory document mean: each as a value of the domain, where nothing in it is wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import msgspec

from rebuilder.domain.image import (
    LONGEST_NAME,
    LONGEST_SPEC,
    Care,
    Image,
    Parent,
    ParentKind,
    Source,
    Stream,
    dist_tags,
)
from rebuilder.domain.image_name import ImageName
from rebuilder.inventory.schema import (
    CareEntry,
    DocumentError,
    ImageEntry,
    ParentEntry,
    SourceEntry,
    StreamEntry,
    misshapen,
)

LONGEST_BUILD = 1e9
TEXTS = ("git", "ref", "commit", "path", "containerfile", "target", "registry", "digest", "upgrades")  # of a source


def parse_stream(name: str, value: Any) -> Stream:
    """The stream of this name, by what the document has for it. Raises DocumentError."""
    try:
        entry = msgspec.convert(value or {}, StreamEntry)
    except msgspec.ValidationError as error:
        raise misshapen(error, "streams", name) from None
    written = [entry.dist] if isinstance(entry.dist, str) else entry.dist
    try:
        dist = dist_tags(_text(text, "streams", name, "dist") for text in written)
    except ValueError as error:
        raise DocumentError(str(error), "streams", name, "dist") from None
    return Stream(_short(name, "streams", name), dist)


def parse_image(entry: ImageEntry, at: int) -> Image:
    """The image of the entry at this place of `images`, without its RPMs. Raises DocumentError."""
    place = "images", at
    if not 0 <= entry.duration < LONGEST_BUILD:
        raise DocumentError("must be seconds", *place, "duration")
    _short(entry.build, *place, "build")
    stream = _name(entry.stream, *place, "stream")
    return Image(
        _name(entry.name, *place, "name"),
        stream,
        tuple(_parent(item, stream, *place, "parents", which) for which, item in enumerate(entry.parents or ())),
        _source(entry.source, *place, "source") if entry.source else Source(),
        float(entry.duration),
        _text(entry.pull_spec, *place, "pull_spec"),
    )


def parse_time(text: str, *place: str | int) -> float | None:
    """Seconds since the epoch; a time without a zone is UTC. None for an empty text. Raises DocumentError."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise DocumentError("must be a time like 2026-11-28T09:00:00Z", *place) from None


def _source(entry: SourceEntry, *place: str | int) -> Source:
    file = PurePosixPath(entry.containerfile)
    if file.is_absolute() or ".." in file.parts:
        raise DocumentError("must be a file in the folder of the source", *place, "containerfile")
    texts = {key: _text(getattr(entry, key), *place, key) for key in TEXTS}
    for key in ("platforms", "build_args"):
        for value in getattr(entry, key):
            _text(value, *place, key)
    return Source(
        **texts, build_args=tuple(sorted(entry.build_args.items())), platforms=entry.platforms,
        care=_care(entry.care, *place, "care"),
    )  # fmt: skip


def _care(care: CareEntry, *place: str | int) -> Care:
    for key in ("test_timeout", "max_age"):
        if not 0 <= getattr(care, key) < LONGEST_BUILD:
            raise DocumentError("must be seconds", *place, key)
    if care.test and care.test_script:
        raise DocumentError("cannot be combined with test: name one of them", *place, "test_script")
    if care.test_script and not PurePosixPath(_text(care.test_script, *place, "test_script")).is_absolute():
        raise DocumentError("must be an absolute path", *place, "test_script")
    for owner in care.owners:
        _text(owner, *place, "owners")
    return Care(**msgspec.structs.asdict(care))


def _parent(item: str | ParentEntry, stream: str, *place: str | int) -> Parent:
    entry = ParentEntry(image=item) if isinstance(item, str) else item
    try:
        kind = ParentKind(entry.kind)
    except ValueError:
        raise DocumentError("must be base or stage", *place, "kind") from None
    if (entry.image is None) == (entry.external is None):
        raise DocumentError("a parent has image or external", *place)
    if entry.external is not None:
        return Parent(kind, external=_name(entry.external, *place, "external", longest=LONGEST_SPEC))
    name = _name(entry.image or "", *place, "image")
    return Parent(kind, name if ":" in name else str(ImageName(name, stream)))


def _text(value: str, *place: str | int) -> str:
    if not value.isprintable():
        raise DocumentError("must be text without control characters", *place)
    if value.startswith("-"):  # a command that it is handed to would take it for an option
        raise DocumentError("must not begin with -", *place)
    return value


def _name(value: str, *place: str | int, longest: int = LONGEST_NAME) -> str:
    if not value:
        raise DocumentError("must not be empty", *place)
    return _short(value, *place, longest=longest)


def _short(value: str, *place: str | int, longest: int = LONGEST_NAME) -> str:
    if len(value) > longest:
        raise DocumentError(f"must have at most {longest} characters", *place)
    return _text(value, *place)
