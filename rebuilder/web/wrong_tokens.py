"""Wrong tokens: each is answered a little later than the one before from the same address, and the log names it.

Right tokens never wait, wherever they come from: behind a proxy everybody has one address. 256 bits cannot be guessed;
this keeps whoever tries from being many, and tells people of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

from fastapi import HTTPException
from msgspec import Struct

log = logging.getLogger(__name__)
FREE = 3  # mistakes that anybody makes
FIRST_SECONDS, MOST_SECONDS = 0.25, 4.0
FORGOTTEN_SECONDS = 900.0  # without another one
MOST_ADDRESSES = 10_000
WAITING, WAITING_OF_ONE = 100, 10  # answers that are held back at once: each takes the place of a connection


class _Tries(Struct):
    count: int = 0
    last: float = 0.0
    waiting: int = 0


class WrongTokens:
    """Counts them by address, for one application, on its event loop."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._tries: OrderedDict[str, _Tries] = OrderedDict()
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._tries)

    async def slow_down(self, host: str) -> None:
        """Note one more from this address, and hold its answer back. Raises HTTPException 429 where too many are."""
        tries = self._noted(network_of(host))
        if tries.count & (tries.count - 1) == 0:  # 1, 2, 4, 8: as many lines as doublings
            log.warning("web: wrong tokens from %s: %d", network_of(host), tries.count)
        if tries.count <= FREE:
            return
        seconds = min(FIRST_SECONDS * 2 ** min(tries.count - FREE - 1, 16), MOST_SECONDS)
        if self._waiting >= WAITING or tries.waiting >= WAITING_OF_ONE:
            headers = {"Retry-After": str(round(seconds) or 1), "Connection": "close"}
            raise HTTPException(429, "too many wrong tokens", headers)
        self._waiting += 1
        tries.waiting += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting -= 1
            tries.waiting -= 1

    def _noted(self, network: str) -> _Tries:
        """The tries from there, with this one. Of too many addresses, that which was quiet longest is forgotten."""
        now = self._monotonic()
        tries = self._tries.pop(network, None) or _Tries()
        if now - tries.last > FORGOTTEN_SECONDS:
            tries.count = 0
        tries.count, tries.last = tries.count + 1, now
        self._tries[network] = tries
        if len(self._tries) > MOST_ADDRESSES:
            self._tries.popitem(last=False)
        return tries


def network_of(host: str) -> str:
    """The address, or of IPv6 the network: each client has 2^64 addresses there."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(getattr(address, "ipv4_mapped", None) or address)
