"""Changes, messages, holds, and what operators did."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from rebuilder.domain.change import Change as ChangeValue
from rebuilder.domain.errors import UnknownError
from rebuilder.queries.answer import Answer
from rebuilder.queries.moment import Moment, moment
from rebuilder.store import holds, lists
from rebuilder.store.inbox import InboxEntry
from rebuilder.store.lists import AuditEntry, ChangeEntry


class Change(Answer):
    """A source build that is new in a stream, and the message that told of it first."""

    id: int
    source: str
    evr: str
    nvr: str
    stream: str
    severity: str
    update: str
    url: str
    type: str
    cves: tuple[str, ...]
    state: str
    noticed: Moment
    message: str | None


class Message(Answer):
    """A message received, and what became of it."""

    seq: int
    id: str
    topic: str
    received: Moment
    state: str
    reason: str


class MessageInFull(Message):
    """A message as it came."""

    headers: dict[str, Any]
    body: Any


class Held(Answer):
    """An image that must not be built; `until` is when that ends by itself."""

    image: str
    who: str
    reason: str
    since: Moment
    until: Moment | None


class Action(Answer):
    """What an operator did or asked for; null in `done` while the engine has not carried it out."""

    id: int
    at: Moment
    who: str
    verb: str
    target: str
    reason: str
    done: Moment | None
    answer: str


def change(noted: ChangeEntry) -> Change:
    """A change as an answer."""
    value: ChangeValue = noted.noticed.change
    return Change(
        id=noted.noticed.id, source=value.build.name, evr=str(value.build.evr), nvr=value.build.nvr,
        stream=value.stream, severity=value.severity, update=value.update, url=value.url, type=value.type,
        cves=value.cves, state=noted.state, noticed=moment(noted.noticed_at), message=noted.noticed.message or None,
    )


def one_change(connection: Connection, ident: int) -> Change:
    """One change. Raises UnknownError."""
    entry = lists.change(connection, ident)
    if entry is None:
        raise UnknownError(f"there is no change {ident}")
    return change(entry)


def message(kept: InboxEntry) -> Message:
    """A message as an answer."""
    return Message.model_validate(_message(kept))


def _message(kept: InboxEntry) -> dict[str, object]:
    return {"seq": kept.seq, "id": kept.message.id, "topic": kept.message.topic, "received": moment(kept.received_at),
            "state": kept.state, "reason": kept.reason}


def message_in_full(connection: Connection, ident: str) -> MessageInFull:
    """One message. Raises UnknownError."""
    kept = lists.message(connection, ident)
    if kept is None:
        raise UnknownError(f"there is no message {ident}")
    return MessageInFull.model_validate({**_message(kept), "headers": kept.message.headers, "body": kept.message.body})


def held(connection: Connection, now: float) -> tuple[Held, ...]:
    """All holds that are in force, by image."""
    return tuple(
        Held(image=h.image, who=h.who, reason=h.reason, since=moment(h.since), until=moment(h.until))
        for h in holds.held(connection, now).values()
    )


def action(deed: AuditEntry) -> Action:
    """What an operator did as an answer."""
    return Action(id=deed.id, at=moment(deed.at), who=deed.who, verb=deed.verb, target=deed.target,
                  reason=deed.reason, done=moment(deed.done_at), answer=deed.answer)


def one_action(connection: Connection, ident: int) -> Action:
    """What an operator did under that number. Raises UnknownError."""
    entry = lists.audit_entry(connection, ident)
    if entry is None:
        raise UnknownError(f"there is no action {ident}")
    return action(entry)
