"""Debian's Chromium, driven by Playwright; what it complains of and what it asks for is written down."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct, field
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium-browser") or "/usr/bin/chromium"  # as Fedora calls it, and Debian
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
expect.set_options(timeout=30_000)  # milliseconds: what never comes is not told from what is slow by Playwright's five


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Watched(Struct):
    """All that went wrong in a tab, and all addresses that it asked for."""

    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def hosts(self) -> set[str | None]:
        return {urlsplit(url).hostname for url in self.asked}


@contextmanager
def tab(browser: Browser, **options: Any) -> Iterator[tuple[Page, Watched]]:
    """A tab with nothing in it from earlier ones."""
    context = browser.new_context(**options)
    page, watched = context.new_page(), Watched()
    page.on("console", lambda told: watched.complaints.append(told.text) if told.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (watched.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: watched.asked.append(request.url))
    try:
        yield page, watched
    finally:
        context.close()
