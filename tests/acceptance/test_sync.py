"""The inventory in a document: what it may take back, and the bill of materials of what it tells."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from support import users
from support.users import INVENTORY, User, update

user = users.user


@pytest.mark.parametrize(
    ("form", "purls"),
    [
        ("cyclonedx", lambda told: {one["purl"] for one in told["components"]}),
        ("spdx", lambda told: {ref["referenceLocator"] for one in told["packages"][1:] for ref in one["externalRefs"]}),
    ],
)
def test_a_bill_of_materials_is_json_that_names_the_rpms_of_the_current_build(
    user: User, form: str, purls: Callable[[Any], set[str]]
) -> None:
    user.types("inventory", "sync")
    done = user.types("inventory", "sbom", "base", "--format", form)
    assert (done.returncode, done.stderr) == (0, "")
    assert purls(json.loads(done.stdout)) == {
        "pkg:rpm/fedora/openssl-libs@3.2.1-1.fc42?arch=x86_64&distro=fedora-42&epoch=1"
    }


def test_an_image_whose_contents_nobody_knows_has_no_bill_of_materials(user: User) -> None:
    with (user.folder / "inventory.yaml").open("a") as document:
        document.write("  - {name: dark, stream: f42}\n")
    user.types("inventory", "sync")
    done = user.types("inventory", "sbom", "dark")
    assert (done.returncode, done.stdout) == (2, "")
    assert "dark:f42: its contents are unknown" in done.stderr


def test_a_document_takes_no_image_back_behind_what_a_rebuild_has_proved(user: User) -> None:
    user.types("inventory", "sync")
    user.types("replay", "-", stdin=update())
    assert user.types("run", "--until-idle").returncode == 0

    def installed(image: str) -> bool:
        return "openssl-libs-1:3.2.2-1.fc42.x86_64" in user.reads("inventory", "show", image)["rpms"]

    done = user.types("inventory", "sync")
    assert "0 rebuilt, 2 overruled" in done.stdout
    assert "overruled images keep the builds that rebuilds made" in done.stderr
    shown = user.reads("inventory", "sync", "--dry-run", "--reset", "base:f42")
    assert (shown["rebuilt"], shown["overruled"]) == (["base:f42"], ["httpd:f42"])
    assert installed("base:f42")
    assert installed("httpd:f42")
    user.types("inventory", "sync", "--reset", "base:f42")
    assert not installed("base:f42")
    assert installed("httpd:f42")
    refused = user.is_refused("inventory", "sync", "--reset", "ghost:f42")
    assert "no such image in the inventory's source: ghost:f42" in refused
    built_at(user, f"'{datetime.now(UTC).isoformat()}'")
    assert user.reads("inventory", "sync")["rebuilt"] == ["httpd:f42"]
    again = user.reads("inventory", "sync")
    assert (again["rebuilt"], again["overruled"]) == ([], []), "the same words are no news"
    assert user.types("run", "--until-idle").returncode == 0
    assert installed("base:f42") and installed("httpd:f42"), "both lacked the fix again, and were rebuilt for it"
    assert user.reads("inventory", "sync")["overruled"] == ["base:f42", "httpd:f42"]


def built_at(user: User, when: str) -> None:
    """The document says of httpd alone when it was built so; nothing where that is empty."""
    document = user.folder / "inventory.yaml"
    written = INVENTORY.replace("name: httpd,", f"name: httpd, built: {when}," if when else "name: httpd,")
    assert (written == INVENTORY) == (not when)
    document.write_text(written)


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> User:
    """A user whose images were rebuilt, and proven at 03:04:05 UTC of a day that has long gone."""
    user = User(tmp_path_factory.mktemp("proven"))
    user.types("inventory", "sync")
    user.types("replay", "-", stdin=update())
    assert user.types("run", "--until-idle").returncode == 0
    then = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    with closing(sqlite3.connect(user.folder / "state/rebuilder/rebuilder.db")) as database, database:
        database.execute("UPDATE image_build SET recorded_at = ?", (then,))
    return user


@pytest.mark.parametrize(
    ("when", "counts"),
    [("", False),
     ("2020-01-02T03:04:04Z", False), ("2020-01-02T03:04:05Z", False), ("2020-01-02T03:04:06Z", True),
     ("2020-01-02T03:04:05", False), ("2020-01-02T03:04:06", True),
     ("2020-01-02", False), ("2020-01-03", True),
     ("2020-01-02T04:04:05+01:00", False), ("2020-01-02T02:04:06-01:00", True), ("'2020-01-02 03:04:06'", True)],
)
def test_of_a_document_and_a_proven_build_the_later_one_counts(proven: User, when: str, counts: bool) -> None:
    built_at(proven, when)
    found = proven.reads("inventory", "sync", "--dry-run")
    assert (found["rebuilt"], found["overruled"]) == (
        (["httpd:f42"], ["base:f42"]) if counts else ([], ["base:f42", "httpd:f42"]))  # fmt: skip
    insisted = proven.reads("inventory", "sync", "--dry-run", "--reset", "httpd:f42")
    assert (insisted["rebuilt"], insisted["overruled"]) == (["httpd:f42"], ["base:f42"])


@pytest.mark.parametrize(
    ("when", "told"),
    [("yesterday", "built: must be a time like 2026-11-28T09:00:00Z"), ("2020-13-01", "built: must be a time like"),
     ("2020-01-02T25:00:00Z", "built: must be a time like"), ("12", "built: expected text, got a number"),
     ("2999-01-01T00:00:00Z", "httpd:f42: built: is in the future"),
     ("9999-12-31T23:59:59-12:00", "httpd:f42: built: is in the future")],
)
@pytest.mark.parametrize("words", [(), ("--dry-run",), ("--reset", "httpd:f42")], ids=" ".join)
def test_a_document_with_a_wrong_time_changes_nothing(
    proven: User, when: str, told: str, words: tuple[str, ...]
) -> None:
    built_at(proven, when)
    assert told in proven.is_refused("inventory", "sync", *words)
    assert "openssl-libs-1:3.2.2-1.fc42.x86_64" in proven.reads("inventory", "show", "httpd:f42")["rpms"]
