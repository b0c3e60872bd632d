"""The logs of OSBS's runs: whole, each line once, whatever breaks on the way."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import MutableSequence
from pathlib import Path

import pytest
from integration.test_osbs_engine import Site
from msgspec.structs import replace
from support import databases
from support.buildah_world import until
from support.harnesses.osbs import OsbsHarness
from support.tekton import TASK, Fault

from rebuilder.builders import log_collector
from rebuilder.domain.build import PartialResult, Phase, Status
from rebuilder.domain.image import Parent, ParentKind, PinnedParent
from rebuilder.queries import logs

# As atomic-reactor's check_base_image says it, whose looked-up image has the registry.
TAKEN = "atomic_reactor.plugins.check_base_image - INFO - Replacing image '{at[0]}' with '{at[1]}'"
AT = {
    "fedora:42": ("registry.example.com/fedora:42", f"registry.example.com/fedora@sha256:{'4' * 64}"),
    "quay.example.com/fedora/minimal:42": (
        "quay.example.com/fedora/minimal:42", f"quay.example.com/fedora/minimal@sha256:{'5' * 64}",
    ),
    "silent.example.com/base:1": ("other.example.com/base:1", f"other.example.com/base@sha256:{'6' * 64}"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_collector, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(log_collector, "CLOSE_SECONDS", 0.1)


def begun(osbs: OsbsHarness, *lines: str | bytes) -> str:
    """A run that has said this; nobody has asked for it yet."""
    ref = osbs.builder.submit(osbs.order("logged-f42-1")).ref
    osbs.cluster.say(ref, *lines)
    return ref


def ended(osbs: OsbsHarness, *lines: str | bytes) -> str:
    ref = begun(osbs, *lines)
    osbs.succeed(ref)
    osbs.cluster.tasks[ref] = osbs.cluster.tasks[ref][:1]
    return ref


def lines_of(osbs: OsbsHarness, ref: str) -> list[str]:
    """The lines of the log, without the task's name."""
    lines = "".join(osbs.builder.log(ref)).split("\n")
    assert all(line.startswith(f"{TASK} | ") for line in lines[:-1])
    return [line.removeprefix(f"{TASK} | ") for line in lines[:-1]]


def whole(osbs: OsbsHarness, ref: str) -> list[str]:
    """The lines, once the builder says that they are all."""
    until(lambda: not osbs.builder.tidying)
    assert osbs.builder._logs.is_whole(ref)
    return lines_of(osbs, ref)


def test_the_log_is_written_while_the_run_goes_and_a_new_builder_goes_on_with_it(osbs: OsbsHarness) -> None:
    ref = begun(osbs, "one")
    osbs.builder.poll([ref])
    until(lambda: lines_of(osbs, ref) == ["one"])
    osbs.builder.close()
    osbs.restart()
    osbs.say(ref, "two")
    until(lambda: lines_of(osbs, ref) == ["one", "two"])


def on_external(osbs: OsbsHarness, *specs: str) -> str:
    """A run of an image on these parents, which has succeeded, and whose log nobody has read."""
    order = osbs.order("logged-f42-1")
    parents = tuple(Parent(ParentKind.BASE, external=spec) for spec in specs)
    ref = osbs.builder.submit(replace(order, image=replace(order.image, parents=parents))).ref
    osbs.cluster.say(ref, "a line", *(TAKEN.format(at=AT[spec]) for spec in specs), "another")
    osbs.succeed(ref)
    osbs.cluster.tasks[ref] = osbs.cluster.tasks[ref][:1]
    return ref


def test_the_result_says_on_which_digests_of_its_external_parents_it_was_built(osbs: OsbsHarness) -> None:
    ref = on_external(osbs, "fedora:42", "quay.example.com/fedora/minimal:42")
    with pytest.raises(PartialResult, match="does not say yet on which parents"):
        osbs.builder.result(ref)
    osbs.builder.poll([ref])
    whole(osbs, ref)
    assert osbs.builder.result(ref).externals == (
        PinnedParent("fedora:42", f"registry.example.com/fedora@sha256:{'4' * 64}"),
        PinnedParent("quay.example.com/fedora/minimal:42", f"quay.example.com/fedora/minimal@sha256:{'5' * 64}"),
    )


def test_the_result_comes_without_digests_where_the_whole_log_has_none(osbs: OsbsHarness) -> None:
    ref = on_external(osbs, "silent.example.com/base:1")
    osbs.builder.poll([ref])
    whole(osbs, ref)
    assert osbs.builder.result(ref).externals == ()


def test_a_log_that_nobody_followed_is_read_when_the_run_has_ended(osbs: OsbsHarness) -> None:
    ref = ended(osbs, "one", "two")
    osbs.builder.poll([ref])
    assert whole(osbs, ref) == ["one", "two"]


def test_a_log_is_read_after_a_restart_where_nobody_polls_the_run_any_more(osbs: OsbsHarness) -> None:
    ref = ended(osbs, "one")
    osbs.restart()
    osbs.builder.tidy(set)
    assert whole(osbs, ref) == ["one"]
    osbs.restart()
    osbs.cluster.faults.append(Fault("GET", "/log", 500))
    osbs.builder.tidy(set)
    assert not osbs.builder.tidying
    assert osbs.cluster.faults[0].times, "what is whole is not read again"


def test_the_logs_of_another_installation_s_runs_are_left_alone(osbs: OsbsHarness) -> None:
    ref = ended(osbs, "theirs")
    osbs.builder.tidy(lambda keys: ())
    assert not osbs.builder.tidying
    assert lines_of(osbs, ref) == []


@pytest.mark.parametrize("live", [True, False])
def test_whatever_bytes_are_in_a_log_it_is_written(osbs: OsbsHarness, live: bool) -> None:
    odd = [b"bad \xff byte", b"form\x0cfeed", "line\u2028separator".encode(), b"", b"last"]
    ref = begun(osbs, *odd)
    if live:
        osbs.builder.poll([ref])
        until(lambda: len(lines_of(osbs, ref)) == len(odd))
    osbs.cluster.succeed(ref, {})
    osbs.builder.poll([ref])
    assert whole(osbs, ref) == [line.decode(errors="replace") for line in odd]


def test_a_stream_that_broke_is_opened_again_and_nothing_is_written_twice(
    osbs: OsbsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_collector, "LOOK_SECONDS", 0)
    ref = begun(osbs, "one")
    osbs.builder.poll([ref])
    until(lambda: lines_of(osbs, ref) == ["one"])
    with osbs.cluster.away():
        time.sleep(0.2)
    osbs.cluster.say(ref, "two")
    until(lambda: osbs.builder.poll([ref]) and lines_of(osbs, ref) == ["one", "two"])


def test_a_container_that_begins_late_is_followed_when_it_has_begun(
    osbs: OsbsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_collector, "LOOK_SECONDS", 0.02)
    ref = begun(osbs, "one")
    step = osbs.cluster.tasks[ref][0].status["steps"][0]
    running = step.pop("running")
    step["waiting"] = {"reason": "PodInitializing"}
    for _ in range(3):
        assert osbs.builder.poll([ref])[ref].phase is Phase.RUNNING
        time.sleep(0.05)
    assert lines_of(osbs, ref) == []
    del step["waiting"]
    step["running"] = running
    until(lambda: osbs.builder.poll([ref]) and lines_of(osbs, ref) == ["one"])


@pytest.mark.parametrize("code", [400, 404, 500, 503])
@pytest.mark.parametrize("path", ["/log$", "/taskruns$"])
def test_what_cannot_be_read_at_the_end_is_read_a_little_later(osbs: OsbsHarness, path: str, code: int) -> None:
    ref = ended(osbs, "one", "two")
    osbs.cluster.faults.append(Fault("GET", path, code, times=3))
    osbs.builder.poll([ref])
    assert whole(osbs, ref) == ["one", "two"]
    assert not osbs.cluster.faults[0].times


def test_a_log_that_breaks_off_in_the_middle_of_a_line_is_read_again(osbs: OsbsHarness) -> None:
    ref = ended(osbs, "one", "two")
    osbs.cluster.cut_logs = 2
    osbs.builder.poll([ref])
    assert whole(osbs, ref) == ["one", "two"]
    assert not osbs.cluster.cut_logs


def test_a_token_that_expires_between_two_reads_is_renewed(osbs: OsbsHarness) -> None:
    ref = ended(osbs, "one")
    osbs.builder.poll([])
    osbs.cluster.tokens = {"token-2"}
    osbs.token_file.write_text("token-2\n")
    osbs.builder.poll([ref])
    assert whole(osbs, ref) == ["one"]


def test_the_parts_that_are_there_are_kept_where_a_pod_is_gone_for_good(
    osbs: OsbsHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_collector, "GONE_TRIES", 2)
    ref = begun(osbs, "one")
    osbs.cluster.add_task(ref, "gone").lines += ["never read"]
    osbs.cluster.faults.append(Fault("GET", "gone-pod/log$", 404, times=100))
    osbs.cluster.succeed(ref, {})
    osbs.builder.poll([ref])
    assert whole(osbs, ref) == ["one"]
    assert f"a part of the log of {ref} is lost" in caplog.text


def test_many_runs_that_go_cost_one_list_of_their_tasks_and_no_more_until_something_changes(
    osbs: OsbsHarness
) -> None:
    refs = [osbs.builder.submit(osbs.order(f"quiet-f42-{number}")).ref for number in range(5)]
    for ref in refs:
        osbs.cluster.say(ref, "one")
    osbs.cluster.lists = 0
    for _ in range(20):
        osbs.builder.poll(refs)
        time.sleep(0.01)
    until(lambda: all(lines_of(osbs, ref) == ["one"] for ref in refs))
    assert osbs.cluster.lists == 21, "a list of the runs for each poll, and one of the tasks"
    assert osbs.cluster.streams == 5, "one for each container"


class Long(MutableSequence[str | bytes]):
    """Many lines that need no memory."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, at: object) -> bytes:  # type: ignore[override]
        return b"%09d" % at + b"." * 1000  # type: ignore[operator]

    def __setitem__(self, at: object, line: object) -> None:
        raise NotImplementedError

    def __delitem__(self, at: object) -> None:
        raise NotImplementedError

    def insert(self, index: int, value: str | bytes) -> None:
        raise NotImplementedError


def test_the_memory_does_not_grow_with_the_log(osbs: OsbsHarness) -> None:
    ref = ended(osbs)
    osbs.cluster.tasks[ref][0].lines = Long(20_000)
    tracemalloc.start()
    try:
        osbs.builder.poll([ref])
        until(lambda: osbs.builder._logs.is_whole(ref))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert sum(part.count("\n") for part in osbs.builder.log(ref)) == 20_000


def test_an_engine_that_ends_leaves_no_thread_that_reads_logs(osbs: OsbsHarness) -> None:
    ref = begun(osbs, "one")
    osbs.builder.poll([ref])
    until(lambda: lines_of(osbs, ref) == ["one"])
    logs = osbs.builder._logs
    threads = [thread for pool in (logs._streams, logs._readers, logs._looks) for thread in pool._threads]
    osbs.builder.close()
    osbs.cluster.say(ref, "two")
    until(lambda: not any(thread.is_alive() for thread in threads))
    assert lines_of(osbs, ref) == ["one"]


def test_whoever_follows_a_log_sees_its_last_line_that_comes_after_the_end(
    osbs: OsbsHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = databases.sqlite(tmp_path / "rebuilder.db")
    site = Site(store, osbs)
    name = site.until_building()
    osbs.cluster.say(name, "the last line")
    osbs.cluster.faults.append(Fault("GET", "/log$", 503, times=1000))
    osbs.succeed(name)
    until(lambda: site.bench.passes(5) or site.bench.entry("base").state == "succeeded")
    monkeypatch.setattr(logs, "LATE_SECONDS", float("inf"))  # the clock of the site is its own
    reader = logs.Logs(store, osbs.settings)
    part = reader.read("base:f42", 0)
    assert (part.text, part.live) == ("", True)
    osbs.cluster.faults.clear()
    until(lambda: not reader.read("base:f42", 0).live)
    assert "the last line" in reader.read("base:f42", 0).text
    reader.close()


# As atomic-reactor tells of a podman that failed (atomic_reactor/tasks/binary_container_build.py), and writes the same
# error down as the task's result (atomic_reactor/tasks/common.py).
RAN = 'Error: building at STEP "RUN dnf -y install libfoo": while running runtime: exit status 1'
RECORD = "2026-01-02 03:04:05,678 - atomic_reactor.tasks.binary_container_build - {} - {}"
FAILED_STEP = (
    RECORD.format("INFO", "Building image=registry.example.com/img:1 on host=builder.example.com"),
    RECORD.format("INFO", "STEP 2/2: RUN dnf -y install libfoo"),
    RECORD.format("INFO", "No match for argument: libfoo"),
    RECORD.format("INFO", "Error: Unable to find a match: libfoo"),
    RECORD.format("ERROR", RAN), "",
)  # fmt: skip
RESULT = f"BuildProcessError('Build failed (rc=1): {RAN}\\n')"
ERROR = "Error: Unable to find a match: libfoo [No match for argument: libfoo / exit status 1]"


def failed(osbs: OsbsHarness, *lines: str) -> str:
    """A run whose build has failed after it said this; nobody has read its log."""
    ref = begun(osbs, *lines)
    osbs.cluster.fail(ref, f'"step-{TASK}" exited with code 1')
    step = osbs.cluster.tasks[ref][0].status["steps"][0]["terminated"]
    step["message"] = json.dumps([{"key": "task_result", "value": RESULT, "type": 1}])
    return ref


def told(osbs: OsbsHarness, ref: str) -> Status:
    """How the run has ended, which is told within the time that its log takes."""
    found: list[Status] = []

    def polled() -> bool:
        found[:] = osbs.builder.poll([ref]).values()
        return bool(found)

    until(polled)
    return found[0]


def test_the_failure_is_the_error_in_the_log_and_not_the_run_line(osbs: OsbsHarness) -> None:
    ref = failed(osbs, *FAILED_STEP)
    assert told(osbs, ref) == Status(Phase.FAILED, f"{TASK}: {ERROR}")
    osbs.restart()
    assert told(osbs, ref).reason == f"{TASK}: {ERROR}"


def test_a_log_that_does_not_tell_the_error_leaves_the_task_s_words(osbs: OsbsHarness) -> None:
    assert told(osbs, failed(osbs, "a line")) == Status(Phase.FAILED, f"{TASK}: {RESULT}")


def test_a_failure_is_told_where_its_log_cannot_be_had(osbs: OsbsHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_collector, "FRESH_SECONDS", 0.2)
    ref = failed(osbs, *FAILED_STEP)
    osbs.cluster.faults.append(Fault("GET", "/log", 500, times=10_000))
    assert told(osbs, ref) == Status(Phase.FAILED, f"{TASK}: {RESULT}")
