"""What reading a folder tree costs, beside a plain walk over the same files."""

from __future__ import annotations

import os
import time
from itertools import cycle
from pathlib import Path

from support import corpus

from rebuilder.inventory import containerfiles
from rebuilder.inventory.tree_naming import Naming

FOLDERS, SECONDS = 2000, 3.0
BESIDE = ("README.md", "entrypoint.sh", "app.conf")


def tree(folder: Path) -> Path:
    """Folders on three levels, half of them built on another, with a few files beside, as people have."""
    recipes = (written for written in corpus.files() if not written.recipe.fault)
    good = cycle(written.content for written in recipes if b"localhost/" not in written.content)
    for number in range(FOLDERS):
        place = folder / f"group{number % 20}" / f"part{number % 100}" / f"image{number}"
        place.mkdir(parents=True)
        child = f"ARG OWN=image{number - 20}\nFROM $OWN\n".encode()
        (place / "Containerfile").write_bytes(child if number >= 20 and number % 2 else next(good))
        for name in BESIDE:
            (place / name).write_text(f"{name} of {number}\n" * 20)
        if number % 10 == 0:
            (place / "rebuilder.toml").write_text('owners = ["infra"]\nbuild_args = {V = "1"}\n')
    return folder


def plain(folder: Path) -> None:
    """Walk, and read every file."""
    for at, _, files in os.walk(folder):
        for file in files:
            (Path(at) / file).read_bytes()


def test_a_tree_of_two_thousand_folders_is_read_within_three_seconds(tmp_path: Path) -> None:
    folder = tree(tmp_path)
    began = time.perf_counter()
    plain(folder)
    walked = time.perf_counter() - began
    began = time.perf_counter()
    found = containerfiles.scan(folder, Naming("f42"))
    took = time.perf_counter() - began
    print(f"\n{FOLDERS} folders: {took:.2f} s, {took / walked:.1f} times a plain walk that reads every file")
    assert (len(found.images), found.faults) == (FOLDERS, ())
    assert took <= SECONDS
