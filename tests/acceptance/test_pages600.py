"""The pages of a registry of 600 images in a real browser, on the night of an openssl CVE."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from xml.etree import ElementTree

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from support import browser, registry600
from support.browser import Watched

LARGEST, MOST = 1_000_000, 3000
WAVE = "/waves/3"
OPENED = f"{WAVE}?open=2-queued&open=3-queued"
PATHS = (
    "/", "/waves", WAVE, OPENED, f"{WAVE}?row=100", "/waves/1", "/waves/2", "/images",
    "/images?state=stale&owner=infra", "/rebuilds?update=" + registry600.CVE,
    "/images/fedora:f42", "/images/s2i-base:f42", "/rebuilds", "/rebuilds?wave=3&state=failed", "/changes",
    "/changes/1", "/changes/3", f"/updates/{registry600.ALIAS}", "/search?q=php", "/search?q=openssl",
)  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry600.website(tmp_path_factory.mktemp("site600")).served() as found:
        yield found


@pytest.fixture
def plain(chromium: Browser) -> Iterator[Page]:
    """A tab without JavaScript."""
    with browser.tab(chromium, java_script_enabled=False) as (page, _):
        yield page


class Elements(HTMLParser):
    """Counts the elements of a page."""

    count = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.count += 1


@pytest.mark.parametrize("path", PATHS)
def test_no_page_is_above_a_megabyte_or_three_thousand_elements(path: str, address: str) -> None:
    answer = httpx.get(address + path)
    assert answer.status_code == 200, answer.text
    counted = Elements()
    counted.feed(answer.text)
    assert len(answer.content) <= LARGEST
    assert 50 < counted.count <= MOST


def test_no_serious_finding_of_axe(address: str, tab: tuple[Page, Watched]) -> None:
    page, watched = tab
    for path in ("/images?state=stale", "/rebuilds", OPENED, "/waves", "/changes"):
        page.goto(address + path)
        found = Axe().run(page).response["violations"]
        told = [f"{v['impact']}: {v['id']}: {v['nodes'][0]['html']}" for v in found]
        assert [line for line in told if line.startswith(("serious", "critical"))] == [], path
    assert watched.complaints == []


def test_a_large_wave_is_drawn_with_a_box_for_each_layer_and_state_that_opens_without_javascript(
    address: str, plain: Page
) -> None:
    plain.goto(address + WAVE)
    boxes = plain.locator(".box")
    assert 4 < boxes.count() < 60
    queued = plain.locator(".box.group.s-queued").first
    count = int((queued.locator(".label").text_content() or "").split()[0])
    assert count > 1
    before = boxes.count()
    queued.click()
    expect(plain).to_have_url(re.compile(r"open=\d-queued"))
    assert plain.locator(".box").count() >= before + min(count, 60) - 1
    plain.get_by_role("link", name=re.compile("^Close queued of layer")).click()
    assert plain.locator(".box").count() == before


def test_a_box_opens_in_place_where_scripts_run(address: str, tab: tuple[Page, Watched]) -> None:
    page, watched = tab
    page.goto(address + WAVE)
    page.evaluate("document.body.dataset.kept = 'the same document'")
    before = page.locator(".box").count()
    page.locator(".box.group.s-queued").first.click()
    expect(page.get_by_role("link", name=re.compile("^Close queued"))).to_be_visible()
    assert page.locator(".box").count() > before
    page.go_back()
    expect(page.get_by_role("link", name=re.compile("^Close queued"))).to_have_count(0)
    assert page.locator("body").get_attribute("data-kept") == "the same document"
    assert watched.complaints == []


def test_the_time_line_is_a_window_that_scrolling_moves(address: str, tab: tuple[Page, Watched]) -> None:
    page, watched = tab
    page.goto(address + WAVE)
    rows = page.locator(".timeline tbody tr:not(.spacer)")
    total = int(page.locator(".timeline").get_attribute("data-total") or 0)
    assert total > 200 and rows.count() == 60
    page.evaluate("window.scrollTo(0, document.querySelector('.timeline .after').getBoundingClientRect().bottom)")
    expect(page.locator(".timeline .after")).to_have_count(0, timeout=15_000)
    assert rows.count() == 60
    first = int(page.locator(".timeline").get_attribute("data-first") or 0)
    assert first == total - 60
    assert watched.complaints == []


def test_without_javascript_the_time_line_comes_in_parts_that_have_each_rebuild_once(address: str, plain: Page) -> None:
    plain.goto(address + WAVE)
    total = int(plain.locator(".timeline").get_attribute("data-total") or 0)
    seen: list[str] = []
    while True:
        window = plain.locator(".timeline tbody tr:not(.spacer) td a[href^='/rebuilds/']")
        seen += [link.get_attribute("href") or "" for link in window.all()]
        later = plain.get_by_role("link", name="Later rows")
        if not later.count():
            break
        later.click()
    assert len(set(seen)) == total


def test_counts_are_links_to_what_they_count(address: str, tab: tuple[Page, Watched]) -> None:
    page, _ = tab
    page.goto(address + WAVE)
    counted = page.locator(".counts a", has_text="blocked")
    count = int((counted.text_content() or "").split()[0])
    counted.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Rebuilds")
    expect(page.locator(".lines > li")).to_have_count(min(count, 50))


def test_images_are_listed_with_what_needs_somebody_first_and_filtered_by_owner_and_state(
    address: str, tab: tuple[Page, Watched]
) -> None:
    page, watched = tab
    page.goto(f"{address}/images")
    expect(page.locator(".lead")).to_contain_text("600 in the inventory")
    first = page.locator(".grid li").first
    assert any(word in (first.text_content() or "") for word in ("unknown", "failed", "blocked", "held"))
    page.get_by_label("Owner").fill("infra")
    page.get_by_label("State").select_option("stale")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(".counts a").first).to_be_visible()
    shown = page.locator(".grid li").all_text_contents()
    assert shown and all("stale" in text for text in shown)
    assert watched.complaints == []


def test_the_overview_begins_with_what_needs_somebody_and_each_leads_to_where_it_is_mended(
    address: str, tab: tuple[Page, Watched]
) -> None:
    page, watched = tab
    page.goto(address)
    card = page.get_by_role("region", name="Needs you")
    expect(page.locator("main section").first).to_have_attribute("aria-labelledby", "needs")
    expect(page.locator(".lead")).to_contain_text(f"{registry600.SLOTS} of {registry600.SLOTS} slots taken")
    assert card.bounding_box()["y"] + 100 < page.viewport_size["height"]  # type: ignore[index]
    told = httpx.get(f"{address}/api/v1/status").json()["needs"]
    kinds = [need["kind"] for need in told]
    assert set(kinds) == {"engine", "failure", "approval", "hold", "unknown"} and kinds[0] == "engine"
    assert card.locator("li .head a").all_text_contents() == [need["what"] for need in told]
    card.get_by_role("link", name=re.compile("the contents of .* are unknown")).click()
    expect(page).to_have_url(re.compile(r"/images\?state=unknown"))
    count = next(need["count"] for need in told if need["kind"] == "unknown")
    expect(page.locator(".grid li")).to_have_count(count)
    page.goto(address)
    card.get_by_role("link", name=re.compile("waits for approval")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Wave 2")
    page.goto(address)
    card.get_by_role("link", name=re.compile(f"^{registry600.HELD[0][0]} is held")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(registry600.HELD[0][0])
    assert watched.complaints == []


def test_images_that_lack_the_fix_of_a_cve_are_listed(address: str) -> None:
    lacking = httpx.get(f"{address}/api/v1/images?update={registry600.CVE}&limit=500").json()["items"]
    stale = httpx.get(f"{address}/api/v1/images?limit=500&severity=urgent").json()["items"]
    assert len(lacking) > 100 and {image["image"] for image in lacking} == {image["image"] for image in stale}
    assert all(registry600.CVE in image["missing"][-1]["cves"] for image in lacking)
    page = httpx.get(f"{address}/images?update={registry600.CVE}").text
    assert f"{len(lacking)} that match" in page


def test_a_list_of_600_images_is_read_part_by_part(address: str, plain: Page) -> None:
    plain.goto(f"{address}/images")
    seen: list[str] = []
    while True:
        seen += plain.locator(".grid li a").all_text_contents()
        more = plain.get_by_role("link", name="More", exact=True)
        if not more.count():
            break
        more.click()
    assert len(seen) == len(set(seen)) == 600
    csv = httpx.get(address + (plain.get_by_role("link", name="CSV").get_attribute("href") or ""))
    assert len(csv.text.splitlines()) == 601


def test_times_are_in_the_readers_zone_with_utc_in_the_title(address: str, chromium: Browser) -> None:
    with browser.tab(chromium, timezone_id="Asia/Tokyo", locale="en-GB") as (page, watched):
        page.goto(address + WAVE)
        start = page.locator(".timeline time").first
        utc = re.search(r"(\d\d):(\d\d):\d\d UTC", start.get_attribute("title") or "")
        assert utc is not None
        expect(start).to_have_text(f"{(int(utc[1]) + 9) % 24:02}:{utc[2]}")
        expect(page.locator(".bottom time")).to_contain_text("GMT+9")
        assert watched.complaints == []


def test_without_javascript_times_are_in_utc(address: str, plain: Page) -> None:
    plain.goto(address + WAVE)
    expect(plain.locator(".bottom time")).to_contain_text("UTC")


def test_a_feed_tells_of_waves_and_failures_and_may_be_of_some_images_alone(address: str) -> None:
    answer = httpx.get(f"{address}/feed.atom")
    assert answer.headers["content-type"].startswith("application/atom+xml")
    atom = "{http://www.w3.org/2005/Atom}"
    feed = ElementTree.fromstring(answer.text)
    entries = feed.findall(f"{atom}entry")
    titles = [entry.findtext(f"{atom}title") for entry in entries]
    assert {"Wave 3 is running", "Wave 2 is planned", "ruby:f42 failed"} <= set(titles)
    updated = [entry.findtext(f"{atom}updated") or "" for entry in entries]
    assert updated == sorted(updated, reverse=True) and feed.findtext(f"{atom}updated") == updated[0]
    ids = [entry.findtext(f"{atom}id") for entry in entries]
    assert len(set(ids)) == len(ids)
    for link in feed.iterfind(f"{atom}entry/{atom}link"):
        assert httpx.get(link.attrib["href"]).status_code == 200
    filtered = ElementTree.fromstring(httpx.get(f"{address}/feed.atom?image=ruby").text)
    failed = [title for title in filtered.itertext() if title.endswith(" failed")]
    assert failed == ["ruby:f42 failed"]


def test_an_image_is_not_said_to_stand_on_a_rollback_where_nothing_was_rolled_back(address: str) -> None:
    told = httpx.get(f"{address}/api/v1/images/ruby:f42/why").json()
    assert told["rolled_back"] is None and told["taken_back"] is None
    assert "rolled back" not in httpx.get(f"{address}/images/ruby:f42").text
