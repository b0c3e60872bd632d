"""A whole site for a browser to look at: images, an update's message, an engine and a web server as processes."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import databases, shell
from support.distribution import document

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
CONFIGURATION = """\
[consumer_config]
database_url = "{database_url}"
builder = "simulated"
max_builds = {max_builds}
settle_seconds = 0
poll_seconds = 0.05
{more}
[consumer_config.inventory]
path = "{folder}/inventory.json"
[consumer_config.streams.f42]
dist = ".fc42"
bodhi_releases = ["F42"]
[consumer_config.simulated]
failures = {failures}
[consumer_config.web]
port = 0
"""
ALIAS = "FEDORA-2026-7d2c81f0aa"
MESSAGE = {
    "id": "c1f6a3b2-5c1d-4a53-9a3e-0a4c4f1f7d11",
    "topic": "org.fedoraproject.prod.bodhi.update.complete.stable",
    "headers": {},
    "body": {
        "update": {
            "alias": ALIAS, "builds": [{"nvr": "openssl-3.2.6-2.fc42", "epoch": 1}], "status": "stable",
            "request": None, "release": {"name": "F42"}, "user": {"name": "dbelyavs"}, "severity": "high",
            "type": "security", "content_type": "rpm", "title": "openssl-3.2.6-2.fc42",
        }
    },
}  # fmt: skip


class Website:
    """A folder with a configuration and an inventory, and the command as an operator types it.

    `pid` is that of the last process that was started.
    """

    def __init__(
        self, folder: Path, *, speed: float = 60, failures: tuple[str, ...] = (), more: str = "",
        database_url: str = "", max_builds: int = 4,
    ) -> None:
        """With `database_url`, what is in that database is shown, and no inventory is put into it."""
        self.folder = folder
        self.pid = 0
        url = database_url or f"sqlite:///{folder}/rebuilder.db"
        text = CONFIGURATION.format(
            folder=folder, failures=json.dumps(failures), more=more, database_url=url, max_builds=max_builds
        )
        (folder / "config.toml").write_text(text)
        (folder / "inventory.json").write_text(json.dumps(document(speed)))
        if not database_url:
            databases.sqlite(folder / "rebuilder.db").dispose()
            self.types("inventory", "sync")

    def command(self, *words: str) -> list[str]:
        return shell.argv("--config", str(self.folder / "config.toml"), *words)

    def types(self, *words: str, stdin: str = "") -> str:
        """What the command prints. Raises where it goes wrong."""
        done = shell.types("--config", str(self.folder / "config.toml"), *words, stdin=stdin)
        done.check_returncode()
        return done.stdout

    def hears(self) -> None:
        """The message of the update arrives."""
        self.types("replay", "-", stdin=json.dumps(MESSAGE))

    @contextmanager
    def running(self, *words: str) -> Iterator[Path]:
        """The command as a process of its own, which ends with the context; the file with what it says."""
        log = self.folder / f"{words[0]}.log"
        with log.open("w") as file:
            process = subprocess.Popen(self.command(*words), cwd=ROOT, stdout=file, stderr=file)
            self.pid = process.pid
            try:
                yield log
            finally:
                process.terminate()
                process.wait(PATIENCE)

    @contextmanager
    def served(self) -> Iterator[str]:
        """The web server's address, without a slash at its end."""
        with self.running("web") as log:
            until = time.monotonic() + PATIENCE
            while not (found := re.search(r"http://\S+?(?=/\s)", log.read_text())):
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.05)
            yield found[0]
