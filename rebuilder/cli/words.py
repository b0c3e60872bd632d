"""Plans and reasons in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.text import Text

from rebuilder.cli.output import joined, line, named
from rebuilder.domain.affected import Reason, Skip, Skipped
from rebuilder.domain.change import Change

LEFT_OUT = {
    Skip.ALREADY_CURRENT: "already current",
    Skip.OTHER_MODULE: "its RPM and the update are not of the same module",
    Skip.OTHER_STREAM: "of another stream",
    Skip.DROPPED: "the update has no such RPM any more",
    Skip.UNKNOWN: "nobody could read what is in it",
    Skip.POLICY: "left out by the policy's rule {by}",
    Skip.HELD: "held by {by}",
    Skip.PARENT_LEFT_OUT: "it would be built on the old {by}, which is left out",
}


def left_out(reason: Skip, by: str) -> Text:
    """Why an image is left out."""
    before, of_somebody, after = LEFT_OUT[reason].partition("{by}")
    return line(before, named(by), after) if of_somebody else line(before)


def because(reason: Reason) -> Text:
    """One reason: the RPM, the layer that brought it in, and what is offered."""
    if reason.kind == "parent":
        return line("its parent ", named(reason.inherited_from), f" is rebuilt for {reason.change.build}")
    layer = line("from ", named(reason.inherited_from)) if reason.inherited_from else line("its own")
    if reason.external:
        layer = line(layer, f" or from outside the inventory: {reason.external}")
    return line(f"{reason.installed} (", layer, f") < {reason.change.build.evr.version_release}")


def sentences(reasons: Sequence[Reason], every: bool) -> list[Text]:
    """The reasons in words; one and the number of the others unless `every` is asked for."""
    said = [because(reason) for reason in (reasons if every else reasons[:1])]
    return said if len(said) == len(reasons) else [*said, line(f"and {len(reasons) - 1} more")]


def names(images: Iterable[str]) -> Text:
    """Images in a row."""
    return joined(", ", map(named, images))


def told_of(change: Change) -> str:
    """A change with its severity and its update."""
    severity = "" if change.severity == "unspecified" else f", {change.severity}"
    update = f", {change.update}" if change.update else ""
    return f"{change.build} in {change.stream}{severity}{update}"


def written_reason(reason: Reason) -> dict[str, Any]:
    """A reason as scripts read it; `external` only where the RPM may come from outside the inventory."""
    written = {
        "kind": reason.kind,
        "installed": reason.installed or None,
        "available": reason.change.build.evr.version_release,
        "inherited_from": reason.inherited_from or None,
    }
    return {**written, "external": reason.external} if reason.external else written


def written_skip(skipped: Skipped) -> dict[str, str]:
    """An image that is left out as scripts read it; `by` only where somebody or something is named."""
    written = {"image": skipped.image, "reason": str(skipped.reason)}
    return {**written, "by": skipped.by} if skipped.by else written
