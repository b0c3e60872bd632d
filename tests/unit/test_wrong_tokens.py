"""Who sends wrong tokens is counted, as long as it matters, in bounded memory."""

from __future__ import annotations

import asyncio
import logging

import pytest
from fastapi import HTTPException

from rebuilder.web import wrong_tokens
from rebuilder.web.wrong_tokens import FORGOTTEN_SECONDS, FREE, MOST_ADDRESSES, WAITING, WrongTokens, network_of


class Monotonic:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(wrong_tokens.asyncio, "sleep", sleep)
    return found


def send(wrong: WrongTokens, *hosts: str) -> None:
    async def all_of_them() -> None:
        for host in hosts:
            await wrong.slow_down(host)

    asyncio.run(all_of_them())


def test_the_first_ones_are_free_and_the_pause_grows_to_an_end(slept: list[float]) -> None:
    send(WrongTokens(Monotonic()), *["192.0.2.1"] * (FREE + 100))
    assert slept[:6] == [0.25, 0.5, 1, 2, 4, 4]
    assert len(slept) == 100
    assert max(slept) == 4


def test_each_address_has_its_own_count(slept: list[float]) -> None:
    send(WrongTokens(Monotonic()), *[f"192.0.2.{n}" for n in range(200)], "", "testclient")
    assert slept == []


def test_what_is_long_ago_is_forgotten(slept: list[float]) -> None:
    clock = Monotonic()
    wrong = WrongTokens(clock)
    send(wrong, *["192.0.2.1"] * (FREE + 2))
    clock.now += FORGOTTEN_SECONDS + 1
    send(wrong, *["192.0.2.1"] * FREE)
    assert len(slept) == 2


def test_addresses_without_end_take_no_memory_without_end() -> None:
    wrong = WrongTokens(Monotonic())
    send(wrong, *[f"2001:db8:{n >> 16:x}:{n & 0xFFFF:x}::1" for n in range(MOST_ADDRESSES + 5000)])
    assert len(wrong) == MOST_ADDRESSES


def test_a_client_with_a_network_of_its_own_is_one_client(slept: list[float]) -> None:
    wrong = WrongTokens(Monotonic())
    send(wrong, *[f"2001:db8::{n:x}" for n in range(1, FREE + 2)])
    assert (len(wrong), len(slept)) == (1, 1)
    assert network_of("2001:db8::1:2:3:4") == "2001:db8::/64"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"


def test_the_log_has_a_line_for_each_doubling(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    send(WrongTokens(Monotonic()), *["192.0.2.1"] * 1000)
    assert [record.getMessage().rpartition(" ")[2] for record in caplog.records] == [str(2**n) for n in range(10)]


def test_only_so_many_answers_are_held_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = WrongTokens(Monotonic())
    send(wrong, *[f"192.0.{n}.1" for n in range(WAITING + 1) for _ in range(FREE)])

    async def flood() -> list[object]:
        end = asyncio.Event()

        async def sleep(seconds: float) -> None:
            await end.wait()

        monkeypatch.setattr(wrong_tokens.asyncio, "sleep", sleep)
        waiting = [asyncio.create_task(wrong.slow_down(f"192.0.{n}.1")) for n in range(WAITING + 1)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        end.set()
        return [task.exception() for task in done]

    (refused,) = asyncio.run(flood())
    assert isinstance(refused, HTTPException)
    assert refused.status_code == 429
    assert refused.headers == {"Retry-After": "1", "Connection": "close"}
