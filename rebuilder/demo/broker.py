"""A private RabbitMQ on free ports, with its own epmd; nothing of the system's own RabbitMQ is touched."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path
from types import TracebackType

from rebuilder.demo.process import Child, Missing, free_port

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
READY_SECONDS = 60.0


class Broker:
    """RabbitMQ with its data in `folder`. Stopped and started again it keeps its port and its durable messages."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self._ports = (free_port(), free_port())
        self._name = f"rebuilder{self.port}@localhost"
        self._epmd: Child | None = None
        self._server: Child | None = None

    @property
    def amqp_url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def pid(self) -> int | None:
        return self._server.pid if self._server else None

    def start(self) -> None:
        """Start, and wait until it answers. Raises Missing, or RuntimeError with the end of its log."""
        epmd = shutil.which("epmd")
        if not SERVER.exists() or epmd is None:
            raise Missing("RabbitMQ is not installed (Debian: rabbitmq-server)")
        self._folder.mkdir(parents=True, exist_ok=True)
        environment = self._environment()
        if self._epmd is None:
            command = [epmd, "-port", str(self._ports[0]), "-address", "127.0.0.1"]
            self._epmd = Child(command, self._folder / "epmd.log", environment)
        self._server = Child([str(SERVER)], self._folder / "server.log", environment)
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._server.status is not None or time.monotonic() > deadline:
                told = self._server.tail()
                self.stop()
                raise RuntimeError(f"RabbitMQ did not start:\n{told}")
            time.sleep(0.1)

    def _environment(self) -> dict[str, str]:
        epmd_port, dist_port = self._ports
        folder = self._folder
        (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n")
        (folder / "advanced.config").write_text("[{rabbit,[]}].\n")
        (folder / "enabled_plugins").write_text("[].\n")
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
        }

    def _answers(self) -> bool:
        """Whether AMQP is spoken: an unknown protocol header is answered with a frame or the right header."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.settimeout(2)
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return probe.recv(1) == b"\x01"
        except OSError:
            return False

    def kill(self) -> None:
        """End the server as a crash would; `start` brings it back with what was durable."""
        if self._server:
            self._server.kill()

    def stop(self) -> None:
        """End the server and its epmd."""
        if self._server:
            self._server.stop()
            self._server = None
        if self._epmd:
            self._epmd.stop()
            self._epmd = None

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
