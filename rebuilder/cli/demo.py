"""`demo`."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from rebuilder.distribution import needs
from rebuilder.domain.errors import RequestError, UnreachableError


@click.command()
@click.option("--simulated", is_flag=True, help="Simulated builds and no bus: needs no system package.")
@click.option("--keep", is_flag=True, help="Keep the folder, and print where everything is.")
def demo(simulated: bool, keep: bool) -> int:
    """The main job on this machine: an openssl update arrives on a bus, and the images that carry it are rebuilt."""
    with needs("demo", "the demonstration"):
        from rebuilder.demo import real, simulation
    from rebuilder.demo.console import Screen
    from rebuilder.demo.workspace import Site

    signal.signal(signal.SIGTERM, _interrupted)
    screen = Screen(Console())
    folder = Path(tempfile.mkdtemp(prefix="rebuilder-demo-"))
    try:
        lines = simulation.run(folder, screen) if simulated else real.run(folder, screen)
    except UnreachableError as error:
        advice = "" if simulated else "; `rebuilder demo --simulated` needs no system packages"
        raise RequestError(f"{error}{advice}") from None
    finally:
        if keep:
            screen.step(f"kept {folder}: config.toml, rebuilder.db, repo/, images/, theirs/, registry/, builds/, *.log")
        elif not Site(folder).remove():
            screen.step(f"something still writes to {folder}: remove it by hand")
    screen.verdict(lines)
    return int(not all(line.good for line in lines))


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
