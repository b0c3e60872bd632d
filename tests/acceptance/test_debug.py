"""What helps to find out what goes on: logs, stacks, and a dump, as a user asks for them."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from support.buildah_world import until
from support.users import User, update


@pytest.fixture
def user(tmp_path: Path) -> User:
    found = User(tmp_path)
    found.types("inventory", "sync")
    found.types("replay", "-", stdin=update())
    return found


def test_verbose_tells_each_step_of_a_rebuild_and_quiet_nothing(user: User) -> None:
    said = user.types("-v", "run", "--until-idle").stderr
    assert "DEBUG rebuilder.store.transitions: base:f42: dispatched, now submitting" in said
    assert "DEBUG rebuilder.engine.ingest: message " in said
    user.types("rebuild", "base:f42")
    assert user.types("-q", "run", "--until-idle").stderr == ""


def test_the_variable_goes_before_the_configuration_whose_format_stays(user: User) -> None:
    user.configure(more='log = {level = "error", format = "json"}')
    user.environment["REBUILDER_LOG"] = "warning,rebuilder.store.transitions=debug"
    lines = [json.loads(line) for line in user.types("run", "--until-idle").stderr.splitlines()]
    assert {line["logger"] for line in lines} == {"rebuilder.store.transitions"}
    steps = [(line["image"], line["event"]) for line in lines]
    assert steps.index(("base:f42", "built")) < steps.index(("httpd:f42", "dispatched"))


def test_a_wrong_level_is_refused_wherever_it_is_given(user: User) -> None:
    user.environment["REBUILDER_LOG"] = "loud"
    assert user.is_refused("status").startswith("rebuilder: invalid log level 'loud': use one of debug,")
    del user.environment["REBUILDER_LOG"]
    user.configure(more='log = {level = "rebuilder=loud"}')
    assert "consumer_config.log.level: invalid log level 'loud'" in user.is_refused("status")


def test_a_signal_prints_where_each_thread_is_and_the_process_goes_on(user: User) -> None:
    with subprocess.Popen(user.command("engine"), env=user.environment, stderr=subprocess.PIPE, text=True) as engine:
        try:
            until(lambda: user.reads("status")["active"])
            engine.send_signal(signal.SIGUSR1)
            assert engine.stderr is not None
            assert any("most recent call first" in line for line in engine.stderr)
            assert engine.poll() is None
        finally:
            engine.terminate()


def test_a_dump_has_what_happened_and_no_secrets(user: User) -> None:
    user.types("run", "--until-idle")
    config = user.folder / "config.toml"
    config.write_text('amqp_url = "amqps://me:hunter2@broker.example.org"\n' + config.read_text()
                      + '[consumer_config.osbs.overrides]\ntoken = "hunter2"\ntoken_file = "/etc/token"\n')  # fmt: skip
    user.types("token", "add", "night-shift", "--scope", "all")
    written = user.folder / "dump.json"
    assert user.types("debug", "dump", "--output", str(written)).returncode == 0
    found = json.loads(written.read_text())
    assert found["configuration"]["amqp_url"] == "amqps://me:(removed)@broker.example.org"
    overrides = found["configuration"]["settings"]["osbs"]["overrides"]
    assert (overrides["token"], overrides["token_file"]) == ("(removed)", "/etc/token")
    assert "hunter2" not in written.read_text()
    assert found["versions"]["packages"]["click"]
    assert found["database"]["rows"]["token"] == 1
    assert found["database"]["newest"]["transitions"][0]["event"] == "built"
    assert "body" not in found["database"]["newest"]["messages"][0]
    assert "token" not in found["database"]["newest"]


def test_a_dump_works_while_the_database_is_away(user: User) -> None:
    user.configure(more='database_url = "postgresql+psycopg://me:hunter2@127.0.0.1:1/rebuilder"')
    done = user.types("debug", "dump")
    assert done.returncode == 3
    found = json.loads(done.stdout)
    assert found["database"]["error"]
    assert found["configuration"]["settings"]["builder"] == "simulated"
    assert "hunter2" not in done.stdout
