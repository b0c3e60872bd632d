"""The inventory in the database: what a sync changes, and which builds and RPMs are the current ones."""

from __future__ import annotations

import pytest
from integration.stored import BASE, BASH, BUILDS, HTTPD, LIBS, build, content, count, image, manifest, sync
from sqlalchemy import Engine, event

from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import (
    LONGEST_NAME,
    LONGEST_SPEC,
    Image,
    ImageBuild,
    Inventory,
    Manifest,
    Parent,
    ParentKind,
    Stream,
)
from rebuilder.domain.rpm import LONGEST, Rpm
from rebuilder.store import database, installed_packages, inventory, manifests, models
from rebuilder.store.sync import SyncResult, record_builds, save_inventory


def test_what_is_in_an_image_now_is_read_with_one_statement(store: Engine) -> None:
    known = [build("full", "a-1-1.x86_64", "b-1-1.x86_64"), build("empty"), ImageBuild("unread:f42", "1")]
    sync(store, [image(name) for name in ("full", "empty", "unread", "new")], known)
    statements: list[str] = []
    event.listen(store, "before_cursor_execute", lambda *told: statements.append(told[2]))
    with store.connect() as connection:
        found = {n: manifests.current(connection, f"{n}:f42") for n in ("full", "empty", "unread", "new", "none")}
    assert len([said for said in statements if said.startswith("SELECT")]) == len(found)
    assert found == {
        "full": manifest("a-1-1.x86_64", "b-1-1.x86_64"), "empty": manifest(), "unread": None, "new": None, "none": None
    }  # fmt: skip


def test_a_sync_says_what_changed_and_a_second_one_changes_nothing(store: Engine) -> None:
    assert sync(store) == SyncResult(("base:f42", "httpd:f42"), (), (), (), 0)
    before = content(store)
    assert sync(store) == SyncResult((), (), (), (), 2)
    assert content(store) == before
    moved, tools = image("httpd", path="elsewhere"), image("tools", "httpd:f42")
    told = sync(store, (moved, tools), (build("httpd", BASH, ident="2"),))
    assert told == SyncResult(("tools:f42",), ("httpd:f42",), ("base:f42",), ("httpd:f42",), 0)
    with database.reading(store) as connection:
        assert inventory.load(connection).images == (moved, tools)


def test_a_sync_is_all_or_nothing(store: Engine) -> None:
    sync(store)
    before = content(store)
    cycle = (image("base", "app:f42"), image("app", "base:f42"))
    for images, builds in ((cycle, ()), ((BASE, image("new")), (build("ghost", BASH),))):
        with pytest.raises((RequestError, KeyError)):
            sync(store, images, builds)
        assert content(store) == before


def test_an_image_that_left_and_came_back_is_the_same_image(store: Engine) -> None:
    sync(store)
    with database.reading(store) as connection:
        ids = inventory.ids(connection)
    assert sync(store, (BASE,), BUILDS[:1]).removed == ("httpd:f42",)
    with database.reading(store) as connection:
        assert list(inventory.load(connection).ordered()) == ["base:f42"]
        assert set(installed_packages.carried(connection, ["openssl"]).rpms) == set()
    assert sync(store).added == ("httpd:f42",)
    with database.reading(store) as connection:
        assert inventory.ids(connection) == ids
        assert inventory.load(connection).images == (BASE, HTTPD)
        assert set(installed_packages.carried(connection, ["openssl"]).rpms) == {"httpd:f42"}
    assert sync(store).unchanged == 2


def test_a_manifest_and_an_rpm_are_kept_once(store: Engine) -> None:
    sync(store, (BASE, HTTPD, image("same")), (*BUILDS, build("same", LIBS, BASH)))
    assert count(store, models.Manifest) == 2
    assert count(store, models.Rpm) == 2
    sync(store, (BASE,), (build("base", LIBS, BASH, ident="2"),))
    assert (count(store, models.Manifest), count(store, models.ImageBuild)) == (2, 4)


def test_a_manifest_is_read_as_it_was_written(store: Engine) -> None:
    perl = Rpm.parse("perl-Errno-1.38-512.fc42.x86_64", "perl-5.40.0-512.fc42.src.rpm")
    contents = [manifest(), manifest(BASH), Manifest.of([perl, *manifest(LIBS).rpms])]
    with store.begin() as connection:
        ids = manifests.intern(connection, contents)
        assert manifests.intern(connection, contents) == ids
        assert set(manifests.read(connection, ids.values()).values()) == set(contents)


def test_only_current_builds_carry(store: Engine) -> None:
    sync(store)
    newer = LIBS.replace("3.2.1", "3.2.2")
    with store.begin() as connection:
        ids = inventory.ids(connection)
        record_builds(connection, [build("httpd", BASH, newer, ident="2")], ids, 2.0)
        carried = installed_packages.carried(connection, ["openssl"])
        assert [rpm.nevra for rpm in carried.rpms["httpd:f42"]] == [newer]
        record_builds(connection, [build("httpd", BASH, ident="3")], ids, 3.0)
        assert installed_packages.carried(connection, ["openssl"]).rpms == {}
        assert set(installed_packages.carried(connection, ["bash", "openssl"]).rpms) == {"base:f42", "httpd:f42"}


def test_images_that_nobody_could_read_are_unknown_until_somebody_can(store: Engine) -> None:
    sync(store, (BASE, HTTPD), (ImageBuild("base:f42", "1", None),))
    with database.reading(store) as connection:
        assert installed_packages.carried(connection, ["bash"]).unknown == {"base:f42", "httpd:f42"}
    sync(store)
    with database.reading(store) as connection:
        assert installed_packages.carried(connection, ["bash"]).unknown == frozenset()


def test_the_store_keeps_all_dist_tags(store: Engine) -> None:
    streams = (Stream("a", (".el9", ".el10*")), Stream("b"))
    with store.begin() as connection:
        save_inventory(connection, Inventory((Image("x", "a"), Image("x", "b")), streams), 1.0)
    with database.reading(store) as connection:
        assert inventory.streams(connection) == streams


def test_the_longest_texts_that_are_read_are_kept(store: Engine) -> None:
    wide = "\U0001d538"  # four bytes
    name, stream, spec = wide * LONGEST_NAME, wide * LONGEST_NAME, wide * LONGEST_SPEC
    rpm = Rpm.parse(f"{wide * (LONGEST - 4)}-1-1.noarch", wide * LONGEST)
    images = (Image(name, stream, (Parent(ParentKind.BASE, external=spec),)),)
    builds = (ImageBuild(f"{name}:{stream}", wide * LONGEST_NAME, Manifest.of([rpm])),)
    with store.begin() as connection:
        save_inventory(connection, Inventory(images, (), builds), 1.0)
    with store.connect() as connection:
        assert inventory.find(connection, [f"{name}:{stream}"]).keys() == {f"{name}:{stream}"}
