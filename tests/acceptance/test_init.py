"""`init` as a new user types it: from nothing to images that are built once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support import terminal

from rebuilder import config, config_file

ROOT = Path(__file__).parents[2]
DOCUMENT = """\
version: 1
streams: {f42: {dist: .fc42}}
images:
  - {name: base, stream: f42, duration: 0.01}
  - {name: app, stream: f42, parents: [base], duration: 0.01}
"""


class NewUser:
    """Somebody with a home, and a document of two images of which nothing is known."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "config.toml"
        self.document = folder / "images.yaml"
        self.document.write_text(DOCUMENT)
        self.environment = os.environ | {"XDG_STATE_HOME": str(folder / "state"), "HOME": str(folder)}
        self.database = f"sqlite:///{folder}/rebuilder.db"

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "rebuilder", "--config", str(self.file), *words]

    def types(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), cwd=ROOT, env=self.environment, capture_output=True, text=True,
                              check=False, stdin=subprocess.DEVNULL)  # fmt: skip

    def init(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.types("init", "--source", "file", "--path", str(self.document), "--database", self.database, *words)


@pytest.fixture
def user(tmp_path: Path) -> NewUser:
    return NewUser(tmp_path)


def test_with_options_it_writes_a_configuration_that_is_good_and_says_what_to_do_next(user: NewUser) -> None:
    done = user.init("--yes")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"wrote {user.file}"
    assert [line.split("#")[0].strip() for line in lines[2:]] == [
        f"export REBUILDER_CONFIG={user.file}", "rebuilder inventory sync", "rebuilder rebuild --unknown",
        "rebuilder run", "rebuilder update NVR", "rebuilder status", "rebuilder doctor",
    ]  # fmt: skip
    assert user.types("config", "check").returncode == 0
    assert config.load(user.file).streams["f42"].bodhi_releases == ("F42",)


def test_who_wants_a_gate_gets_the_topics_of_the_ci(user: NewUser) -> None:
    topics = {f"#.{kind}.test.complete" for kind in ("koji-build", "redhat-container-image", "container-image")}
    broker = "--broker", "amqp://localhost"
    for options, wanted in ((), set()), (("--gate-test", "fedora-ci.koji-build.tier0.functional"), topics):
        done = user.init("--yes", "--force", *broker, *options)
        assert (done.returncode, done.stderr) == (0, "")
        written = tomllib.loads(user.file.read_text())
        (binding,) = written["bindings"]
        assert {key for key in binding["routing_keys"] if ".test." in key} == wanted
    stream = config.load(user.file).streams["f42"]
    assert (stream.gate_test, stream.gate_timeout) == ("fedora-ci.koji-build.tier0.functional", 7200)


def test_the_first_builds_are_made_if_that_is_wanted(user: NewUser) -> None:
    done = user.init("--yes", "--first-builds")
    assert done.returncode == 0, done.stderr
    assert "rebuilder run --until-idle" in done.stdout
    rebuilds = json.loads(user.types("wave", "1", "--json").stdout)["rebuilds"]
    assert [(found["image"], found["state"]) for found in rebuilds] == [
        ("base:f42", "succeeded"), ("app:f42", "succeeded"),
    ]  # fmt: skip


def test_it_asks_in_a_terminal_and_takes_the_answers(user: NewUser) -> None:
    answers = {
        "Where do the images come from": "file", "Which folder": str(user.document), "Which stream": "f43",
        "Which dist tag": "", "Which release": "", "What builds": "", "Which database": user.database,
        "Which message bus": "amqp://broker", "Where do the status pages": "127.0.0.1:8090", "Read the images": "n",
    }  # fmt: skip
    typed = "".join(f"{word}\n" for word in answers.values())
    told = terminal.shown(user.command("init"), user.environment, typed=typed)
    at = [told.index(question) for question in answers]
    assert at == sorted(at)
    settings = config.load(user.file)
    assert (settings.streams["f43"].dist, settings.streams["f43"].bodhi_releases) == ((".fc43",), ("F43",))
    assert (settings.builder, settings.web.port) == ("simulated", 8090)
    assert config_file.bus(user.file).url == "amqp://broker"


def test_a_configuration_that_is_there_is_not_touched_without_force(user: NewUser) -> None:
    user.file.write_text("mine")
    done = user.init("--yes")
    assert done.returncode == 2
    assert done.stderr == (
        f"rebuilder: {user.file} is there already: use --config FILE for another place, or --force to replace it\n"
    )
    assert user.file.read_text() == "mine"
    assert user.init("--yes", "--force").returncode == 0
    assert config.load(user.file).builder == "simulated"


@pytest.mark.parametrize(("option", "value", "told"), [
    ("--web", "8080", "--web: '8080' is not HOST:PORT"), ("--database", "mysql://x", "consumer_config.database_url"),
])  # fmt: skip
def test_a_wrong_answer_is_told_in_one_line_and_nothing_is_written(
    user: NewUser, option: str, value: str, told: str
) -> None:
    done = user.init("--yes", option, value)
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not user.file.exists()


def test_what_the_builder_lacks_is_said_and_the_configuration_stays_to_be_mended(user: NewUser) -> None:
    done = user.types("init", "--yes", "--source", "koji", "--database", user.database)
    assert done.returncode == 1
    assert "consumer_config.koji" in done.stderr
    assert f"next: mend {user.file} so" in done.stdout


def test_images_of_a_registry_are_planned_for_and_not_touched_until_a_builder_is_named(user: NewUser) -> None:
    done = user.types("init", "--yes", "--source", "registry", "--repository", "registry.example.com/team/base",
                      "--repository", "registry.example.com/team/*", "--tags", "42", "--tags", "42-*",
                      "--database", user.database)  # fmt: skip
    assert done.stdout.startswith(f"wrote {user.file}"), done.stderr
    settings = config.load(user.file)
    assert settings.inventory.repositories == ("registry.example.com/team/base", "registry.example.com/team/*")
    assert settings.streams["f42"].tags == ("42", "42-*")
    assert (settings.builder, settings.dry_run) == ("simulated", True)
    assert "rebuilder rebuild --unknown" not in done.stdout, "nothing can be built yet"


def test_a_registry_needs_repositories_and_that_is_said(user: NewUser) -> None:
    done = user.types("init", "--yes", "--source", "registry", "--database", user.database)
    assert (done.returncode, done.stderr) == (
        2, "rebuilder: --repository: name the repositories of the images, as registry.example.com/team/*\n"
    )  # fmt: skip
    assert not user.file.exists()


def test_builds_by_osbs_get_what_osbs_and_koji_need(user: NewUser) -> None:
    user.init("--yes", "--builder", "osbs", "--osbs-conf", "/srv/osbs.conf", "--hub", "https://koji.example.org/kojihub")
    settings = config.load(user.file)
    assert (settings.builder, settings.osbs.file, settings.koji.hub) == (
        "osbs", Path("/srv/osbs.conf"), "https://koji.example.org/kojihub"
    )  # fmt: skip
    assert settings.streams["f42"].koji_target == "f42"
    assert settings.streams["f42"].koji_tags == (), "the images come from the document"


def test_without_a_terminal_nothing_is_guessed_that_nobody_agreed_to(user: NewUser) -> None:
    done = user.init()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "rebuilder: --stream is not given, and there is no terminal to ask in: give it, or --yes for the default\n"
    )
    assert not user.file.exists()


@pytest.mark.parametrize("words", [
    ("--source", "registry", "--repository", "host:5000/\"odd\"", "--builder", "koji"),
    ("--source", "koji", "--builder", "osbs"),
    ("--source", "containerfiles", "--path", "/srv/\"odd\" \\ folder"),
    ("--source", "containerfiles", "--builder", "koji"),
    ("--source", "file", "--stream", "c9s", "--broker", "amqps://fedora:@host/%2Fpublic"),
])  # fmt: skip
def test_whatever_is_answered_both_readers_accept_the_file(user: NewUser, words: tuple[str, ...]) -> None:
    from fedora_messaging.config import LazyConfig

    user.types("init", "--yes", "--database", user.database, *words)
    assert config.load(user.file).streams
    LazyConfig().load_config(config_path=str(user.file))
