"""One label for each word that says how something stands, for terminals, pages and drawings.

Words are the states of rebuilds, images and waves, why an image is left out, and how parts of a process are.
"""

from __future__ import annotations

from msgspec import Struct

PLAIN = "#000000"


class Label(Struct, frozen=True):
    """`style` is one of rich's, `shape` the name of a page's icon and colour, `colour` that of a drawing's box."""

    style: str
    shape: str
    colour: str = PLAIN


LABELS = {
    "waiting": Label("dim", "waiting", "#595959"),
    "queued": Label("cyan", "queued", "#0b6e8a"),
    "submitting": Label("blue", "submitting", "#1f5fbf"),
    "building": Label("bold blue", "building", "#0b3fa8"),
    "testing": Label("bold cyan", "testing", "#6a3fa0"),
    "succeeded": Label("green", "succeeded", "#1b6e2e"),
    "failed": Label("bold red", "failed", "#b3001b"),
    "blocked": Label("yellow", "blocked", "#8a5a00"),
    "unneeded": Label("dim green", "unneeded", "#4d6b50"),
    "canceled": Label("magenta", "canceled", "#8b1a8b"),
    "rejected": Label("red", "failed"),
    "rebuild": Label("bold yellow", "queued", "#b34700"),
    "already-current": Label("green", "succeeded", "#1b6e2e"),
    "not-installed": Label("green", "succeeded"),
    "other-stream": Label("dim", "unneeded", "#595959"),
    "other-module": Label("dim", "unneeded", "#595959"),
    "dropped": Label("dim", "unneeded", "#595959"),
    "withdrawn": Label("dim", "unneeded", "#595959"),
    "unknown": Label("yellow", "unknown", "#8a5a00"),
    "current": Label("green", "succeeded"),
    "stale": Label("bold yellow", "stale"),
    "held": Label("magenta", "held", "#5b3cc4"),
    "policy": Label("magenta", "held", "#5b3cc4"),
    "parent-left-out": Label("yellow", "blocked", "#6b4f3a"),
    "waits-for-parent": Label("yellow", "waiting", "#6b4f3a"),
    "pinned-parent": Label("yellow", "held", "#6b4f3a"),
    "finished": Label("", "succeeded"),
    "running": Label("", "building"),
    "planned": Label("", "held"),
    "well": Label("", "succeeded"),
    "trouble": Label("", "failed"),
    "late": Label("", "stale"),
}
NO_LABEL = Label("", "")


def label_of(word: str) -> Label:
    """The label of the word; a plain one where it has none."""
    return LABELS.get(word, NO_LABEL)
