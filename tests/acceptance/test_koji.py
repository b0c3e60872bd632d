"""A wave in Koji from end to end: the command as a user types it, a real broker, and a hub over the wire."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fedora_messaging.message import Message
from support import bus, koji_hub, shell
from support.koji_builds import Koji
from support.koji_tasks import Task

from rebuilder.demo.broker import Broker
from rebuilder.demo.process import Child
from rebuilder.domain.rpm import SourceBuild

SSL = "openssl-libs-1:3.2.1-1.fc42.x86_64 openssl-3.2.1-1.fc42"
BASH = "bash-5.2-1.fc42.x86_64 bash-5.2-1.fc42"
FIX = "openssl-3.2.2-1.fc42"
IMAGES, UPDATES = "f42-images", "f42-updates"
SETTINGS = """builder = "koji"
settle_seconds = 0
poll_seconds = 0.1
retry_seconds = 0.5

[consumer_config.inventory]
source = "koji"

[consumer_config.streams.f42]
dist = ".fc42"
koji_tags = ["f42-images", "f42-updates"]
koji_target = "f42-container"
repo_tags = ["f42-build"]

[consumer_config.koji]
hub = "{hub}"
web = "https://koji.example.com/koji"
login = "password"
user = "rebuilder"
password_file = "{password}"
timeout_seconds = 5
poll_seconds = 0.2

[consumer_config.web]
port = 0
"""


class Site:
    """A hub with three levels of images, and a configuration for it."""

    def __init__(self, folder: Path, running: koji_hub.Hub) -> None:
        self.hub, self.koji, self.folder = running, running.koji, folder
        self.config = folder / "config.toml"
        koji = self.koji
        koji.tags |= {IMAGES: [], UPDATES: []}
        koji.image("base-42-1", IMAGES, [SSL, BASH], {"registry.invalid/fedora:42": None})
        koji.image("httpd-2.4-1", IMAGES, [SSL, BASH], {"reg/f42/base": "base-42-1"}, "base-42-1", commit="h1")
        koji.image("tools-1-1", IMAGES, [SSL], {"reg/f42/base": "base-42-1"}, "base-42-1")
        above = {"reg/f42/tools": "tools-1-1", "reg/f42/httpd": "httpd-2.4-1"}
        koji.image("web-1-1", IMAGES, [SSL, BASH], above, "httpd-2.4-1")
        koji.image("static-1-1", IMAGES, [BASH])

    def configure(self, broker: Broker, queue: str) -> None:
        bus.configure(self.folder, broker, queue, f"sqlite:///{self.folder}/rebuilder.db").rename(self.config)
        password = koji_hub.password_file(self.folder)
        with self.config.open("a", encoding="utf-8") as config:
            config.write(SETTINGS.format(hub=self.hub.url, password=password))

    def command(self, *arguments: str) -> list[str]:
        return shell.argv("--config", str(self.config), *arguments)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return shell.types("--config", str(self.config), *arguments)

    def asked(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        return json.loads(done.stdout) if done.stdout else None

    def states(self) -> dict[str, str]:
        wave = self.asked("wave", "1")
        return {item["image"].removesuffix(":f42"): item["state"] for item in wave["rebuilds"]} if wave else {}

    def offer(self) -> None:
        """The fix is built and tagged in Koji."""
        self.koji.source_build(FIX, "openssl", "openssl-libs", epoch=1, tag=UPDATES)
        self.koji.offered["openssl"] = SourceBuild.parse(FIX)

    def tasks(self) -> list[tuple[str, str | None]]:
        """What was submitted, in order: the image, and the build that it was pinned to."""
        return [(name(task), task.options.get("koji_parent_build")) for task in self.koji.submitted()]

    def task(self, of: str) -> Task | None:
        return next((task for task in self.koji.live() if name(task) == of), None)


def name(task: Task) -> str:
    return str(task.request[0]).partition("#")[0].rpartition("/")[2]


def message(queue: str, topic: str, **body: Any) -> Message:
    return Message(topic=f"{queue}.buildsys.{topic}", body={"instance": "primary", **body})


def tag_message(queue: str) -> Message:
    return message(queue, "tag", name="openssl", version="3.2.2", release="1.fc42", tag=UPDATES, build_id=1, tag_id=2,
                   user="bodhi", owner="kasal")


@pytest.fixture
def site(tmp_path: Path, broker: Broker, fresh_queue: str) -> Iterator[Site]:
    with koji_hub.Hub(Koji()) as running:
        made = Site(tmp_path, running)
        made.configure(broker, fresh_queue)
        yield made


@contextmanager
def working(site: Site) -> Iterator[Child]:
    """`rebuilder run`, as a service runs it."""
    child = Child(site.command("run"), site.folder / "run.log")
    try:
        yield child
    finally:
        child.stop()


def test_a_tag_message_becomes_an_ordered_wave_through_an_outage_and_a_task_canceled_by_hand(
    site: Site, broker: Broker, fresh_queue: str
) -> None:
    synced = site.run("inventory", "sync")
    assert (synced.returncode, synced.stdout.splitlines()[5].split(",")[0]) == (0, "5 added")
    with working(site), bus.channel(broker) as opened, koji_hub.Worker(site.koji) as worker:
        worker.kept |= {"base", "tools", "web"}
        bus.until(lambda: opened.queue_declare(fresh_queue, passive=True).method.consumer_count)
        bus.until(lambda: site.hub.calls["getLatestBuilds"])  # the engine has looked at the tags
        site.offer()
        bus.publish(opened, tag_message(fresh_queue))
        bus.until(lambda: site.asked("status")["settling"] == 1)
        assert site.koji.submitted() == [], "the tag's repository is not there yet"
        bus.publish(opened, message(fresh_queue, "repo.done", tag="f42-build", tag_id=3, repo_id=9))

        base = bus.until(lambda: site.task("base"))
        with site.hub.away("offline"):
            worker.kept.discard("base")
            bus.until(lambda: site.task("base") is None)
            site.run("status")
        with site.hub.away("refused"):
            site.run("status")
        assert base.options.get("koji_parent_build") is None

        bus.until(lambda: site.task("tools"))
        koji_hub.cancel(site.koji, "tools")
        bus.until(lambda: site.states()["httpd"] == "succeeded" and site.states()["tools"] == "canceled")
        assert site.states()["web"] == "blocked", "one of its parents was canceled"
        assert site.task("web") is None

        site.hub.losing = "buildContainer"
        assert site.run("retry", "tools:f42").returncode == 0
        worker.kept.clear()
        bus.until(lambda: set(site.states().values()) == {"succeeded"})
    base_built, *siblings, tools_again, web_built = site.tasks()
    assert base_built == ("base", None)
    assert sorted(siblings) == [("httpd", "base-42-2"), ("tools", "base-42-2")], "siblings have no order among them"
    assert (tools_again, web_built) == (("tools", "base-42-2"), ("web", "httpd-2.4-2"))
    keys = [task.key for task in site.koji.submitted()]
    assert len(set(keys)) == len(keys) == 5, "each submission arrived once"
    assert site.asked("inventory", "show", "web:f42")["build"] == "web-1-2"
    assert site.asked("inventory", "show", "web:f42")["digest"] == "sha256:web2"
    assert "tags: registry.example.com/f42/web:latest" in site.run("inventory", "show", "web:f42").stdout
    installed = site.asked("inventory", "show", "web:f42")["rpms"]
    assert {rpm for rpm in installed if rpm.startswith("openssl")} == {
        "openssl-libs-1:3.2.2-1.fc42.x86_64", "openssl-libs-1:3.2.2-1.fc42.aarch64",
    }  # fmt: skip
    assert site.koji.submitted()[1].request[0].endswith(("#h1", "#c0"))
    log = (site.folder / "run.log").read_text()
    assert "Traceback" not in log
    assert "https://koji.example.com/koji/taskinfo" in json.dumps(site.asked("wave", "1"))


def test_config_check_says_which_credential_is_missing(site: Site) -> None:
    assert site.run("config", "check").returncode == 0
    text = site.config.read_text()
    for line, said in {
        "login =": "consumer_config.koji.login is not set: gssapi, certificate or password",
        "password_file =": "consumer_config.koji.password_file is not set: the file with the password",
        "hub =": "consumer_config.koji.hub is not set: the URL of the hub",
    }.items():
        site.config.write_text("\n".join(row for row in text.splitlines() if not row.startswith(line)))
        for verb in (("config", "check"), ("engine", "--until-idle")):
            done = site.run(*verb)
            assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
            assert said in done.stderr


def test_config_check_online_asks_koji_for_the_user_the_tags_and_the_targets(site: Site) -> None:
    site.koji.tags.setdefault("f42-build", [])
    done = site.run("config", "check", "--online")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert f"ok: Koji at {site.hub.url}, as rebuilder" in done.stdout
    site.config.write_text(site.config.read_text().replace(f'"{UPDATES}"', '"f42-typo"'))
    wrong = site.run("config", "check", "--online")
    assert wrong.returncode == 1
    assert "wrong: tag f42-typo of stream f42: Koji does not know it" in wrong.stdout
    with site.hub.away("offline"):
        away = site.run("config", "check", "--online")
    assert away.returncode == 1 and f"wrong: Koji at {site.hub.url}: " in away.stdout


def test_without_koji_s_client_the_command_says_how_to_get_it(site: Site) -> None:
    hidden = "import sys; sys.modules['koji'] = None; from rebuilder.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", hidden, "--config", str(site.config), "inventory", "sync"],
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "rebuilder: Koji's client is not installed: pip install 'container-rebuilder[koji]'\n"


def test_a_hub_that_cannot_be_reached_is_said_in_one_line(site: Site) -> None:
    with site.hub.away():
        done = site.run("inventory", "sync")
    assert done.returncode == 3
    assert done.stderr.startswith(f"rebuilder: {site.hub.url} cannot be reached: ")
    assert len(done.stderr.splitlines()) == 1
