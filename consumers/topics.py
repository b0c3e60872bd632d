"""Which parser reads which topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from consumers import bodhi, koji, operator
from rebuilder.domain.change import Event, Ignored
from rebuilder.domain.message import IncomingMessage

Parser = Callable[[Any], tuple[Event, ...]]

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
}


def parse(message: IncomingMessage) -> tuple[Event, ...]:
    """What a message tells, at least one event. Raises InvalidMessage naming the field that is missing or wrong.

    Chosen by the topic, under any prefix (as `org.fedoraproject.prod.buildsys.tag`) and never by the schema: Koji
    sends bodies that its own schema refuses as generic messages on the same topic.
    """
    parser = parser_of(message.topic)
    return parser(message.body) if parser else (Ignored(f"topic {message.topic}"),)


def parser_of(topic: str) -> Parser | None:
    for suffix, parser in PARSERS.items():
        if topic == suffix or topic.endswith(f".{suffix}"):
            return parser
    return None
