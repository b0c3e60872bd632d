"""`status NAME…`: what some images are, and how far some updates or CVEs have come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rebuilder.cli.client import Source
from rebuilder.cli.output import as_json, format_time, print_line, styled
from rebuilder.domain.change import CVE
from rebuilder.domain.errors import RequestError
from rebuilder.domain.rpm import SourceBuild
from rebuilder.queries.coverage import Coverage, Fix
from rebuilder.queries.records import ImageInFull

SHOWN = 20


def show(asked: Source, names: Sequence[str], json_: bool) -> int:
    """Show what each of these is; 1 where an image is not current, or a fix not everywhere. Raises RequestError."""
    found = [_find(asked, name) for name in names]
    images = [one for one in found if isinstance(one, ImageInFull)]
    updates = [one for one in found if isinstance(one, Coverage)]
    if json_:
        as_json({"images": [one.model_dump(mode="json") for one in images],
                 "updates": [one.model_dump(mode="json") for one in updates]})  # fmt: skip
    else:
        for image in images:
            _image(image)
        for update in updates:
            _update(update)
    return int(any(one.state != "current" for one in images) or not all(one.everywhere for one in updates))


def _find(asked: Source, name: str) -> ImageInFull | Coverage:
    """The image of that name, else the update, source build or CVE."""
    if CVE.fullmatch(name):
        return asked.coverage(name)
    try:
        return asked.image(name)
    except RequestError:
        try:
            SourceBuild.parse(name)
        except RequestError:
            pass
        else:
            return asked.coverage(name)
        raise


def _image(found: ImageInFull) -> None:
    lacks = ", ".join(f"{one.nvr} ({', '.join((one.severity, *one.cves))})" for one in found.missing)
    since = f" since {format_time(found.since)}" if found.since else ""
    why = f" ({found.why})" if found.why else ""
    print_line(found.image, ": ", styled(found.state, found.state), why, f"; lacks {lacks}{since}" if lacks else "",
               f"; last rebuild {found.last_rebuild}" if found.last_rebuild else "")  # fmt: skip


def _update(found: Coverage) -> None:
    percent = "unknown" if found.percent is None else f"{found.percent}%"
    print_line(found.name, f": {percent}", f"; {found.hint}" if found.hint else "")
    for fix in found.fixes:
        _fix(fix)


def _fix(fix: Fix) -> None:
    told = ", ".join((fix.severity, *fix.cves))
    print_line(f"  {fix.source}-{fix.evr} in {fix.stream} ({told}): {fix.current} of {fix.of} images have it")
    counts = Counter(image.state for image in fix.images if image.state != "current")
    if counts:
        print_line("    ", ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    failed = [image.image for image in fix.images if image.state == "failed"]
    if failed:
        more = f" and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
        print_line(f"    failed: {', '.join(failed[:SHOWN])}{more}")
    expected = [image.eta for image in fix.images if image.eta]
    if expected:
        print_line(f"    the last that is under way should be done at {format_time(max(expected))}")
