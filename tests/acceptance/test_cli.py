"""The command as a user types it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from support import shell, users
from support.users import PLAN, ROOT, User, update

from rebuilder.cli import VERBS, rebuilder
from rebuilder.demo.process import free_port

user = users.user


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> User:
    """A user with images in the database, for tests that change nothing."""
    user = User(tmp_path_factory.mktemp("reader"))
    assert user.types("inventory", "sync").returncode == 0
    return user


# --- plan


def test_the_configuration_is_checked(reader: User) -> None:
    assert "good" in reader.types("config", "check").stdout
    assert reader.reads("config", "check")["builder"] == "simulated"


@pytest.mark.parametrize("group", [(), ("inventory",), ("db",)], ids=" ".join)
def test_without_a_verb_the_help_is_shown(group: tuple[str, ...]) -> None:
    done = shell.types(*group)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == shell.types(*group, "--help").stdout


def test_a_plan_of_a_document_has_the_shape_that_scripts_read(user: User) -> None:
    (user.folder / "config.toml").write_text("[consumer_config]\nmax_builds = 20\n")
    found = user.reads(*PLAN, "--severity", "high", "--inventory", str(user.folder / "inventory.yaml"))
    rpm = {"kind": "rpm", "installed": "openssl-libs-1:3.2.1-1.fc42.x86_64", "available": "3.2.2-1.fc42"}
    assert found == {
        "changes": [{"source": "openssl", "evr": "1:3.2.2-1.fc42", "stream": "f42", "severity": "high"}],
        "rebuilds": [
            {"image": "base:f42", "depends_on": [], "level": 0, "reasons": [{**rpm, "inherited_from": None}]},
            {"image": "httpd:f42", "depends_on": ["base:f42"], "level": 1,
             "reasons": [{**rpm, "inherited_from": "base:f42"}]},
        ],
        "skipped": [{"image": "old:f41", "reason": "other-stream"}, {"image": "new:f42", "reason": "already-current"}],
        "untouched": 1,
        "estimate": {"makespan_s": 720.0, "critical_path": ["base:f42", "httpd:f42"], "work_s": 720.0, "slots": 20},
    }  # fmt: skip
    assert not (user.folder / "state").exists(), "planning on a document opens no database"


def test_a_plan_of_a_document_does_not_wait_for_the_database_to_load(reader: User) -> None:
    arguments = reader.command(*PLAN, "--inventory", str(reader.folder / "inventory.yaml"))[3:]
    script = "import sys, rebuilder.cli as cli; print(cli.status_of(sys.argv[1:]), 'sqlalchemy' in sys.modules)"
    told = subprocess.check_output([sys.executable, "-c", script, *arguments], cwd=ROOT, text=True, timeout=60)
    assert told.splitlines()[-1] == "0 False"


def test_the_help_names_all_verbs_and_loads_none_of_them() -> None:
    script = ("import sys\nfrom rebuilder.cli import status_of\nstatus_of(['--help'])\n"
              "print(*(name for name in sys.modules if name.startswith(('rebuilder.cli.', 'sqlalchemy', 'pydantic'))))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    *told, loaded = done.stdout.splitlines()
    assert [line.split()[0] for line in told if re.match(r"  \w", line)][-len(VERBS):] == sorted(VERBS)
    assert {"sqlalchemy", "pydantic"}.isdisjoint(loaded.split())
    assert len(loaded.split()) < 5


def test_the_status_loads_neither_an_object_mapper_nor_the_other_database_s_dialect(reader: User) -> None:
    script = ("import sys, rebuilder.cli as cli; cli.status_of(sys.argv[1:])\n"
              "print('sqlalchemy' in sys.modules, [n for n in ('sqlalchemy.orm', 'sqlalchemy.dialects.postgresql') "
              "if n in sys.modules])")
    command = [sys.executable, "-c", script, *reader.command("status")[3:]]
    assert subprocess.check_output(command, cwd=ROOT, text=True, timeout=60).splitlines()[-1] == "True []"


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_is_found_under_its_name(name: str) -> None:
    verb = rebuilder.get_command(click.Context(rebuilder), name)
    assert verb is not None
    assert verb.name == name


def test_the_database_and_what_is_exported_from_it_plan_the_same_as_the_document(reader: User) -> None:
    found = reader.reads(*PLAN, "--inventory", str(reader.folder / "inventory.yaml"))
    assert reader.reads(*PLAN) == found
    exported = reader.folder / "exported.json"
    exported.write_text(reader.types("inventory", "export").stdout)
    assert reader.reads(*PLAN, "--inventory", str(exported)) == found


def test_all_descendants_are_planned_where_that_is_asked_for(reader: User) -> None:
    document = str(reader.folder / "inventory.yaml")
    found = reader.reads(*PLAN, "--descendants", "all", "--inventory", document)
    assert found["rebuilds"][-1] == {
        "image": "app:f42", "depends_on": ["httpd:f42"], "level": 2,
        "reasons": [{"kind": "parent", "installed": None, "available": "3.2.2-1.fc42", "inherited_from": "httpd:f42"}],
    }  # fmt: skip


def test_a_plan_for_people_names_the_images_and_why(reader: User) -> None:
    told = reader.types(*PLAN, "--explain").stdout
    for word in ("base:f42", "httpd:f42", "openssl-libs-1:3.2.1-1.fc42.x86_64", "old:f41: of another stream"):
        assert word in told


# --- wrong requests


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("plan", "--update", "openssl"), "openssl"),
        (("plan", "--update", "openssl-x:3-1"), "openssl-x:3-1"),
        (("plan", "--update", "openssl-3.2.2-1.fc99"), "no stream takes openssl-3.2.2-1.fc99"),
        ((*PLAN, "--stream", "f99"), "unknown stream f99"),
        ((*PLAN, "--severity", "dire"), "dire"),
        (("plan",), "--update"),
        ((*PLAN, "--inventory", "/nowhere/at/all.yaml"), "/nowhere/at/all.yaml"),
        (("inventory", "show", "ghost:f42"), "unknown image ghost:f42"),
        (("log", "ghost:f42"), "unknown image ghost:f42"),
        (("log", "base:f42"), "base:f42 has not been built"),
        (("log", "base:f42", "--rebuild", "1"), "name an image, or a rebuild with --rebuild ID"),
        (("log", "base:f42", "--attempt", "1"), "--attempt: is one of a rebuild"),
        (("log", "--rebuild", "99"), "there is no rebuild 99"),
        (("wave", "7"), "there is no wave 7"),
        (("wave", "x"), "x"),
        (("replay", "/nowhere/at/all"), "/nowhere/at/all"),
        (("dance",), "dance"),
    ],
)
def test_a_wrong_request_is_one_line(reader: User, arguments: tuple[str, ...], word: str) -> None:
    assert word in reader.is_refused(*arguments)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version: 1\nimages:\n  - {name: a, parents: [b]}\n  - {name: b, parents: [a]}\n",
         ("inventory.yaml:3", "parent cycle: a:default -> b:default -> a:default")),
        ("version: 1\nimages:\n  - {name: a\n", ("inventory.yaml:4",)),
        ("version: 1\nimages:\n  - {name: a}\n  - {name: a}\n", ("inventory.yaml:4", "a:default is defined twice")),
        ("version: 1\nimages:\n  - {name: a, rpms: [bash]}\n", ("inventory.yaml:3", "'bash'")),
        ("version: 1\nimages:\n  - {name: a, colour: red}\n", ("inventory.yaml:3", "images[0].colour: unknown key")),
        ("[" * 100_000, ("inventory.yaml", "nested too deeply")),
        ("", ("inventory.yaml",)),
    ],
)  # fmt: skip
def test_a_wrong_document_is_one_line(reader: User, tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    (tmp_path / "inventory.yaml").write_text(text)
    line = reader.is_refused(*PLAN, "--inventory", str(tmp_path / "inventory.yaml"))
    assert all(word in line for word in words), line


def test_a_sync_of_a_wrong_document_changes_nothing(user: User) -> None:
    user.types("inventory", "sync")
    (user.folder / "inventory.yaml").write_text("version: 1\nimages: [{name: new}, {name: a, parents: [a]}]\n")
    assert "parent cycle: a:default -> a:default" in user.is_refused("inventory", "sync")
    assert len(user.reads("inventory", "list")) == 5


def test_a_wrong_configuration_is_one_line(user: User) -> None:
    user.configure(more="max_build = 3")
    fault = "consumer_config.max_build: unknown key; did you mean max_builds?"
    assert fault in user.is_refused("engine")
    checked = user.types("config", "check")
    assert (checked.returncode, f"wrong: {fault}" in checked.stdout, len(checked.stderr.splitlines())) == (2, True, 1)


def test_a_missing_configuration_is_one_line(user: User) -> None:
    (user.folder / "config.toml").unlink()
    assert "config.toml" in user.is_refused("status")


def test_a_line_that_is_no_message_is_named_and_stops_nothing(user: User) -> None:
    good = '{"id": "%s", "topic": "a", "body": {}}\n'
    for ident, bad in enumerate(("{", "[]", '{"id": 7, "topic": "a"}')):
        done = user.types("replay", "-", stdin=f"{good % ident}{bad}\n{good % f'{ident}b'}")
        assert (done.returncode, done.stdout) == (1, "0 accepted, 0 duplicate, 2 ignored, 1 rejected\n")
        assert done.stderr.startswith("rebuilder: <stdin>:2: rejected: not ")


@pytest.mark.parametrize("name", ["/proc/none/x.db", "/dev/full", "{folder}", "{folder}/inventory.yaml"])
def test_a_database_that_cannot_be_opened_is_one_line(user: User, name: str) -> None:
    user.configure(more=f'database_url = "sqlite:///{name.format(folder=user.folder)}"')
    assert "database" in user.is_refused("status", status=3)


def test_a_postgresql_that_does_not_answer_is_one_line(user: User) -> None:
    user.configure(more=f'database_url = "postgresql+psycopg://me:secret@127.0.0.1:{free_port()}/none"')
    for arguments in (("db", "upgrade"), ("engine", "--until-idle")):
        assert "secret" not in user.is_refused(*arguments, status=3)


def test_messages_are_replayed_and_everything_stale_is_rebuilt(user: User) -> None:
    user.types("inventory", "sync")
    odd = json.dumps({"id": "m2", "topic": "x.buildsys.tag", "headers": {}, "body": {}}) + "\n"
    other = json.dumps({"id": "m3", "topic": "x.weather", "headers": {}, "body": {}}) + "\n"
    done = user.types("replay", "-", stdin=update() + update() + odd + other)
    assert (done.returncode, done.stdout) == (1, "1 accepted, 1 duplicate, 1 ignored, 1 rejected\n")
    assert done.stderr == "rebuilder: <stdin>:3: rejected: tag: must be a text, not nothing\n"
    assert user.types("run", "--until-idle").returncode == 0
    wave = user.reads("wave", "1")
    assert wave["state"] == "finished"
    assert [(r["image"], r["level"], r["state"]) for r in wave["rebuilds"]] == [
        ("base:f42", 0, "succeeded"),
        ("httpd:f42", 1, "succeeded"),
    ]
    status = user.reads("status")
    assert (status["well"], status["rebuilds"], status["waves"][0]["rebuilds"]) == (True, [], {"succeeded": 2})
    assert status["messages"] == {"accepted": 1, "ignored": 1, "rejected": 1}
    (rejected,) = user.reads("inbox", "--state", "rejected")
    assert (rejected["id"], bool(rejected["reason"])) == ("m2", True)
    assert "openssl-libs-1:3.2.2-1.fc42.x86_64" in user.reads("inventory", "show", "httpd:f42")["rpms"]
    assert user.reads(*PLAN)["rebuilds"] == []


def test_a_failed_build_is_exit_status_1_everywhere(user: User) -> None:
    user.configure(simulated='failures = ["base:f42"]')
    user.types("inventory", "sync")
    user.types("replay", "-", stdin=update())
    assert user.types("run", "--until-idle").returncode == 1
    wave = user.reads("wave", "1", status=1)
    assert [(r["image"], r["state"], r["reason"]) for r in wave["rebuilds"]] == [
        ("base:f42", "failed", "simulated failure"),
        ("httpd:f42", "blocked", "base:f42 did not succeed"),
    ]
    assert user.reads("status", status=1)["well"] is False


def test_what_is_old_is_pruned(user: User) -> None:
    assert user.types("inventory", "sync").returncode == 0
    for _ in range(3):
        assert user.types("rebuild", "base:f42").returncode == 0
        assert user.types("run", "--until-idle").returncode == 0
    assert user.types("db", "prune").stdout == "deleted: nothing\n"
    user.configure('retention = {history_days = 0.000001, build_days = 0.000001}')
    rehearsed = user.reads("db", "prune", "--dry-run")
    assert rehearsed["dry_run"]
    assert rehearsed["deleted"]["rebuilds"] == rehearsed["deleted"]["waves"] == 2
    assert user.types("db", "prune", "--dry-run").stdout.startswith("would delete: 2 rebuilds, 2 waves")
    assert user.reads("db", "prune") == {**rehearsed, "dry_run": False}
    assert user.types("db", "prune").stdout == "deleted: nothing\n"
    user.configure("retention = {history_days = 0}")
    assert "consumer_config.retention.history_days" in user.is_refused("db", "prune")
