"""The log of a run, written to a file while streams break and begin anew."""

from __future__ import annotations

from pathlib import Path

from rebuilder.builders.osbs_client import lines_of
from rebuilder.builders.run_log import PART, RunLog

ODD = ["plain", "form\x0cfeed", "line\u2028separator", "next\x85line", "", "end"]


def test_each_line_comes_once_however_often_the_stream_begins_anew(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log")
    for upto in (2, 4, len(ODD), len(ODD)):
        log.write([("build", line) for line in ODD[:upto]])
    assert "".join(log.read(0)) == "".join(f"build | {line}\n" for line in ODD)


def test_a_line_that_a_crash_cut_in_two_is_written_again(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log")
    log.write([("build", "one"), ("build", "two")])
    whole = log.path.read_bytes()
    for cut in range(len(whole)):
        log.path.write_bytes(whole[:cut])
        log.write([("build", "one"), ("build", "two")])
        assert log.path.read_bytes() == whole


def test_a_log_is_split_as_its_stream_is() -> None:
    text = "one\x0c1\ntwo\u2028\r\nthree\udcff\n\nlast"
    assert lines_of(text) == ["one\x0c1", "two\u2028", "three\udcff", "", "last"]


def test_a_log_is_read_a_part_at_a_time_from_any_place(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log")
    log.write([("build", "é" * 1000)] * 300)
    whole = "".join(log.read(0))
    assert all(len(part) <= PART for part in log.read(0))
    for offset in (1, PART - 1, PART, 2 * PART + 7, len(whole), len(whole) + 5):
        assert "".join(log.read(offset)) == whole[offset:]


def test_bytes_that_are_no_text_are_kept_as_a_mark(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log")
    log.write([("build", "bad \udcff byte"), ("build", "good")])
    log.write([("build", "bad \udcff byte"), ("build", "good")])
    assert "".join(log.read(0)) == "build | bad ? byte\nbuild | good\n"
