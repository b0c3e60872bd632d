"""A registry of 600 images on the night of an openssl CVE: always the same images, always at the same point.

The document is what a release engineer would have. The night is made by a real engine on a clock of its own: an update
of bash went through days ago, a kernel update waits for approval, and the wave of the CVE is about half done, with
failures, what they block, holds, and images that nobody could read.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from integration.workbench import Builder, Workbench
from sqlalchemy import Engine

from rebuilder.config import SimulatedSettings
from rebuilder.domain.command import Command
from rebuilder.engine import commands
from rebuilder.inventory import loader
from rebuilder.store.sync import save_inventory
from support import databases, distribution
from support.website import Website

COUNT, SLOTS, DAY = 600, 25, 86400.0
STREAMS = ("f42", "f43")
CVE = "CVE-2026-31337"
ALIAS, NVR = "FEDORA-2026-0pen551042", "openssl-3.2.6-2.fc42"
BASH_ALIAS, KERNEL_ALIAS = "FEDORA-2026-ba5h000042", "FEDORA-2026-6e12a11042"
OWNERS = ("web-sig", "database-sig", "language-sig", "infra", "kde-sig", "ai-ml-sig")
KINDS = ("api", "worker", "frontend", "proxy", "builder", "exporter", "operator", "cron", "cache", "portal", "sync")
BASES = ("python", "nodejs", "ruby", "php", "httpd", "nginx", "fedora-minimal", "init", "s2i-base", "postgresql")
EVERY_UNREAD, EVERY_FIXED, EVERY_FAILING, EVERY_DEEPER = 97, 11, 43, 7  # one in so many images
NIGHT_SECONDS = 1500.0  # since the update of openssl
HELD = (("bodhi:f42", "releng", "freeze of the beta"), ("grafana:f42", "infra", "dashboards are being moved"))


def document(count: int = COUNT) -> dict[str, Any]:
    """The images as an inventory document."""
    images = [image for stream in STREAMS for image in _images(stream, count // len(STREAMS))]
    streams = {stream: {"dist": f".fc{stream[1:]}"} for stream in STREAMS}
    return {"version": 1, "streams": streams, "images": images}


def _images(stream: str, count: int) -> list[dict[str, Any]]:
    dice = random.Random(f"600 images of {stream}")
    known = [(name, parents, seconds) for name, (parents, seconds) in distribution.IMAGES.items()]
    known += [_application(at, dice) for at in range(count - len(known))]
    return [_image(at, stream, *entry) for at, entry in enumerate(known)]


def _application(at: int, dice: random.Random) -> tuple[str, tuple[str, ...], int]:
    """One of a team's own: on a layer of a language or on another application, some with files of a second image."""
    name, base = _named(at), BASES[at % len(BASES)]
    below = _named(at - 2 * len(BASES)) if at % EVERY_DEEPER == 0 and at > 2 * len(BASES) else base
    copied = (dice.choice(BASES),) if at % 9 == 4 else ()
    return name, (below, *(other for other in copied if other != base)), dice.randrange(90, 900, 10)


def _named(at: int) -> str:
    kind = KINDS[at // len(BASES) % len(KINDS)]
    return f"{BASES[at % len(BASES)]}-{kind}-{at // (len(BASES) * len(KINDS)) + 1}"


def _image(at: int, stream: str, name: str, parents: Sequence[str], seconds: int) -> dict[str, Any]:
    image: dict[str, Any] = {
        "name": name, "stream": stream, "duration": seconds,
        "parents": [{"image": f"{parent}:{stream}", "kind": "stage" if place else "base"}
                    for place, parent in enumerate(parents)],
        "source": {"git": f"https://src.fedoraproject.org/containers/{name}.git", "ref": stream,
                   "care": {"owners": [OWNERS[at % len(OWNERS)]]}},
    }  # fmt: skip
    if at < len(distribution.IMAGES) or at % EVERY_UNREAD:
        image["rpms"] = _rpms(at, stream, name, parents)
    return image


def _rpms(at: int, stream: str, name: str, parents: Sequence[str]) -> list[Any]:
    dist = f"fc{stream[1:]}"
    found: list[Any] = [
        f"glibc-2.41-5.{dist}.x86_64", f"bash-5.2.37-1.{dist}.x86_64", f"ca-certificates-2025.2.80-1.{dist}.noarch",
        f"filesystem-3.18-42.{dist}.x86_64", {"nevra": f"systemd-libs-257.9-2.{dist}.x86_64", "source": "systemd"},
    ]  # fmt: skip
    if not name.startswith(("fedora-minimal", "memcached")):
        fixed = at >= len(distribution.IMAGES) and at % EVERY_FIXED == 0
        release = "3.2.6-2" if fixed else "3.2.4-3"
        found.append({"nevra": f"openssl-libs-1:{release}.{dist}.x86_64", "source": "openssl"})
    if name.startswith("init") or at % 13 == 0:
        found.append({"nevra": f"kernel-headers-6.15.3-200.{dist}.x86_64", "source": "kernel-headers"})
    return [*found, *(f"{parent}-runtime-1.{at % 7}-1.{dist}.noarch" for parent in parents)]


def failing() -> list[str]:
    """The images of the stream with the fix whose builds fail tonight."""
    keys = [f"{image['name']}:{image['stream']}" for image in document()["images"] if image["stream"] == "f42"]
    return ["ruby:f42", *keys[len(distribution.IMAGES) + 5 :: EVERY_FAILING]]


def message(alias: str, nvr: str, severity: str, title: str, *, cves: Sequence[str] = ()) -> dict[str, Any]:
    """The body of Bodhi's message that an update is stable, as it tells of CVEs: in the titles of bugs."""
    bugs = [{"bug_id": 2400000 + at, "title": f"{cve} {title}", "security": True} for at, cve in enumerate(cves)]
    return {
        "update": {
            "alias": alias, "builds": [{"nvr": nvr, "epoch": 1 if nvr.startswith("openssl") else 0}],
            "status": "stable", "request": None, "release": {"name": "F42"}, "user": {"name": "dbelyavs"},
            "severity": severity, "type": "security" if cves else "bugfix", "content_type": "rpm", "title": nvr,
            "notes": title, "bugs": bugs,
        }
    }  # fmt: skip


def night(store: Engine, folder: Path, now: float | None = None) -> Workbench:
    """The night, in an empty database that has its tables: it is half over at `now` (default: this moment).

    The workbench goes on with it: `passes(3600)` is another hour.
    """
    now = time.time() if now is None else now
    bench = Workbench(
        store, (), max_builds=SLOTS, settle_seconds=60,
        policy=[{"name": "kernels are looked at", "action": "approve", "package": "kernel*"}],
        streams={"f42": {"dist": ".fc42", "bodhi_releases": ["F42"]}},
    )  # fmt: skip
    bench.clock.now = now - 9 * DAY
    path = folder / "inventory.json"
    path.write_text(json.dumps(document()))
    with store.begin() as connection:
        save_inventory(connection, loader.read(path).inventory, bench.clock.now)
    _tell(bench, message(BASH_ALIAS, "bash-5.2.37-2.fc42", "low", "bash: less memory"))
    bench.passes(0.2 * DAY, step=90)
    bench.clock.now = now - 0.2 * DAY
    _tell(bench, message(KERNEL_ALIAS, "kernel-headers-6.15.9-200.fc42", "medium", "kernel headers 6.15.9"))
    bench.receive("bodhi.update.complete.stable", {"update": {"alias": "cut off"}}, "cut-off")
    bench.passes(120, step=60)
    with store.begin() as connection:
        for image, who, reason in HELD:
            commands.give(connection, Command("hold", image, who, reason), bench.clock.now)
    bench.builder = Builder(SimulatedSettings(failures=tuple(failing())), bench.manifest_of, bench.clock)
    bench.restart()
    bench.clock.now = now - NIGHT_SECONDS
    _tell(bench, message(ALIAS, NVR, "urgent", "openssl: remote code execution", cves=[CVE]))
    bench.passes(NIGHT_SECONDS, step=30)
    return bench


def website(folder: Path) -> Website:
    """The night as it is seen by a browser, and by the command line: what `Website` can do, on this registry."""
    url = f"sqlite:///{folder}/rebuilder.db"
    engine = databases.sqlite(folder / "rebuilder.db")
    night(engine, folder)
    engine.dispose()
    site = Website(folder, database_url=url, max_builds=SLOTS)
    (folder / "inventory.json").write_text(json.dumps(document()))
    return site


def _tell(bench: Workbench, body: dict[str, Any]) -> None:
    bench.receive("bodhi.update.complete.stable", body, body["update"]["alias"])
