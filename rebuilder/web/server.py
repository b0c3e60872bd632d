"""Serving the application, beside the engine or alone."""

from __future__ import annotations

import ctypes
import errno
import logging
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from sqlalchemy import Engine

from rebuilder.config import Settings
from rebuilder.config_file import Bus
from rebuilder.domain.errors import RequestError
from rebuilder.web.app import create_app
from rebuilder.web.limits import SEND_BUFFER, Protocol
from rebuilder.web.sse import Broadcaster

log = logging.getLogger(__name__)
GRACE_SECONDS = 5
ENDING_SECONDS, LOOK_SECONDS = 2.0, 0.1
THREADS = 12
M_MMAP_THRESHOLD, LARGE = -3, 500_000  # bytes
BACKLOG = 2048
FILES = 4 * BACKLOG


@contextmanager
def serving(engine: Engine, settings: Settings, bus: Bus) -> Iterator[None]:
    """Answer requests from a thread of its own. Raises RequestError where the address cannot be had."""
    _make_room()
    _give_back_memory()
    with listening(settings) as listener:
        log.info("web: %s", _told(listener))
        server = _server(engine, settings, bus)
        thread = threading.Thread(target=server.run, args=([listener],), name="web")
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()


def _make_room() -> None:
    """Raise the limit of open files: connections are taken from the queue all at once, those too that then must go."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def _give_back_memory() -> None:
    """Have a large answer's memory go back to the system with it: glibc else keeps more and more of such pieces."""
    with suppress(OSError, AttributeError):  # another C library has other ways
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


class _Server(uvicorn.Server):
    """Makes few answers at a time: more would not be quicker, and each large one takes memory.

    Ends soon: live pages would otherwise be waited for, and they never end by themselves.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        current_default_thread_limiter().total_tokens = THREADS
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        hub: Broadcaster = self.config.app.state.hub  # type: ignore[union-attr]
        hub.close()
        await super().shutdown(sockets)


def _server(engine: Engine, settings: Settings, bus: Bus) -> uvicorn.Server:
    """Proxies are not trusted to say who asks, and what is asked is not logged: neither is used for anything."""
    return _Server(uvicorn.Config(
        create_app(engine, settings, bus), log_config=None, access_log=False, proxy_headers=False, server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS, http=Protocol, ws="none", backlog=BACKLOG,
    ))


@contextmanager
def listening(settings: Settings) -> Iterator[socket.socket]:
    """The address that is configured, from where requests come. Raises RequestError where it cannot be had."""
    host, port = settings.web.host, settings.web.port
    try:
        listener = _listener(host, port)
    except OSError as error:
        problem = f"consumer_config.web: cannot listen on {host}, port {port}: {error.strerror or error}"
        raise RequestError(problem) from None
    # Head and body of an answer are written one after the other: without this, a short one waits 40 ms for the client.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    with listener:
        yield listener


def _listener(host: str, port: int) -> socket.socket:
    """Whoever had the address a moment ago, and ends, has a moment for that."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    until = time.monotonic() + ENDING_SECONDS
    while True:
        try:
            return socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                raise
            time.sleep(LOOK_SECONDS)


def _told(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return f"http://{f'[{address}]' if ':' in address else address}:{port}/"
