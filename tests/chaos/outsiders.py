"""The faults of those who talk to rebuilder over HTTP: slow clients, and a server that means harm."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
from integration.test_hostile_server import ATTACKS, EACH, FORBIDDEN, hostile
from msgspec.structs import replace
from support import bus, shell

from chaos.faults import FAULTS, Stage, on
from chaos.world import Verdict, World
from rebuilder.demo.process import free_port

__all__ = ["FAULTS"]  # with those of here

CLIENTS = 600  # fewer than the files that a process may have open
BEGUN = (
    b"GET / HTTP/1.1\r\nX-Slow: ",
    b"POST /api/v1/actions HTTP/1.1\r\nHost: x\r\nContent-Length: 400000000\r\n\r\n{",
    b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api/v1/images?limit=500 HTTP/1.1\r\nHost: x\r\n\r\n",
)
OTHERS = ("/health/live", "/api/v1/status", "/")
PATIENCE = 20.0  # seconds until somebody else has an answer; and beyond what the command itself waits for a server


@on("sqlite", "postgresql")
def clients_slow(stage: Stage, kind: str) -> Verdict:
    """Half a request, half a body, or an answer that is not read, from many; others are answered and builds go on."""
    times, unanswered, port = stage.times(20), 0, free_port()
    with stage.world(kind, "clients", f"web = {{host = '127.0.0.1', port = {port}}}") as world, _web(world, port):
        world.start()
        for _ in range(times):
            world.tell()
            with ExitStack() as stack:
                for number in range(CLIENTS):
                    with suppress(OSError):  # where all places are taken
                        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
                        client.sendall(BEGUN[number % len(BEGUN)])
                unanswered += _unanswered(port)
                time.sleep(random.uniform(0.5, 2.0))
                unanswered += _unanswered(port)
        verdict = world.finish(f"{CLIENTS} clients slow, or half open", times)
        return replace(verdict, stuck=verdict.stuck + unanswered)


@contextmanager
def _web(world: World, port: int) -> Iterator[None]:
    with world.log.open("ab") as log:
        command = shell.argv("--config", str(world.configuration), "web")
        running = subprocess.Popen(command, cwd=shell.ROOT, stdout=log, stderr=log)
        try:
            bus.until(lambda: running.poll() is not None or not _unanswered(port, "/health/live"), 0.5)
            assert running.poll() is None, f"the web ended: see {world.log}"
            yield
        finally:
            running.kill()
            running.wait()


def _unanswered(port: int, *paths: str) -> int:
    """How many of these pages somebody else does not get."""
    missing = 0
    for path in paths or OTHERS:
        try:
            missing += httpx.get(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE).status_code != 200
        except httpx.HTTPError:
            missing += 1
    return missing


@on("none")
def server_hostile(stage: Stage, kind: str) -> Verdict:
    """The command asks a server that means harm. Lost: it shows what it must not. Stuck: it does not end."""
    cases = [(attack, verb) for attack in ATTACKS for verb in EACH]
    chosen = random.sample(cases, stage.times(60))
    began = time.monotonic()
    lost = stuck = 0
    for attack, verb in chosen:
        serve, expected = ATTACKS[attack]
        with hostile(serve) as url:
            try:
                done = subprocess.run(
                    shell.argv(*verb, "--server", url), cwd=shell.ROOT, capture_output=True, text=True, check=False,
                    timeout=2 * PATIENCE,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                stuck += 1
                continue
        is_one_line = len(done.stderr.splitlines()) == 1 and not FORBIDDEN.search(done.stderr)
        lost += not (done.returncode == 3 and done.stdout == "" and is_one_line and expected in done.stderr)
    return Verdict("hostile server answers the command", kind, len(chosen), lost, 0, stuck, time.monotonic() - began)
