"""Makes docs/wave.png: a wave in progress, as a browser shows it, from a real run with simulated builds.

docs/overview.png and docs/images.png: 600 images on the night of an openssl CVE, what needs attention first.
And docs/plan.svg: what an update would rebuild, as a terminal shows it.

Usage: make screenshot. Engine, web server and browser are processes of their own; an update's message is fed in, as
from the bus, and the picture is taken from the live page when a part of the wave is done.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text
from support import browser, registry600
from support.website import Website

PICTURE = Path(__file__).parent / "wave.png"
IMAGES, OVERVIEW = Path(__file__).parent / "images.png", Path(__file__).parent / "overview.png"
TERMINAL, WIDTH = Path(__file__).parent / "plan.svg", 110
UPDATE = ("--update", "openssl-3.2.6-2.fc42")
ASKED = (("graph", *UPDATE, "--image", "php:f42"), ("why", "php:f42", *UPDATE), ("why", "fedora:f42", *UPDATE))
DONE = 10
CLIP = {"x": 0, "y": 0, "width": 1280, "height": 1560}
FAILURES = ("ruby:f42", "httpd:f42")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, browser.chromium() as chromium:
        site = Website(Path(folder), speed=30, failures=FAILURES)
        terminal(site)
        site.hears()
        options = {"viewport": {"width": 1280, "height": 900}, "device_scale_factor": 1.5}
        with site.served() as address, browser.tab(chromium, **options) as (page, _), site.running("engine"):
            page.goto(f"{address}/waves/1")
            while page.title().startswith("Not found"):
                time.sleep(0.1)
                page.reload()
            done = page.locator(".figures strong").first
            while int(done.inner_text()) < DONE:
                time.sleep(0.1)
            page.screenshot(path=PICTURE, full_page=True, clip=CLIP, animations="disabled")
    with tempfile.TemporaryDirectory() as folder, browser.chromium() as chromium:
        site = registry600.website(Path(folder))
        options = {"viewport": {"width": 1280, "height": 900}, "device_scale_factor": 1.5}
        with site.served() as address, browser.tab(chromium, **options) as (page, _):
            page.goto(f"{address}/images")
            page.screenshot(path=IMAGES, animations="disabled")
            page.goto(address)
            page.screenshot(path=OVERVIEW, animations="disabled")
    print(f"made {PICTURE}, {IMAGES}, {OVERVIEW} and {TERMINAL}")


def terminal(site: Website) -> None:
    """Draw what the command answers, with its colours, and no fonts from elsewhere."""
    screen = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True)
    environment = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH)}
    for words in ASKED:
        told = subprocess.check_output(site.command(*words), env=environment, text=True)
        screen.print(Text(f"$ rebuilder {' '.join(words)}", style="bold"))
        screen.print(Text.from_ansi(told))
    drawn = screen.export_svg(title="rebuilder", unique_id="plan")
    TERMINAL.write_text(re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
