"""The log of a run, written to a file while its sources break and begin anew."""

from __future__ import annotations

import resource
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebuilder.builders import run_log
from rebuilder.builders.run_log import PART, RunLog, lines_of

ODD = [b"plain", b"form\x0cfeed", "line\u2028separator".encode(), b"next\xc2\x85line", b"bad \xff byte", b"", b"end"]


def text_of(log: RunLog) -> str:
    return "".join(log.read(0))


def test_each_line_comes_once_however_often_the_source_begins_anew(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log")
    for upto in (2, 4, len(ODD), len(ODD)):
        log.write("build", [ODD[:upto]])
    assert log.path.read_bytes() == b"".join(b"build | " + line + b"\n" for line in ODD)
    assert "bad \ufffd byte\n" in text_of(log)


def test_sources_may_come_in_any_order_and_at_the_same_time(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log")
    log.write("second", [[b"1"]])
    log.write("first", ([bytes([65 + number])] for number in range(3)))
    log.write("second", [[b"1", b"2"]])
    again = RunLog(log.path)
    again.write("first", [[b"A", b"B"], [b"C", b"D"]])
    lines = [line.replace(" | ", "") for line in text_of(again).splitlines()]
    assert lines == ["second1", "firstA", "firstB", "firstC", "second2", "firstD"]


def test_a_line_that_a_crash_cut_in_two_is_written_again(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log")
    log.write("build", [[b"one", b"two"]])
    whole = log.path.read_bytes()
    for cut in range(len(whole)):
        log.path.write_bytes(whole[:cut])
        RunLog(log.path).write("build", [[b"one", b"two"]])
        assert log.path.read_bytes() == whole


def test_two_engines_that_write_one_log_write_each_line_once(tmp_path: Path) -> None:
    one, other = RunLog(tmp_path / "run.log"), RunLog(tmp_path / "run.log")
    for upto in range(1, 6):
        for log in (one, other):
            log.write("build", [[bytes([64 + line]) for line in range(1, upto + 1)]])
    assert text_of(one) == "".join(f"build | {line}\n" for line in "ABCDE")


def test_a_write_that_broke_off_is_made_good(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log")
    log.write("build", [[b"one"]])
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    lines = [b"one", *(b"%05d" % number + b"." * 200 for number in range(200))]
    try:
        with pytest.raises(OSError):
            log.write("build", [lines])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    log.write("build", [lines])
    assert log.path.read_bytes() == b"".join(b"build | " + line + b"\n" for line in lines)


def numbers(begin: int, end: int) -> list[bytes]:
    return [b"line %d" % number for number in range(begin, end)]


def test_a_rotated_log_goes_on_where_the_file_ends(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log")
    assert log.write("build", [numbers(0, 100)])
    assert RunLog(log.path).write("build", [numbers(80, 90), numbers(90, 97), numbers(97, 120)])
    assert log.write("build", [numbers(110, 125)]), "once more, and by another process"
    assert log.path.read_bytes() == b"".join(b"build | " + line + b"\n" for line in numbers(0, 125))


def test_lines_that_a_rotation_took_are_told_of(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log")
    log.write("build", [numbers(0, 10)])
    whole = log.path.read_bytes()
    assert not log.write("build", [numbers(50, 60), numbers(60, 70)])
    assert log.path.read_bytes() == whole
    assert log.write("build", [numbers(50, 60), numbers(60, 70)], insist=True)
    assert log.write("build", [numbers(60, 75)])
    lines = [*numbers(0, 10), run_log.ROTATED, *numbers(50, 75)]
    assert log.path.read_bytes() == b"".join(b"build | " + line + b"\n" for line in lines)


@given(st.integers(0, 30), st.integers(0, 30), st.lists(st.integers(0, 40), max_size=4), st.booleans())
def test_no_line_of_a_log_is_lost_or_doubled_however_it_is_rotated(
    had: int, rotated: int, cuts: list[int], anew: bool
) -> None:
    with TemporaryDirectory() as folder:
        log = RunLog(Path(folder) / "run.log")
        log.write("build", [numbers(0, had)])
        rest = numbers(min(rotated, had), 40)
        places = sorted({min(cut, len(rest)) for cut in cuts})
        parts = [rest[begin:end] for begin, end in zip([0, *places], [*places, len(rest)], strict=True)]
        joined = (RunLog(log.path) if anew else log).write("build", parts)
        if not joined:
            assert rotated >= had > 0, "nothing of what the file has is in the log any more"
            log.write("build", parts, insist=True)
        lines = text_of(log).replace(f"build | {run_log.ROTATED.decode()}\n", "").splitlines()
        assert lines == [f"build | line {number}" for number in range(40)]


def test_a_log_stays_whole_after_a_restart_until_it_is_deleted(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "folder/run.log")
    assert not log.is_whole
    log.mark_whole()
    assert RunLog(log.path).is_whole
    assert text_of(log) == "", "a run may have said nothing"
    log.delete()
    assert not log.is_whole


def flat(chunks: list[bytes], *, ended: bool = True) -> list[bytes]:
    return [line for lines in lines_of(chunks, ended=ended) for line in lines]


def test_only_a_line_feed_or_a_carriage_return_ends_a_line() -> None:
    text = "one\x0c1\ntwo\u2028\r\n10%\r100%\rthree\n\nlast".encode()
    lines = [b"one\x0c1", "two\u2028".encode(), b"10%", b"100%", b"three", b"", b"last"]
    assert flat([text]) == lines
    assert flat([text], ended=False) == lines[:-1], "the last line may go on"


@given(st.lists(st.sampled_from([b"a", b"bc" * 9, b"\n", b"\r", b"\r\n", b"\xff"])), st.data())
def test_lines_are_the_same_however_the_log_comes_in_pieces(parts: list[bytes], data: st.DataObject) -> None:
    longest, run_log.LONGEST_LINE = run_log.LONGEST_LINE, 5
    try:
        text = b"".join(parts)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)))))
        pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        found = flat(pieces)
        assert found == flat([text]) == flat([text[at : at + 1] for at in range(len(text))])
        assert all(len(line) <= 5 for line in found)
        assert b"".join(found) == text.replace(b"\r", b"").replace(b"\n", b"")
    finally:
        run_log.LONGEST_LINE = longest


def test_a_log_is_read_a_part_at_a_time_from_any_place(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log")
    log.write("build", [["é".encode() * 1000] * 300])
    whole = text_of(log)
    assert all(len(part) <= PART for part in log.read(0))
    for offset in (1, PART - 1, PART, 2 * PART + 7, len(whole), len(whole) + 5):
        assert "".join(log.read(offset)) == whole[offset:]
