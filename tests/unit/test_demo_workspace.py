"""The folder of a demonstration."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

from rebuilder.demo.workspace import Site


def test_the_folder_goes_away_though_a_process_that_is_ending_writes_to_it_meanwhile(tmp_path: Path) -> None:
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
