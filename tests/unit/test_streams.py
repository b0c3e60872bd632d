"""Which RPMs are a stream's: by its dist tags and their patterns."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumers.bodhi import stable, withdrawn
from rebuilder.config import settings_of
from rebuilder.domain.change import AvailableBuild, Ignored
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Inventory, Stream, dist_of
from rebuilder.inventory import document_writer, loader


@pytest.mark.parametrize(("dist", "fits", "others"), [
    ((".fc42",), ("1.fc42", "1.fc42.1", "1.module_f42+12+ab", "1.module+f42+1"), ("1.fc421", "1.fc4", "1.fc43", "1")),
    ((".eln",), ("1.eln148", "1.eln", "1.eln148.2"), ("1.elnx", "1.el9", "1.eln148a")),
    ((".fc",), ("1.fc42", "1.fc43"), ("1.el9", "1.fcx")),
    ((".el9", ".el10"), ("1.el9", "1.el9_4", "1.el10", "1.module+el9.4.0+12+ab"), ("1.el1", "1.el8", "1.el90")),
    ((".el9*",), ("1.el9", "1.el9_4", "1.el9sig"), ("1.el8",)),
    ((".fc4?",), ("1.fc40", "1.fc42"), ("1.fc4", "1.fc423")),
    ((".fc4[23]",), ("1.fc42", "1.fc43"), ("1.fc41", "1.fc44")),
    ((".el9+x",), ("1.el9+x",), ("1.el99x",)),
    ((), ("1", "1.fc42"), ()),
])  # fmt: skip
def test_a_stream_takes_what_one_of_its_dist_tags_fits(
    dist: tuple[str, ...], fits: tuple[str, ...], others: tuple[str, ...]
) -> None:
    stream = Stream("s", dist)
    assert [release for release in (*fits, *others) if stream.takes(release)] == list(fits)


def test_the_dist_tag_of_a_release() -> None:
    assert [dist_of(text) for text in ("1.fc42.1", "2.el9_4", "3.module_f42+1+a", "4.module+el9.4.0+1", "5")] == [
        ".fc42", ".el9", ".module_f42", ".module+el9", "",
    ]  # fmt: skip


def test_the_configuration_takes_one_or_a_list() -> None:
    settings = settings_of({"streams": {"a": {"dist": ".fc42"}, "b": {"dist": [".el9", ".el10*"]}, "c": {"dist": ""}}})
    assert settings.known_streams == (Stream("a", (".fc42",)), Stream("b", (".el9", ".el10*")), Stream("c"))
    with pytest.raises(RequestError, match=r"consumer_config.streams.a.dist: .*is not a valid dist tag"):
        settings_of({"streams": {"a": {"dist": "fc 42"}}})


def test_a_document_takes_one_or_a_list_and_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text("version: 1\nstreams:\n  a: {dist: .fc42}\n  b: {dist: [.el9, .el10]}\nimages: []\n")
    found = loader.read(path)
    assert found.streams == (Stream("a", (".fc42",)), Stream("b", (".el9", ".el10")))
    written = document_writer.written(Inventory((), found.streams), lambda key: None)["streams"]
    assert written == {"a": {"dist": ".fc42"}, "b": {"dist": [".el9", ".el10"]}}
    path.write_text("version: 1\nstreams:\n  a: {dist: .fc 42}\n")
    with pytest.raises(RequestError, match=r"inventory.yaml:3: streams.a.dist: .*is not a valid dist tag"):
        loader.read(path)


def body(*types: str | None) -> dict[str, object]:
    builds = [
        {"nvr": f"p{at}-1-1.fc42", **({"type": kind} if kind is not None else {})} for at, kind in enumerate(types)
    ]
    return {"update": {"alias": "F-1", "builds": builds, "release": {"name": "F42"}, "status": "stable"}}


def test_only_an_update_s_builds_of_rpms_are_changes() -> None:
    offers = stable(body("rpm", "module", None, "flatpak", "container"))
    assert [offer.build.name for offer in offers if isinstance(offer, AvailableBuild)] == ["p0", "p2"]
    assert len(withdrawn(body("rpm", "module"))) == 1
    for other in (stable(body("module")), withdrawn(body("container", "flatpak"))):
        assert other == (Ignored("update F-1 has no builds of RPMs"),)
