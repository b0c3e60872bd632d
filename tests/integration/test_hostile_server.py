"""`--server` against a server that means harm: nothing of it reaches the terminal, sizes and times are bounded.

Each verb that takes --server, over real HTTP. Whatever is sent, there is one line and exit status 3; and a server that
answers in the right form may say what it likes, but not to the terminal.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from integration.workbench import Workbench
from sqlalchemy import Engine
from support.api_client import Client
from support.examples import examples
from support.slowness import within

from rebuilder.cli import server as module
from rebuilder.cli import status_of
from rebuilder.store import database

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\u2066\u061c\u2028\r\x00\x7f\u200f\ufeff"
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
NVR = "openssl-3.2.9-1.fc42"
VERBS: dict[tuple[str, ...], str] = {
    ("status",): "status",
    ("wave", "1"): "waves/1",
    ("wave", "2"): "waves/2",
    ("wave", "1", "--story"): "waves/1/story",
    ("why", "base:f42"): "images/base:f42/why",
    ("why", "mid:f42"): "images/mid:f42/why",
    ("why", "base:f42", "--update", NVR): f"images/base:f42/why?update={NVR}",
    ("graph",): "graph",
    ("graph", "--wave", "1"): "graph?wave=1",
    ("log", "base:f42"): "images/base:f42/log",
    ("plan", "--update", NVR): "plan",
}
MORE_VERBS = [*VERBS, ("graph", "--format", "dot")] + [
    (*verb, "--json") for verb in VERBS if verb[0] != "log"
]
EACH = [("status",), ("wave", "1"), ("why", "base:f42"), ("graph",), ("log", "base:f42")]
Serve = Callable[[socket.socket, str], None]


def _is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(end) and len(body) >= int(length[1] if length else 0)


@contextmanager
def hostile(serve: Serve, heard: list[bytes] | None = None) -> Iterator[str]:
    """A server that reads a request's head, and does with each connection as it likes; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()

    def handle(client: socket.socket) -> None:
        with client, suppress(OSError):
            head = b""
            while not _is_whole(head) and (part := client.recv(65536)):
                head += part
            if heard is not None:
                heard.append(head)
            serve(client, head.split()[1].decode())

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def saying(*parts: bytes, status: str = "200 OK", headers: str = "") -> Serve:
    """Answers with these bytes, as JSON."""

    def serve(client: socket.socket, path: str) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n{headers}\r\n"
        client.sendall(head.encode("latin-1"))
        for part in parts:
            client.sendall(part)

    return serve


def without_end(head: bytes, part: bytes, pause: float = 0.0) -> Serve:
    """Begins so, and goes on for ever."""

    def serve(client: socket.socket, path: str) -> None:
        client.sendall(head)
        while True:
            client.sendall(part)
            time.sleep(pause)

    return serve


def typed(*arguments: str) -> Result:
    """What the command says, in this process, as `main` runs it."""

    import click

    @click.command(context_settings={"ignore_unknown_options": True})
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def whole(context: click.Context, words: tuple[str, ...]) -> None:
        context.exit(status_of(list(words)))

    return CliRunner().invoke(whole, ["--", *arguments])


def is_refused(*arguments: str) -> str:
    """The one line; exit status 3."""
    done = typed(*arguments)
    assert done.exit_code == 3, done.output
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("rebuilder: ")
    assert not FORBIDDEN.search(line)
    assert len(line) < 2100
    return line


HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HTTP + b"Transfer-Encoding: chunked\r\n\r\n"
PLAIN = HTTP + b"\r\n"
DEEP = b"[" * 100_000
ATTACKS: dict[str, tuple[Serve, str]] = {
    "a body without end": (without_end(PLAIN, b" " * 65536), "more than 16000000 bytes"),
    "chunks without end": (without_end(CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"), "more than 16000000 bytes"),
    "headers without end": (without_end(HTTP, b"X-A: " + b"a" * 1000 + b"\r\n"), "cannot be reached"),
    "a header without end": (without_end(HTTP + b"X-A: ", b"a" * 65536), "cannot be reached"),
    "answers that announce another one": (without_end(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "no whole answer within"),
    "a header a byte at a time": (without_end(HTTP + b"X-A: ", b"a", 0.1), "no whole answer within"),
    "a body a byte at a time": (without_end(PLAIN, b" ", 0.1), "no whole answer within"),
    "a chunk's extension without end": (without_end(CHUNKED + b"1;a=", b"a" * 65536), "cannot be reached"),
    "silence": (lambda client, path: time.sleep(60), "no whole answer within"),
    "nothing": (lambda client, path: None, "cannot be reached"),
    "no HTTP": (lambda client, path: client.sendall(EVIL.encode() * 100), "cannot be reached"),
    "an odd status line": (lambda client, path: client.sendall(f"HTTP/1.1 200 {EVIL}\r\n\r\n".encode()), ""),
    "a gzip bomb": (
        saying(gzip.compress(b" " * 30_000_000, 1), headers="Content-Encoding: gzip\r\n"), "content encoding gzip",
    ),
    "an odd encoding": (saying(b"{}", headers="Content-Encoding: \x1b[2Jklingon\r\n"), "encoding"),
    "a redirect to itself": (saying(status="302 Found", headers="Location: /\r\n"), "more than 5 redirects"),
    "a redirect with a body without end": (
        without_end(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", b" " * 65536), "more than 5 redirects",
    ),
    "a redirect to a file": (saying(status="302 Found", headers="Location: file:///etc/passwd\r\n"), "unsupported"),
    "a redirect to nowhere": (saying(status="302 Found", headers="Location: http://[\r\n"), "cannot be reached"),
    "deep JSON": (saying(DEEP), "nested too deeply"),
    "deep objects": (saying(b'{"a":' * 100_000), "nested too deeply"),
    "not JSON": (saying(EVIL.encode()), "not JSON"),
    "no UTF-8": (saying(b'"\xff\xfe"'), "not JSON"),
    "a number of a million digits": (saying(b"1" * 1_000_000), "not JSON"),
    "no number": (saying(b"NaN"), "not JSON"),
    "null": (saying(b"null"), "unexpected answer"),
    "a list": (saying(b"[1]"), "unexpected answer"),
    "a text": (saying(b'"x"'), "unexpected answer"),
    "something else": (saying(b'{"hello": "world"}'), "unexpected answer"),
    "cut off": (lambda client, path: client.sendall(HTTP + b"Content-Length: 100\r\n\r\n{"), "cannot be reached"),
    "an error of its own": (saying(EVIL.encode() * 10_000, status="500 Oh"), "answers 500"),
    "an error in our form": (
        saying(json.dumps({"detail": EVIL * 10_000}).encode(), status="503 Oh"), "answers 503",
    ),
    "an error of another type": (saying(b'{"detail": [[1]]}', status="400 Oh"), "answers 400"),
    "not found, and nothing more": (saying(b"", status="404 Oh"), "answers 404"),
}  # fmt: skip


@pytest.mark.parametrize("verb", EACH, ids=" ".join)
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_one_line_and_status_3(
    attack: str, verb: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve, expected = ATTACKS[attack]
    if "within" in expected:
        monkeypatch.setattr(module, "SECONDS", 0.5)
    began = time.monotonic()
    with hostile(serve) as url:
        assert expected in is_refused(*verb, "--server", url)
    assert time.monotonic() - began < within(15)


@pytest.mark.parametrize("status", [400, 404, 422])
def test_what_is_refused_in_our_form_is_one_line_whatever_it_says(status: int) -> None:
    body = json.dumps({"detail": EVIL + "\nrebuilder: all is well\n" + "x" * 100_000}).encode()
    with hostile(saying(body, status=f"{status} Oh")) as url:
        done = typed("status", "--server", url)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert not FORBIDDEN.search(done.output)
    assert len(done.stderr) < 2100


def test_a_log_that_goes_back_is_not_followed_for_ever() -> None:
    part = {"text": "again and again\n", "next": 0, "live": True, "built": True}
    with hostile(saying(json.dumps(part).encode())) as url:
        assert "does not go on where it ended" in is_refused("log", "base:f42", "--server", url)


@pytest.mark.parametrize("options", [(), ("--follow",)])
def test_a_log_has_an_end(options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_LOG", 1000)
    sent = 0

    def serve(client: socket.socket, path: str) -> None:
        nonlocal sent
        sent += 100
        saying(json.dumps({"text": "x" * 100, "next": sent, "live": True, "built": True}).encode())(client, path)

    with hostile(serve) as url:
        done = typed("log", "base:f42", *options, "--server", url)
    assert done.exit_code == 3
    assert "more than 1000 characters" in done.stderr
    assert len(done.stdout) <= 1000


def test_the_memory_that_a_server_can_take_is_bounded(tmp_path: Path) -> None:
    """The most expensive JSON of the size that is read at the most: empty lists."""
    many = b"[" + b"[]," * (module.MOST_BYTES // 3 - 10) + b"1]"
    for serve in (saying(many), ATTACKS["a body without end"][0], ATTACKS["a gzip bomb"][0]):
        with hostile(serve) as url:
            command = [sys.executable, "-m", "rebuilder", "status", "--server", url]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
                _, status, used = os.wait4(running.pid, 0)
                running.returncode = os.waitstatus_to_exitcode(status)
        assert running.returncode == 3
        assert used.ru_maxrss < 700_000, "kB"


def test_a_text_without_end_does_not_keep_the_terminal_busy(answers: dict[str, Any]) -> None:
    changed = deepcopy(answers["waves/1"])
    changed["rebuilds"][0]["reason"] = "x" * 10_000_000
    began = time.monotonic()
    with hostile(saying(json.dumps(changed).encode())) as url:
        assert len(typed("wave", "1", "--server", url).output) < 1_000_000
    assert time.monotonic() - began < within(10)


def test_a_cookie_is_not_kept() -> None:
    heard: list[bytes] = []

    def serve(client: socket.socket, path: str) -> None:
        told = "Location: /again\r\nSet-Cookie: a=b; Path=/\r\n"
        saying(status="302 Found" if path != "/again" else "200 OK", headers=told)(client, path)

    with hostile(serve, heard) as url:
        typed("status", "--server", url)
    assert len(heard) == 2
    assert b"cookie" not in b"".join(heard).lower()


# --- answers that have the right form


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """True answers of a server, one for each path."""
    store: Engine = database.ready(f"sqlite:///{tmp_path_factory.mktemp('true') / 'x.db'}")
    bench = Workbench(store, simulated={"failures": ["mid:f42"]},
                      policy=[{"name": "ask", "action": "approve", "severity": "low"}])
    bench.tell("openssl-3.2.2-1.fc42", severity="high")
    bench.finish()
    bench.tell("openssl-3.2.5-1.fc42", severity="low")
    bench.passes()
    client = Client(store, bench.settings)
    found = {path: client.reads(path) for path in VERBS.values() if not path.endswith(("/log", "plan"))}
    found["plan"] = client.http.post("/api/v1/plan", json={"updates": [NVR]}).raise_for_status().json()
    assert found["waves/2"]["plan"], "it waits for an approval"
    found["images/base:f42/log"] = {"text": "STEP 1\nok\n", "next": 10, "live": False, "built": True}
    return found


def said_by(verb: tuple[str, ...], answer: Any, answers: dict[str, Any] | None = None) -> Result:
    """What the command makes of this answer, where all others are true; a log ends."""
    others = {f"/api/v1/{path}": found for path, found in (answers or {}).items()}
    asked = 0

    def serve(client: socket.socket, path: str) -> None:
        nonlocal asked
        asked += 1
        if verb[0] == "log" and asked > 1 and isinstance(answer, dict):
            told: Any = {"text": "", "next": answer.get("next"), "live": False, "built": True}
        else:
            is_other = "--story" in verb and not path.endswith("/story")
            told = others[path] if is_other else answer
        saying(json.dumps(told).encode())(client, path)

    with hostile(serve) as url:
        return typed(*verb, "--server", url)


def of(verb: tuple[str, ...]) -> str:
    plain = tuple(word for word in verb if word not in ("--json", "--format", "dot"))
    return VERBS[plain]


@pytest.mark.parametrize("verb", MORE_VERBS, ids=" ".join)
def test_a_true_answer_is_shown(verb: tuple[str, ...], answers: dict[str, Any]) -> None:
    done = said_by(verb, answers[of(verb)], answers)
    assert done.exit_code in (0, 1)
    assert done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("verb", MORE_VERBS, ids=" ".join)
def test_no_text_of_an_answer_reaches_the_terminal_as_a_command(
    verb: tuple[str, ...], answers: dict[str, Any]
) -> None:
    """All texts at once, then one at a time, as a wrong word is found out before others are shown."""
    answer = answers[of(verb)]
    places = [place for place in places_in(answer) if isinstance(at(answer, place), str)]
    shown = 0
    for wrong in [places, *([place] for place in places)]:
        changed = deepcopy(answer)
        for place in wrong:
            put(changed, place, at(answer, place) + EVIL)
        if verb[0] == "log":
            changed["next"] = len(changed["text"])
        done = said_by(verb, changed, answers)
        assert done.exit_code in (0, 1, 3), done.output
        assert not FORBIDDEN.search(done.output), wrong
        shown += any(sign in done.stdout for sign in ("?]0;", "u001b]0;", "x1b]0;"))
    assert shown, "at least one of them is shown, else this looks at nothing"


odd = st.sampled_from([
    None, True, -1, 0, 10**17, 1.5, -1e17, "", "x", "9" * 5000, "a:b:c", "-", "\ud800", [], {}, [[]], {"a": EVIL},
    ["x"] * 3, "2026-13-45T99:99:99Z", "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z", EVIL,
])  # fmt: skip


@pytest.mark.parametrize("verb", MORE_VERBS, ids=" ".join)
@examples(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_wrong_answer_is_shown_or_refused_and_nothing_else(
    verb: tuple[str, ...], answers: dict[str, Any], data: st.DataObject
) -> None:
    changed = deepcopy(answers[of(verb)])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places_in(changed) or [()]))
        if place and data.draw(st.booleans()):
            put(changed, place, deepcopy(data.draw(odd)))
        elif place:
            del at(changed, place[:-1])[place[-1]]
    done = said_by(verb, changed, answers)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert done.exit_code in (0, 1, 3), done.output
    assert not FORBIDDEN.search(done.output)
    assert len(done.stderr.splitlines()) == int(done.exit_code == 3)


def test_a_circle_of_parents_is_an_unexpected_answer(answers: dict[str, Any]) -> None:
    nodes = [{"image": f"{name}:f42", "state": None, "external": []} for name in "ab"]
    edges = [{"parent": f"{one}:f42", "child": f"{other}:f42", "kind": "base"} for one, other in ("ab", "ba")]
    done = said_by(("graph",), {"images": nodes, "edges": edges})
    assert done.exit_code == 3
    assert "unexpected answer" in done.stderr


Place = tuple[Any, ...]


def places_in(value: Any, here: Place = ()) -> list[Place]:
    """Where something stands in a JSON value, at any depth."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([here] if here else []), *(found for key, part in inner for found in places_in(part, (*here, key)))]


def at(value: Any, place: Place) -> Any:
    for step in place:
        value = value[step]
    return value


def put(value: Any, place: Place, new: Any) -> None:
    at(value, place[:-1])[place[-1]] = new
