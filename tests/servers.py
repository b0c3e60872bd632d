"""Real servers, started by the tests on free ports and ended by pid."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

from rebuilder.demo.process import Child, free_port

PACKAGES = {
    "rabbitmq": "rabbitmq-server",
    "postgresql": "postgresql",
    "buildah": "buildah crun",
    "rpm": "rpm createrepo-c",
    "systemd": "systemd",
}
START_SECONDS = 30.0


def need(name: str, found: bool) -> None:
    """Fail where a part of the system is missing, unless REBUILDER_TESTS_WITHOUT names it: then skip."""
    if found:
        return
    without = os.environ.get("REBUILDER_TESTS_WITHOUT", "").split(",")
    if name in without:
        pytest.skip(f"without {name}, as REBUILDER_TESTS_WITHOUT says")
    pytest.fail(f"{name} is missing: install {PACKAGES[name]}, or name it in REBUILDER_TESTS_WITHOUT", pytrace=False)


def need_commands(name: str, *commands: str) -> None:
    need(name, all(shutil.which(command) for command in commands))


def postgresql_programs() -> Path | None:
    """The newest installed PostgreSQL's folder of programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class PostgreSQL:
    """A private cluster, run as the postgres user where we are root, as it refuses to run as root."""

    def __init__(self) -> None:
        programs = postgresql_programs()
        assert programs is not None
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
        prefix: list[str] = []
        if os.geteuid() == 0:
            postgres = pwd.getpwnam("postgres")
            os.chown(self._folder, postgres.pw_uid, postgres.pw_gid)
            prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=KILL"]
        data, log = self._folder / "data", self._folder.with_suffix(".log")
        self._log = log
        init = Child(
            [*prefix, str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "postgres", "-N", "-E", "UTF8"],
            log,
        )
        while init.status is None:
            time.sleep(0.05)
        assert init.status == 0, init.tail()
        settings = {"port": self.port, "unix_socket_directories": self._folder, "listen_addresses": "127.0.0.1",
                    "fsync": "off"}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        self._server = Child([*prefix, str(programs / "postgres"), "-D", str(data), *options], log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._server.status is None and time.monotonic() < deadline, self._server.tail()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", dbname="postgres", autocommit=True)

    def new_database(self) -> str:
        """A fresh, empty database, as SQLAlchemy's URL."""
        name = f"test_{secrets.token_hex(6)}"
        with self._connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._log.unlink(missing_ok=True)
