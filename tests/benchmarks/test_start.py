"""What a command costs before it does anything: whole processes, beside ones that import what it cannot do without."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from rebuilder.store import database

ROUNDS = 11


def processor_seconds(command: list[str], environment: dict[str, str]) -> float:
    """What the processor did for a command, in its process and for it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_commands_start(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'small.db'}"
    database.upgrade(database.open_database(url))
    config = tmp_path / "config.toml"
    config.write_text(f'[consumer_config]\ndatabase_url = "{url}"\n', encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    commands = {
        "python": [sys.executable, "-c", "pass"],
        "import sqlalchemy": [sys.executable, "-c", "import sqlalchemy"],
        "status": [sys.executable, "-m", "rebuilder", "--config", str(config), "status"],
        "--help": [sys.executable, "-m", "rebuilder", "--help"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(ROUNDS + 1):
        for name, command in commands.items():
            seconds = processor_seconds(command, environment)
            if round_:  # the first one compiles what it imports
                taken[name].append(seconds)
    print("\nstarting a command; seconds of the processor, the whole process")
    for name, seconds_of in taken.items():
        middle = statistics.median(seconds_of)
        beside = middle / statistics.median(taken["import sqlalchemy"])
        print(f"  {name:18} {middle:5.2f} s  {beside:4.2f} times `import sqlalchemy`")
    print("  wanted: status 0.35 s, --help 0.12 s")
