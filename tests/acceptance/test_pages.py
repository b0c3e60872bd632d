"""The pages in a real browser: live, found by keyboard, readable on a phone, and open to everybody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from support import browser, servers
from support.browser import Watched
from support.website import ALIAS, Website

PHONE = {"width": 360, "height": 740}
PATHS = (
    "/", "/waves", "/waves/1", "/images", "/images?q=php", "/images/ruby:f42", "/images/fedora:f42", "/changes",
    "/changes/1", f"/updates/{ALIAS}", "/search?q=openssl", "/rebuilds/1", "/nothing/here", "/images/nothing:f42",
)  # fmt: skip
APPROVAL = '[[consumer_config.policy]]\nname = "people decide"\naction = "approve"\n'


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site with a wave that is over: one image failed, and one is blocked by it."""
    servers.need("chromium", browser.CHROMIUM)
    site = Website(tmp_path_factory.mktemp("site"), speed=10_000, failures=("ruby:f42",))
    site.hears()
    with pytest.raises(Exception, match="status 1"):
        site.types("run", "--until-idle")
    with site.served() as found:
        yield found


def is_clean(watched: Watched) -> None:
    assert watched.complaints == []
    assert watched.hosts == {"127.0.0.1"}


def test_a_wave_goes_from_planned_to_finished_without_a_reload(
    tmp_path: Path, tab: tuple[Page, Watched]
) -> None:
    page, watched = tab
    site = Website(tmp_path, speed=200, more=APPROVAL)
    site.hears()
    with site.served() as address, site.running("engine"):
        page.goto(f"{address}/")
        wave = page.get_by_role("link", name="Wave 1", exact=True)
        expect(wave).to_be_visible(timeout=30_000)
        wave.click()
        title = page.get_by_role("heading", level=1)
        expect(title).to_contain_text("planned")
        expect(page.get_by_role("status")).to_have_text("Live")
        page.evaluate("document.body.dataset.kept = 'the same document'")
        site.types("approve", "1")
        expect(title).to_contain_text("running", timeout=30_000)
        expect(page.get_by_text("Expected to be done")).to_be_visible()
        expect(page.locator(".box.s-building").first).to_be_visible(timeout=30_000)
        expect(title).to_contain_text("finished", timeout=60_000)
        expect(page.get_by_role("listitem").filter(has_text="30 succeeded")).to_be_visible()
        assert page.locator("body").get_attribute("data-kept") == "the same document"
    watched.complaints = [told for told in watched.complaints if "ERR_" not in told]  # the server ended before the tab
    is_clean(watched)


def test_what_is_open_or_has_the_focus_stays_so_when_a_page_takes_over_what_is_new(
    tmp_path: Path, tab: tuple[Page, Watched]
) -> None:
    page, _ = tab
    site = Website(tmp_path)
    with site.served() as address:
        page.goto(f"{address}/images/php:f42")
        expect(page.get_by_role("status")).to_have_text("Live")
        page.get_by_text("4 RPMs").click()
        page.get_by_role("link", name="httpd:f42").focus()
        site.types("hold", "php:f42", "--who", "ann", "--reason", "tests are broken")
        expect(page.get_by_text("tests are broken")).to_be_visible(timeout=15_000)
        expect(page.get_by_text("bash-5.2.37-1.fc42.x86_64")).to_be_visible()
        expect(page.get_by_role("link", name="httpd:f42")).to_be_focused()


def test_a_failure_is_found_in_two_clicks(address: str, tab: tuple[Page, Watched]) -> None:
    page, watched = tab
    page.goto(f"{address}/")
    page.get_by_role("link", name="Wave 1", exact=True).click()
    page.get_by_role("link", name="story and log").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("ruby:f42")
    expect(page.get_by_role("heading", name="Why it failed")).to_be_visible()
    expect(page.locator("main")).to_contain_text("simulated failure")
    expect(page.locator("main")).to_contain_text("it blocks 1 other")
    page.get_by_role("link", name="Whole log").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Log of ruby:f42")
    expect(page.locator("main")).to_contain_text("It is empty.")  # pretended builds end with their engine
    page.get_by_label("Find", exact=True).fill("no space left")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("heading", name="Lines with no space left")).to_be_visible()
    expect(page.locator("main")).to_contain_text("No line has that.")
    is_clean(watched)


def test_search_by_keyboard_alone(address: str, tab: tuple[Page, Watched]) -> None:
    page, watched = tab
    page.goto(f"{address}/")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    search = page.get_by_role("searchbox")
    for _ in range(10):
        page.keyboard.press("Tab")
        if search.evaluate("it => it === document.activeElement"):
            break
    page.keyboard.type("NextCl")
    page.keyboard.press("Enter")
    found = page.get_by_role("link", name="nextcloud:f42")
    expect(found).to_be_visible()
    found.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("nextcloud:f42")
    is_clean(watched)


@pytest.mark.parametrize(("words", "link"), [
    ("openssl", "openssl-3.2.6-2.fc42"), (ALIAS.lower(), "openssl-3.2.6-2.fc42"), ("1", "Wave 1"),
    ("post*:f42", "postgresql:f42"),
])  # fmt: skip
def test_search_finds_changes_updates_waves_and_patterns(
    words: str, link: str, address: str, tab: tuple[Page, Watched]
) -> None:
    page, _ = tab
    page.goto(f"{address}/")
    page.get_by_role("searchbox").fill(words)
    page.get_by_role("searchbox").press("Enter")
    expect(page.get_by_role("link", name=link).first).to_be_visible()


def test_a_fix_that_no_image_can_have_is_nowhere_and_the_page_says_what_was_meant(
    address: str, tab: tuple[Page, Watched]
) -> None:
    page, _ = tab
    page.goto(f"{address}/updates/openssl-libs-3.2.6-2.fc42")
    expect(page.locator(".percent")).to_have_text("Unknown")
    expect(page.locator(".share .s-succeeded")).to_have_count(0)
    expect(page.locator(".hint")).to_contain_text("did you mean openssl-3.2.6-2.fc42?")


def test_a_change_tells_how_far_its_fix_is_as_one_percentage(address: str, tab: tuple[Page, Watched]) -> None:
    page, watched = tab
    page.goto(f"{address}/changes/1")
    expect(page.locator(".percent")).to_have_text("93.3%")
    expect(page.locator("main")).to_contain_text("28 of 30 images that carry openssl in f42")
    first = page.get_by_role("row").nth(1)
    expect(first).to_contain_text("discourse:f42")
    expect(first).to_contain_text("blocked")
    koji = page.get_by_role("link", name="Koji", exact=True)
    expect(koji).to_have_attribute(
        "href", "https://koji.fedoraproject.org/koji/search?match=exact&type=build&terms=openssl-3.2.6-2.fc42"
    )
    is_clean(watched)


def test_an_image_tells_what_changed_between_its_builds(address: str, tab: tuple[Page, Watched]) -> None:
    page, watched = tab
    page.goto(f"{address}/images/php:f42")
    builds = page.get_by_role("region", name="Builds")
    expect(builds).to_contain_text("1 changed, 0 added, 0 removed")
    expect(builds).to_contain_text("openssl-libs 1:3.2.4-3.fc42 →became 1:3.2.6-2.fc42")
    expect(page.get_by_role("region", name="Built on it")).to_contain_text("mediawiki:f42")
    expect(page.get_by_role("region", name="Built on", exact=True)).to_contain_text("httpd:f42 current stage")
    expect(page.get_by_role("img", name="Badge: how php:f42 stands")).to_have_js_property("complete", True)
    assert page.locator("main img").evaluate("it => it.naturalHeight") == 20
    is_clean(watched)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_finding_of_axe_on_any_page(scheme: str, address: str, chromium: Browser) -> None:
    with browser.tab(chromium, color_scheme=scheme) as (page, _):
        for path in PATHS:
            page.goto(address + path)
            found = Axe().run(page).response["violations"]
            told = [f"{v['impact']}: {v['id']}: {v['nodes'][0]['html']}" for v in found]
            assert [line for line in told if line.startswith(("serious", "critical"))] == [], path


def test_pages_fit_a_phone(address: str, chromium: Browser) -> None:
    with browser.tab(chromium, viewport=PHONE, has_touch=True) as (page, watched):
        for path in PATHS:
            page.goto(address + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        watched.complaints = [told for told in watched.complaints if "404" not in told]
        is_clean(watched)


def test_every_state_is_an_icon_and_a_word_beside_its_colour(address: str, tab: tuple[Page, Watched]) -> None:
    page, _ = tab
    for path in PATHS[:-2]:
        page.goto(address + path)
        for state in page.locator(".state, .box").all():
            assert (state.text_content() or "").strip(), path
            icon = state.locator("use").get_attribute("href")
            assert icon is not None
            assert page.locator(f"symbol{icon}").count() == 1, icon


def test_without_javascript_a_page_says_the_same(address: str, chromium: Browser) -> None:
    with browser.tab(chromium, java_script_enabled=False) as (page, watched):
        page.goto(f"{address}/waves/1")
        expect(page.get_by_role("heading", level=1)).to_contain_text("Wave 1")
        expect(page.locator("main")).to_contain_text("28 succeeded")
        page.get_by_role("searchbox").fill("php")
        page.get_by_role("searchbox").press("Enter")
        expect(page.get_by_role("link", name="php:f42")).to_be_visible()
        is_clean(watched)


def test_a_page_that_is_not_there_leads_on(address: str, tab: tuple[Page, Watched]) -> None:
    page, _ = tab
    answer = page.goto(f"{address}/waves/99")
    assert answer is not None and answer.status == 404
    expect(page.locator("main")).to_contain_text("there is no wave 99")
    page.get_by_role("link", name="overview", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
