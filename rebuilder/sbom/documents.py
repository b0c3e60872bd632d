"""The formats of bills of materials, and the document of a build in one of them."""

from __future__ import annotations

from enum import StrEnum

from rebuilder.distribution import needs
from rebuilder.sbom.contents import Contents

EXTRA = "sbom"


class Format(StrEnum):
    """How a bill of materials is written; `media_type` is what registries call it."""

    CYCLONEDX = "cyclonedx"
    SPDX = "spdx"

    @property
    def media_type(self) -> str:
        """The registered media type of such a document."""
        return f"application/{'vnd.' if self is Format.CYCLONEDX else ''}{self.value}+json"


def document(contents: Contents, form: Format) -> str:
    """The document as JSON. Raises RequestError where the extra `sbom` is not installed."""
    with needs(EXTRA, "a bill of materials"):
        if form is Format.CYCLONEDX:
            from rebuilder.sbom import cyclonedx

            return cyclonedx.document(contents)
        from rebuilder.sbom import spdx

        return spdx.document(contents)
