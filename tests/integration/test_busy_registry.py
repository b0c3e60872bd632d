"""A registry that answers 429 gets the pause that it asks for, within bounds, and is not asked in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from support import busy, registries
from support.registries import Registry, layer, with_rpms
from support.slowness import within

from rebuilder.config import RegistrySettings, settings_of
from rebuilder.inventory import external
from rebuilder.inventory.external import Wanted
from rebuilder.inventory.registry import images
from rebuilder.registry import rate_limits
from rebuilder.registry.errors import Cause, RegistryError
from rebuilder.registry.reader import RegistryReader

pytestmark = pytest.mark.usefixtures("without_tls")
OLD = "openssl-3.2.1-1.fc42"


def as_date() -> str:
    """In two seconds: dates of HTTP have no fractions."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)


def reach(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(tmp_path, host)))


@pytest.mark.parametrize("told", [lambda: "1", as_date, lambda: ""], ids=["seconds", "date", "nothing"])
@pytest.mark.parametrize("known", [True, False], ids=["HEAD", "skopeo"])
def test_a_pause_that_is_short_enough_is_made_and_then_the_answer_comes(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Callable[[], str], known: bool
) -> None:
    digest = registry.push("busy:42", [with_rpms(OLD)])
    refusing: list[bool] = []
    with busy.in_front_of(registry, lambda _: bool(refusing) and refusing.pop(), told) as server:
        reach(server.host, tmp_path, monkeypatch)
        reader = RegistryReader(RegistrySettings(call_seconds=20), tmp_path / "layers")
        assert reader.resolve(f"{server.host}/busy:42").digest == digest
        refusing.append(True)
        before, began = len(server.asked), time.monotonic()
        assert reader.resolve(f"{server.host}/busy:42", digest if known else "").digest == digest
        asked = [request for request in server.asked[before:] if "/manifests/" in request]
    assert 0.9 < time.monotonic() - began < within(10)
    assert asked == 2 * [f"{'HEAD' if known else 'GET'} /v2/busy/manifests/42"]


@pytest.mark.parametrize("known", [True, False], ids=["HEAD", "skopeo"])
def test_a_pause_that_is_too_long_for_a_call_is_told_and_the_registry_is_not_asked_in_it(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    digest = registry.push("busy:42", [with_rpms(OLD)])
    refusing: list[bool] = []
    with busy.in_front_of(registry, lambda _: bool(refusing), lambda: "3600") as server:
        reach(server.host, tmp_path, monkeypatch)
        spec = f"{server.host}/busy:42"
        reader = RegistryReader(RegistrySettings(call_seconds=2), tmp_path / "layers")
        assert reader.resolve(spec).digest == digest
        refusing.append(True)
        for number in range(3):
            before, began = len(server.asked), time.monotonic()
            with pytest.raises(RegistryError, match="429") as caught:
                reader.resolve(spec, digest if known else "")
            assert caught.value.cause is Cause.BUSY
            assert time.monotonic() - began < within(5 if number == 0 else 0.2)
            assert number == 0 or len(server.asked) == before
        assert len(server.refused) == 1
        assert "it asks for a pause, next try in" in str(caught.value)


def test_no_registry_keeps_us_away_for_longer_than_ten_minutes() -> None:
    rate_limits.keep_away("greedy.example.com", 86400)
    with pytest.raises(RegistryError, match=r"next try in (600|599) s"):
        rate_limits.wait("greedy.example.com/x", 60)


@pytest.mark.parametrize(("headers", "seconds"), [
    ({"retry-after": "7"}, 7.0), ({"Retry-After": "0"}, 0.0), ({"retry-after": "9" * 400}, rate_limits.LONGEST),
    ({"retry-after": "soon"}, rate_limits.UNSAID), ({"retry-after": "-5"}, rate_limits.UNSAID),
    ({}, rate_limits.UNSAID),
    ({"retry-after": "Sat, 28 Nov 2026 10:00:30 GMT", "date": "Sat, 28 Nov 2026 10:00:00 GMT"}, 30.0),
    ({"retry-after": "Sat, 28 Nov 2026 09:00:00 GMT", "date": "Sat, 28 Nov 2026 10:00:00 GMT"}, -3600.0),
    ({"retry-after": "Sat, 99 Nov 2026 10:00:30 GMT"}, rate_limits.UNSAID), ({"retry-after": "²"}, rate_limits.UNSAID),
])  # fmt: skip
def test_what_retry_after_asks_for(headers: dict[str, str], seconds: float) -> None:
    assert rate_limits.asked_for({name.lower(): value for name, value in headers.items()}) == seconds


def test_an_inventory_is_read_whole_from_a_registry_that_lets_through_but_some_requests_in_a_second(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    names = [f"limited/app{number}" for number in range(6)]
    for name in names:
        registry.push(f"{name}:42", [layer({name: b"1"})])

    most = [15]

    def refuses(passed: list[float]) -> bool:
        return sum(moment > time.monotonic() - 1 for moment in passed) >= most[0]

    with busy.in_front_of(registry, refuses, lambda: "1") as server:
        reach(server.host, tmp_path, monkeypatch)
        settings = settings_of({
            "inventory": {"source": "registry", "repositories": [f"{server.host}/{name}" for name in names]},
            "streams": {"f42": {"tags": ["42"]}},
        })  # fmt: skip
        first = images.read(settings, images.Known())
        assert (len(first.images), first.faults) == (6, ())
        known = images.Known({i.key: i for i in first.images}, {b.image: b.ident for b in first.builds})
        most[0] = 3
        refused, asked = len(server.refused), len(server.asked)
        again = images.read(settings, known)
        assert (len(again.images), again.faults) == (6, ())
    # Those that are under way at one time may each be refused once, and then all wait.
    assert len(server.refused) - refused <= 2 * settings.registry.at_once
    assert len(server.asked) - asked <= 6 + 2 * settings.registry.at_once


def test_external_parents_of_a_busy_registry_are_told_as_such_and_asked_for_no_more(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [f"base{number}:42" for number in range(8)]
    for spec in specs:
        registry.push(spec, [layer({spec: b"1"})])
    with busy.in_front_of(registry, lambda _: True, lambda: "300") as server:
        reach(server.host, tmp_path, monkeypatch)
        settings = settings_of({"registry": {"call_seconds": 2, "at_once": 2}})
        wanted = [Wanted(f"{server.host}/{spec}", ("linux/amd64",)) for spec in specs]
        found = list(external.ask(wanted, settings))
        assert all("429" in one.trouble for one in found)
        assert len(server.refused) <= 2
