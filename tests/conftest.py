"""Fixtures that all kinds of tests share. The servers start when a test first asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from sqlalchemy import Engine

from rebuilder.demo import broker as private
from rebuilder.store import database


@pytest.fixture(autouse=True)
def _nothing_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the configuration nor the state of whoever runs the tests."""
    for name in ("REBUILDER_CONFIG", "FEDORA_MESSAGING_CONF", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[private.Broker]:
    """A real RabbitMQ."""
    servers.need("rabbitmq", private.SERVER.exists())
    with private.Broker(tmp_path_factory.mktemp("rabbitmq")) as running:
        yield running


@pytest.fixture(scope="session")
def postgresql() -> Iterator[servers.PostgreSQL]:
    """A real PostgreSQL."""
    servers.need("postgresql", servers.postgresql_programs() is not None)
    server = servers.PostgreSQL()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh, empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    url: str = request.getfixturevalue("postgresql").new_database()
    return url


@pytest.fixture
def store(database_url: str) -> Iterator[Engine]:
    """A database of each kind, with its tables."""
    engine = database.open_database(database_url)
    database.upgrade(engine)
    yield engine
    engine.dispose()
