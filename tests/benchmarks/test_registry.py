"""What 500 images of a registry cost: requests, time and memory; and those of 500 images on 20 external bases."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine
from support import registries, servers
from support.registries import Registry, insecure, layer

from rebuilder.demo import rpms
from rebuilder.demo.rpms import SourcePackage
from rebuilder.domain.image import Image, ImageBuild, Inventory, Parent, ParentKind
from rebuilder.store.database import ready
from rebuilder.store.sync import save_inventory

BASES, IMAGES, RPMS = 20, 500, 200
READ = """
import json, re, sys, time
from pathlib import Path
from rebuilder import config
from rebuilder.engine import external_parents, inventory_sync
from rebuilder.store import database, inventory

def most():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

settings = config.load(Path(sys.argv[1]))
engine = database.ready(settings.database)
before, began = most(), time.monotonic()
if sys.argv[2] == "images":
    inventory_sync.sync(engine, settings, "bench")
    with database.reading(engine) as connection:
        done = len(inventory.load(connection).images)
else:
    done = external_parents.refresh(engine, settings, "bench").asked
print(json.dumps([done, time.monotonic() - began, before, most()]))
"""
CONFIGURATION = """[consumer_config]
database_url = "sqlite:///{folder}/{name}.db"
[consumer_config.inventory]
source = "registry"
repositories = ["{host}/team/*"]
[consumer_config.streams.f42]
dist = ".fc42"
tags = ["42"]
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    with registries.registry(tmp_path / "registry") as made:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(insecure(tmp_path, made.host)))
        yield made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real database with all RPMs of all bases, from which each base takes its own."""
    servers.need("rpm", "rpm", "rpmbuild")
    folder = tmp_path_factory.mktemp("rpms")
    names = [f"package{n}" for n in range(RPMS - 1)] + [f"release{n}" for n in range(BASES)] + ["tool"]
    made = rpms.make(SourcePackage("packages", "1.0", "1.fc42", tuple(names)), folder / "rpms", folder / "work")
    database = ["--dbpath", str(folder / "db"), "--define", "_db_backend sqlite"]
    quickly = ["-i", "--justdb", "--nodeps", "--noscripts", "--force-debian", "--nosignature"]
    subprocess.run(["rpm", *database, *quickly, *map(str, made)], check=True, capture_output=True)
    return folder / "db/rpmdb.sqlite"


def with_some(whole: Path, *names: str) -> bytes:
    """A layer whose database has the packages that all bases have, and of the others these."""
    copy = whole.with_name(f"{'-'.join(names)}.sqlite")
    shutil.copy(whole, copy)
    with closing(sqlite3.connect(copy)) as connection:
        wanted = ", ".join(f"'{name}'" for name in names)
        connection.execute(
            "DELETE FROM Packages WHERE hnum IN"
            f" (SELECT hnum FROM Name WHERE key NOT LIKE 'package%' AND key NOT IN ({wanted}))"
        )
        connection.commit()
        connection.execute("VACUUM")
    return layer({f"{registries.DATABASE}/rpmdb.sqlite": copy.read_bytes()})


def push_all(registry: Registry, bases: Sequence[bytes], tool: bytes) -> None:
    """The bases, and the images on them; one of ten has a database of its own."""
    for number in range(IMAGES):
        layers = [bases[number % BASES]]
        if number >= BASES:
            layers += [tool] * (number % 10 == 0) + [layer({f"app{number}": b"1"})]
        registry.push(f"team/image{number}:42", layers)


def measured(registry: Registry, folder: Path, name: str, what: str) -> list[float]:
    """In a process of its own: how many were read, in how many seconds, and the MB before and at most."""
    path = folder / f"{name}.toml"
    path.write_text(CONFIGURATION.format(folder=folder, name=name, host=registry.host))
    asked = len(registry.requests("/v2/"))
    done = subprocess.run([sys.executable, "-c", READ, str(path), what], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[-2000:]
    found: list[float] = json.loads(done.stdout)
    return [*found, len(registry.requests("/v2/")) - asked]


def show(what: str, found: list[float]) -> tuple[int, int]:
    """Print what was measured; the requests, and the MB that it took."""
    done, took, before, most, requests = found
    print(f"{what:<36}{done:>6.0f}{requests:>10.0f}{took:>9.1f}{before:>9.0f}{most:>9.0f}")
    return int(requests), int(most - before)


def test_what_five_hundred_images_of_a_registry_cost(registry: Registry, whole: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    bases = [with_some(whole, f"release{number}") for number in range(BASES)]
    push_all(registry, bases, with_some(whole, "release0", "tool"))
    print(f"\n{IMAGES} images of {RPMS} RPMs were pushed in {time.monotonic() - began:.0f} s")
    print(f"{'':<36}{'read':>6}{'requests':>10}{'seconds':>9}{'MB':>9}{'at most':>9}")
    _, taken = show("first read", measured(registry, tmp_path, "images", "images"))
    requests, _ = show("nothing has changed", measured(registry, tmp_path, "images", "images"))
    registry.push("team/image77:42", [bases[17], layer({"app77": b"2"})])
    show("one image has changed", measured(registry, tmp_path, "images", "images"))
    assert requests <= IMAGES + 1  # the catalog
    assert taken < 100


def test_what_twenty_bases_of_five_hundred_images_cost(registry: Registry, whole: Path, tmp_path: Path) -> None:
    for number in range(BASES):
        registry.push(f"base{number}:42", [with_some(whole, f"release{number}")])
    engine: Engine = ready(f"sqlite:///{tmp_path}/externals.db")
    images = [
        Image(f"app{n}", "f42", (Parent(ParentKind.BASE, external=f"{registry.host}/base{n % BASES}:42"),))
        for n in range(IMAGES)
    ]
    builds = [ImageBuild(image.key, f"{image.name}-1") for image in images]
    with engine.begin() as connection:
        save_inventory(connection, Inventory(tuple(images), builds=tuple(builds)), time.time())
    print(f"\n{'':<36}{'read':>6}{'requests':>10}{'seconds':>9}{'MB':>9}{'at most':>9}")
    _, taken = show("external bases, first", measured(registry, tmp_path, "externals", "bases"))
    requests, _ = show("external bases, nothing has changed", measured(registry, tmp_path, "externals", "bases"))
    assert requests <= BASES
    assert taken < 50
