"""What others read on the bus."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from fedora_messaging.message import SEVERITIES, Message, dumps, get_class, loads
from jsonschema.exceptions import ValidationError
from messages_page import PAGE, page, story

from rebuilder import messages
from rebuilder.domain.topics import LISTED, OF_STATE, Notice

STORY = story()
IMPORTED = """
import json, sys
from fedora_messaging import message
before = set(sys.modules)
from rebuilder import messages
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def first(kind: type[Message]) -> Message:
    return next(message for message in STORY if type(message) is kind)


def test_importing_it_pulls_in_fedora_messaging_and_nothing_else() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    domain = ["rebuilder.domain", "rebuilder.domain.wording"]
    assert json.loads(done.stdout) == ["rebuilder", *domain, "rebuilder.messages", "rebuilder.messages.schemas"]


def test_there_is_a_class_for_all_that_is_announced_and_each_is_registered() -> None:
    assert list(messages.CLASSES) == [f"rebuilder.{notice}" for notice in Notice]
    of_images = {notice for notice in Notice if notice.startswith("image.")}
    assert set(OF_STATE.values()) == of_images - {Notice.IMAGE_PUSHED, Notice.IMAGE_ROLLED_BACK}
    found = {point.name: point.load() for point in entry_points(group="fedora.messages") if "rebuilder" in point.value}
    assert found == {f"{topic}.v1": kind for topic, kind in messages.CLASSES.items()}
    assert messages.LISTED == LISTED


@pytest.mark.parametrize("kind", messages.CLASSES.values(), ids=list(messages.CLASSES))
def test_every_message_reads_well(kind: type[messages.RebuilderMessage]) -> None:
    message = first(kind)
    message.validate()
    (read,) = loads(dumps(message))
    assert (type(read), read) == (kind, message)
    assert get_class(f"{kind.topic}.v1") is kind
    assert message.app_name == "rebuilder"
    assert message.app_icon and message.app_icon.startswith("https://")
    assert message.url and message.url.startswith("https://rebuilder.example.org/")
    assert "base:f42" in message.containers or len(message.containers) == 2
    assert message.severity in SEVERITIES
    assert str(message).startswith(f"{message.summary}\n")
    if kind is messages.ImageRolledBackV1:  # no update is the cause, but an operator
        assert (message.packages, message.usernames) == ([], ["alice"])
        assert "was rolled back from" in message.summary and message.summary.endswith(": it leaks")
        return
    assert message.packages == ["openssl"]
    assert "openssl-3.2.2-1.fc42" in message.summary
    assert "https://bodhi.fedoraproject.org/updates/" in str(message)


@pytest.mark.parametrize("kind", messages.CLASSES.values(), ids=list(messages.CLASSES))
def test_a_field_that_is_missing_is_noticed(kind: type[messages.RebuilderMessage]) -> None:
    body = first(kind).body
    for name in body:
        with pytest.raises(ValidationError, match=f"'{name}' is a required property"):
            kind(body={key: value for key, value in body.items() if key != name}).validate()
    kind(body={**body, "new": 1}).validate()


def test_a_failure_is_worth_an_error_and_a_wave_with_one_a_warning() -> None:
    failed, finished = first(messages.ImageFailedV1), first(messages.WaveFinishedV1)
    assert (failed.severity, finished.severity) == (40, 30)
    assert finished._headers["fedora_messaging_severity"] == 30
    assert failed.summary.endswith("(wave 1): simulated failure")
    assert failed.body["log"] in str(failed)
    assert "  httpd:f42 failed: simulated failure" in str(finished)


def test_a_cancellation_names_who_did_it() -> None:
    canceled = first(messages.ImageCanceledV1)
    assert (canceled.agent_name, canceled.usernames) == ("alice", ["alice"])
    assert canceled._headers["fedora_messaging_user_alice"] is True


def test_the_page_in_the_docs_is_what_the_classes_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew with `make docs`"
