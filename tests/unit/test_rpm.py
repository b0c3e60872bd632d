"""Names and versions of RPMs, and which of two is newer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebuilder.domain.errors import RequestError
from rebuilder.domain.rpm import EVR, Rpm, SourceBuild, is_stale, newest


def evr(text: str) -> EVR:
    return SourceBuild.parse(f"x-{text}").evr


@pytest.mark.parametrize(
    ("text", "name", "epoch", "version", "release"),
    [
        ("openssl-3.2.2-1.fc42", "openssl", None, "3.2.2", "1.fc42"),
        ("openssl-1:3.2.2-1.fc42", "openssl", 1, "3.2.2", "1.fc42"),
        ("bash-0:5.2-1", "bash", 0, "5.2", "1"),
        ("python3-six-1.16.0-9.fc42", "python3-six", None, "1.16.0", "9.fc42"),
        ("kernel-6.9~rc1-1.fc42", "kernel", None, "6.9~rc1", "1.fc42"),
        ("git-2^20250101git-1.fc42", "git", None, "2^20250101git", "1.fc42"),
        ("  bash-5-1\n", "bash", None, "5", "1"),
    ],
)
def test_a_source_build_is_read(text: str, name: str, epoch: int | None, version: str, release: str) -> None:
    assert SourceBuild.parse(text) == SourceBuild(name, EVR(epoch, version, release))


@pytest.mark.parametrize(
    "text",
    ["", "bash", "bash-5", "-5-1", "bash--1", "bash-5-", "bash-x:5-1", "bash-1:2:5-1", "bash-:5-1", "bash-1:-1",
     "ba sh-5-1", "ba/sh-5-1", "bash-5-1/2", "bash-devel-tools", "bash-²:5-1",
     "ba\0sh-5-1", "bash-5\ud800-1", "bash-5-1\x1b[0m"],
)  # fmt: skip
def test_what_is_no_source_build_is_refused_and_named(text: str) -> None:
    with pytest.raises(RequestError) as error:
        SourceBuild.parse(text)
    assert repr(text) in str(error.value)


def test_a_source_build_is_written_as_it_was_read() -> None:
    for text in ("openssl-3.2.2-1.fc42", "openssl-1:3.2.2-1.fc42"):
        assert str(SourceBuild.parse(text)) == text
    assert SourceBuild.parse("openssl-1:3.2.2-1.fc42").nvr == "openssl-3.2.2-1.fc42"


def test_a_nevra_is_read() -> None:
    assert Rpm.parse("openssl-libs-1:3.2.1-1.fc42.x86_64", "openssl") == Rpm(
        "openssl-libs", 1, "3.2.1", "1.fc42", "x86_64", "openssl"
    )


def test_a_nevra_without_an_epoch_has_epoch_0_and_a_source_of_its_own_name() -> None:
    rpm = Rpm.parse("bash-5.2-1.fc42.noarch")
    assert (rpm.epoch, rpm.source, rpm.nevra) == (0, "bash", "bash-5.2-1.fc42.noarch")


def test_a_source_rpm_gives_the_source_and_its_version() -> None:
    rpm = Rpm.parse("perl-Errno-1.38-512.fc42.x86_64", "perl-5.40.0-512.fc42.src.rpm")
    assert (rpm.source, rpm.source_evr) == ("perl", "5.40.0-512.fc42")
    assert Rpm.parse(rpm.nevra, rpm.sourcerpm) == rpm


@pytest.mark.parametrize(
    ("nevra", "source"),
    [
        ("bash", ""),
        ("bash-5.2-1.fc42", ""),
        ("bash-5.2-1.fc42.vax", ""),
        ("5.2-1.x86_64", ""),
        ("bash-5.2-1.fc42.x86_64", "bash.src.rpm"),
    ],
)
def test_what_is_no_nevra_is_refused(nevra: str, source: str) -> None:
    with pytest.raises(RequestError):
        Rpm.parse(nevra, source)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.9-1", "1.10-1"),
        ("1.0-9", "1.0-10"),
        ("1.0~rc1-1", "1.0-1"),
        ("1.0~rc1-1", "1.0~rc2-1"),
        ("1.0-1", "1.0^git1-1"),
        ("1.0^git1-1", "1.0.1-1"),
        ("9.9-1", "1:0.1-1"),
        ("1:9-1", "2:1-1"),
        ("1.0-1.fc42", "1.0-1.fc42.1"),
        ("1.0a-1", "1.0.1-1"),
    ],
)
def test_versions_are_compared_as_rpm_does(older: str, newer: str) -> None:
    low, high = (evr(text).within(0) for text in (older, newer))
    assert high.is_newer_than(low)
    assert not low.is_newer_than(high)
    assert not high.is_newer_than(high)


def test_an_unknown_epoch_counts_as_the_other_s() -> None:
    assert evr("3.2.2-1").is_newer_than(evr("1:3.2.1-1"))
    assert not evr("3.2.0-1").is_newer_than(evr("1:3.2.1-1"))
    assert evr("1:3.2.2-1").is_newer_than(evr("3.2.1-1"))


def test_epoch_0_is_not_an_unknown_epoch() -> None:
    assert not evr("0:9-1").is_newer_than(evr("1:1-1"))


def test_an_rpm_is_stale_when_its_own_version_is_lower() -> None:
    rpm = Rpm.parse("openssl-libs-1:3.2.1-1.fc42.x86_64", "openssl")
    assert is_stale(rpm, evr("3.2.2-1.fc42"))
    assert not is_stale(rpm, evr("3.2.1-1.fc42"))


def test_a_subpackage_with_a_version_of_its_own_is_judged_by_its_source() -> None:
    rpm = Rpm.parse("perl-Errno-1.38-512.fc42.x86_64", "perl-5.40.0-512.fc42.src.rpm")
    assert is_stale(rpm, evr("5.40.1-513.fc42"))
    assert not is_stale(rpm, evr("5.40.0-512.fc42"))
    assert not is_stale(rpm, evr("4:5.40.0-512.fc42")), "the source's epoch is unknown, and is not 0"


def test_the_newest_is_found_and_knows_its_epoch_where_any_does() -> None:
    assert newest([evr("1-1"), evr("3-1"), evr("2-1")]) == evr("3-1")
    assert newest([evr("3-1"), evr("1:3-1")]) == evr("1:3-1")


def test_the_newest_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError):
        newest([])


parts = st.from_regex(r"[0-9][0-9a-z.~^]{0,4}", fullmatch=True)
versions = st.builds(EVR, st.integers(0, 3), parts, parts)


@given(versions, versions, versions)
def test_newer_is_an_order(a: EVR, b: EVR, c: EVR) -> None:
    assert not (a.is_newer_than(b) and b.is_newer_than(a))
    if a.is_newer_than(b) and b.is_newer_than(c):
        assert a.is_newer_than(c)


@given(st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z0-9]", fullmatch=True), versions)
def test_every_build_is_read_back_as_written(name: str, version: EVR) -> None:
    build = SourceBuild(name, EVR(version.epoch or None, version.version, version.release))
    assert SourceBuild.parse(str(build)) == build


@pytest.mark.parametrize("epoch", [str(2**32), "9" * 20, "9" * 5000])
def test_an_epoch_that_no_rpm_has_is_refused(epoch: str) -> None:
    for read in (SourceBuild.parse, lambda text: Rpm.parse(f"{text}.x86_64")):
        with pytest.raises(RequestError):
            read(f"bash-{epoch}:5-1.fc42")
    assert SourceBuild.parse(f"bash-{2**32 - 1}:5-1.fc42").evr.epoch == 2**32 - 1
