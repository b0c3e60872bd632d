"""A rule of the policy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from rebuilder.config.table import OneOrMore, StrictModel
from rebuilder.domain.change import Severity
from rebuilder.domain.errors import RequestError
from rebuilder.domain.policy import Action, Pattern, Rule


class RuleSettings(StrictModel):
    """A rule of the policy; see `rebuilder.domain.policy.Rule`. Each list may be a single word."""

    name: str = Field(min_length=1)
    action: Literal["allow", "deny", "approve"]
    image: OneOrMore[str] = ()
    stream: OneOrMore[str] = ()
    package: OneOrMore[str] = ()
    severity: OneOrMore[Severity] = ()
    type: OneOrMore[str] = ()
    external: Literal["wait", "build", "auto", ""] = ""
    cve: OneOrMore[str] = ()

    @field_validator("image", "stream", "package", "type", "cve")
    @classmethod
    def _patterns(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            try:
                Pattern.parse(text)
            except RequestError as error:
                raise ValueError(str(error)) from None
        return texts

    @property
    def rule(self) -> Rule:
        """The rule, with its patterns compiled. Raises ValueError for a pattern that is none."""
        image, stream, package, kind, cve = (
            tuple(map(Pattern.parse, texts)) for texts in (self.image, self.stream, self.package, self.type, self.cve)
        )
        return Rule(
            self.name, Action(self.action), image, stream, package, self.severity, kind, self.external, cve
        )
