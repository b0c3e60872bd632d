"""Which parser reads which topic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from itertools import chain
from typing import Any, Protocol

from consumers import bodhi, ci, koji, operator
from rebuilder.domain.change import Event, Ignored
from rebuilder.domain.message import IncomingMessage
from rebuilder.plugins import PluginGroup

Parser = Callable[[Any], tuple[Event, ...]]

TRIGGERS = PluginGroup("trigger", "rebuilder.triggers", "consumers", ())  # what others add, each a Trigger

PARSERS: dict[str, Parser] = {
    "bodhi.update.complete.stable": bodhi.stable,
    "bodhi.update.complete.testing": bodhi.testing,
    "bodhi.update.request.unpush": bodhi.withdrawn,
    "bodhi.update.request.obsolete": bodhi.withdrawn,
    "rebuilder.update.available": operator.available,
    "buildsys.tag": koji.tagged,
    "buildsys.untag": koji.untagged,
    "buildsys.repo.done": koji.repo_done,
    "buildsys.build.state.change": koji.build_changed,
    "koji-build.test.complete": ci.complete,
    "container-image.test.complete": ci.complete,
    "redhat-container-image.test.complete": ci.complete,
}


def parse(message: IncomingMessage) -> tuple[Event, ...]:
    """What a message tells, at least one event. Raises InvalidMessage naming the field that is missing or wrong.

    Chosen by the topic, under any prefix (as `org.fedoraproject.prod.buildsys.tag`) and never by the schema: Koji
    sends bodies that its own schema refuses as generic messages on the same topic.
    """
    parser = parser_of(message.topic)
    return parser(message.body) if parser else (Ignored(f"topic {message.topic}"),)


class Trigger(Protocol):
    """What others add, by an entry point in the group `rebuilder.triggers`: parsers of further topics.

    A topic stands without its prefix; a parser takes the body, gives at least one event, and raises InvalidMessage.
    """

    parsers: Mapping[str, Parser]


def parser_of(topic: str) -> Parser | None:
    """Ours before those of others: they cannot change what a topic means. Raises RequestError as plugins do."""
    for suffix, parser in chain(PARSERS.items(), _others()):
        if topic == suffix or topic.endswith(f".{suffix}"):
            return parser
    return None


@cache
def _others() -> tuple[tuple[str, Parser], ...]:
    return tuple(pair for _, trigger in TRIGGERS.others() for pair in trigger.parsers.items())
