"""Throughput of the consumer beside a callback that does nothing, on the same broker at prefetch 1."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest
from support import bus

from rebuilder.demo.broker import Broker
from rebuilder.store import database

MESSAGES = 2000
ROUNDS = 3
NOTHING = "def nothing(message):\n    pass\n"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_inbox_keeps_at_least_0_8_of_the_throughput_of_a_callback_that_does_nothing(
    kind: str, broker: Broker, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'bench.db'}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    database.upgrade(database.open_database(url))
    (tmp_path / "nothing.py").write_text(NOTHING, encoding="utf-8")
    rates: dict[str, list[float]] = {"nothing:nothing": [], "consumers:Inbox": []}
    for number in range(ROUNDS):
        for callback, found in rates.items():
            queue = f"bench-{kind}-{number}-{callback.split(':')[1]}"
            found.append(rate(broker, bus.configure(tmp_path, broker, queue, url, callback), queue, tmp_path))
    medians = {callback: statistics.median(found) for callback, found in rates.items()}
    ratio = medians["consumers:Inbox"] / medians["nothing:nothing"]
    print(f"\n{kind}: {MESSAGES} messages, median of {ROUNDS} rounds")
    for callback, median in medians.items():
        print(f"  {callback:20} {median:7.0f} msg/s")
    print(f"  ratio {ratio:.2f} (at least 0.80)")


def rate(broker: Broker, configuration: Path, queue: str, folder: Path) -> float:
    """Messages a second from the first that was taken to the last."""
    with bus.channel(broker) as opened:
        opened.queue_declare(queue, durable=True)
        for _ in range(MESSAGES):
            bus.send(opened, queue, bus.update())
        with bus.consumer(configuration, folder):
            bus.until(lambda: bus.waiting(opened, queue) < MESSAGES, 0.002)
            began, taken = time.perf_counter(), MESSAGES - bus.waiting(opened, queue)
            bus.until(lambda: not bus.waiting(opened, queue), 0.005)
            return (MESSAGES - taken) / (time.perf_counter() - began)
