"""What of a build's log a person sees: its colours, and what went wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rebuilder.builders import buildah_log
from rebuilder.domain.log_text import Span, Style, coloured, plain

RED = Style("red")


@pytest.mark.parametrize(("text", "expected"), [
    ("plain", [Span("plain")]),
    ("a\x1b[31mb\x1b[0mc", [Span("a"), Span("b", RED), Span("c")]),
    ("\x1b[1;31merror:\x1b[m no", [Span("error:", Style("red", bold=True)), Span(" no")]),
    ("\x1b[91mx\x1b[39my", [Span("x", Style("bright-red")), Span("y")]),
    ("\x1b[38;5;1mx\x1b[38;5;200my", [Span("x", RED), Span("y", RED)]),
    ("\x1b[38;2;1;2;3mx", [Span("x")]),
    ("\x1b[31ma\nb", [Span("a", RED), Span("\n"), Span("b", RED)]),
    ("\x1b]0;title\x07a\x1b[2Kb", [Span("a"), Span("b")]),
    (" 10%\r 50%\r100%\n", [Span("100%"), Span("\n")]),
    ("a\r\nb", [Span("a"), Span("\n"), Span("b")]),
])  # fmt: skip
def test_colours_are_colours_and_other_commands_to_a_terminal_are_nothing(text: str, expected: list[Span]) -> None:
    assert list(coloured(text)) == expected
    assert plain(text) == "".join(span.text for span in expected)


@given(st.text(st.sampled_from("ab \n\r\x1b[]0;m:315\x07\\KHP"), max_size=60))
def test_whatever_a_build_writes_the_coloured_text_is_the_plain_one(text: str) -> None:
    assert "".join(span.text for span in coloured(text)) == plain(text)


DNF = """\
STEP 1/3: FROM registry.example.com/fedora:42
Trying to pull registry.example.com/fedora:42...
Getting image source signatures
Copying blob sha256:0123
Copying config 4567
Writing manifest to image destination
STEP 2/3: LABEL a=b
STEP 3/3: RUN dnf -y install no-such-package && dnf clean all && rm -rf /var/cache
\x1b[1mUpdating and loading repositories:\x1b[0m
Repositories loaded.
Failed to resolve the transaction:
\x1b[31mNo match for argument: no-such-package\x1b[0m
You can try to add to command line:
  --skip-unavailable to skip unavailable packages
time="2026-11-28T03:00:00Z" level=error msg="exit status 1"
subprocess exited with status 1
{error}
"""
SAID = """\
Updating and loading repositories:
Repositories loaded.
Failed to resolve the transaction:
No match for argument: no-such-package
You can try to add to command line:
  --skip-unavailable to skip unavailable packages
exit status 1"""


@pytest.mark.parametrize("error", [
    'Error: building at STEP "RUN dnf -y install no-such-package && rm -rf /x": while running runtime: exit status 1',
    'error building at STEP "RUN dnf -y install x && dnf clean all": error while running runtime: exit status 1',
    'Error: building at STEP "RUN echo \'{"a": 1}\' && false": while running runtime: exit status 1',
    'Error: building at STEP "RUN <<EOF\nset -e\nfalse\nEOF": while running runtime: exit status 1',
    'Error: building at STEP "RUN dnf -y install x": exit status 1',  # isolation chroot, buildah 1.28
    'Error: building at STEP "RUN echo \'{"a": "exit status 2"}\' && false": exit status 1',
])  # fmt: skip
def test_the_failure_is_what_the_command_said_last_and_not_the_command(error: str) -> None:
    assert buildah_log.failure(DNF.format(error=error)) == SAID


@pytest.mark.parametrize(("log", "expected"), [
    ('STEP 1/2: FROM scratch\nSTEP 2/2: COPY x /\nError: building at STEP "COPY x /": checking on sources under "/c": '
     'copier: stat: "/x": no such file or directory\n',
     'checking on sources under "/c": copier: stat: "/x": no such file or directory'),
    ("Error: creating build container: base:f42: image not known\n",
     "creating build container: base:f42: image not known"),
    ('STEP 1/1: RUN false\nError: building at STEP "RUN false": while running runtime: exit status 1\n',
     "exit status 1"),
    ("STEP 1/1: RUN make\nmake: *** [all] Killed\n", "make: *** [all] Killed"),
    ("", "buildah exited without output"),
])  # fmt: skip
def test_what_is_no_command_s_failure_is_said_in_buildah_s_words(log: str, expected: str) -> None:
    assert buildah_log.failure(log) == expected


def test_of_two_stages_the_last_step_s_lines_count() -> None:
    log = "[1/2] STEP 1/2: FROM a\n[1/2] STEP 2/2: RUN one\nfirst\n[2/2] STEP 1/1: RUN two\nsecond\n"
    error = 'Error: building at STEP "RUN two": while running runtime: exit status 2'
    assert buildah_log.failure(log + error) == "second\nexit status 2"
