"""How many examples Hypothesis tries: few while one works (`dev`), the usual (`ci`), or many over night (`night`).

`pytest --hypothesis-profile=night` chooses. A test that needs more or fewer than others says how many are usual.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings

USUAL = 100


def register() -> None:
    """Make the profiles known, and begin with `ci`. It tries the same examples each time: a change alone fails it."""
    settings.register_profile("dev", max_examples=USUAL // 5, deadline=None)
    settings.register_profile("ci", max_examples=USUAL, deadline=None, derandomize=True)
    settings.register_profile("night", max_examples=USUAL * 20, deadline=None)
    settings.load_profile("ci")


def examples(usual: int, **more: Any) -> settings:
    """The settings of a test that tries so many in the profile `ci`."""
    return settings(max_examples=max(1, usual * settings.default.max_examples // USUAL), **more)
