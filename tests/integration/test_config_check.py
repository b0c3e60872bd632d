"""`config check` lists what it looked at, and verbs that ask make no database."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine

from rebuilder import config_file
from rebuilder.builders import emulation
from rebuilder.cli import status_of
from rebuilder.demo.broker import Broker
from rebuilder.store.database import HEAD

SITE = """
amqp_url = "amqp://127.0.0.1"
callback = "consumers:Inbox"
[qos]
prefetch_size = 0
prefetch_count = 1
[queues.ours]
durable = true
auto_delete = false
exclusive = false
arguments = {{}}
[[bindings]]
queue = "ours"
exchange = "amq.topic"
routing_keys = ["#"]
[consumer_config]
database_url = "sqlite:///{folder}/data/rebuilder.db"
[consumer_config.inventory]
path = "{folder}/inventory.yaml"
"""


class Operator:
    """Somebody with a configuration, who types in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.path, self._capsys = folder, folder / "config.toml", capsys
        (folder / "inventory.yaml").write_text("version: 1\nimages: [{name: base, stream: f42}]\n")
        self.path.write_text(SITE.format(folder=folder))

    def change(self, before: str, after: str) -> None:
        text = self.path.read_text()
        assert before in text
        self.path.write_text(text.replace(before, after))

    def types(self, *words: str, given: bool = True) -> tuple[int, list[str], list[str]]:
        """The exit status, and the lines of standard output and error."""
        status = status_of([*(["--config", str(self.path)] if given else []), *words])
        told = self._capsys.readouterr()
        return status, told.out.splitlines(), told.err.splitlines()

    def wrong(self, *words: str, status: int = 2) -> list[str]:
        """The checks that are not well."""
        found, lines, _ = self.types("config", "check", *words)
        assert found == status, lines
        return [line for line in lines if line.startswith("wrong: ")]


@pytest.fixture
def operator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(tmp_path, capsys)


# --- config check


def test_each_check_is_listed_with_its_verdict(operator: Operator) -> None:
    status, lines, errors = operator.types("config", "check")
    assert (status, errors) == (0, [])
    for about in (f"configuration {operator.path}", "keys of fedora-messaging", "keys of [consumer_config]",
                  f"consumer_config.inventory.path {operator.folder}/inventory.yaml", "amqp_url: host 127.0.0.1",
                  f"folder of the database {operator.folder}/data"):  # fmt: skip
        assert f"ok: {about}" in lines
    assert lines[-1].startswith("good: builder simulated, database sqlite:///")
    status, lines, _ = operator.types("config", "check", "--json")
    told = json.loads("\n".join(lines))
    assert (status, told["builder"], all(check["ok"] for check in told["checks"])) == (0, "simulated", True)
    assert not (operator.folder / "data").exists(), "nothing is made"


@pytest.mark.parametrize(("before", "after", "told"), [
    ("amqp_url", "ampq_url", "ampq_url: unknown key; did you mean amqp_url?"),
    ("prefetch_count", "prefetch_cuont", "qos.prefetch_cuont: unknown key; did you mean prefetch_count?"),
    ("durable", "durabel", "queues.ours.durabel: unknown key; did you mean durable?"),
    ("exchange =", "exchnage =", "bindings.0.exchnage: unknown key; did you mean exchange?"),
    ("consumers:Inbox", "consumer:Inbox", "callback: there is no consumer:Inbox; rebuilder's is consumers:Inbox"),
    ("[qos]", "[tls]\nca_cert = '/none/ca.pem'\n[qos]", "tls.certfile: is missing"),
    ("database_url", "databse_url", "consumer_config.databse_url: unknown key; did you mean database_url?"),
    ("path =", "paht =", "consumer_config.inventory.paht: unknown key; did you mean path?"),
])  # fmt: skip
def test_a_misspelt_key_is_named_wherever_it_is(operator: Operator, before: str, after: str, told: str) -> None:
    operator.change(before, after)
    assert any(line.startswith(f"wrong: {told}") for line in operator.wrong()), operator.wrong()


def test_all_that_is_wrong_is_listed_and_not_the_first_alone(operator: Operator) -> None:
    operator.change("path =", "paht =")
    operator.change("database_url", "max_builds = 0\ndatabse_url")
    assert len(operator.wrong()) == 3
    assert "(and 2 more)" in operator.types("config", "check")[2][0]


@pytest.mark.parametrize(("before", "after", "told"), [
    ("inventory.yaml", "none.yaml", "No such file or directory"),
    ("amqp://127.0.0.1", "amqp://no-such-host.invalid", "amqp_url: host no-such-host.invalid: the name cannot be"),
    ("{folder}/data", "/dev/null/data", "folder of the database /dev/null/data: /dev/null is not a folder"),
    ("[consumer_config]", "[consumer_config]\nnotify = {enabled = true, url = 'http://no-such.invalid'}",
     "consumer_config.notify.url: host no-such.invalid: the name cannot be resolved"),
    ("[consumer_config]", "[consumer_config]\nbuilder = 'koji'", "consumer_config.koji.hub is not set"),
])  # fmt: skip
def test_files_folders_and_hosts_are_looked_at(operator: Operator, before: str, after: str, told: str) -> None:
    operator.change(before.format(folder=operator.folder), after)
    assert any(told in line for line in operator.wrong()), operator.wrong()


@pytest.mark.parametrize(("table", "told"), [
    ("streams.f42]\ntest_script = '/none/test.sh'", "streams.f42.test_script /none/test.sh: No such file or directory"),
    ("registry]\nauth_file = '/none/auth.json'", "registry.auth_file /none/auth.json: No such file or directory"),
    ("inventory.sources.base]\npath = '/none/base'", "inventory.sources.base.path /none/base: No such file"),
    ("buildah]\nroot = '/dev/null/storage'", "buildah.root /dev/null/storage: /dev/null is not a folder"),
])  # fmt: skip
def test_each_file_and_folder_that_is_named_is_looked_at(operator: Operator, table: str, told: str) -> None:
    operator.change("[consumer_config]\n", "[consumer_config]\nbuilder = 'buildah'\n")
    operator.path.write_text(f"{operator.path.read_text()}\n[consumer_config.{table}\n")
    (found,) = operator.wrong()
    assert found.startswith(f"wrong: consumer_config.{told}")


@pytest.mark.parametrize("source", ["containerfiles", "file"])
def test_a_source_that_is_named_without_its_path_is_wrong(operator: Operator, source: str) -> None:
    operator.path.write_text(f"[consumer_config.inventory]\nsource = '{source}'\n")
    (told,) = operator.wrong()
    assert told == f"wrong: consumer_config.inventory.path: is not set: where the images of source {source} are"


def test_what_is_not_checked_for_the_sake_of_a_wrong_key_is_told(operator: Operator) -> None:
    operator.change("path =", "paht =")
    status, lines, _ = operator.types("config", "check")
    assert (status, lines[-1]) == (2, "not checked: builder, database, files, folders, names of hosts: "
                                      "mend the keys first")  # fmt: skip
    checks = json.loads("\n".join(operator.types("config", "check", "--json")[1]))["checks"]
    assert [check["ok"] for check in checks] == [True, True, False, None]


def test_a_file_that_is_no_database_is_wrong(operator: Operator) -> None:
    file = operator.folder / "data/rebuilder.db"
    file.parent.mkdir()
    file.write_bytes(b"not a database, whatever its name says" * 100)
    before = file.read_bytes()
    (told,) = operator.wrong()
    assert told == f"wrong: database sqlite:///{file}: file is not a database"
    assert file.read_bytes() == before
    file.unlink()
    file.mkdir()
    assert "unable to open database file" in operator.wrong()[0]


def test_the_database_of_another_program_is_wrong_and_left_as_it_is(operator: Operator) -> None:
    file = operator.folder / "data/rebuilder.db"
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as others:
        others.execute("CREATE TABLE moz_places (id INTEGER)")
    before = file.read_bytes()
    told = f"database sqlite:///{file}: its tables are another program's"
    assert operator.wrong()[0].startswith(f"wrong: {told}")
    for words in (("inventory", "sync"), ("db", "upgrade"), ("status",)):
        status, lines, errors = operator.types(*words)
        assert (status, lines) == (2, [])
        assert errors[-1].startswith(f"rebuilder: {told}")
    assert file.read_bytes() == before


def test_a_database_of_ours_is_told_with_its_version(operator: Operator) -> None:
    assert operator.types("inventory", "sync")[0] == 0
    status, lines, _ = operator.types("config", "check")
    assert status == 0
    assert [line for line in lines if line.startswith("ok: database ")] == [
        f"ok: database sqlite:///{operator.folder}/data/rebuilder.db: version {HEAD}"]  # fmt: skip


def test_notifications_without_a_bus_are_wrong(operator: Operator) -> None:
    operator.path.write_text("[consumer_config.notify]\nenabled = true\n")
    assert operator.wrong() == ["wrong: notifications: they need a bus: set amqp_url"]


def test_online_the_database_and_the_broker_are_asked(
    operator: Operator, broker: Broker, fresh_queue: str, store: Engine
) -> None:
    operator.change("amqp://127.0.0.1", broker.amqp_url)
    operator.change("queues.ours", f"queues.{fresh_queue}")
    operator.change('queue = "ours"', f'queue = "{fresh_queue}"')
    status, lines, _ = operator.types("config", "check", "--online")
    assert status == 0
    assert {"ok: broker", f"ok: queue {fresh_queue}: 0 messages, 0 consumers"} <= set(lines)
    assert any(line.endswith("rebuilder.db: not made yet") for line in lines)
    operator.change(fresh_queue, "no-such-queue")
    operator.change(f"sqlite:///{operator.folder}/data/rebuilder.db", store.url.render_as_string(hide_password=False))
    assert ["queue no-such-queue" in line for line in operator.wrong("--online", status=1)] == [True]


# --- the right database


READERS = (
    ("status",), ("wave", "1"), ("why", "base"), ("log", "base"), ("graph",), ("plan", "--update", "a-1-1"),
    ("simulate", "--update", "a-1-1", "--slots", "1"), ("inventory", "list"), ("inventory", "show", "base"),
    ("inventory", "export"), ("inbox", "list"), ("inbox", "show", "1"), ("inbox", "dead"), ("token", "list"),
    ("hold", "base"), ("db", "prune"),
)  # fmt: skip


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_a_verb_that_asks_makes_no_database(operator: Operator, words: tuple[str, ...]) -> None:
    status, lines, errors = operator.types(*words)
    assert (status, lines) == (3, [])
    assert errors == [f"rebuilder: there is no database sqlite:///{operator.folder}/data/rebuilder.db yet: "
                      "`rebuilder inventory sync` or `rebuilder db upgrade` makes one"]  # fmt: skip
    assert not (operator.folder / "data").exists()


def test_a_dump_of_a_database_that_is_not_there_makes_none_and_says_so(operator: Operator) -> None:
    status, lines, _ = operator.types("debug", "dump")
    assert status == 3
    assert json.loads("\n".join(lines))["database"]["error"].startswith("there is no database")
    assert not (operator.folder / "data").exists()


def test_the_configuration_that_is_used_is_said_where_it_could_be_doubted(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = operator.folder / "ours.toml", operator.folder / "theirs.toml"
    monkeypatch.setattr(config_file, "OURS", ours)
    monkeypatch.setattr(config_file, "THEIRS", theirs)
    assert operator.types("inventory", "sync")[0] == 0
    assert operator.types("status")[2] == [], "it is named on the command line"
    said = operator.types("-v", "status")[2]
    assert said == [f"rebuilder: configuration {operator.path}; database sqlite:///{operator.folder}/data/rebuilder.db"]
    status, _, errors = operator.types("status", given=False)
    assert (status, len(errors)) == (3, 2)
    assert errors[0].startswith("rebuilder: no configuration file (--config, REBUILDER_CONFIG or ")
    ours.write_text(operator.path.read_text())
    status, lines, errors = operator.types("inventory", "list", "--json", given=False)
    assert (status, errors) == (0, [])
    assert json.loads("\n".join(lines))[0]["image"] == "base:f42"
    theirs.write_text("[consumer_config]\n")
    assert operator.types("status", given=False)[2] == [
        f"rebuilder: configuration {ours}; {theirs} is not read; "
        f"database sqlite:///{operator.folder}/data/rebuilder.db"
    ]


def test_what_this_machine_cannot_build_for_is_named_with_what_to_install(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulation, "HANDLERS", operator.folder)
    for name, text in (("copied", "FROM scratch\nCOPY a /a\n"), ("run", "FROM scratch\nRUN true\n")):
        (operator.folder / "images" / name).mkdir(parents=True)
        (operator.folder / "images" / name / "Containerfile").write_text(text)
    settings = operator.folder / "images/rebuilder.toml"
    settings.write_text('platforms = ["linux/amd64", "linux/s390x"]\n')
    operator.change("[consumer_config]\n", '[consumer_config]\nbuilder = "buildah"\n')
    operator.change(f'path = "{operator.folder}/inventory.yaml"',
                    f'source = "containerfiles"\nstream = "f42"\npath = "{operator.folder}/images"')  # fmt: skip
    (wrong,) = operator.wrong()
    assert wrong.startswith("wrong: platform linux/s390x of copied:f42, run:f42: ")
    assert "install qemu-user-static" in wrong
    assert wrong.endswith("keeps these from being built: run:f42")
    settings.write_text('platforms = "linux/s390x"\n')
    (operator.folder / "images/run/Containerfile").write_text("FROM scratch\n")
    assert operator.types("config", "check")[0] == 0
