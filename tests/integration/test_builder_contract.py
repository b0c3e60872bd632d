"""What every builder promises, held against each of them. See rebuilder/builders/protocol.py."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from support.buildah_world import until
from support.harnesses import HARNESSES, Harness, Power

from rebuilder.builders.protocol import Builder
from rebuilder.domain.build import BuildRequest, Phase, Status
from rebuilder.domain.errors import InfrastructureError

Test = Callable[..., None]
UNDER_WAY = (Phase.WAITING, Phase.RUNNING)
MOST_LINES = 9  # of a failure: the last eight of a step, and how it ended


def needs(*powers: Power) -> Callable[[Test], Test]:
    """The promise has a meaning only for builders with these powers: it is held against no others."""

    def mark(test: Test) -> Test:
        test.powers = frozenset(powers)  # type: ignore[attr-defined]
        return test

    return mark


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    needed: frozenset[Power] = getattr(metafunc.function, "powers", frozenset())
    able = [harness for harness in HARNESSES if needed <= harness.powers]
    metafunc.parametrize("harness", able, ids=[harness.name for harness in able], indirect=True, scope="module")


@pytest.fixture(scope="module")
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with request.param.world(tmp_path_factory.mktemp(request.param.name)) as made:
        yield made


@pytest.fixture
def order(harness: Harness) -> Iterator[BuildRequest]:
    """An order of its own; what is left of its build is canceled."""
    made = harness.order(a_key())
    yield made
    for submission in harness.builder.find([made.key]).values():
        harness.builder.cancel(submission.ref)


def a_key() -> str:
    return f"image-f42-{secrets.token_hex(4)}"


def status(builder: Builder, ref: str) -> Status:
    return builder.poll([ref])[ref]


def ended(harness: Harness, ref: str) -> Status:
    """How the build ended, as soon as the builder sees that it did."""
    found: Status = until(lambda: (seen := status(harness.builder, ref)).phase not in UNDER_WAY and seen)
    return found


def log_of(harness: Harness, ref: str, offset: int = 0) -> str:
    return "".join(harness.builder.log(ref, offset))


def test_what_was_never_submitted_is_not_found(harness: Harness) -> None:
    assert dict(harness.builder.find([a_key()])) == {}
    assert dict(harness.builder.find([])) == {}


def test_what_was_submitted_is_found_by_its_key_among_others(harness: Harness, order: BuildRequest) -> None:
    submission = harness.builder.submit(order)
    assert submission.ref
    assert dict(harness.builder.find([a_key(), order.key, a_key()])) == {order.key: submission}


def test_a_build_runs_until_it_ends(harness: Harness, order: BuildRequest) -> None:
    ref = harness.builder.submit(order).ref
    assert (status(harness.builder, ref).phase in UNDER_WAY, status(harness.builder, ref).reason) == (True, "")
    harness.succeed(ref)
    found = ended(harness, ref)
    assert (found.phase, found.reason) == (Phase.SUCCEEDED, "")
    assert ended(harness, ref) == found


def test_the_same_key_submitted_twice_makes_one_build(harness: Harness, order: BuildRequest) -> None:
    first = harness.builder.submit(order)
    with suppress(InfrastructureError):  # a builder may refuse it, as the caller asks `find` before
        assert harness.builder.submit(order).ref == first.ref
    assert harness.builder.find([order.key])[order.key].ref == first.ref
    assert harness.made(order.key) == 1


def test_a_key_is_found_and_not_built_again_after_its_build_has_ended(harness: Harness, order: BuildRequest) -> None:
    submission = harness.builder.submit(order)
    harness.fail(submission.ref)
    ended(harness, submission.ref)
    assert harness.builder.find([order.key])[order.key].ref == submission.ref
    assert harness.made(order.key) == 1


def test_many_builds_are_asked_for_at_once(harness: Harness) -> None:
    orders = [harness.order(a_key()) for _ in range(3)]
    running, good, unknown = (*(harness.builder.submit(order).ref for order in orders[:2]), harness.unknown)
    harness.succeed(good)
    ended(harness, good)
    phases = {ref: found.phase for ref, found in harness.builder.poll([running, good, unknown]).items()}
    assert phases.pop(running) in UNDER_WAY
    assert phases == {good: Phase.SUCCEEDED, unknown: Phase.ABORTED}
    assert dict(harness.builder.poll([])) == {}
    harness.builder.cancel(running)


def test_the_result_is_the_build_that_was_ordered_however_often_it_is_read(
    harness: Harness, order: BuildRequest
) -> None:
    ref = harness.builder.submit(order).ref
    harness.succeed(ref)
    ended(harness, ref)
    build = harness.builder.result(ref)
    assert (build.image, bool(build.ident)) == (order.image.key, True)
    assert harness.builder.result(ref) == build


@needs(Power.PINS)
def test_the_result_says_which_parent_it_was_built_on(harness: Harness, order: BuildRequest) -> None:
    ref = harness.builder.submit(order).ref
    harness.succeed(ref)
    ended(harness, ref)
    assert harness.builder.result(ref).parents == (harness.parent.ident,)


@needs(Power.MANIFEST)
def test_the_result_says_what_is_in_the_image(harness: Harness, order: BuildRequest) -> None:
    ref = harness.builder.submit(order).ref
    harness.succeed(ref)
    ended(harness, ref)
    manifest = harness.builder.result(ref).manifest
    assert manifest is not None
    assert "openssl-libs" in {rpm.name for rpm in manifest.rpms}


def test_a_bad_build_has_failed_and_says_why_in_few_lines(harness: Harness, order: BuildRequest) -> None:
    ref = harness.builder.submit(order).ref
    harness.fail(ref)
    found = ended(harness, ref)
    assert found.phase is Phase.FAILED
    lines = found.reason.splitlines()
    assert 0 < len(lines) <= MOST_LINES
    assert all(line.strip() for line in lines)


def one_line(text: str) -> None:
    assert text.strip()
    assert "\n" not in text


def test_a_build_that_vanished_is_aborted_not_failed(harness: Harness, order: BuildRequest) -> None:
    ref = harness.builder.submit(order).ref
    harness.vanish(ref)
    found = ended(harness, ref)
    assert found.phase is Phase.ABORTED
    one_line(found.reason)


def test_a_canceled_build_is_canceled_however_often_it_is_said(harness: Harness, order: BuildRequest) -> None:
    ref = harness.builder.submit(order).ref
    harness.builder.cancel(ref)
    assert ended(harness, ref).phase is Phase.CANCELED
    harness.builder.cancel(ref)
    assert ended(harness, ref).phase is Phase.CANCELED


def test_a_build_that_has_ended_cannot_be_canceled_any_more(harness: Harness, order: BuildRequest) -> None:
    ref = harness.builder.submit(order).ref
    harness.succeed(ref)
    ended(harness, ref)
    harness.builder.cancel(ref)
    assert status(harness.builder, ref).phase is Phase.SUCCEEDED


def test_canceling_what_nobody_knows_does_nothing(harness: Harness) -> None:
    harness.builder.cancel(harness.unknown)


@needs(Power.STOPPED_BY_OTHERS)
def test_a_build_that_others_canceled_is_canceled_not_failed(harness: Harness, order: BuildRequest) -> None:
    ref = harness.builder.submit(order).ref
    harness.stop_by_others(ref)
    found = ended(harness, ref)
    assert found.phase is Phase.CANCELED
    one_line(found.reason)


@needs(Power.SURVIVES)
def test_a_build_goes_on_without_its_builder_and_is_found_again(harness: Harness, order: BuildRequest) -> None:
    submission = harness.builder.submit(order)
    harness.builder.close()
    harness.restart()
    assert dict(harness.builder.find([order.key])) == {order.key: submission}
    assert status(harness.builder, submission.ref).phase in UNDER_WAY
    harness.succeed(submission.ref)
    assert ended(harness, submission.ref).phase is Phase.SUCCEEDED
    assert harness.builder.result(submission.ref).image == order.image.key


@needs(Power.SURVIVES)
def test_how_a_build_ended_while_nobody_looked_is_seen_later(harness: Harness, order: BuildRequest) -> None:
    ref = harness.builder.submit(order).ref
    harness.builder.close()
    harness.fail(ref)
    harness.restart()
    assert ended(harness, ref).phase is Phase.FAILED


def test_after_a_restart_a_build_is_known_by_key_and_ref_or_lost_by_both(harness: Harness, order: BuildRequest) -> None:
    ref = harness.builder.submit(order).ref
    harness.restart()
    known = order.key in harness.builder.find([order.key])
    assert status(harness.builder, ref).phase in (UNDER_WAY if known else (Phase.ABORTED,))


@needs(Power.LOGS)
def test_the_log_is_read_while_the_build_runs_and_goes_on_where_it_was(harness: Harness, order: BuildRequest) -> None:
    ref = harness.builder.submit(order).ref
    harness.say(ref, "the first line")
    until(lambda: "the first line\n" in log_of(harness, ref))
    before = log_of(harness, ref)
    harness.say(ref, "the second line")
    until(lambda: "the second line\n" in log_of(harness, ref, len(before)))
    assert "the first line" not in log_of(harness, ref, len(before))
    harness.succeed(ref)
    ended(harness, ref)
    assert log_of(harness, ref).startswith(before)


def test_there_is_no_log_of_what_nobody_knows(harness: Harness) -> None:
    assert log_of(harness, harness.unknown) == ""


ASKS: dict[str, Callable[[Builder, str], Any]] = {
    "find": lambda builder, ref: builder.find([a_key()]),
    "poll": lambda builder, ref: builder.poll([ref]),
    "cancel": lambda builder, ref: builder.cancel(ref),
}


@needs(Power.UNREACHABLE)
@pytest.mark.parametrize("ask", ASKS)
def test_a_service_that_is_away_is_trouble_and_costs_no_build(harness: Harness, order: BuildRequest, ask: str) -> None:
    ref = harness.builder.submit(order).ref
    with harness.unreachable(), pytest.raises(InfrastructureError) as trouble:
        ASKS[ask](harness.builder, ref)
    one_line(str(trouble.value))
    assert status(harness.builder, ref).phase in UNDER_WAY


@needs(Power.UNREACHABLE)
def test_a_result_that_cannot_be_read_now_is_read_later(harness: Harness, order: BuildRequest) -> None:
    ref = harness.builder.submit(order).ref
    harness.succeed(ref)
    ended(harness, ref)
    with harness.unreachable(), pytest.raises(InfrastructureError):
        harness.builder.result(ref)
    assert harness.builder.result(ref).image == order.image.key


@needs(Power.UNREACHABLE)
def test_what_could_not_be_submitted_is_submitted_later_and_once(harness: Harness, order: BuildRequest) -> None:
    with harness.unreachable(), pytest.raises(InfrastructureError) as trouble:
        harness.builder.submit(order)
    one_line(str(trouble.value))
    assert dict(harness.builder.find([order.key])) == {}
    harness.builder.submit(order)
    assert harness.made(order.key) == 1


@needs(Power.LOST_REPLY)
def test_a_submission_whose_answer_was_lost_is_found_by_its_key(harness: Harness, order: BuildRequest) -> None:
    try:
        with harness.lost_reply():
            harness.builder.submit(order)
    except InfrastructureError as trouble:
        one_line(str(trouble))
    harness.restart()
    (found,) = harness.builder.find([order.key]).values()
    assert status(harness.builder, found.ref).phase in UNDER_WAY
    assert harness.made(order.key) == 1
