"""The bus side: fedora-messaging's callback, and one small parser for each family of topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consumers.inbox import Inbox

__all__ = ["Inbox"]


def __getattr__(name: str) -> Any:
    """`consumers:Inbox` for fedora-messaging; whoever only parses messages does not load its event loop."""
    if name == "Inbox":
        from consumers.inbox import Inbox

        return Inbox
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
