"""What went wrong in a build by OSBS, out of the log as atomic-reactor writes it.

The records are in the format of osbs-client's constants.py (ATOMIC_REACTOR_LOGGING_FMT); what is in them, and their
order, are those of atomic_reactor/tasks/binary_container_build.py: podman's lines at INFO, its last one at ERROR, then
the Dockerfile, then the interpreter's traceback.
"""

from __future__ import annotations

import pytest

from rebuilder.builders import reactor_log

LOGGER = "atomic_reactor.tasks.binary_container_build"
START = "Building image=registry.example.com/app:42-x86_64 on host=builder.example.com"
TRACEBACK = """Traceback (most recent call last):
  File "/usr/bin/atomic-reactor", line 8, in <module>
    sys.exit(run())
  File "atomic_reactor/tasks/binary_container_build.py", line 322, in build_container
    raise BuildProcessError(f"Build failed (rc={rc}): {error}")"""


def record(text: str, level: str = "INFO", logger: str = LOGGER) -> str:
    return f"2026-01-02 03:04:05,678 - {logger} - {level} - {text}"


def failed(step: str, *output: str, last: str = "") -> list[str]:
    """The log of a build whose step printed this."""
    last = last or f'Error: building at STEP "{step}": while running runtime: exit status 1'
    return [
        "+ atomic-reactor -v task binary-container-build --platform=x86_64",
        record("Building for the x86_64 platform from /build/x86_64/Dockerfile"),
        record(START),
        record("Running podman-remote build --tag=app", "DEBUG"),
        record("STEP 1/3: FROM registry.example.com/fedora@sha256:0"),
        record(f"STEP 2/3: {step}"),
        *map(record, output),
        record(last, "ERROR"), "",
        record("Dockerfile used for build:"), "FROM fedora", f"RUN {step}",
        *TRACEBACK.split("\n"),
        f"atomic_reactor.tasks.binary_container_build.BuildProcessError: Build failed (rc=1): {last}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("output", "said"),
    [
        # dnf 4, dnf 5, pip, and gcc with make
        (("Last metadata expiration check: 0:00:01 ago.", "No match for argument: libfoo",
          "Error: Unable to find a match: libfoo"),
         "Error: Unable to find a match: libfoo [Last metadata expiration check: 0:00:01 ago. / "
         "No match for argument: libfoo / exit status 1]"),
        (("Failed to resolve the transaction:", "No match for argument: libfoo",
          "You can try to add to command line:", "  --skip-unavailable to skip unavailable packages"),
         "No match for argument: libfoo [Failed to resolve the transaction: / You can try to add to command line: / "
         "--skip-unavailable to skip unavailable packages / exit status 1]"),
        (("\x1b[31mERROR: No matching distribution found for foo==9\x1b[0m",),
         "ERROR: No matching distribution found for foo==9 [exit status 1]"),
        (("the test is not content",), "the test is not content [exit status 1]"),
    ],
)  # fmt: skip
def test_the_error_is_what_the_step_printed_and_not_the_run_line(output: tuple[str, ...], said: str) -> None:
    assert reactor_log.error(failed("RUN dnf -y install libfoo", *output)) == said


def test_an_error_of_podman_s_own_is_told_without_its_step() -> None:
    copied = failed("COPY missing /", last='Error: building at STEP "COPY missing /": no such file or directory')
    assert reactor_log.error(copied) == "no such file or directory"


def test_a_step_that_printed_nothing_leaves_the_words_of_who_named_it() -> None:
    assert reactor_log.error(failed("RUN false")) == ""
    silent = [record(START), record("None", "ERROR"), record("Dockerfile used for build:")]
    assert reactor_log.error(silent) == ""


def test_only_the_last_build_of_several_tries_counts() -> None:
    assert reactor_log.error([*failed("RUN a", "error: first"), *failed("RUN b", "error: second")]).startswith(
        "error: second ["
    )
    assert reactor_log.error([*failed("RUN a", "error: first"), record(START), record("STEP 1/1: FROM a")]) == ""


def test_a_task_that_an_exception_ended_is_told_by_it() -> None:
    ended = [
        record("running 'git clone'", logger="osbs.utils"),
        *TRACEBACK.split("\n"),
        "osbs.exceptions.OsbsException: Unable to clone git repo 'https://src.example.com/app':",
        "branch f42 not found",
    ]
    said = "osbs.exceptions.OsbsException: Unable to clone git repo 'https://src.example.com/app': branch f42 not found"
    assert reactor_log.error(ended) == said
    assert reactor_log.error([*ended, record("trying again")]) == "", "that one was survived"


def test_a_log_without_an_error_tells_none() -> None:
    assert reactor_log.error([]) == ""
    assert reactor_log.error(["", "error: of somebody", record("Error: of a plugin", "ERROR", "other")]) == ""


def test_the_error_has_a_bound() -> None:
    told = reactor_log.error(failed("RUN x", *["error: " + "x" * 3000] * 20))
    assert len(told) <= 501
    assert "\n" not in told
