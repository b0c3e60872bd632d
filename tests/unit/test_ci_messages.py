"""Messages of a CI: what they say of container builds."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.topics import parse
from rebuilder.domain.change import Ignored, InvalidMessage, TestFinished
from rebuilder.domain.message import IncomingMessage

DIGEST = "sha256:67dad89757a55bfdfabec8abd0e22f8c7c12a1856514726470228063ed865934"
TEST = {"namespace": "cvp.tier1", "type": "smoke", "category": "functional", "result": "passed"}


def told(body: Any, topic: str = "ci.koji-build.test.complete") -> Any:
    (event,) = parse(IncomingMessage("1", f"org.centos.prod.{topic}", {}, body))
    return event


@pytest.mark.parametrize(
    ("topic", "artifact", "builds"),
    [
        ("ci.koji-build.test.complete", {"id": 123, "nvr": "httpd-1-2"}, ("httpd-1-2",)),
        ("ci.redhat-container-image.test.complete", {"id": DIGEST, "nvr": "httpd-1-2"}, ("httpd-1-2", DIGEST)),
        ("ci.cvp.redhat-container-image.test.complete", {"id": DIGEST}, (DIGEST,)),
        ("ci.container-image.test.complete", {"digest": DIGEST, "id": f"team/httpd@{DIGEST}"},
         (f"team/httpd@{DIGEST}", DIGEST)),
    ],
)  # fmt: skip
def test_the_build_is_known_by_its_nvr_or_its_digest(topic: str, artifact: dict[str, Any], builds: Any) -> None:
    run = {"url": "https://ci.example.org/7"}
    event = told({"artifact": artifact, "test": TEST, "run": run}, topic)
    name = "cvp.tier1.smoke.functional"
    assert event == TestFinished(builds, name, True, "passed", "https://ci.example.org/7")


def test_the_older_form_has_all_of_the_test_at_the_top() -> None:
    body = {"artifact": {"nvr": "a-1-1"}, "namespace": "ci", "type": "smoke", "category": "functional",
            "status": "FAILED"}  # fmt: skip
    assert told(body) == TestFinished(("a-1-1",), "ci.smoke.functional", False, "failed")


@pytest.mark.parametrize("result", ["not_applicable", "", "queued"])
def test_what_is_no_verdict_is_ignored(result: str) -> None:
    assert isinstance(told({"artifact": {"nvr": "a-1-1"}, "test": {**TEST, "result": result}}), Ignored)


@pytest.mark.parametrize("body", [None, [], {}, {"artifact": {}}, {"artifact": {"nvr": 7}}, {"artifact": "x"}])
def test_a_message_that_names_no_build_is_wrong(body: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"body|artifact"):
        told(body)
