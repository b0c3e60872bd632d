"""Makes docs/wave.png: a wave in progress, as a browser shows it, from a real run with simulated builds.

Usage: make screenshot. Engine, web server and browser are processes of their own; an update's message is fed in, as
from the bus, and the picture is taken when a part of the wave is done.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from images import document
from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).parent
CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
DONE = 12
CONFIGURATION = """\
[consumer_config]
database_url = "sqlite:///{folder}/rebuilder.db"
builder = "simulated"
max_builds = 4
settle_seconds = 0
poll_seconds = 0.05
[consumer_config.inventory]
path = "{folder}/inventory.json"
[consumer_config.streams.f42]
dist = ".fc42"
bodhi_releases = ["F42"]
[consumer_config.simulated]
speed = 60
failures = ["discourse:f42", "postgresql:f42"]
[consumer_config.web]
port = 0
"""
MESSAGE = {
    "id": "c1f6a3b2-5c1d-4a53-9a3e-0a4c4f1f7d11",
    "topic": "org.fedoraproject.prod.bodhi.update.complete.stable",
    "headers": {},
    "body": {
        "update": {
            "alias": "FEDORA-2026-7d2c81f0aa", "builds": [{"nvr": "openssl-3.2.6-2.fc42", "epoch": 1}],
            "status": "stable", "request": None, "release": {"name": "F42"}, "user": {"name": "dbelyavs"},
            "severity": "high", "type": "security", "content_type": "rpm", "title": "openssl-3.2.6-2.fc42",
        }
    },
}  # fmt: skip


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "rebuilder", "--config", str(folder / "config.toml"), *words]


@contextmanager
def started(folder: Path, *words: str) -> Iterator[Path]:
    """The command as a process of its own, which ends with the context; the file with what it says."""
    log = folder / f"{words[0]}.log"
    with log.open("w") as file, subprocess.Popen(command(folder, *words), stdout=file, stderr=file) as process:
        try:
            yield log
        finally:
            process.terminate()


def address(log: Path) -> str:
    """Where the web server says that it listens."""
    for _ in range(300):
        found = re.search(r"http://\S+", log.read_text())
        if found:
            return found[0]
        time.sleep(0.1)
    raise SystemExit(f"the web server did not start: {log.read_text()}")


def take(page: Page, url: str) -> None:
    """Wait, on the live page, until a part of the wave is done, and take its picture."""
    while page.goto(f"{url}waves/1") is None or page.title().startswith("Not found"):
        time.sleep(0.1)
    page.wait_for_function(f"Number(document.querySelector('.figures strong')?.textContent) >= {DONE}", timeout=120_000)
    page.screenshot(path=HERE / "wave.png", full_page=True, animations="disabled")


def main() -> None:
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        (folder / "config.toml").write_text(CONFIGURATION.format(folder=folder))
        (folder / "inventory.json").write_text(json.dumps(document()))
        message = json.dumps(MESSAGE)
        subprocess.run(command(folder, "inventory", "sync"), check=True)
        subprocess.run(command(folder, "replay", "-"), input=message, text=True, check=True)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        page = browser.new_page(viewport={"width": 1280, "height": 900}, device_scale_factor=1.5)
        with started(folder, "web") as log, started(folder, "engine"):
            take(page, address(log))
        browser.close()


if __name__ == "__main__":
    main()
