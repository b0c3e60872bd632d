"""The log of every attempt of a rebuild: whole, searched, raw, coloured, over the web and on the command line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from integration.workbench import Workbench, image
from sqlalchemy import Engine, update
from support.api_client import Client, problem

from rebuilder.domain.image import ImageBuild
from rebuilder.queries.logs import Logs
from rebuilder.store import rebuild_progress
from rebuilder.store.database import reading
from rebuilder.store.models import Rebuild, Transition

LONG = "".join(f"line {number}\n" for number in range(1, 2001)) + "\x1b[31merror:\x1b[0m <b>no space</b>\n"


class Texts:
    """What the builder keeps of each build, by its name of it."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def log(self, ref: str, offset: int = 0) -> Iterator[str]:
        yield self._texts[ref][offset:]

    def close(self) -> None:
        pass


class Site:
    """A rebuild with an attempt that the infrastructure ended and one that succeeded, and the web that shows it."""

    def __init__(self, store: Engine) -> None:
        self.store = store
        bench = Workbench(store, simulated={"aborts": {"base:f42": 1}})
        bench.tell("openssl-3.2.2-1.fc42")
        bench.finish()
        with reading(store) as connection:
            self.entry = next(e for ident in range(1, 5) if (e := rebuild_progress.find(connection, ident)) is not None
                              and e.image == "base:f42")  # fmt: skip
            self.attempts = rebuild_progress.attempts_of(connection, self.entry)
        self.client = Client(store, bench.settings)
        self.path = f"/rebuilds/{self.entry.id}/log"
        self.write({self.attempts[0].ref: "first\n", self.attempts[1].ref: LONG})

    def write(self, texts: dict[str, str]) -> None:
        logs: Logs = self.client.http.app.state.logs  # type: ignore[attr-defined]
        logs._made = Texts(texts)  # type: ignore[assignment]

    def page(self, path: str = "", **asked: Any) -> str:
        answer = self.client.http.get(self.path + path, params=asked)
        assert answer.status_code == 200, answer.text
        return answer.text


@pytest.fixture
def site(store: Engine) -> Site:
    return Site(store)


def test_each_attempt_is_known_by_the_builder_s_name_of_it_and_by_how_it_ended(site: Site) -> None:
    assert [(a.number, a.outcome) for a in site.attempts] == [(1, "aborted"), (2, "built")]
    assert site.attempts[0].ref != site.attempts[1].ref == site.entry.ref


def test_the_build_of_a_rebuild_from_before_attempts_were_kept_is_its_last_one(site: Site) -> None:
    with site.store.begin() as connection:
        connection.execute(update(Transition).values(ref="", log=""))
    with reading(site.store) as connection:
        (only,) = rebuild_progress.attempts_of(connection, site.entry)
    assert (only.number, only.ref) == (1, site.entry.ref)


def test_the_page_shows_the_end_first_and_the_rest_by_links(site: Site) -> None:
    end = site.page()
    assert "Lines 1502 to 2001 of 2001" in end and "line 2000\n" in end and "line 1501\n" not in end
    assert f'href="{site.path}?attempt=2&amp;line=1002"' in end, "earlier lines"
    assert "Lines 1 to 500 of 2001" in site.page(line=1)
    assert "Lines 2001 to 2001 of 2001" in site.page(line=999999)
    assert len(end.encode()) < 100_000


def test_colours_are_colours_and_the_rest_is_text(site: Site) -> None:
    assert '<span class="c-red">error:</span> &lt;b&gt;no space&lt;/b&gt;' in site.page()
    assert '<span class="c-red">error:</span>' in site.client.http.get(f"/rebuilds/{site.entry.id}").text


def test_lines_are_found_whatever_their_case_and_lead_to_where_they_stand(site: Site) -> None:
    found = site.page(q="LINE 1999")
    assert '<li value="1999">' in found and found.count("<li value=") == 1
    assert f'href="{site.path}?attempt=2&amp;line=1994"' in found
    assert site.page(q="line").count("<li value=") == 200 and "first 200" in site.page(q="line")
    assert "error: &lt;b&gt;no space" in site.page(q="error: <B>"), "colours are not in the way"
    assert "No line has that" in site.page(q="nowhere")


def test_each_attempt_has_its_log(site: Site) -> None:
    first = site.page(attempt=1)
    assert "<pre>first</pre>" in first and "line 2000" not in first and "Attempt 1 (aborted)" in first
    assert site.page(".txt", attempt=1) == "first\n"
    for asked in ({"attempt": 3}, {"attempt": 0}):
        assert site.client.http.get(site.path, params=asked).status_code in (404, 422)
    assert "it has 2" in site.client.http.get(site.path, params={"attempt": 3}).text


def test_the_whole_log_is_there_raw_and_as_a_file(site: Site) -> None:
    raw = site.client.http.get(f"{site.path}.txt")
    assert (raw.text, raw.headers["content-type"]) == (LONG, "text/plain; charset=utf-8")
    assert "content-disposition" not in raw.headers
    kept = site.client.http.get(f"{site.path}.txt", params={"download": "true"})
    assert kept.text == LONG
    assert kept.headers["content-disposition"] == f'attachment; filename="base-f42-{site.entry.id}.2.log"'


def test_scripts_read_it_part_by_part(site: Site) -> None:
    rebuild = f"rebuilds/{site.entry.id}/log"
    first = site.client.reads(rebuild, attempt=1)
    assert (first["text"], first["next"], first["live"], first["attempt"]) == ("first\n", 6, False, 1)
    assert site.client.reads(rebuild, offset=len(LONG) - 10)["text"] == LONG[-10:]
    assert "has no attempt 7" in problem(site.client.get(rebuild, attempt=7), 404)
    assert "there is no rebuild 999" in problem(site.client.get("rebuilds/999/log"), 404)


def test_the_page_of_a_build_that_runs_asks_again_and_one_that_is_over_does_not(site: Site) -> None:
    assert "data-every" not in site.page()
    with site.store.begin() as connection:
        connection.execute(update(Rebuild).where(Rebuild.id == site.entry.id).values(state="building"))
    assert 'data-every="2"' in site.page()
    assert "data-every" not in site.page(attempt=1), "that one is over"
    assert "data-every" not in site.page(line=1), "what is read stays"


def test_a_log_of_many_colours_stays_a_small_page(site: Site) -> None:
    many = "".join(f"\x1b[31m{n}\x1b[32m{n}\x1b[33m" for n in range(400)) + "\n"
    site.write({site.attempts[1].ref: many * 500})
    page = site.page()
    assert page.count("<span class=\"c-") <= 2000 and len(page.encode()) < 1_100_000


def test_the_engine_s_log_says_failed_for_a_build_without_what_it_was_made_for(
    store: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Workbench(store, [image("base")])
    stale = ImageBuild("base:f42", "stale", bench.manifest_of("base:f42"))
    bench.builder.result = lambda ref: stale  # type: ignore[method-assign]
    bench.tell("openssl-3.2.2-1.fc42")
    with caplog.at_level(logging.INFO, "rebuilder"):
        bench.finish()
    told = [(record.levelname, record.getMessage()) for record in caplog.records if "base:f42" in record.getMessage()]
    assert any(level == "ERROR" and "base:f42 FAILED: " in text and "not-updated" in text for level, text in told), told
    assert not any(level == "INFO" and "was built" in text for level, text in told)
