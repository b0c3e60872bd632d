"""Builders, sources of images and triggers of other distributions: installed beside rebuilder, and named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from textwrap import dedent

import pytest

CODE = '''
from pydantic import BaseModel

from rebuilder.builders.plugin import BuilderPlugin
from rebuilder.builders.simulated import SimulatedBuilder
from rebuilder.config import SimulatedSettings
from rebuilder.domain.change import AvailableBuild
from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest
from rebuilder.domain.rpm import Rpm, SourceBuild
from rebuilder.inventory.source import InventorySource
from rebuilder.plugins import Finding


class Table(BaseModel):
    model_config = {"extra": "forbid"}
    farm: str


class Farm(BuilderPlugin):
    model = Table
    asks = {"farm": ("Which farm?", "here")}

    def sample(self, answers, *, system):
        return f'[consumer_config.plugins.farm]\\nfarm = "{answers["farm"]}"  # where it builds\\n'

    def make(self, settings, history):
        assert settings.plugins["farm"].model_extra == {"farm": "here"}
        return SimulatedBuilder(SimulatedSettings(duration=0), history.manifest_of, recall=history.recall)

    def platforms(self, settings, images):
        for image in images:
            yield Finding(f"barn for {image.key}", "there is none: build one")


class Shelf(InventorySource):
    def read(self, settings, known, progress):
        bash = Rpm.parse("bash-0:5.2.37-1.fc42.x86_64")
        build = ImageBuild("base:f42", "base-1", Manifest(frozenset({bash})))
        return Inventory((Image("base", "f42"),), settings.known_streams, (build,))

    def at_hand(self, settings):
        return (Image("base", "f42"),)


class Post:
    parsers = {"post.arrived": lambda body: (AvailableBuild(SourceBuild.parse(body["nvr"]), bodhi_release="F42"),)}


class Broken:
    def __init__(self):
        raise RuntimeError("it needs a farm")
'''
POINTS = """\
[rebuilder.builders]
farm = farmed:Farm
broken = farmed:Broken
[rebuilder.sources]
shelf = farmed:Shelf
[rebuilder.triggers]
post = farmed:Post
"""
CONFIGURATION = """\
[consumer_config]
database_url = "sqlite:///{folder}/rebuilder.db"
builder = "{builder}"
settle_seconds = 0
[consumer_config.inventory]
source = "shelf"
[consumer_config.streams.f42]
dist = ".fc42"
bodhi_releases = ["F42"]
[consumer_config.plugins.farm]
{table}
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with a distribution that brings plugins, as pip installs it."""
    folder = tmp_path / "site"
    (folder / "farmed-1.dist-info").mkdir(parents=True)
    (folder / "farmed.py").write_text(dedent(CODE))
    (folder / "farmed-1.dist-info" / "entry_points.txt").write_text(POINTS)
    (folder / "farmed-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: farmed\nVersion: 1\n")
    return folder


def rebuilder(
    installed: Path, *arguments: str, builder: str = "farm", table: str = 'farm = "here"'
) -> subprocess.CompletedProcess[str]:
    configuration = installed.parent / "config.toml"
    configuration.write_text(CONFIGURATION.format(folder=installed.parent, builder=builder, table=table))
    path = os.pathsep.join([str(installed), *filter(None, sys.path)])
    command = [sys.executable, "-m", "rebuilder", "--config", str(configuration), *arguments]
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60, check=False
    )


def test_an_image_of_anothers_source_is_rebuilt_by_anothers_builder_for_anothers_message(installed: Path) -> None:
    assert rebuilder(installed, "inventory", "sync").returncode == 0
    message = {"id": "1", "topic": "org.example.post.arrived", "headers": {}, "body": {"nvr": "bash-5.2.38-1.fc42"}}
    (installed.parent / "messages.jsonl").write_text(json.dumps(message))
    told = rebuilder(installed, "replay", str(installed.parent / "messages.jsonl"))
    assert "accepted" in told.stdout, told.stderr
    assert rebuilder(installed, "engine", "--until-idle").returncode == 0
    why = json.loads(rebuilder(installed, "why", "base", "--json").stdout)
    assert [one["state"] for one in why["rebuilds"]] == ["succeeded"]
    assert why["rebuilds"][0]["reasons"][0]["change"]["source"] == "bash"


def test_config_check_asks_anothers_builder_about_the_images_of_anothers_source(installed: Path) -> None:
    checked = rebuilder(installed, "config", "check")
    assert checked.returncode == 2
    assert "barn for base:f42: there is none: build one" in checked.stdout + checked.stderr


def test_init_writes_the_table_of_anothers_builder_with_the_answers_to_its_questions(installed: Path) -> None:
    written = installed.parent / "written.toml"
    asked = ("--source", "shelf", "--builder", "farm", "--yes", "--no-first-builds")
    done = rebuilder(installed, "--config", str(written), "init", *asked)
    assert (done.returncode, done.stderr) == (0, "")
    assert tomllib.loads(written.read_text())["consumer_config"]["plugins"] == {"farm": {"farm": "here"}}
    assert "# where it builds" in written.read_text()


@pytest.mark.parametrize(
    ("builder", "table", "told"),
    [
        ("farm", 'fram = "here"', "consumer_config.plugins.farm.farm: Field required"),
        ("farm", 'farm = "here"\nbarn = 1', "consumer_config.plugins.farm.barn: Extra inputs are not permitted"),
        ("broken", "", "the builder broken cannot be loaded: it needs a farm"),
        ("none", "", "consumer_config.builder: unknown builder 'none': use one of "
                     "broken, buildah, farm, koji, osbs, simulated"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_plugin_is_told_in_one_line(installed: Path, builder: str, table: str, told: str) -> None:
    found = rebuilder(installed, "config", "check", builder=builder, table=table)
    assert found.returncode in (1, 2)
    assert told in found.stdout + found.stderr
    assert "Traceback" not in found.stderr
