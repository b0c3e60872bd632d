"""The operators' rules: which images take up which changes by themselves."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from rebuilder.domain.change import Change, Severity
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Image
from rebuilder.domain.image_name import name_of


class Action(StrEnum):
    """What a rule says of the image and the change that it fits. `approve`: an operator has to agree first."""

    ALLOW = "allow"
    DENY = "deny"
    APPROVE = "approve"


class Pattern(Struct, frozen=True):
    """A glob (`web-*`), or a regular expression between slashes (`/web-(a|b)/`); either must fit the whole text."""

    text: str
    expression: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Raises RequestError for an empty pattern, and for a regular expression that is none."""
        if not text:
            raise RequestError("a pattern must not be empty")
        if not (len(text) > 1 and text[0] == text[-1] == "/"):
            return cls(text, re.compile(fnmatch.translate(text)))
        try:
            return cls(text, re.compile(text[1:-1]))
        except re.error as error:
            raise RequestError(f"{text} is not a regular expression: {error}") from None

    def fits(self, text: str) -> bool:
        """Whether it matches the whole text."""
        return self.expression.fullmatch(text) is not None

    def fits_image(self, key: str) -> bool:
        """A pattern with a colon is held against `name:stream`, one without against the name alone."""
        return self.fits(key if ":" in self.text else name_of(key))


Patterns = tuple[Pattern, ...]


class Rule(Struct, frozen=True):
    """Fits where each of its lists has an entry that does; an empty list fits everything.

    `external` says what is done with images whose external parent lacks the change (wait, build, auto); "" is not said.
    """

    name: str
    action: Action
    image: Patterns = ()
    stream: Patterns = ()
    package: Patterns = ()
    severity: tuple[Severity, ...] = ()
    type: Patterns = ()
    external: str = ""
    cve: Patterns = ()

    def fits_change(self, change: Change) -> bool:
        """Whether what the rule says of changes holds for this one; a key that it does not name fits all."""
        return (
            _any(self.stream, change.stream)
            and _any(self.package, change.build.name)
            and (not self.severity or change.severity in self.severity)
            and _any(self.type, change.type)
            and (not self.cve or any(_any(self.cve, cve) for cve in change.cves))
        )

    def fits_image(self, image: Image) -> bool:
        """Whether one of the rule's image patterns matches; a rule without any fits all images."""
        return not self.image or any(pattern.fits_image(image.key) for pattern in self.image)


def _any(patterns: Patterns, text: str) -> bool:
    return not patterns or any(pattern.fits(text) for pattern in patterns)


def about(rules: Sequence[Rule], change: Change) -> tuple[Rule, ...]:
    """The rules that may decide on this change, in their order."""
    return tuple(rule for rule in rules if rule.fits_change(change))


def decide(rules: Sequence[Rule], image: Image) -> Rule | None:
    """Of the rules about a change the first that fits the image decides; with none, the change is taken up."""
    return next((rule for rule in rules if rule.fits_image(image)), None)


def keeping_from_bases(rules: Sequence[Rule], image: Image) -> Rule | None:
    """The rule that keeps the image from being rebuilt by itself for a new base's sake; None where none does.

    Those that ask for a package, a severity, a type or a CVE say nothing of it: a digest has none of these.
    """
    plain = (r for r in rules if not (r.package or r.severity or r.type or r.cve) and _any(r.stream, image.stream))
    rule = decide(tuple(plain), image)
    return rule if rule is not None and rule.action is not Action.ALLOW else None
