"""What updates, packages and CVEs may be called: the same names everywhere, and a wrong one is told of."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from support import databases
from support.api_client import Client
from support.registry600 import ALIAS, BASH_ALIAS, CVE, NVR, night

from rebuilder.config import Settings

BINARY, TYPO = "openssl-libs-3.2.6-2.fc42", "opensl-3.2.6-2.fc42"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("night")
    store = databases.sqlite(folder / "night.db")
    bench = night(store, folder)
    yield Client(store, Settings(**bench.settings.model_dump()))
    store.dispose()


def planned(client: Client, name: str) -> Any:
    answer = client.http.post("/api/v1/plan", json={"updates": [name]})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("name", [CVE, CVE.lower(), ALIAS])
def test_an_update_may_be_named_by_its_alias_or_by_a_cve_wherever_its_build_may(client: Client, name: str) -> None:
    by_nvr = planned(client, NVR)
    found = planned(client, name)
    assert [one["image"] for one in found["rebuilds"]] == [one["image"] for one in by_nvr["rebuilds"]] != []
    assert found["changes"][0]["severity"] == "urgent"
    assert client.reads("images/httpd:f42/why", update=name)["verdicts"][0]["verdict"] in ("rebuild", "already-current")
    coverage = client.reads(f"coverage/{name}")
    assert [(fix["source"], fix["cves"]) for fix in coverage["fixes"]] == [("openssl", [CVE])]
    assert 0 < coverage["percent"] < 100
    assert client.items("rebuilds", update=name, state="failed")
    assert [one["cves"] for one in client.items("changes", update=name)] == [[CVE]]
    page = client.http.get(f"/updates/{name}")
    assert page.status_code == 200 and "The fix is not everywhere yet" in page.text
    assert NVR in client.http.get("/search", params={"q": name}).text


def test_an_image_says_which_cves_it_lacks_the_fix_of(client: Client) -> None:
    stale = client.reads("images", state="stale", package="openssl")["items"]
    assert any(CVE in missing["cves"] for missing in stale[0]["missing"])


@pytest.mark.parametrize(
    ("name", "told"),
    [(BINARY, f"its source is openssl: did you mean {NVR}?"), (TYPO, f"did you mean {NVR}?"),
     ("CVE-2020-99999", "no known update fixes CVE-2020-99999"), ("CVE-2020-9", "CVE-2020-9 is no CVE id")],
)
def test_a_name_that_no_image_knows_is_refused_with_what_may_be_meant(client: Client, name: str, told: str) -> None:
    answer = client.http.post("/api/v1/plan", json={"updates": [name]})
    assert answer.status_code in (400, 404) and told in answer.json()["detail"]
    assert told in client.http.get("/api/v1/images/httpd:f42/why", params={"update": name}).json()["detail"]


@pytest.mark.parametrize(
    ("name", "told"),
    [("CVE-2020-99999", "no known update fixes CVE-2020-99999"), ("cve-20-99999", "cve-20-99999 is no CVE id"),
     (f"{ALIAS[:-1]}3", f"unknown update {ALIAS[:-1]}3; did you mean {ALIAS}"),
     ("nonsense", "unknown update nonsense: give an alias")],
)
def test_what_nothing_is_known_of_is_said_so_wherever_it_is_asked_for(client: Client, name: str, told: str) -> None:
    for path in (f"coverage/{name}", "images", "rebuilds", "waves", "changes"):
        given = {} if "/" in path else {"update": name}
        answer = client.http.get(f"/api/v1/{path}", params=given)
        assert answer.status_code in (400, 404) and told in answer.json()["detail"], path
    page = client.http.get(f"/updates/{name}")
    assert page.status_code == 404 and told in html.unescape(page.text)
    assert told in html.unescape(client.http.get("/images", params={"update": name}).text)
    if name != "nonsense":
        answer = client.http.post("/api/v1/plan", json={"updates": [name]})
        assert answer.status_code == 404 and told in answer.json()["detail"]


@pytest.mark.parametrize(("name", "told"), [(BINARY, f"did you mean {NVR}?"), (TYPO, f"did you mean {NVR}?")])
def test_a_list_is_not_empty_of_what_no_update_is_but_refused(client: Client, name: str, told: str) -> None:
    for path in ("images", "rebuilds", "waves", "changes"):
        assert told in client.problem(path, 400, update=name)


@pytest.mark.parametrize("name", [NVR, ALIAS, CVE, CVE.lower()])
def test_lists_of_an_update_are_the_same_by_all_its_names(client: Client, name: str) -> None:
    for path in ("images", "rebuilds", "waves", "changes"):
        assert client.items(path, update=name) == client.items(path, update=ALIAS) != []
    by_need = client.items("images", update=name, order="need", limit=500)
    by_name = client.items("images", update=ALIAS, limit=500)
    assert {one["image"] for one in by_need} == {one["image"] for one in by_name}


def test_a_build_that_images_carry_and_nothing_told_of_is_no_update(client: Client) -> None:
    assert "update: no message told of openssl-9-9.fc42" in client.problem("images", 400, update="openssl-9-9.fc42")


@pytest.mark.parametrize(
    ("words", "near"),
    [("opensl", "openssl"), (TYPO, NVR), ("httpdd:f42", "httpd:f42"), (f"{ALIAS[:-1]}3", ALIAS),
     ("CVE-2020-99999", "")],
)
def test_a_search_that_finds_nothing_says_what_may_be_meant(client: Client, words: str, near: str) -> None:
    page = client.http.get("/search", params={"q": words}).text
    told = re.search(r"Did you mean (.*?)\?</p>", page)
    assert f"<bdi>{near}</bdi>" in told[1] if told else not near


def test_an_update_of_a_package_that_the_images_carry_is_planned_with_all_that_it_brings(client: Client) -> None:
    assert {one["source"] for one in planned(client, BASH_ALIAS)["changes"]} == {"bash"}


def test_source_and_binary_packages_are_told_apart_in_lists(client: Client) -> None:
    by_source = client.items("images", package="openssl", limit=500)
    assert by_source == client.items("images", rpm="openssl-libs", limit=500) != []
    assert "use package=openssl or rpm=openssl-libs" in client.problem("images", 400, package="openssl-libs")
    assert "use package=openssl" in client.problem("images", 400, rpm="openssl")
    assert "did you mean openssl?" in client.problem("builds", 400, package="opensl")
    assert "no image carries an RPM opensl" in client.problem("builds", 400, rpm="opensl")


def test_the_search_tells_what_carries_a_package(client: Client) -> None:
    for words, told in (("openssl-libs", "RPM of the source package openssl"), ("openssl", "source package")):
        assert told in client.http.get("/search", params={"q": words}).text



@pytest.mark.parametrize("path", ["images", "rebuilds", "waves", "builds", "pull-specs"])
@pytest.mark.parametrize(
    ("given", "told"),
    [({"image": "httpdd"}, "image: no image matches httpdd; did you mean httpd:f4"),
     ({"image": "httpd:f44"}, "image: no image matches httpd:f44; did you mean httpd:f4"),
     ({"image": "htpd-*"}, "image: no image matches htpd-*"),
     ({"stream": "f24"}, "stream: unknown stream f24; did you mean f4"),
     ({"stream": "rawhide"}, "stream: unknown stream rawhide; there are: f42, f43"),
     ({"owner": "web-sgi"}, "owner: no image has the owner web-sgi; did you mean web-sig"),
     ({"owner": "inf"}, "owner: no image has the owner inf; did you mean infra?")],
    ids=str,
)
def test_a_list_is_not_empty_of_what_has_a_wrong_name_but_refused(
    client: Client, path: str, given: dict[str, str], told: str
) -> None:
    assert told in client.problem(path, 400, **given)
    if path in ("images", "rebuilds", "waves"):
        assert client.get(path, **given, format="csv").status_code == 400
        page = client.http.get(f"/{path}", params=given)
        assert page.status_code == 404 and told in html.unescape(page.text)


def test_changes_and_feeds_are_of_streams_and_packages_that_there_are(client: Client) -> None:
    assert "unknown stream f24; did you mean f4" in client.problem("changes", 400, stream="f24")
    for given, told in (({"stream": "f24"}, "did you mean f4"), ({"package": "opensl"}, "did you mean openssl?")):
        page = client.http.get("/changes", params=given)
        assert page.status_code == 404 and told in html.unescape(page.text)
    assert client.http.get("/feed.atom", params={"image": "httpdd"}).status_code == 404


@pytest.mark.parametrize(
    "given", [{"image": "httpd*"}, {"image": "*:f4?"}, {"stream": "f43"}, {"owner": "kde-sig"}], ids=str
)
def test_a_right_name_is_taken_by_every_list(client: Client, given: dict[str, str]) -> None:
    for path in ("images", "rebuilds", "waves", "builds", "pull-specs"):
        assert client.get(path, **given).status_code == 200
    for path in ("/images", "/rebuilds", "/waves", "/feed.atom"):
        assert client.http.get(path, params=given).status_code == 200


def test_an_rpm_that_is_misspelt_is_told_with_what_may_be_meant(client: Client) -> None:
    assert "did you mean openssl-libs" in client.problem("images", 400, rpm="openssl-lib")


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_build_with_an_epoch_that_it_does_not_have_is_refused_with_the_one_that_it_has(
    client: Client, epoch: int
) -> None:
    """How far the build has come that was told of says nothing of another one."""
    name, told = f"openssl-{epoch}:3.2.6-2.fc42", "did you mean openssl-1:3.2.6-2.fc42?"
    assert told in client.problem(f"coverage/{name}", 400)
    assert told in client.problem("images/httpd:f42/why", 400, update=name)
    for path in ("images", "rebuilds", "changes", "waves"):
        assert told in client.problem(path, 400, update=name)
    answer = client.http.post("/api/v1/plan", json={"updates": [name]})
    assert (answer.status_code, told in answer.text) == (400, True)
    assert told in html.unescape(client.http.get(f"/updates/{name}").text)


def test_a_build_with_the_epoch_that_it_has_is_found_as_without(client: Client) -> None:
    name = "openssl-1:3.2.6-2.fc42"
    assert client.reads(f"coverage/{name}")["percent"] == client.reads(f"coverage/{NVR}")["percent"]
    found = client.http.get("/search", params={"q": name}).text
    assert "No change has that" not in found and ALIAS in found


def test_the_page_of_images_is_filtered_by_a_binary_package_as_the_list_is(client: Client) -> None:
    carrying = client.items("images", rpm="kernel-headers")
    assert f"{len(carrying)} that match" in client.http.get("/images", params={"rpm": "kernel-headers"}).text
    refused = client.http.get("/images", params={"rpm": "openssl"})
    assert "use package=openssl" in html.unescape(refused.text)
