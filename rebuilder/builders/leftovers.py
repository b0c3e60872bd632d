"""What builds leave on this machine: folders, logs and images that nothing is asked of any more."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from rebuilder.builders.local_images import LocalImages, key_of
from rebuilder.builders.process import Process
from rebuilder.builders.run_log import RunLog
from rebuilder.config import Settings, state_directory
from rebuilder.inventory.buildah_cli import Storage
from rebuilder.store.upsert import chunks

Known = Callable[[Sequence[str]], Collection[str]]


@dataclass(frozen=True, slots=True)
class InUse:
    """Which of these keys and references are a rebuild's, and which of these idents an image's build."""

    rebuilds: Known
    builds: Known


def clear(settings: Settings, before: float, in_use: InUse, *, rehearsing: bool) -> dict[str, int]:
    """Delete what is older than that moment and not in use; how many of each kind. Raises StorageError."""
    if settings.dry_run or settings.builder not in ("buildah", "osbs"):
        return {}
    if settings.builder == "osbs":
        return {"build logs": _logs(settings, before, in_use, rehearsing)}
    return {"build folders": _folders(settings, before, in_use, rehearsing),
            "images": _images(settings, before, in_use, rehearsing)}  # fmt: skip


def _logs(settings: Settings, before: float, in_use: InUse, rehearsing: bool) -> int:
    folder = settings.osbs.logs or state_directory() / "osbs"
    old = {path.stem: path for path in folder.glob("*.log") if _changed(path) < before}
    unused = _without(old, in_use.rebuilds)
    if not rehearsing:
        for name in unused:
            RunLog(old[name]).delete()
    return len(unused)


def _folders(settings: Settings, before: float, in_use: InUse, rehearsing: bool) -> int:
    """The folders of builds that ended: what else is in the place is not ours."""
    state = settings.buildah.state or state_directory() / "builds"
    folders = [path.parent for path in state.glob("*/request.json")]
    old = {path.name: path for path in folders if _changed(path) < before and not Process(path).running}
    unused = _without(old, in_use.rebuilds)
    if not rehearsing:
        for name in unused:
            shutil.rmtree(old[name], ignore_errors=True)
    return len(unused)


def _images(settings: Settings, before: float, in_use: InUse, rehearsing: bool) -> int:
    """The images that rebuilds made and that have no name but their build's; one that another is made from stays."""
    storage = Storage(settings.buildah)
    images = storage.images()
    made = [*storage.nameless(), *(image for image in images if key_of(image))]
    old = {image.ident: image for image in made if image.older(before)}
    unused = _without(old, in_use.builds)
    if rehearsing:
        return len(unused)
    local = LocalImages(storage, settings.buildah.state or state_directory() / "builds")
    return local.remove([old[ident] for ident in unused], images)


def _without(names: Collection[str], known: Known) -> list[str]:
    return [name for part in chunks(sorted(names), 500) for name in set(part).difference(known(part))]


def _changed(path: Path) -> float:
    """When it last changed; one that has just gone is not old."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
