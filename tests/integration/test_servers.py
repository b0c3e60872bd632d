"""The servers that the tests and the demonstration run for themselves."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
import sqlalchemy
from support import bus, servers
from support.servers import processes_of

from rebuilder.demo import broker as module
from rebuilder.demo.broker import PROGRAMS, SCRIPT, Broker
from rebuilder.demo.process import LOOPBACK, Failed, Missing

PERSISTENT = pika.BasicProperties(delivery_mode=2)
# RabbitMQ writes a new queue's registration with a delay. At a crash a younger quorum queue never answers again, and a
# younger classic one is gone.
SETTLING = 3.0
PARENT = """
import sys, time
from pathlib import Path
from rebuilder.demo.broker import Broker

Broker(Path(sys.argv[1])).start()
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own, not yet started; its folder's name is no easy one."""
    servers.need("rabbitmq", *PROGRAMS, SCRIPT)
    broker = Broker(tmp_path / "rabbit mq")
    yield broker
    broker.stop()


@pytest.fixture
def other_program() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def test_a_broker_delivers_what_is_published(broker: Broker, fresh_queue: str) -> None:
    with bus.channel(broker) as channel:
        channel.basic_publish("", fresh_queue, b"hello", mandatory=True)
        assert channel.basic_get(fresh_queue, auto_ack=True)[2] == b"hello"


def test_a_fresh_queue_is_empty(broker: Broker, fresh_queue: str) -> None:
    with bus.channel(broker) as channel:
        assert channel.queue_declare(fresh_queue, passive=True).method.message_count == 0


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_killed_broker_comes_back_with_its_persistent_messages(mortal_broker: Broker, kind: str) -> None:
    url, queue = mortal_broker.amqp_url, f"kept-{kind}"
    with bus.channel(mortal_broker) as channel:
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": kind})
        time.sleep(SETTLING)
        channel.basic_publish("", queue, b"hello", PERSISTENT, mandatory=True)
        mortal_broker.kill()
        with pytest.raises(pika.exceptions.AMQPError):
            channel.basic_get(queue)
    mortal_broker.start()
    assert mortal_broker.amqp_url == url
    with bus.channel(mortal_broker) as channel:
        assert channel.basic_get(queue, auto_ack=True)[2] == b"hello"
        channel.queue_delete(queue)


def test_a_broker_leaves_no_process_behind_when_its_block_fails(own_broker: Broker) -> None:
    with pytest.raises(ZeroDivisionError), own_broker:
        assert len(processes_of(own_broker.folder)) > 1
        raise ZeroDivisionError
    assert not processes_of(own_broker.folder)


def test_a_broker_dies_with_a_killed_parent(own_broker: Broker) -> None:
    command = [sys.executable, "-c", PARENT, str(own_broker.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        assert len(processes_of(own_broker.folder)) > 2
        parent.kill()
    assert gone_within(10, own_broker.folder)


def test_a_broker_takes_another_port_where_one_was_taken_at_first(
    own_broker: Broker, other_program: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_broker, "_ports", own_broker._ports._replace(amqp=other_program))
    with own_broker, bus.channel(own_broker):
        assert own_broker.port != other_program


def test_a_broker_that_cannot_have_its_port_again_says_so(mortal_broker: Broker) -> None:
    mortal_broker.stop()
    with (
        socket.create_server((LOOPBACK, mortal_broker.port)),
        pytest.raises(Failed, match=f"port {mortal_broker.port} of the broker is taken"),
    ):
        mortal_broker.start()
    assert not processes_of(mortal_broker.folder)


def test_a_broker_that_does_not_start_shows_its_log(own_broker: Broker) -> None:
    own_broker.folder.mkdir()
    (own_broker.folder / "data").write_text("not a folder", encoding="utf-8")
    with pytest.raises(Failed, match=r"(?s)^rabbitmq-server ended with 1 .*server\.log:\n.*failed_to_create"):
        own_broker.start()
    assert not processes_of(own_broker.folder)


def test_without_rabbitmq_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SCRIPT", str(tmp_path / "none-*"))
    with pytest.raises(Missing, match=r"^RabbitMQ is not installed: install the package rabbitmq-server$"):
        Broker(tmp_path / "rabbitmq").start()


def test_each_postgresql_database_is_fresh(postgres_server: servers.PostgreSQL) -> None:
    with postgres_server.database() as first, postgres_server.database() as second:
        assert first != second
        engine = sqlalchemy.create_engine(first)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE used (number integer)")
        assert tables(first) == ["used"]
        assert tables(second) == []


def test_a_database_goes_away_even_with_open_connections(postgres_server: servers.PostgreSQL) -> None:
    with postgres_server.database() as url:
        connection = sqlalchemy.create_engine(url).connect()
    with pytest.raises(sqlalchemy.exc.OperationalError):
        connection.exec_driver_sql("SELECT 1")
    with pytest.raises(sqlalchemy.exc.OperationalError, match="does not exist"):
        tables(url)


def test_a_database_of_each_kind_starts_without_tables(database_url: str) -> None:
    assert tables(database_url) == []


def test_a_stopped_postgresql_leaves_neither_process_nor_folder(postgres_server: servers.PostgreSQL) -> None:
    with servers.PostgreSQL() as own, own.database() as url:
        assert tables(url) == []
        assert processes_of(own.folder)
    assert not processes_of(own.folder)
    assert not own.folder.exists()


def test_a_missing_part_of_the_system_fails_the_test_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(servers.WITHOUT, raising=False)
    with pytest.raises(pytest.fail.Exception, match=r"^no-such-program is missing: install rabbitmq-server"):
        servers.need("rabbitmq", "sh", "no-such-program")


def test_a_part_of_the_system_that_is_named_as_absent_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(servers.WITHOUT, "buildah,rabbitmq")
    with pytest.raises(pytest.skip.Exception, match="without rabbitmq"):
        servers.need("rabbitmq", "no-such-program")


def test_a_misspelt_part_of_the_system_is_not_skipped_silently(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(servers.WITHOUT, "rabitmq")
    with pytest.raises(pytest.fail.Exception, match="names rabitmq; known: rabbitmq, postgresql"):
        servers.need("rabbitmq", "sh")


def tables(url: str) -> list[str]:
    """The names of a database's tables."""
    engine = sqlalchemy.create_engine(url)
    try:
        return sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()


def gone_within(seconds: float, folder: Path) -> bool:
    deadline = time.monotonic() + seconds
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not processes_of(folder)
