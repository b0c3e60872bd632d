"""The engine on OSBS, killed again and again while answers are lost and the cluster says 503.

`KILLS` is how often it is killed; more of them take longer, and find more.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import koji_hub
from support.harnesses.osbs import HERE, REAL, STANDIN, OsbsHarness
from support.koji_builds import Koji
from support.tekton import TASK, Fault

KILLS = int(os.environ.get("KILLS", 4))
PARENTS = {"base": "", **dict.fromkeys(("web", "db", "tools"), "base"),
           "shop": "web", "blog": "web", "stats": "db", "ci": "tools"}  # fmt: skip
OLD = {"nevra": "openssl-libs-1:3.2.1-1.fc42.x86_64", "source": "openssl"}
NEW = ["openssl-libs-1:3.2.2-1.fc42.x86_64 openssl-3.2.2-1.fc42"]
UPDATE = {"alias": "FEDORA-1", "builds": [{"nvr": "openssl-3.2.2-1.fc42", "epoch": 1}], "status": "stable",
          "request": None, "release": {"name": "F42"}, "user": {"name": "kasal"}, "severity": "urgent",
          "type": "security", "content_type": "rpm"}  # fmt: skip
CONFIG = """[consumer_config]
builder = "osbs"
database_url = "sqlite:///{folder}/rebuilder.db"
settle_seconds = 0
retry_seconds = 0.2
poll_seconds = 0.1
[consumer_config.inventory]
path = "{folder}/inventory.json"
[consumer_config.koji]
hub = "{hub}"
[consumer_config.streams.f42]
dist = ".fc42"
bodhi_releases = ["F42"]
koji_target = "f42-container"
[consumer_config.osbs]
file = "{folder}/osbs.conf"
logs = "{folder}/logs"
[consumer_config.osbs.overrides]
openshift_url = "{cluster}"
namespace = "osbs"
token_file = "{folder}/token"
pipeline_run_path = "{folder}/run.yaml"
"""
FAULTS = (
    Fault("POST", "pipelineruns$", 500, after=True), Fault("POST", "pipelineruns$", 503),
    Fault("GET", "pipelineruns", 503), Fault("GET", "taskruns$", 503), Fault("GET", "/log$", 503),
    Fault("GET", "/log$", 404),
)  # fmt: skip


class World(threading.Thread):
    """A cluster that builds what it gets and imports it into Koji, and is in trouble most of the time."""

    def __init__(self, osbs: OsbsHarness, koji: Koji) -> None:
        super().__init__(daemon=True)
        self.cluster, self.koji = osbs.cluster, koji
        self.troubled, self.stopped = True, threading.Event()
        self.said: dict[str, list[str]] = {}
        self._begun: dict[str, float] = {}
        self._dice = random.Random(11)

    def run(self) -> None:
        while not self.stopped.wait(0.05):
            for name, document in list(self.cluster.runs.items()):
                self._build(name, document)
            if self.troubled and self._dice.random() < 0.3:
                fault = self._dice.choice(FAULTS)
                self.cluster.faults.append(Fault(fault.method, fault.path, fault.code, after=fault.after))
                self.cluster.cut_logs = self._dice.randint(0, 1)
            elif not self.troubled:
                self.cluster.faults.clear()

    def _build(self, name: str, document: dict[str, Any]) -> None:
        since = self._begun.setdefault(name, time.monotonic())
        if "status" not in document:
            self.said[name] = [f"{name} says {line}" for line in range(5)]
            self.cluster.say(name, *self.said[name])
        elif document["status"]["conditions"][0]["status"] == "Unknown" and time.monotonic() - since > 0.5:
            image = document["metadata"]["annotations"]["rebuilder/image"].partition(":")[0]
            base = parameters(document).get("koji_parent_build", "")
            nvr = f"{image}-container-1-{len(self._begun)}"
            number = self.koji.image(nvr, "f42-images", NEW, {"registry/base": base} if base else {}, base)
            self.cluster.say(name, "the last line")
            self.said[name].append("the last line")
            self.cluster.succeed(name, {"koji-build-id": number})


def parameters(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document["spec"]["params"][0]["value"])
    return found


class Site:
    def __init__(self, osbs: OsbsHarness, running: koji_hub.Hub) -> None:
        self.folder, self.world = osbs.folder, World(osbs, running.koji)
        source = {"git": str(self.folder / "repository"), "ref": "f42"}
        images = [
            {"name": name, "stream": "f42", "source": source, "rpms": [OLD], "parents": [parent] if parent else []}
            for name, parent in PARENTS.items()
        ]
        (self.folder / "inventory.json").write_text(json.dumps({"version": 1, "images": images}))
        config = CONFIG.format(folder=self.folder, hub=running.url, cluster=osbs.cluster.url)
        (self.folder / "config.toml").write_text(config)
        client = () if REAL else (str(STANDIN),)
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join((*client, *sys.path))}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "rebuilder", "--config", str(self.folder / "config.toml"), *words]

    def run(self, *words: str, text: str = "") -> str:
        done = subprocess.run(self.command(*words), env=self._environment, input=text, text=True,
                              capture_output=True, check=False, timeout=120)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def engine(self) -> subprocess.Popen[bytes]:
        with (self.folder / "engine.log").open("ab") as log:
            return subprocess.Popen(self.command("engine"), env=self._environment, stderr=log)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "osbs").mkdir()
    with HERE.world(tmp_path / "osbs") as osbs, koji_hub.Hub(Koji()) as running:
        made = Site(osbs, running)
        made.world.start()
        try:
            yield made
        finally:
            made.world.stopped.set()
            made.world.join()


def test_each_image_has_one_run_pinned_to_its_parent_s_and_a_whole_log(site: Site) -> None:
    dice, world = random.Random(5), site.world
    topic = "org.fedoraproject.prod.bodhi.update.complete.stable"
    site.run("inventory", "sync")
    site.run("replay", "-", text=json.dumps({"id": "1", "topic": topic, "headers": {}, "body": {"update": UPDATE}}))
    for _ in range(KILLS):
        engine = site.engine()
        time.sleep(dice.uniform(0.8, 2.5))
        engine.kill()
        engine.wait()
    world.troubled = False
    site.run("engine", "--until-idle")
    states = {entry["image"]: entry["state"] for entry in json.loads(site.run("wave", "1", "--json"))["rebuilds"]}
    assert states == {f"{name}:f42": "succeeded" for name in PARENTS}
    runs = {name: document["metadata"]["annotations"] for name, document in world.cluster.runs.items()}
    assert Counter(told["rebuilder/image"] for told in runs.values()) == {f"{name}:f42": 1 for name in PARENTS}
    assert len(world.cluster.created) == len(PARENTS)
    built = {told["rebuilder/image"]: name for name, told in runs.items()}
    for name, parent in PARENTS.items():
        document = world.cluster.runs[built[f"{name}:f42"]]
        pinned = parameters(document).get("koji_parent_build", "")
        assert pinned.startswith(f"{parent}-container-1-") if parent else pinned == ""
        log = (site.folder / "logs" / f"{built[f'{name}:f42']}.log").read_text()
        assert log == "".join(f"{TASK} | {line}\n" for line in world.said[built[f"{name}:f42"]])
