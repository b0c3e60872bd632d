"""Backup and restore, as the administrator's guide has it: what happened in between is found again, and built once."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.workbench import Workbench
from sqlalchemy import Engine
from support import servers

from rebuilder.store import database

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "admin.md"


def command_of(program: str) -> str:
    """The command line of a program, as the guide writes it."""
    (found,) = re.findall(rf"^{program} .*$", GUIDE.read_text(), re.MULTILINE)
    return str(found)


def run(words: list[str], folder: Path, engine: Engine) -> None:
    url, programs = engine.url, servers.postgres_programs()
    there = {"PGHOST": url.host, "PGPORT": url.port, "PGUSER": url.username, "PATH": f"{programs}:{os.environ['PATH']}"}
    environment = os.environ | {name: str(value) for name, value in there.items() if value is not None}
    subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True, timeout=60)


def back_up(store: Engine, folder: Path) -> Callable[[], Engine]:
    """Back the database up; what is given restores it."""
    name = str(store.url.database)
    if store.dialect.name == "postgresql":
        run([name if word == "rebuilder" else word for word in shlex.split(command_of("pg_dump"))], folder, store)
        words = [word.replace("=rebuilder", f"={name}") for word in shlex.split(command_of("pg_restore"))]

        def restore() -> Engine:
            store.dispose()
            run(words, folder, store)
            return store
    else:
        servers.need("sqlite", "sqlite3")
        run([name if word == "rebuilder.db" else word for word in shlex.split(command_of("sqlite3"))], folder, store)

        def restore() -> Engine:
            return database.ready(f"sqlite:///{folder / 'rebuilder-copy.db'}")

    return restore


def test_after_a_restore_work_goes_on_and_nothing_is_built_twice(store: Engine, tmp_path: Path) -> None:
    bench = Workbench(store)
    bench.tell("openssl-3.2.2-1.fc42", ident="m1")
    bench.passes()
    assert ("base", "building") in bench.states()
    restore = back_up(store, tmp_path)
    bench.finish()
    built = bench.submitted()
    assert len(built) > 1
    bench.store = restore()
    assert ("base", "building") in bench.states(), "the backup is of before"
    bench.restart()
    bench.tell("openssl-3.2.2-1.fc42", ident="m1")
    bench.finish()
    assert {state for _, state in bench.states()} == {"succeeded"}
    assert bench.submitted() == built, "the builder refuses a key that it has, and the engine adopts that build"


def test_a_backup_can_be_made_while_the_engine_writes(store: Engine, tmp_path: Path) -> None:
    bench = Workbench(store)
    bench.tell("openssl-3.2.2-1.fc42")
    with store.begin():
        restore = back_up(store, tmp_path)
    bench.finish()
    assert bench.states()
    bench.store = restore()
    assert bench.states() == []


def test_nginx_takes_the_sample_of_a_proxy(tmp_path: Path) -> None:
    servers.need("nginx", "nginx", "openssl")
    sample = (GUIDE.parents[1] / "config" / "nginx.conf").read_text()
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", str(key),
                    "-out", str(certificate)], check=True, capture_output=True, timeout=60)  # fmt: skip
    sample = re.sub(r"(ssl_certificate) .*;", rf"\1 {certificate};", sample)
    sample = re.sub(r"(ssl_certificate_key) .*;", rf"\1 {key};", sample)
    whole = f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{sample}\n}}\n"
    (tmp_path / "nginx.conf").write_text(whole)
    command = ["nginx", "-t", "-q", "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("program", ["pg_dump", "pg_restore", "sqlite3"])
def test_the_guide_says_each_command_once(program: str) -> None:
    assert command_of(program)
