"""All of the corpus is read, and its parents are what its recipes say, however the files are written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import corpus

from rebuilder.domain.errors import RequestError
from rebuilder.inventory import containerfiles
from rebuilder.inventory.containerfile import parents
from rebuilder.inventory.tree_naming import Naming
from rebuilder.inventory.tree_walk import text_of

FILES = tuple(corpus.files())


def test_there_are_enough_of_them_and_no_two_are_the_same() -> None:
    assert len({written.content for written in FILES}) == len(FILES) >= 150


@pytest.mark.parametrize("written", FILES, ids=lambda written: written.name)
def test_the_parents_are_those_of_the_recipe(tmp_path: Path, written: corpus.Written) -> None:
    (tmp_path / "Containerfile").write_bytes(written.content)
    text = text_of(tmp_path / "Containerfile", tmp_path)
    if written.recipe.fault:
        with pytest.raises(RequestError, match=rf"^\d+: .*({written.recipe.fault})") as error:
            parents(text)
        assert "\n" not in str(error.value)
    else:
        assert tuple((base.spec, str(base.kind)) for base in parents(text)) == written.recipe.parents


def test_a_tree_of_them_is_read_whole_and_each_bad_file_is_named(tmp_path: Path) -> None:
    for written in FILES:
        (tmp_path / written.name).mkdir()
        content = written.content.replace(b"localhost/tools", b"localhost/go-plain")
        (tmp_path / written.name / "Containerfile").write_bytes(content)
    found = containerfiles.scan(tmp_path, Naming("f42"))
    bad = {written.name for written in FILES if written.recipe.fault}
    assert {image.name for image in found.images} == {written.name for written in FILES} - bad
    assert {fault.image for fault in found.faults} == {f"{name}:f42" for name in bad}
    for fault in found.faults:
        assert re.match(rf"{tmp_path}/[\w-]+/Containerfile:\d+: ", fault.told)
