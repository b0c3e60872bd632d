"""Fixtures that all kinds of tests share. The servers start when a test first asks for them."""

from __future__ import annotations

import importlib.util
import secrets
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine
from support import databases, examples, forks, servers, statements
from support.harnesses.osbs import HERE, OsbsHarness

from rebuilder.demo.broker import PROGRAMS, SCRIPT, Broker
from rebuilder.store import database

examples.register()
forks.install()
statements.share()
# A shell has its background jobs ignore it, and what a test starts would ignore it too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say against what OSBS was tested: a stand-in is a claim about the world."""
    if importlib.util.find_spec("osbs") is None:
        told = "OSBS was tested against the stand-in alone; `make test-osbs CLIENT=FOLDER` takes the real osbs-client"
        terminalreporter.write_line(told)


@pytest.fixture(autouse=True)
def _nothing_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the configuration nor the state of whoever runs the tests."""
    for name in ("REBUILDER_CONFIG", "FEDORA_MESSAGING_CONF", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real RabbitMQ. A test that ends it asks for `mortal_broker` instead."""
    servers.need("rabbitmq", *PROGRAMS, SCRIPT)
    with Broker(tmp_path_factory.mktemp("rabbitmq")) as running:
        yield running


@pytest.fixture
def mortal_broker(broker: Broker) -> Iterator[Broker]:
    """The same RabbitMQ for a test that ends it: it is brought back for the next test."""
    yield broker
    broker.start()


@pytest.fixture
def fresh_queue(broker: Broker) -> Iterator[str]:
    """The name of a durable, empty queue that goes away afterwards."""
    from support import bus  # with fedora-messaging, which most tests do without

    name = f"test-{secrets.token_hex(6)}"
    with bus.channel(broker) as channel:
        channel.queue_declare(name, durable=True)
    yield name
    with bus.channel(broker) as channel:
        channel.queue_delete(name)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.PostgreSQL]:
    """A real PostgreSQL."""
    servers.need("postgresql", *(() if servers.postgres_programs() else ("initdb",)))
    with servers.PostgreSQL() as running:
        yield running


@pytest.fixture
def postgres_url(postgres_server: servers.PostgreSQL, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh database in PostgreSQL: empty, or with its tables where a test asks for an engine on it."""
    tables = not {"store", "postgres"}.isdisjoint(request.fixturenames)
    with postgres_server.database(request.getfixturevalue("postgres_template") if tables else "template0") as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A fresh, empty database in SQLite."""
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh, empty database of each kind."""
    url: str = request.getfixturevalue({"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param])
    return url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: servers.PostgreSQL) -> Iterator[str]:
    """The name of a database with its tables in PostgreSQL, to be copied."""
    with postgres_server.database() as url:
        engine = database.open_database(url)
        database.upgrade(engine)
        engine.dispose()
        yield url.rpartition("/")[2]


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Engine]:
    """A database in PostgreSQL, with its tables."""
    engine = database.open_database(postgres_url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(database_url: str) -> Iterator[Engine]:
    """A database of each kind, with its tables."""
    path = database_url.removeprefix("sqlite:///")
    engine = database.open_database(database_url) if path == database_url else databases.sqlite(Path(path))
    yield engine
    engine.dispose()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A database of each kind, with its tables, for all the tests of a file that only read what the file puts in it."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            engine = databases.sqlite(tmp_path_factory.mktemp("shared") / "test.db")
        else:
            server: servers.PostgreSQL = request.getfixturevalue("postgres_server")
            url = stack.enter_context(server.database(request.getfixturevalue("postgres_template")))
            engine = database.open_database(url)
        stack.callback(engine.dispose)
        yield engine


@pytest.fixture
def osbs(tmp_path: Path) -> Iterator[OsbsHarness]:
    """OSBS, with the client that is here."""
    (tmp_path / "osbs").mkdir()
    with HERE.world(tmp_path / "osbs") as made:
        yield made
