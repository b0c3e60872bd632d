"""Results of tests that a CI ran on container builds, which may be what a gate waits for.

The bodies are those of Fedora's CI messages (the schemas at pagure.io/fedora-ci/messages), in the versions in use: the
build is `artifact`, with its `nvr` or digest (`id`); the test has a `namespace`, `type` and `category`, which together
are its name in ResultsDB, and a `result`. Before version 1 the result stood in `status`, and the namespace at the top.
"""

from __future__ import annotations

from typing import Any

from consumers.fields import Fields
from rebuilder.domain.change import Event, Ignored, InvalidMessage, TestFinished

PASSED = frozenset({"passed", "info"})
FAILED = frozenset({"failed", "needs_inspection"})
LONGEST_RESULT = 40


def complete(body: Any) -> tuple[Event, ...]:
    """A test ended. Raises InvalidMessage where nothing says which build it was about, or how it ended."""
    fields = Fields(body)
    artifact, test = fields.inner("artifact"), fields.optional_inner("test") or fields
    names = [artifact.optional_text("nvr"), artifact.optional_text("id"), artifact.optional_text("digest")]
    builds = tuple(dict.fromkeys(filter(None, names)))
    if not builds:
        raise InvalidMessage("artifact: has neither nvr nor a digest")
    result = (test.optional_text("result") or fields.optional_text("status")).lower()
    if result not in PASSED | FAILED:
        return (Ignored(f"a test that ended with {result[:LONGEST_RESULT] or 'nothing'} says nothing of the build"),)
    name = ".".join(part for key in ("namespace", "type", "category") if (part := _part(test, fields, key)))
    run = fields.optional_inner("run")
    url = run.optional_text("url", longest=2000) if run else ""
    return (TestFinished(builds, name, result in PASSED, result, url),)


def _part(test: Fields, fields: Fields, key: str) -> str:
    return test.optional_text(key) or fields.optional_text(key)
