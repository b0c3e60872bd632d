"""Plans and reasons in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from rebuilder.cli.output import bold, joined, line
from rebuilder.domain.change import Change
from rebuilder.domain.impact import Reason, Skip
from rebuilder.domain.reasons import Kind, Part, sentence
from rebuilder.domain.times import format_time
from rebuilder.queries.words import LEFT_OUT

if TYPE_CHECKING:
    from rebuilder.queries.image_state import StateOfImage  # it loads the database, which a plan does without


def left_out(reason: Skip, by: str) -> Text:
    """Why an image is left out."""
    before, of_somebody, after = LEFT_OUT[reason].partition("{by}")
    return line(before, bold(by), after) if of_somebody else line(before)


def format_reason(reason: Reason) -> Text:
    """One reason: the RPM, the layer that brought it in, and what is available."""
    return line(*map(_part, sentence(reason)))


def _part(part: Part) -> Text | str:
    match part.kind:
        case Kind.IMAGE:
            return bold(part.text)
        case Kind.OLDER:
            return " < "
    return part.text


def format_reasons(reasons: Sequence[Reason], every: bool) -> list[Text]:
    """The reasons in words; one and the number of the others unless `every` is asked for."""
    said = [format_reason(reason) for reason in (reasons if every else reasons[:1])]
    return said if len(said) == len(reasons) else [*said, line(f"and {len(reasons) - 1} more")]


def names(images: Iterable[str]) -> Text:
    """Images in a row."""
    return joined(", ", map(bold, images))


def told_of(change: Change) -> str:
    """A change with its severity and its update."""
    severity = "" if change.severity == "unspecified" else f", {change.severity}"
    update = f", {change.update}" if change.update else ""
    return f"{change.build} in {change.stream}{severity}{update}"


def lacks(image: StateOfImage) -> str:
    """The changes that an image lacks, and since when."""
    named = ", ".join(f"{one.nvr} ({', '.join((one.severity, *one.cves))})" for one in image.missing)
    beyond = image.missing_count - len(image.missing)
    more = f" and {beyond} more" if beyond else ""
    return f"{named}{more}" + (f" since {format_time(image.since)}" if image.since else "")
