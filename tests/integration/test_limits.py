"""What one client takes of the web, others do not miss. Real connections, to a real server."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine
from support import databases
from support.bus import until
from support.slowness import within

from rebuilder.config import Settings
from rebuilder.config_file import Bus
from rebuilder.demo.process import free_port
from rebuilder.store import tokens
from rebuilder.web import limits, sse, wrong_tokens
from rebuilder.web.server import BACKLOG, serving

HALF = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: "
NO_BUS = Bus("", (), {})
ORDER = json.dumps({"verb": "pause"}).encode()


@pytest.fixture
def store(tmp_path: Path) -> Engine:
    return databases.sqlite(tmp_path / "test.db")


@pytest.fixture
def port(store: Engine) -> Iterator[int]:
    found = free_port()
    with serving(store, Settings(web={"port": found}), NO_BUS):
        yield found


@pytest.fixture(scope="module")
def shared_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server for all that leave it as it was."""
    found, store = free_port(), databases.sqlite(tmp_path_factory.mktemp("shared") / "test.db")
    with serving(store, Settings(web={"port": found}), NO_BUS):
        yield found
    store.dispose()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10)


def said(client: socket.socket) -> bytes:
    """All that the server says until it closes; a reset is an end too."""
    found = b""
    try:
        while part := client.recv(65536):
            found += part
    except ConnectionError:
        pass
    return found


def request(port: int, head: str, body: bytes = b"", *, path: str = "/api/v1/actions") -> bytes:
    """The answer to a request with these headers."""
    with connected(port) as client:
        method = "POST" if body or head else "GET"
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n".encode() + body)
        return said(client)


def status(answer: bytes) -> int:
    return int(answer.split()[1])


def healthy(port: int) -> bool:
    return status(request(port, "", path="/health/live")) == 200


def token(store: Engine) -> str:
    with store.begin() as connection:
        return tokens.add(connection, "t", ("pause",), 0.0)


def test_half_a_request_is_waited_for_no_longer_than_it_may_take(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEADER_SECONDS", 1.0)
    with connected(port) as client:
        began = time.monotonic()
        client.sendall(HALF)
        client.settimeout(0.2)
        while True:  # a byte now and then does not help
            try:
                client.sendall(b"x")
                if client.recv(1) == b"":
                    break
            except TimeoutError:
                assert time.monotonic() - began < within(10)
            except ConnectionError:
                break
        assert time.monotonic() > began + 0.9
    assert healthy(port)


def test_half_a_body_is_waited_for_no_longer_than_it_may_take(
    port: int, store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 1.0)
    with connected(port) as client:
        head = f"POST /api/v1/actions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(store)}\r\n"
        client.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        assert said(client) == b""
    assert healthy(port)


def test_a_live_page_is_not_ended(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.5)
    with connected(port) as client:
        client.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1.5)
        client.settimeout(0.5)
        found = client.recv(65536)
        assert status(found) == 200
        with pytest.raises(TimeoutError):
            while client.recv(65536):
                pass


@pytest.mark.parametrize(
    ("known", "size", "expected"),
    [(False, 100, 401), (False, 64_001, 413), (True, 64_001, 422), (True, 1_000_001, 413), (True, 400_000_000, 413)],
)
def test_a_body_is_as_large_as_it_may_be(port: int, store: Engine, known: bool, size: int, expected: int) -> None:
    bearer = f"Authorization: Bearer {token(store)}\r\n" if known else ""
    head = f"{bearer}Content-Type: application/json\r\nContent-Length: {size}\r\n"
    answer = request(port, head, b'"' + b"x" * (min(size, 64_001) - 2) + b'"')
    assert status(answer) == expected
    assert b"application/problem+json" in answer


def test_a_body_that_does_not_say_its_length_is_no_larger_either(port: int, store: Engine) -> None:
    head = f"Authorization: Bearer {token(store)}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    with connected(port) as client:
        client.sendall(f"POST /api/v1/actions HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        try:
            for _ in range(100):
                client.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        except ConnectionError:
            pass
        found = said(client)
    assert not found or status(found) == 413
    assert healthy(port)


@pytest.mark.parametrize("bearer", ["", "Authorization: Bearer wrong\r\n"])
def test_a_stranger_is_refused_before_the_body_is_read(port: int, bearer: str) -> None:
    with connected(port) as client:
        head = f"{bearer}Content-Type: application/json\r\nContent-Length: 60000\r\n"
        client.sendall(f"POST /api/v1/actions HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        assert status(client.recv(65536)) == 401, "not a byte of the body was sent"


def wrong(port: int, text: str = "rebuilder_guess") -> int:
    return status(request(port, f"Authorization: Bearer {text}\r\nContent-Length: 0\r\n"))


def test_wrong_tokens_are_answered_later_and_later_and_right_ones_at_once(
    port: int, store: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    right = token(store)
    head = f"Authorization: Bearer {right}\r\nContent-Type: application/json\r\nContent-Length: {len(ORDER)}\r\n"
    began = time.monotonic()
    assert [wrong(port) for _ in range(wrong_tokens.FREE)] == [401] * wrong_tokens.FREE
    assert time.monotonic() - began < within(1), "anybody makes mistakes"
    took = []
    for _ in range(3):
        began = time.monotonic()
        assert wrong(port) == 401
        took.append(time.monotonic() - began)
    assert took[0] > 0.2
    assert took[2] > 0.9
    with ThreadPoolExecutor(8) as pool:
        guesses = [pool.submit(wrong, port, f"rebuilder_{n}") for n in range(8)]
        time.sleep(0.3)
        began = time.monotonic()
        assert status(request(port, head, ORDER)) in (201, 202)
        assert time.monotonic() - began < within(1), "although seven wrong ones of the same address wait"
        assert not all(guess.done() for guess in guesses)
    lines = [record.getMessage() for record in caplog.records if "wrong token" in record.getMessage()]
    assert lines == [f"web: wrong tokens from 127.0.0.1: {count}" for count in (1, 2, 4, 8)]
    assert "rebuilder_guess" not in caplog.text
    assert right not in caplog.text


def test_a_flood_of_wrong_tokens_takes_no_places_from_others(port: int, store: Engine) -> None:
    head = f"Authorization: Bearer {token(store)}\r\nContent-Type: application/json\r\nContent-Length: {len(ORDER)}\r\n"
    with ThreadPoolExecutor(60) as pool:
        guesses = [pool.submit(wrong, port, f"rebuilder_{n}") for n in range(300)]
        for _ in range(5):
            began = time.monotonic()
            assert healthy(port)
            assert status(request(port, head, ORDER)) in (201, 202)
            assert time.monotonic() - began < within(3)
        answers = Counter(guess.result() for guess in guesses)
    assert set(answers) == {401, 429}
    assert answers[401] >= wrong_tokens.FREE + wrong_tokens.WAITING_OF_ONE


def test_a_request_with_two_lengths_is_refused_and_the_connection_ends(port: int) -> None:
    """A proxy that believes the one where we believe the other would take the rest for somebody else's request."""
    with connected(port) as client:
        head = b"POST /api/v1/plan HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(head + b"0\r\n\r\nGET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = said(client)
    assert status(answer) == 400
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET /?" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n" * 2,
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_ends(shared_port: int, head: bytes) -> None:
    with connected(shared_port) as client:
        client.sendall(head)
        answer = said(client)
    assert not answer or 400 <= status(answer) < 502
    assert healthy(shared_port)


@pytest.mark.parametrize(
    "query", ["a&" * 30_000, "state=" * 9_000, "update=x-1-1&" * 4_000, "%00" * 20_000, "cursor=" + "A" * 60_000]
)
def test_a_long_query_is_answered_soon(port: int, query: str) -> None:
    for path in ("/api/v1/rebuilds", "/api/v1/images/a:b/why", "/search", "/"):
        began = time.monotonic()
        answer = request(port, "", path=f"{path}?{query}")
        assert status(answer) in (200, 303, 307, 400, 404, 414, 422)
        assert time.monotonic() - began < within(3)


@pytest.mark.parametrize("path", ["/", "/health/live", "/metrics", "/api/v1/status", "/static/style.css", "/nowhere"])
def test_head_is_answered_as_get_without_a_body(port: int, path: str) -> None:
    found = {}
    for method in ("GET", "HEAD"):
        with connected(port) as client:
            client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            found[method] = said(client)
    assert status(found["HEAD"]) == status(found["GET"])
    assert found["HEAD"].endswith(b"\r\n\r\n")
    types = [[line for line in answer.split(b"\r\n") if line.startswith(b"content-type")] for answer in found.values()]
    assert types[0] == types[1]


@pytest.mark.parametrize("path", ["/live", "/live?image=1", "/api/v1/events"])
def test_head_of_an_answer_without_end_ends_and_takes_no_place(port: int, path: str) -> None:
    for _ in range(2 * sse.MOST_LISTENERS // 50):
        with connected(port) as client:
            client.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 50)
            client.sendall(b"HEAD /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            told = said(client)
            assert told.count(b"HTTP/1.1 200 OK\r\n") == 51
            assert told.count(b"content-type: text/event-stream") == 50
            assert told.endswith(b"\r\n\r\n")


def test_head_refuses_what_get_does(port: int) -> None:
    for path in ("/live?waves=1", "/api/v1/events?wvae=1"):
        with connected(port) as client:
            client.sendall(f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            assert status(said(client)) == 422


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "DELETE", "CONNECT", "BREW", "get"])
@pytest.mark.parametrize("path", ["/", "/live", "/api/v1/actions", "/health/live", "/metrics", "/static/x", "*", "http://x/"])
def test_other_methods_change_nothing_and_are_answered(shared_port: int, method: str, path: str) -> None:
    with connected(shared_port) as client:
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = said(client)
    assert status(answer) in (400, 404, 405)


def test_who_has_a_token_is_answered(port: int, store: Engine) -> None:
    head = f"Authorization: Bearer {token(store)}\r\nContent-Type: application/json\r\nContent-Length: {len(ORDER)}\r\n"
    assert status(request(port, head, ORDER)) in (201, 202)


def test_however_many_half_requests_there_are_others_are_answered(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", 50)
    with ExitStack() as stack:
        for _ in range(120):
            client = stack.enter_context(connected(port))
            client.sendall(HALF)
        assert healthy(port)
        assert status(request(port, "", path="/api/v1/images")) == 200


def test_a_flood_does_not_use_up_the_files(store: Engine) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    try:
        with serving(store, Settings(web={"port": free_port()}), NO_BUS):
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= min(before[1], limits.CONNECTIONS + BACKLOG)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_where_all_places_are_taken_health_has_a_reserve(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", 10)
    monkeypatch.setattr(limits, "RESERVE", 2)
    with ExitStack() as stack:
        for _ in range(10):
            client = stack.enter_context(connected(port))
            client.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert status(client.recv(65536)) == 200
        until(lambda: healthy(port))
        assert status(request(port, "", path="/api/v1/images")) == 503
