"""Messages are refused for what fedora-messaging refuses them for."""

from __future__ import annotations

import pytest
from fedora_messaging.message import Message
from jsonschema.exceptions import SchemaError, ValidationError
from messages_page import story

from rebuilder.engine.validation import _validator, validate
from rebuilder.messages import CLASSES


def told(message: Message) -> tuple[tuple[str, str], tuple[str, str]]:
    """What each of the two says of the message."""
    found = []
    for check in (message.validate, lambda: validate(message)):
        try:
            check()
        except ValidationError as error:
            found.append((type(error).__name__, error.message))
        else:
            found.append(("", ""))
    return found[0], found[1]


@pytest.mark.parametrize("topic", CLASSES)
def test_a_good_message_is_taken(topic: str) -> None:
    for message in story():
        if message.topic == topic:
            assert told(message) == (("", ""), ("", ""))


def test_a_wrong_one_is_refused_with_the_same_words() -> None:
    good = next(iter(story()))
    empty, listed, kind = type(good)(body={}), type(good)(body=[]), type(good)(body={**good.body, "wave": "one"})
    for message in (empty, listed, kind):
        usual, ours = told(message)
        assert usual == ours != ("", "")
    usual, ours = told(Message(headers={"x": 1}))
    assert usual == ours


def test_a_schema_that_is_none_is_refused() -> None:
    with pytest.raises(SchemaError):
        _validator({"type": "nothing"})
