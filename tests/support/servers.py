"""What tests need of the system: real servers on free ports, ended by pid, or a failure that says what to install."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import pytest

from rebuilder.demo.broker import Broker, _script
from rebuilder.demo.process import LOOPBACK, Child, Process, family, free_port

WITHOUT = "REBUILDER_TESTS_WITHOUT"
PACKAGES = {
    "rabbitmq": "rabbitmq-server",
    "postgresql": "postgresql",
    "buildah": "buildah crun",
    "registry": "docker-registry skopeo",
    "rpm": "rpm createrepo-c db5.3-util",
    "rpmlint": "rpmlint",
    "ansible": "ansible-core",
    "git": "git",
    "systemd": "systemd",
    "graphviz": "graphviz",
    "kerberos": "krb5-kdc krb5-admin-server",
    "chromium": "chromium",
    "prometheus": "prometheus",
    "nginx": "nginx-light openssl",
    "sqlite": "sqlite3",
    "shells": "zsh fish",
    "signatures": "gnupg skopeo",
    "emulation": "qemu-user-static",
}
POSTGRES_PROGRAMS = ("/usr/lib/postgresql/*/bin", "/usr/bin")
POSTGRES_USER = "postgres"
PATIENCE = 60.0
MEMORY = Path("/dev/shm")
ROOM = 4 << 30  # bytes: the log before a checkpoint (1 GiB), and the databases of a test, several times over


def need(name: str, *commands: str) -> None:
    """Fail the test where one of the commands (names, paths or patterns of paths) is missing.

    It is skipped instead where REBUILDER_TESTS_WITHOUT names the part of the system.
    """
    without = set(filter(None, os.environ.get(WITHOUT, "").split(",")))
    if unknown := without - PACKAGES.keys():
        pytest.fail(f"{WITHOUT} names {', '.join(sorted(unknown))}; known: {', '.join(PACKAGES)}", pytrace=False)
    if name in without:
        pytest.skip(f"without {name}, as {WITHOUT} says")
    if missing := [command for command in commands if not present(command)]:
        told = f"{', '.join(missing)} is missing: install {PACKAGES[name]}"
        pytest.fail(f"{told}, or name {name} in {WITHOUT}", pytrace=False)


def present(command: str) -> bool:
    """Whether a program, or a path that a pattern matches, is there."""
    if command.startswith("/"):
        return any(Path("/").glob(command.lstrip("/")))
    return shutil.which(command) is not None


def control(broker: Broker, *arguments: str) -> None:
    """RabbitMQ's own command for administrators."""
    command = [str(_script().with_name("rabbitmqctl")), "-q", "-n", "rebuilder@localhost", *arguments]
    subprocess.run(command, env=broker._environment(), check=True, capture_output=True)


def processes_of(folder: Path) -> set[int]:
    """The ids of the processes that work in the folder, or were started with a mention of it."""
    return {int(path.name) for path in Path("/proc").glob("[0-9]*") if _mentions(path, str(folder))}


def _mentions(process: Path, folder: str) -> bool:
    try:
        started = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        works_in = (process / "cwd").readlink()
    except OSError:
        return False
    return folder in os.fsdecode(started) or works_in.is_relative_to(folder)


def postgres_programs() -> Path | None:
    """The folder with the programs of the newest PostgreSQL; None where there is none."""
    found = [path.parent for pattern in POSTGRES_PROGRAMS for path in Path("/").glob(f"{pattern[1:]}/initdb")]
    return max(found, key=lambda path: [int(part) for part in path.parts if part.isdigit()], default=None)


class PostgreSQL:
    """A private PostgreSQL without any durability, in a folder of its own that goes away with it.

    It runs as the user `postgres` where we are root, because it refuses to run as root.
    """

    def __init__(self) -> None:
        """Nothing is started yet. The folder is near the root: a socket's path must be short.

        It is in memory where there is room: each test has a copy of 300 files made and deleted.
        """
        roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir=MEMORY if roomy else "/tmp"))
        self.log = self.folder / "server.log"
        self.port = 0
        self._user = POSTGRES_USER if os.geteuid() == 0 else None
        self._server: Child | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def processes(self) -> set[Process]:
        """The server's living processes."""
        return family(self._server.pid) if self._server else set()

    def start(self) -> None:
        """Make the cluster, and start it on a free port. Raises Failed."""
        if self._user:
            owner = pwd.getpwnam(self._user)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        options = ("--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync", f"--username={POSTGRES_USER}")
        self._run("initdb", *options).finish(PATIENCE)
        self.port = free_port()
        self._begin()

    def restart(self, politely: signal.Signals = signal.SIGINT) -> None:
        """End it, connections or not, and start it again on the same port. SIGQUIT is as a crash."""
        assert self._server is not None
        self._server.stop(politely=politely)
        self._begin()

    def _begin(self) -> None:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "full_page_writes": "off",
        }
        self._server = self._run("postgres", *(f"--{name}={value}" for name, value in settings.items()))
        self._server.wait_for(self._answers, PATIENCE)

    def stop(self) -> None:
        """End it, connections or not, and take its folder away."""
        try:
            if self._server is not None:
                self._server.stop(politely=signal.SIGINT)
        finally:
            shutil.rmtree(self.folder)

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """The URL of a fresh database, empty or a copy, which goes away afterwards, connections or not."""
        name = f"test_{secrets.token_hex(6)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield f"postgresql+psycopg://{POSTGRES_USER}@{LOOPBACK}:{self.port}/{name}"
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, program: str, *arguments: str) -> Child:
        programs = postgres_programs()
        assert programs is not None, "PostgreSQL is not installed"
        command = [str(programs / program), "-D", str(self.folder / "data"), *arguments]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}
        return Child(command, self.log, environment=environment, folder=self.folder, user=self._user)

    def _answers(self) -> bool:
        try:
            self._execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        where = f"host={LOOPBACK} port={self.port} user={POSTGRES_USER} dbname=postgres connect_timeout=5"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(statement.encode())
