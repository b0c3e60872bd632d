"""Makes docs/wave.png: a wave in progress, as a browser shows it, from a real run with simulated builds.

Usage: make screenshot. Engine, web server and browser are processes of their own; an update's message is fed in, as
from the bus, and the picture is taken from the live page when a part of the wave is done.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from support import browser
from support.website import Website

PICTURE = Path(__file__).parent / "wave.png"
DONE = 10
CLIP = {"x": 0, "y": 0, "width": 1280, "height": 1560}
FAILURES = ("ruby:f42", "httpd:f42")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, browser.chromium() as chromium:
        site = Website(Path(folder), speed=30, failures=FAILURES)
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
    print(f"made {PICTURE}")


if __name__ == "__main__":
    main()
