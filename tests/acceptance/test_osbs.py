"""OSBS as a user of the command sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.buildah_world import until
from support.harnesses.osbs import HERE, REAL, STANDIN, OsbsHarness

CLIENT = () if REAL else (str(STANDIN),)
CONFIG = """[consumer_config]
builder = "osbs"
database_url = "sqlite:///{folder}/rebuilder.db"
settle_seconds = 0
poll_seconds = 0.05
[consumer_config.inventory]
path = "{folder}/inventory.json"
[consumer_config.streams.f42]
dist = ".fc42"
bodhi_releases = ["F42"]
[consumer_config.osbs]
file = "{folder}/osbs.conf"
section = "site"
logs = "{folder}/logs"
"""


class Site:
    def __init__(self, osbs: OsbsHarness) -> None:
        self.osbs, self.folder = osbs, osbs.folder
        (self.folder / "config.toml").write_text(CONFIG.format(folder=self.folder))
        overrides = osbs.settings.osbs.overrides.model_dump(exclude_none=True, mode="json")
        lines = [f"{key} = {value}" for key, value in overrides.items()]
        (self.folder / "osbs.conf").write_text("\n".join(["[site]", *lines]))
        source = {"git": str(self.folder / "repository"), "ref": "f42"}
        image = {"name": "base", "stream": "f42", "source": source, "rpms": []}
        (self.folder / "inventory.json").write_text(json.dumps({"version": 1, "images": [image]}))

    def command(self, *words: str, path: Sequence[str] = CLIENT) -> tuple[list[str], dict[str, str]]:
        config = str(self.folder / "config.toml")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join((*path, *sys.path))}
        return [sys.executable, "-m", "rebuilder", "--config", config, *words], environment

    def run(self, *words: str, path: Sequence[str] = CLIENT) -> subprocess.CompletedProcess[str]:
        command, environment = self.command(*words, path=path)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "osbs").mkdir()
    with HERE.world(tmp_path / "osbs") as osbs:
        yield Site(osbs)


def test_a_build_is_ordered_and_its_log_followed_until_it_ends(site: Site) -> None:
    cluster = site.osbs.cluster
    for words in (("inventory", "sync"), ("rebuild", "base:f42", "--reason", "by hand")):
        done = site.run(*words)
        assert done.returncode == 0, done.stderr
    command, environment = site.command("engine", "--until-idle")
    with (site.folder / "engine.log").open("w") as log:
        engine = subprocess.Popen(command, env=environment, stderr=log)
    try:
        until(lambda: cluster.runs)
        (name,) = cluster.runs
        cluster.say(name, "pulling the base")
        command, environment = site.command("log", "base:f42", "--follow")
        follower = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert follower.stdout is not None
        assert follower.stdout.readline() == "binary-container-build | pulling the base\n"
        cluster.say(name, "the last line")
        site.osbs.succeed(name)
        assert follower.communicate(timeout=60)[0] == "binary-container-build | the last line\n"
        assert follower.returncode == 0
        assert engine.wait(60) == 0
    finally:
        engine.kill()
        engine.communicate()
    assert "stream f42: koji_target is not set" in (site.folder / "engine.log").read_text()
    assert "not verified: its manifest is unknown" in site.run("wave", "1").stdout
    shown = json.loads(site.run("inventory", "show", "base:f42", "--json").stdout)
    assert (shown["build"], shown["rpms"]) == ("sha256:" + "1" * 64, None)


def test_an_osbs_client_that_is_missing_is_one_line_and_nothing_starts(site: Site, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/osbs.py").write_text("raise ModuleNotFoundError('osbs', name='osbs')\n")
    assert site.run("config", "check").returncode == 0
    for words in (("engine", "--until-idle"), ("config", "check")):
        done = site.run(*words, path=[str(tmp_path / "hidden")])
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.endswith("osbs-client is not installed: install python3-osbs-client from the distribution")
