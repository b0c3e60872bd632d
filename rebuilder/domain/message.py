"""A message as it came from the bus, before anything was made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery. `id` is the key by which a message counts once; `body` is whatever JSON the sender wrote."""

    id: str
    topic: str
    headers: dict[str, Any]
    body: Any
    queue: str = ""
