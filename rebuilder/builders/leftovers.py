"""What builds leave on this machine: folders, logs and images that nothing is asked of any more."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from msgspec import Struct

from rebuilder.builders.local_images import LocalImages, wholes_of
from rebuilder.builders.process import Process
from rebuilder.builders.run_log import RunLog
from rebuilder.config import BuildahSettings, OsbsSettings
from rebuilder.inventory.buildah_cli import Storage
from rebuilder.store.upsert import chunks

Known = Callable[[Sequence[str]], Collection[str]]


class InUse(Struct, frozen=True):
    """Which of these keys and references are a rebuild's, and which of these idents an image's build."""

    rebuilds: Known
    builds: Known


def logs(settings: OsbsSettings, before: float, in_use: InUse, rehearsing: bool) -> int:
    """Delete the logs of builds that are older than that moment and no rebuild's; how many."""
    old = {path.stem: path for path in settings.log_folder.glob("*.log") if _changed(path) < before}
    unused = _without(old, in_use.rebuilds)
    if not rehearsing:
        for name in unused:
            RunLog(old[name]).delete()
    return len(unused)


def folders(settings: BuildahSettings, before: float, in_use: InUse, rehearsing: bool) -> int:
    """Delete the folders of builds that ended: what else is in the place is not ours. How many."""
    there = [path.parent for path in settings.folder.glob("*/request.json")]
    old = {path.name: path for path in there if _changed(path) < before and not Process(path).running}
    unused = _without(old, in_use.rebuilds)
    if not rehearsing:
        for name in unused:
            shutil.rmtree(old[name], ignore_errors=True)
    return len(unused)


def images(settings: BuildahSettings, before: float, in_use: InUse, rehearsing: bool) -> int:
    """Delete the images that rebuilds made and that have no name but their build's; how many.

    One that another is made from stays. Raises StorageError.
    """
    storage = Storage(settings)
    named = storage.images()
    made = [*storage.nameless(), *wholes_of(named)]
    old = {image.ident: image for image in made if image.older(before)}
    unused = _without(old, in_use.builds)
    if rehearsing:
        return len(unused)
    local = LocalImages(storage, settings.folder)
    return local.remove([old[ident] for ident in unused], named)


def _without(names: Collection[str], lookup: Known) -> list[str]:
    return [name for part in chunks(sorted(names), 500) for name in set(part).difference(lookup(part))]


def _changed(path: Path) -> float:
    """When it last changed; one that has just gone is not old."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
