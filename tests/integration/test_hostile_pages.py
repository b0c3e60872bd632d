"""Names, versions, reasons and logs that would be something else in HTML are text on every page; so say the headers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import expect
from sqlalchemy import Engine, insert, select
from support import browser, servers
from support.api_client import Client

from rebuilder.config import BuildahSettings, Settings, WebSettings
from rebuilder.config_file import Bus
from rebuilder.demo.process import free_port
from rebuilder.domain.command import Command
from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest, Parent, ParentKind, Source
from rebuilder.domain.rpm import Rpm
from rebuilder.engine import commands
from rebuilder.store import database, models
from rebuilder.store.sync import save_inventory
from rebuilder.web.server import serving

SCRIPT = "<script>document.title='taken'</script>"
QUOTES = "\"'><img src=x onerror=alert(1)>"
CONTROL = "\x1b[31mred\u202edlo\x07"
SLASHES = "../a/..?b#c%2e&amp;"
NAMES = (SCRIPT, QUOTES, CONTROL, SLASHES)
RPM = Rpm("openssl<b>", 1, "3.2.1'\"", "1<i>", "x86_64", "openssl<u>")
PATHS = ("/", "/waves", "/waves/1", "/images", "/changes", "/changes/1", "/rebuilds/1", "/search?q=%3C", "/search?q=" +
         quote(QUOTES), "/images?q=" + quote(SCRIPT), "/updates/" + quote(QUOTES), "/nothing/" + quote(SCRIPT))
SEEN = ("<script>document.title='taken'</script>:f42", '"\'><img src=x onerror=alert(1)>:f42',
        "\\x1b[31mred\\u202edlo\\x07:f42", "../a/..?b#c%2e&amp;:f42")  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "builds" / "key<b>"
    folder.mkdir(parents=True)
    (folder / "log").write_text(f"{SCRIPT}\n{QUOTES}\n{CONTROL}\0\n")
    return Settings(
        database_url=f"sqlite:///{tmp_path / 'test.db'}", builder="buildah", web=WebSettings(port=free_port()),
        buildah=BuildahSettings(state=tmp_path / "builds"),
    )


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    """A wave of images whose names, RPMs, changes, reasons and logs are all meant to do harm."""
    engine = database.ready(settings.database)
    now = time.time()
    with engine.begin() as connection:
        images = tuple(
            Image(name, "f42", (Parent(ParentKind.BASE, f"{NAMES[at - 1]}:f42"),) if at else (),
                  Source(git="javascript:alert(1)", ref=QUOTES), 60)
            for at, name in enumerate(NAMES)
        )
        builds = tuple(ImageBuild(image.key, QUOTES, Manifest.of([RPM]), (SCRIPT,), SCRIPT) for image in images)
        save_inventory(connection, Inventory(images, (), builds), now)
        ids = list(connection.scalars(select(models.Image.id).order_by(models.Image.id)))
        connection.execute(insert(models.Change), {
            "id": 1, "source": "openssl<u>", "epoch": 1, "version_release": f"3{QUOTES}-2", "stream": "f42",
            "severity": "high", "update": QUOTES, "url": "javascript:alert(1)", "type": SCRIPT, "noticed_at": now,
            "state": "planned",
        })  # fmt: skip
        connection.execute(insert(models.Wave), {"id": 1, "created_at": now, "state": "running"})
        connection.execute(insert(models.WaveChange), {"wave_id": 1, "change_id": 1})
        states = ("failed", "blocked", "queued", "building")
        connection.execute(insert(models.Rebuild), [
            {"id": at + 1, "wave_id": 1, "image_id": ids[at], "state": states[at], "severity": "high", "level": at,
             "rank": at, "key": f"k{at}", "ref": "key<b>", "log": "javascript:alert(1)", "reason": QUOTES,
             "note": SCRIPT, "created_at": now, "started_at": now, "attempt": 1}
            for at in range(4)
        ])  # fmt: skip
        connection.execute(insert(models.RebuildEdge), [{"rebuild_id": at, "parent_id": at - 1} for at in (2, 3, 4)])
        connection.execute(insert(models.Cause), [
            {"rebuild_id": at, "change_id": 1, "installed": RPM.nevra, "inherited_from": f"{SCRIPT}:f42",
             "external": QUOTES}
            for at in (1, 2, 3, 4)
        ])  # fmt: skip
        connection.execute(insert(models.Transition), {
            "rebuild_id": 1, "at": now, "event": "failed", "state": "failed", "reason": SCRIPT,
        })  # fmt: skip
        commands.give(connection, Command("pause", "", SCRIPT, QUOTES), now)
    yield Client(engine, settings)
    engine.dispose()


def paths() -> list[str]:
    return [*PATHS, *(f"/images/{quote(f'{name}:f42', safe=':')}" for name in NAMES)]


def test_browsers_are_told_to_run_nothing_that_is_not_ours(client: Client) -> None:
    for path in (*paths(), "/static/style.css", "/api/v1/status", "/badges/x:f42.svg", "/health/live"):
        headers = client.http.get(path).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"


def test_no_page_fails_whatever_it_is_about(client: Client) -> None:
    for path in paths():
        if ".." in path:  # this client takes two dots for a step upward; the browser below does not
            continue
        response = client.http.get(path)
        assert response.status_code == (404 if path.startswith("/nothing") else 200), path
        assert response.headers["content-type"].startswith("text/html")
        for raw in (*NAMES, "javascript:alert(1)\""):
            assert f"{raw}<" not in response.text, path
            assert f'"{raw}"' not in response.text, path


@pytest.mark.parametrize("path", [
    "/images/%00", "/images/", "/images/x", "/images/%ff:f42", "/waves/0", "/waves/99999999999999999999", "/changes/-1",
    "/rebuilds/0", "/updates/%00", "/updates/", "/search?q=%00", "/search?q=" + "x" * 900, "/images?after=%00",
    "/badges/%00.svg", "/waves?before=99999999999999999999", "/changes?before=-5",
    "/live?wave=x",
])  # fmt: skip
def test_no_request_is_a_fault_of_ours(path: str, store: Engine) -> None:
    assert Client(store).http.get(path).status_code in (200, 400, 404, 422)


def test_all_of_it_is_text_in_a_browser(client: Client, settings: Settings) -> None:
    servers.need("chromium", browser.CHROMIUM)
    address = f"http://127.0.0.1:{settings.web.port}"
    with (
        serving(client.store, settings, Bus("amqp://127.0.0.1:1", (), {})), browser.chromium() as chromium,
        browser.tab(chromium) as (page, watched),
    ):
        for path in paths():
            page.goto(address + path)
            assert page.title().endswith("· rebuilder"), path
            assert page.locator("main script, main img[onerror], main b, main i, main u").count() == 0, path
            assert page.locator("a[href^='javascript' i]").count() == 0, path
        page.goto(f"{address}/waves/1")
        for seen in SEEN:
            expect(page.get_by_role("rowheader").get_by_text(seen, exact=True).first).to_be_visible()
            page.goto(f"{address}/waves/1")
            page.get_by_role("rowheader").get_by_role("link", name=seen, exact=True).first.click()
            expect(page.get_by_role("heading", level=1)).to_contain_text(seen)
            page.goto(f"{address}/waves/1")
        page.goto(f"{address}/rebuilds/1")
        log = page.get_by_label("The last lines of the log")
        expect(log).to_contain_text(SCRIPT)
        expect(log).to_contain_text("red\\u202edlo\\x07\\x00")
        expect(log.locator(".c-red")).to_have_text("red\\u202edlo\\x07\\x00")  # a colour, and nothing else
        assert [told for told in watched.complaints if "404" not in told] == []
        assert watched.hosts == {"127.0.0.1"}
