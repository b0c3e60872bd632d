"""What it takes to read a thousand images from a Koji hub: round trips, memory and time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import hub
from hub_tasks import Koji

from rebuilder.domain.rpm import Rpm

IMAGES, RPMS, PACKAGES = 1000, 300, 3000
READ = """
import json, re, sys, time
from pathlib import Path
from rebuilder import config
from rebuilder.engine import inventory_sync
from rebuilder.store import database, inventory
from rebuilder.store.sync import save_inventory

def most():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

settings = config.load(Path(sys.argv[1]))
engine = database.ready(settings.database)
before = most()
found = inventory_sync.read(engine, settings)
read = most()
with engine.begin() as connection:
    result = save_inventory(connection, found, time.time())
print(json.dumps([len(found.images), len(result.added), before, read, most()]))
"""
CONFIGURATION = """[consumer_config]
database_url = "sqlite:///{folder}/bench.db"
[consumer_config.inventory]
source = "koji"
[consumer_config.streams.f42]
koji_tags = ["f42-images"]
[consumer_config.koji]
hub = "{url}"
"""


def filled() -> Koji:
    """A base, and images on it with RPMs of their own as well: 300 each, in two architectures."""
    koji = Koji()
    packages = [Rpm.parse(f"package{n}-1.{n}-1.fc42.x86_64", f"package{n}-1.{n}-1.fc42.src.rpm")
                for n in range(PACKAGES)]
    koji.image("base-42-1", "f42-images", packages[:RPMS])
    for number in range(IMAGES - 1):
        own = [packages[(number * 37 + step * 11) % PACKAGES] for step in range(RPMS // 2)]
        rpms = list({rpm.name: rpm for rpm in [*own, *packages[:RPMS]]}.values())[:RPMS]
        koji.image(f"app{number}-1-1", "f42-images", rpms, {"reg/base": "base-42-1"}, "base-42-1")
    return koji


def test_a_thousand_images_are_read(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    with hub.Hub(filled()) as running:
        path.write_text(CONFIGURATION.format(folder=tmp_path, url=running.url))
        for what in ("all is new", "nothing is new"):
            running.requests = 0
            began = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, check=True)
            took = time.perf_counter() - began
            images, added, before, read, stored = json.loads(done.stdout)
            print(f"\n{what}: {images} images, 2 architectures, {RPMS} RPMs, {added} added: {running.requests} round "
                  f"trips ({running.requests / images:.3f} an image), {took:.1f} s with the stand-in's own; "
                  f"{read:.0f} MB at most (wanted: less than 300), {before:.0f} before, {stored:.0f} with the store")
        assert images == IMAGES
