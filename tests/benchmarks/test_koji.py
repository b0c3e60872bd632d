"""What Koji is asked for 600 images: calls, round trips and time to read, to reconcile, and for a wave of builds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import koji_hub
from support.koji_builds import Koji

from rebuilder import config
from rebuilder.builders.koji import KojiBuilder
from rebuilder.domain.build import BuildRequest, Phase
from rebuilder.domain.image import Image, ImageBuild, Parent, ParentKind, Source
from rebuilder.domain.rpm import Rpm
from rebuilder.inventory.koji import tag_builds
from rebuilder.inventory.koji.session import KojiSession

IMAGES, RPMS, PACKAGES = 600, 200, 3000
UPDATES = "f42-updates"
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
koji_target = "f42-container"
[consumer_config.koji]
hub = "{url}"
login = "password"
user = "rebuilder"
password_file = "{password}"
"""


def filled() -> Koji:
    """A base, and images on it with RPMs of their own as well, in two architectures; and a tag of updates."""
    koji = Koji()
    packages = [Rpm.parse(f"package{n}-1.{n}-1.fc42.x86_64", f"package{n}-1.{n}-1.fc42.src.rpm")
                for n in range(PACKAGES)]
    koji.image("base-42-1", "f42-images", packages[:RPMS])
    for number in range(IMAGES - 1):
        own = [packages[(number * 37 + step * 11) % PACKAGES] for step in range(RPMS // 2)]
        rpms = list({rpm.name: rpm for rpm in [*own, *packages[:RPMS]]}.values())[:RPMS]
        koji.image(f"app{number}-1-1", "f42-images", rpms, {"reg/base": "base-42-1"}, "base-42-1")
    for package in packages:
        koji.source_build(f"{package.source}-9-1.fc42", tag=UPDATES)
    return koji


class Table:
    """A line for each thing that is done: what it took, with the stand-in's own time, and what the hub was asked."""

    def __init__(self, running: koji_hub.Hub) -> None:
        self._hub = running
        print(f"\n{IMAGES} images, 2 architectures, {RPMS} RPMs; {PACKAGES} packages in the tag of updates")
        print(f"{'':<28}{'round trips':>12}{'calls':>8}{'seconds':>9}")

    @contextmanager
    def line(self, what: str) -> Iterator[None]:
        self._hub.requests = 0
        self._hub.calls.clear()
        began = time.perf_counter()
        yield
        took = time.perf_counter() - began
        print(f"{what:<28}{self._hub.requests:>12}{self._hub.calls.total():>8}{took:>9.1f}")


def test_what_koji_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    with koji_hub.Hub(filled()) as running:
        password = koji_hub.password_file(tmp_path)
        path.write_text(CONFIGURATION.format(folder=tmp_path, url=running.url, password=password))
        settings, table = config.load(path), Table(running)
        memory = []
        for what in ("first read", "nothing is new"):
            with table.line(what):
                done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, check=True)
            memory.append(json.loads(done.stdout))
        with table.line("what the updates' tag offers"):
            packages = [f"package{n}" for n in range(PACKAGES)]
            found = sum(1 for _ in tag_builds.newest(KojiSession(settings.koji), UPDATES, packages))
        wave(table, running, KojiBuilder(settings))
        images, added, before, read, stored = memory[0]
        print(f"first read: {read:.0f} MB at most (wanted: less than 300), {before:.0f} before, {stored:.0f} stored")
    assert (images, added, found) == (IMAGES, IMAGES, PACKAGES)


def wave(table: Table, running: koji_hub.Hub, builder: KojiBuilder) -> None:
    """Six builds from the first look for their keys to what is in them, with three polls."""
    parents, base = (Parent(ParentKind.BASE, "base:f42"),), (ImageBuild("base:f42", "base-42-1"),)
    sources = [Source(f"https://src.example.com/app{number}", "f42", "c") for number in range(6)]
    orders = [
        BuildRequest(f"key{number}", Image(f"app{number}", "f42", parents, source), base)
        for number, source in enumerate(sources)
    ]
    with table.line("a wave of 6"):
        builder.find([order.key for order in orders])
        refs = [builder.submit(order).ref for order in orders]
        builder.poll(refs)
        for task in running.koji.live():
            task.open()
        builder.poll(refs)
        for task in running.koji.live():
            running.koji.close(task)
        assert {status.phase for status in builder.poll(refs).values()} == {Phase.SUCCEEDED}
        assert all(builder.result(ref).manifest for ref in refs)
    builder.close()
