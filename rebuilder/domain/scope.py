"""What a token is for: orders, and the images that they may be about."""

from __future__ import annotations

from typing import Self

from msgspec import Struct

from rebuilder.domain.policy import Pattern

ALL = "all"


class Scope(Struct, frozen=True):
    """An order, or `all` of them, about the images that a pattern of the policy fits; without one about anything."""

    order: str
    images: Pattern | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """`retry`, or `retry:httpd*:f42`: the images as in a rule of the policy. Raises RequestError for no pattern."""
        order, colon, images = text.partition(":")
        return cls(order, Pattern.parse(images) if colon else None)

    def covers(self, order: str, image: str | None) -> bool:
        """Whether it is for this order about an image (name:stream), or, with None, about more than one image."""
        if self.order not in (ALL, order):
            return False
        return self.images is None or (image is not None and self.images.fits_image(image))
