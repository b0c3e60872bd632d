"""The logs of real builds by buildah that fail: on the command line, in the engine's log, and in a real browser."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from acceptance.test_engine import asked, command, configure, feed, states, types
from playwright.sync_api import Page, expect
from support import databases
from support.browser import Watched
from support.buildah_world import Machine, machine, until

from rebuilder.demo.process import Child

NOISE = "i=0; while [ $i -lt 3000 ]; do echo noise $i; i=$((i+1)); done"
ERROR = "printf '\\033[1;31merror:\\033[0m no space <left> on device\\n' >&2"
# Buildah 1.28 copies a step's output and its errors by two pipes, 8 KiB at a time: under load an error overtook 850
# lines that were written before it, and the end of 33 KiB was lost. In the pauses it reads what was written before.
FAILS = f"FROM base\nRUN {NOISE}; sleep 1; {ERROR}; sleep 1; exit 3\n"
AGAIN = "FROM base\nRUN echo \"second try\"; sleep 1; exit 4\n"
WAITS = "FROM base\nRUN echo begun; while [ ! -e /repo/go ]; do sleep 0.1; done; echo released\n"


@contextmanager
def world(folder: Path, first_world: Machine, child: str) -> Iterator[Machine]:
    """The images, of which the child now has this Containerfile, before the update."""
    with machine(folder, first_world) as made:
        configure(made, "amqp://127.0.0.1:1")
        databases.sqlite(made.folder / "rebuilder.db").dispose()
        types(made, "inventory", "sync").check_returncode()
        made.write("child", child)
        types(made, "inventory", "sync").check_returncode()
        yield made


def runs(made: Machine) -> str:
    """What the engine logs until a build has failed and nothing is left to do."""
    done = subprocess.run(command(made, "run", "--until-idle"), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@contextmanager
def served(made: Machine) -> Iterator[str]:
    child = Child(command(made, "web"), made.folder / "web.log")
    try:
        yield until(lambda: (found := re.search(r"http://\S+?(?=/\s)", child.log.read_text())) and found[0])
    finally:
        child.stop()


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory, first_world: Machine) -> Iterator[tuple[Machine, list[str]]]:
    """A world in which the child failed twice, each time in another way; and what the engine logged then."""
    with world(tmp_path_factory.mktemp("failed"), first_world, FAILS) as made:
        feed(made)
        told = [runs(made)]
        made.write("child", AGAIN)
        types(made, "inventory", "sync").check_returncode()
        types(made, "retry", "child").check_returncode()
        yield made, [*told, runs(made)]


def rebuild(made: Machine) -> int:
    (found,) = [one["id"] for one in asked(made, "wave", "1")["rebuilds"] if one["image"] == "child:f42"]
    return int(found)


def test_the_failure_is_what_the_step_said_last_and_not_the_step(failed: tuple[Machine, list[str]]) -> None:
    made, (first, second) = failed
    line = next(line for line in first.splitlines() if "child:f42 FAILED: " in line)
    assert " ERROR " in line and "error: no space <left> on device" in line
    assert "RUN" not in line and "STEP" not in line and "\x1b" not in line and "noise 2000" not in line
    assert not [line for line in first.splitlines() if "child:f42" in line and "was built" in line]
    assert "second try" in next(line for line in second.splitlines() if "child:f42 FAILED: " in line)
    reason = next(one["reason"] for one in asked(made, "wave", "1")["rebuilds"] if one["image"] == "child:f42")
    assert reason.endswith("second try\nexit status 4")
    assert "RUN" not in reason


def test_each_attempt_of_the_rebuild_has_its_log(failed: tuple[Machine, list[str]]) -> None:
    made, _ = failed
    ident = str(rebuild(made))
    first = types(made, "log", "--rebuild", ident, "--attempt", "1").stdout
    assert "\nnoise 0\n" in first and "\nnoise 2999\n" in first and "no space <left> on device" in first
    assert "second try" not in first
    second = types(made, "log", "--rebuild", ident, "--attempt", "2").stdout
    assert "\nsecond try\n" in second and "noise" not in second.replace(NOISE, "")
    assert types(made, "log", "--rebuild", ident).stdout == types(made, "log", "child").stdout == second
    refused = types(made, "log", "--rebuild", ident, "--attempt", "3")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"rebuild {ident} has no attempt 3: it has 2" in refused.stderr


def test_the_page_has_the_end_first_colours_a_search_and_the_whole_log(
    failed: tuple[Machine, list[str]], tab: tuple[Page, Watched]
) -> None:
    made, _ = failed
    page, watched = tab
    with served(made) as address:
        page.goto(f"{address}/rebuilds/{rebuild(made)}/log")
        expect(page.locator("main")).to_contain_text("second try")
        page.get_by_role("link", name="Attempt 1").click()
        error = page.locator("span.c-red", has_text="error:")
        expect(error).to_be_visible()
        colours = [it.evaluate("it => getComputedStyle(it).color") for it in (error, page.locator("main pre").first)]
        assert colours[0] != colours[1]
        expect(page.locator("main pre")).to_contain_text("no space <left> on device")
        expect(page.locator("main pre")).not_to_contain_text("noise 1500\n")
        assert "\x1b" not in page.locator("main").inner_text()
        page.get_by_label("Find", exact=True).fill("NOISE 1234")
        page.get_by_role("button", name="Find").click()
        expect(page.locator("ol.hits li")).to_have_count(1)
        page.get_by_role("link", name="noise 1234").click()
        expect(page.locator("main pre")).to_contain_text("noise 1234\n")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        whole = Path(download.value.path()).read_text()
        assert download.value.suggested_filename == f"child-f42-{rebuild(made)}.1.log"
        assert "\nnoise 0\n" in whole and "\x1b[1;31merror:\x1b[0m no space <left> on device" in whole
        page.get_by_role("link", name="Raw").click()
        expect(page.locator("pre")).to_contain_text("noise 2999")
    assert watched.hosts == {"127.0.0.1"}


def test_a_log_grows_on_its_page_while_the_build_runs(
    tmp_path: Path, first_world: Machine, tab: tuple[Page, Watched]
) -> None:
    page, _ = tab
    with world(tmp_path, first_world, WAITS) as made, served(made) as address:
        feed(made)
        engine = Child(command(made, "engine"), made.folder / "engine.log")
        try:
            until(lambda: states(made).get("child:f42") == "building")
            page.goto(f"{address}/rebuilds/{rebuild(made)}/log")
            expect(page.locator("main")).to_contain_text("it runs")
            expect(page.locator("main pre")).to_contain_text("begun\n", timeout=30_000)
            page.evaluate("document.body.dataset.kept = 'the same document'")
            (made.repository / "go").touch()
            expect(page.locator("main pre")).to_contain_text("released\n", timeout=30_000)
            expect(page.get_by_role("heading", level=1)).to_contain_text("succeeded", timeout=60_000)
            assert page.locator("body").get_attribute("data-kept") == "the same document"
        finally:
            engine.stop()


def test_a_build_without_what_it_was_made_for_is_failed_in_the_engine_s_log(
    tmp_path: Path, first_world: Machine
) -> None:
    with world(tmp_path, first_world, "FROM base\nRUN true\n") as made:
        for newer in made.repository.glob("openssl-libs-3.2.2-*.rpm"):
            newer.unlink()
        feed(made)
        told = [line for line in runs(made).splitlines() if "base:f42" in line]
        assert any(" ERROR " in line and "base:f42 FAILED: " in line and "not-updated" in line for line in told), told
        assert not any(" INFO " in line and "was built" in line for line in told), told
