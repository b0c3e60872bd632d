"""`status NAME…`: what some images are, and how far some updates, CVEs or new bases have come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rebuilder.cli.client import Source
from rebuilder.cli.formatting import lacks
from rebuilder.cli.output import as_json, print_line, styled
from rebuilder.domain.change import CVE
from rebuilder.domain.errors import RequestError
from rebuilder.domain.external import short
from rebuilder.domain.rpm import SourceBuild
from rebuilder.domain.times import format_time
from rebuilder.domain.wording import few
from rebuilder.queries.coverage import Coverage, Fix, ImageCoverage
from rebuilder.queries.image_records import ImageInFull

SHOWN = 20


def show(client: Source, names: Sequence[str], json_: bool) -> int:
    """Show what each of these is; 1 where an image is not current, or a fix not everywhere, 2 where no image carries
    what should have one. Raises RequestError.
    """
    images, updates = list[ImageInFull](), list[Coverage]()
    for name in names:
        item = _find(client, name)
        if isinstance(item, ImageInFull):
            images.append(item)
        else:
            updates.append(item)
    if json_:
        as_json({"images": images, "updates": updates})
    else:
        _print(images, updates)
    if any(update.percent is None for update in updates):
        return 2
    well = all(image.state == "current" for image in images) and all(update.everywhere for update in updates)
    return 0 if well else 1


def _print(images: Iterable[ImageInFull], updates: Iterable[Coverage]) -> None:
    for image in images:
        _image(image)
    for update in updates:
        _update(update)


def _find(client: Source, name: str) -> ImageInFull | Coverage:
    """The image of that name, else the update, source build, CVE or external parent."""
    if CVE.fullmatch(name):
        return client.coverage(name)
    try:
        return client.image(name)
    except RequestError:
        if _may_be_update(name):
            return client.coverage(name)
        raise


def _may_be_update(name: str) -> bool:
    """Whether it looks like a source build, or the pull spec of an external parent."""
    if "/" in name or "@" in name:
        return True
    try:
        SourceBuild.parse(name)
    except RequestError:
        return False
    return True


def _image(image: ImageInFull) -> None:
    why = f" ({image.why})" if image.why else ""
    print_line(image.image, ": ", styled(image.state, image.state), why,
               f"; lacks {lacks(image)}" if image.missing else "",
               f"; its base {image.base.spec} is {short(image.base.digest)} now" if image.base else "",
               f"; last rebuild {image.last_rebuild}" if image.last_rebuild else "")  # fmt: skip


def _update(update: Coverage) -> None:
    percent = "unknown" if update.percent is None else f"{update.percent}%"
    print_line(update.name, f": {percent}", f"; {update.hint}" if update.hint else "")
    for fix in update.fixes:
        _fix(fix)


def _fix(fix: Fix) -> None:
    details = "" if fix.is_base else f" ({', '.join((fix.severity, *fix.cves))})"
    having = "stand on it, or on a later one" if fix.is_base else "have it"
    print_line(f"  {fix.title} in {fix.stream}{details}: {fix.current} of {fix.of} images {having}")
    for line in _without(fix.images):
        print_line(f"    {line}")


def _without(images: Sequence[ImageCoverage]) -> Iterator[str]:
    """What there is to say of the images that do not have the fix yet."""
    counts = Counter(image.state for image in images)
    del counts["current"]
    if counts:
        yield ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    if counts["failed"]:
        failed = [image.image for image in images if image.state == "failed"]
        yield f"failed: {few(failed, SHOWN)}"
    ends = sorted(image.eta for image in images if image.eta)
    if ends:
        yield f"the last that is under way should be done at {format_time(ends[-1])}"
