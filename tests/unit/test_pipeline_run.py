"""What is made of a run's documents, whatever is missing in them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebuilder.builders.pipeline_run import NAME, PipelineRun, name_of, pull_specs
from rebuilder.domain.build import Phase, Status


def condition(status: str, reason: str = "", message: str = "") -> dict[str, Any]:
    return {"conditions": [{"status": status, "reason": reason, "message": message}]}


@given(st.text())
def test_every_key_has_a_valid_name_that_stays_the_same(key: str) -> None:
    assert NAME.fullmatch(name_of(key))
    assert name_of(key) == name_of(key)


@given(st.text(), st.text())
def test_two_keys_never_have_one_name(one: str, other: str) -> None:
    assert (name_of(one) == name_of(other)) == (one == other)


def test_a_key_that_is_a_name_is_its_run_s_name() -> None:
    assert name_of("httpd-f42-0123456789ab") == "httpd-f42-0123456789ab"


def test_an_attempt_s_key_can_be_read_in_its_run_s_name() -> None:
    assert name_of("httpd-f42-0123456789ab.2").startswith("httpd-f42-0123456789ab-2-")
    assert name_of("httpd-f42-0123456789ab.2") != name_of("httpd-f42-0123456789ab-2")


@pytest.mark.parametrize(("document", "phase"), [
    ({}, Phase.WAITING), ({"status": None}, Phase.WAITING), ({"status": {}}, Phase.WAITING),
    ({"status": {"conditions": []}}, Phase.WAITING),
    ({"status": condition("Unknown", "PipelineRunPending")}, Phase.WAITING),
    ({"status": condition("Unknown", "Started")}, Phase.RUNNING),
])  # fmt: skip
def test_a_run_with_nothing_to_say_yet_waits_until_it_has_begun(document: dict[str, Any], phase: Phase) -> None:
    run = PipelineRun(document)
    assert run.status == Status(phase)
    assert (run.image, run.parents, run.key, run.ended) == ("", (), "", None)


@pytest.mark.parametrize(("status", "expected"), [
    (condition("True", "Succeeded"), Phase.SUCCEEDED),
    (condition("True", "Completed"), Phase.SUCCEEDED),
    (condition("False", "Failed"), Phase.FAILED),
    (condition("False", "PipelineRunCancelled"), Phase.CANCELED),
    (condition("False", "Cancelled"), Phase.CANCELED),
    (condition("False", "PipelineRunTimeout"), Phase.ABORTED),
    (condition("False", "CouldntGetPipeline"), Phase.ABORTED),
    (condition("True", "Novelty"), Phase.ABORTED),
])  # fmt: skip
def test_each_end_has_its_phase(status: dict[str, Any], expected: Phase) -> None:
    assert PipelineRun({"status": status}).status.phase is expected


def test_a_run_that_failed_while_it_was_being_stopped_was_canceled() -> None:
    document = {"spec": {"status": "CancelledRunFinally"}, "status": condition("False", "Failed")}
    assert PipelineRun(document).status.phase is Phase.CANCELED


def test_names_that_never_move_come_first() -> None:
    assert list(pull_specs({"floating": ["f"], "unique": ["u"], "primary": ["p"]})) == ["u", "p", "f"]


def test_results_are_json_where_they_are_some() -> None:
    told = [{"name": "a", "value": '{"b": 1}'}, {"name": "c", "value": "plain"}, {"name": "d", "value": ["listed"]}]
    assert PipelineRun({"status": {"pipelineResults": told}}).results == {"a": {"b": 1}, "c": "plain", "d": ["listed"]}
    assert PipelineRun({"status": {"results": told[:1]}}).results == {"a": {"b": 1}}
    assert PipelineRun({}).results == {}
