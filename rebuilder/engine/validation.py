"""Messages are checked by their schemas, as fedora-messaging does it, at a fiftieth of its cost.

It checks each schema itself anew with every message, which takes longer than all else of publishing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from fedora_messaging.message import Message
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for


def validate(message: Message) -> None:
    """Raises what `Message.validate` does."""
    headers, bodies = _validators(type(message))  # type: ignore[arg-type]  # a class is hashable
    for validators, instance in ((headers, message._headers), (bodies, message.body)):
        for validator in validators:
            error = best_match(validator.iter_errors(instance))
            if error is not None:
                raise error


@cache
def _validators(kind: type[Message]) -> tuple[tuple[Validator, ...], tuple[Validator, ...]]:
    """Those of the headers, and those of the body; the schemas are checked here, once."""
    headers, bodies = (kind.headers_schema, Message.headers_schema), (kind.body_schema, Message.body_schema)
    return tuple(map(_validator, headers)), tuple(map(_validator, bodies))


def _validator(schema: Mapping[str, Any]) -> Validator:
    validator_class = validator_for(schema)
    validator_class.check_schema(schema)
    return validator_class(schema)
