"""A server in front of a registry that lets through what it will, and answers 429 (too many requests) to all else."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

from msgspec import Struct, field

from rebuilder.demo.process import LOOPBACK
from rebuilder.registry import rate_limits
from support.registries import Registry

PASSED_ON = ("accept", "authorization", "content-type", "range")


class Busy(Struct):
    """`refuses` is asked, with the moments of what was let through, whether one more is too many.

    `retry_after` is what the answer then says, "" for nothing. `asked` has every request, and when it was refused.
    """

    registry: Registry
    refuses: Callable[[list[float]], bool]
    retry_after: Callable[[], str]
    port: int = 0
    asked: list[str] = field(default_factory=list)
    passed: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    @property
    def host(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def lets_through(self, request: str) -> bool:
        with self.lock:
            self.asked.append(request)
            if "/manifests/" in request and self.refuses(self.passed):
                self.refused.append(time.monotonic())
                return False
            self.passed.append(time.monotonic())
            return True


@contextmanager
def in_front_of(
    registry: Registry, refuses: Callable[[list[float]], bool], retry_after: Callable[[], str]
) -> Iterator[Busy]:
    busy = Busy(registry, refuses, retry_after)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if busy.lets_through(f"{self.command} {self.path}"):
                self._pass_on()
                return
            self.send_response(429)
            if told := busy.retry_after():
                self.send_header("retry-after", told)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_HEAD(self) -> None:
            self.do_GET()

        def _pass_on(self) -> None:
            beyond = http.client.HTTPConnection(LOOPBACK, registry.port, timeout=30)
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            beyond.request(self.command, self.path, headers=headers)
            answer = beyond.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"transfer-encoding", "connection", "date"}:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            beyond.close()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    busy.port = server.server_port
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield busy
    finally:
        server.shutdown()
        server.server_close()
        rate_limits._until.pop(busy.host, None)  # the next server on this port has asked for no pause
