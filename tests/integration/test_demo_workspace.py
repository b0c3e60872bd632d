"""The folder of a demonstration."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from support import servers

from rebuilder.demo.workspace import Site
from rebuilder.inventory.buildah_cli import Storage


def test_it_goes_away_though_a_process_that_is_ending_writes_to_it_meanwhile(tmp_path: Path) -> None:
    folder, writes = tmp_path / "demonstration", threading.Event()
    (folder / "builds").mkdir(parents=True)
    for number in range(2000):
        (folder / "builds" / f"old-{number}").touch()

    def write() -> None:
        with suppress(FileNotFoundError):  # once the folder is gone
            for number in range(500):
                (folder / "builds" / f"new-{number}").touch()
                writes.set()
                time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    assert writes.wait(30)
    assert Site(folder).remove()
    writer.join()
    assert not folder.exists()


class LateMount(Site):
    """A build that is killed late: its storage is mounted again after everything was unmounted for the first time."""

    late = True

    def _forget(self, storage: Storage) -> None:
        super()._forget(storage)
        home = self.folder / "storage" / "overlay"
        if self.late and home.exists():
            self.late = False
            subprocess.run(["mount", "--bind", home, home], check=True)


def test_it_goes_away_though_a_build_that_is_ending_mounted_its_storage_once_more(tmp_path: Path) -> None:
    servers.need("buildah", "buildah")
    site = LateMount(tmp_path / "demonstration")
    site.folder.mkdir()
    site.late = False
    driver = site.driver()
    if driver != "overlay" or os.geteuid() != 0:
        pytest.skip("nothing is mounted here: it takes overlay storage, and root")
    site.configure("amqp://localhost", driver, "registry.example.com")
    subprocess.run(Storage(site.settings.buildah).command("from", "scratch"), check=True)
    site.late = True
    assert site.remove()
    assert not site.late
    assert not site.folder.exists()
