"""An update that was withdrawn: every answer says so, as no image lacks what is not available any more."""

from __future__ import annotations

import html

import pytest
from integration.workbench import SSL, Workbench, image
from sqlalchemy import Engine, select
from support.api_client import Client

from rebuilder.store import changes
from rebuilder.store.models import Change

ALIAS, NVR, CVE = "FEDORA-2026-0123456789", "openssl-3.2.2-1.fc42", "CVE-2026-31337"


@pytest.fixture
def client(store: Engine) -> Client:
    """The update was planned and could not be built, and then taken back; one of bash is still available."""
    bench = Workbench(store, [image("base", rpms=(SSL,))], simulated={"failures": ["base:f42"]})
    body = {"builds": [{"nvr": NVR, "stream": "f42"}], "severity": "urgent", "alias": ALIAS, "cves": CVE}
    bench.receive("rebuilder.update.available", body, "told")
    bench.finish()
    with store.begin() as connection:
        changes.withdraw(connection, list(connection.scalars(select(Change.id))), bench.clock.now)
    return Client(store, bench.settings)


@pytest.mark.parametrize("name", [ALIAS, NVR])
def test_its_coverage_is_unknown_and_says_why(client: Client, name: str) -> None:
    told = f"{name} was withdrawn"
    coverage = client.reads(f"coverage/{name}")
    assert (coverage["percent"], coverage["everywhere"], coverage["fixes"]) == (None, False, [])
    assert told in coverage["hint"]
    page = html.unescape(client.http.get(f"/updates/{name}").text)
    assert told in page and "is known to carry" not in page.split("</h1>")[1].split("</div>")[0]


@pytest.mark.parametrize("name", [ALIAS, NVR])
def test_no_list_of_what_lacks_it_is_empty_but_says_why(client: Client, name: str) -> None:
    assert f"{name} was withdrawn" in client.problem("images", 400, update=name)
    assert f"{name} was withdrawn" in client.problem("images", 400, update=name, order="need")
    assert f"{name} was withdrawn" in html.unescape(client.http.get("/images", params={"update": name}).text)
    assert len(client.items("rebuilds", update=name)) == 1  # what was done for it is history


def test_no_plan_is_made_for_it_by_its_alias(client: Client) -> None:
    answer = client.http.post("/api/v1/plan", json={"updates": [ALIAS]})
    assert (answer.status_code, f"{ALIAS} was withdrawn" in answer.text) == (400, True)
    assert f"{ALIAS} was withdrawn" in client.problem("images/base:f42/why", 400, update=ALIAS)


def test_lists_and_pages_of_changes_say_that_it_is(client: Client) -> None:
    (change,) = client.items("changes")
    assert change["state"] == "withdrawn"
    assert client.items("changes", state="planned") == []
    assert client.items("changes", state="withdrawn") == [change]
    assert client.reads(f"changes/{change['id']}")["state"] == "withdrawn"
    for path in (f"/changes/{change['id']}", "/changes", "/search?q=openssl"):
        assert "withdrawn" in client.http.get(path).text.split("<main")[1].split("</form>")[-1], path
