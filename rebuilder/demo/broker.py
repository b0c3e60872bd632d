"""A RabbitMQ of one's own: on free ports of the loopback address, with all its files in one folder."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from rebuilder.demo.process import LOOPBACK, Child, Failed, Missing, accepts, free_port, port_is_taken

# The program of the same name in the PATH changes to another user.
SCRIPT = "/usr/lib*/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"
PORT_MAPPER = "epmd"
PROGRAMS = ("erl", PORT_MAPPER)
PATIENCE = 90.0
GREETING = b"AMQP\x00\x00\x09\x01"
METHOD_FRAME = b"\x01"


class Ports(NamedTuple):
    """The ports of one broker: for AMQP, for Erlang's distribution, and for Erlang's port mapper."""

    amqp: int
    distribution: int
    mapper: int


class Broker:
    """A private RabbitMQ; as a context manager it runs inside the block."""

    def __init__(self, folder: Path) -> None:
        """Nothing is started yet. The folder is made on start, and kept, with its queues and messages."""
        self.folder = folder.resolve()
        self.log = self.folder / "server.log"
        self._ports = _free_ports()
        self._settled = False
        self._mapper: Child | None = None
        self._server: Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The AMQP port: final after the first start, which takes another one if this one is taken by then."""
        return self._ports.amqp

    @property
    def amqp_url(self) -> str:
        """Where clients connect; as final as the port."""
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}/%2F"

    @property
    def pid(self) -> int:
        """The server's process id. Raises Failed when it was not started, or was ended."""
        if self._server is None:
            raise Failed("the broker does not run")
        return self._server.pid

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._server is not None and self._server.running

    def start(self) -> None:
        """Start it and wait until it answers; does nothing while it runs. After a stop or kill: same port and data.

        Raises Missing when RabbitMQ is not installed, and Failed, with the end of its log, when it does not start.
        """
        if self.running:
            return
        script = _script()
        try:
            self._launch(script)
        except Failed:
            if self._settled or not any(map(port_is_taken, self._ports)):
                raise
            self._ports = _free_ports()
            self._launch(script)
        self._settled = True

    def stop(self) -> None:
        """End it in an orderly way, and the port mapper with it; does nothing where it does not run."""
        try:
            if self._server is not None:
                self._server.stop()
                self._server = None
        finally:
            if self._mapper is not None:
                self._mapper.stop()
                self._mapper = None

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would; `start` brings it back."""
        if self._server is not None:
            self._server.kill()
            self._server = None

    def _launch(self, script: Path) -> None:
        """Start both processes; leaves none behind when that fails."""
        self._write_configuration()
        environment = self._environment()
        try:
            self._start_mapper(environment)
            self._refuse_taken(self._ports.amqp, self._ports.distribution)
            self._server = Child([script], self.log, environment=environment, folder=self.folder)
            self._server.wait_for(self._answers, PATIENCE)
        except BaseException:
            self.stop()
            raise

    def _start_mapper(self, environment: dict[str, str]) -> None:
        """It must listen before the server looks for it: the server would start a second one, which would run on."""
        if self._mapper is not None and self._mapper.running:
            return
        port = self._ports.mapper
        self._refuse_taken(port)
        command = [PORT_MAPPER, "-port", str(port), "-address", LOOPBACK]
        self._mapper = Child(command, self.log, environment=environment, folder=self.folder)
        self._mapper.wait_for(lambda: accepts(port), PATIENCE)

    def _refuse_taken(self, *ports: int) -> None:
        """Else whoever holds the port could answer in the broker's place."""
        for port in filter(port_is_taken, ports):
            raise Failed(f"port {port} of the broker is taken by another program")

    def _answers(self) -> bool:
        """Whether the server opens the AMQP conversation, which it does only when it has started up."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=2) as connection:
                connection.sendall(GREETING)
                return connection.recv(1) == METHOD_FRAME
        except OSError:
            return False

    def _write_configuration(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file("rabbitmq.conf").write_text(f"listeners.tcp.1 = {LOOPBACK}:{self.port}\n", encoding="utf-8")
        self._file("advanced.config").write_text("[{rabbit,[]}].\n", encoding="utf-8")
        self._file("enabled_plugins").write_text("[].\n", encoding="utf-8")

    def _file(self, name: str) -> Path:
        return self.folder / name

    def _environment(self) -> dict[str, str]:
        """Nothing of the caller's but PATH, so that no other RabbitMQ's settings or data are touched."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._ports.mapper),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_NODENAME": "rebuilder@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": LOOPBACK,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._ports.distribution),
            "RABBITMQ_MNESIA_BASE": str(self._file("data")),
            "RABBITMQ_LOG_BASE": str(self.folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(self._file("rabbitmq.conf")),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._file("advanced.config")),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._file("enabled_plugins")),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}"
            ),
            # The script then becomes the server, instead of waiting for it as its parent.
            "RUNNING_UNDER_SYSTEMD": "true",
        }


def _script() -> Path:
    """The newest installed server's start script. Raises Missing."""
    scripts = sorted(Path("/").glob(SCRIPT.lstrip("/")))
    if not scripts or not all(map(shutil.which, PROGRAMS)):
        raise Missing("RabbitMQ is not installed: install the package rabbitmq-server")
    return scripts[-1]


def _free_ports() -> Ports:
    return Ports(free_port(), free_port(), free_port())
