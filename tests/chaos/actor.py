"""An engine's process, with a builder that takes every submission, and writes each down for good."""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

_real_time = time.time
_offset: mmap.mmap | None = None


def _set_time() -> float:
    """The wall's clock, as far as somebody has set it."""
    return _real_time() + (struct.unpack("d", _offset[:8])[0] if _offset is not None else 0.0)


time.time = _set_time  # before anybody keeps a reference to it

from sqlalchemy import Engine  # noqa: E402

from rebuilder.builders.simulated import SimulatedBuilder  # noqa: E402
from rebuilder.cli import daemons, main  # noqa: E402, F401
from rebuilder.config import Settings  # noqa: E402
from rebuilder.domain.build import BuildRequest, Submission  # noqa: E402
from rebuilder.engine import factory, loop, standby  # noqa: E402
from rebuilder.store import lease  # noqa: E402

_builder_for = factory.builder_for


class Part(Struct, frozen=True):
    """What an engine is started with."""

    configuration: str
    ledger: str
    log: str
    clock: str
    short_lease: bool
    hung_percent: int = 0


class LedgerBuilder(SimulatedBuilder):
    """The ledger is the builder's memory, and the judge's: a line for each submission, whoever makes it."""

    ledger = Path()
    hung_percent = 0

    def submit(self, order: BuildRequest) -> Submission:
        line = json.dumps({"key": order.key, "image": order.image.key, "process": os.getpid()}) + "\n"
        descriptor = os.open(self.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
        self._hang(order.key)
        return super().submit(order)

    def find(self, keys: Sequence[str]) -> Mapping[str, Submission]:
        submitted = {entry["key"] for entry in entries(self.ledger)}
        return {key: Submission(key) for key in keys if key in submitted}

    def poll(self, refs: Sequence[str]) -> Mapping[str, object]:  # type: ignore[override]
        self._hang("".join(refs) + str(int(time.monotonic())))
        return super().poll(refs)

    def _hang(self, seed: str) -> None:
        """Some calls are never answered."""
        if sum(seed.encode()) % 100 < self.hung_percent:
            self._closed.wait()


def entries(ledger: Path) -> list[dict[str, str]]:
    """What was submitted, in order."""
    if not ledger.exists():
        return []
    return [json.loads(line) for line in ledger.read_text(encoding="utf-8").splitlines()]


def act(part: Part) -> None:
    """Be an engine, from now on."""
    global _offset
    with Path(part.log).open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    with Path(part.clock).open("r+b") as file:
        _offset = mmap.mmap(file.fileno(), 8)
    if part.short_lease:
        _shorten()
    LedgerBuilder.ledger, LedgerBuilder.hung_percent = Path(part.ledger), part.hung_percent
    factory.builder_for = _ledger_builder
    main(["--config", part.configuration, "engine"])


def _shorten() -> None:
    """The same lease, ten times shorter: there is time for ten times the faults."""
    lease.LEASE_SECONDS, lease.SURE_SECONDS, lease.ENDED_SECONDS, lease.GAP_SECONDS = 1.5, 1.0, 0.4, 0.7
    standby.LOOK_SECONDS = 0.1
    loop.DATABASE_PAUSE = 0.5


def _ledger_builder(engine: Engine, settings: Settings) -> SimulatedBuilder:
    made = _builder_for(engine, settings)
    assert isinstance(made, SimulatedBuilder)
    return LedgerBuilder(made._settings, made._manifest_of, recall=made._recall)
