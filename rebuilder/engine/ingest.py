"""From the inbox to changes: every message is read once, and becomes changes, or is ignored or rejected."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from msgspec import Struct, field
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from rebuilder.config import Settings, StreamSettings
from rebuilder.domain.change import (
    AvailableBuild,
    BuildFinished,
    BuildUntagged,
    Change,
    Event,
    Ignored,
    InvalidMessage,
    RepoDone,
    TestFinished,
    streams_for,
)
from rebuilder.domain.image import Stream, has_dist
from rebuilder.domain.image_name import ImageName
from rebuilder.domain.message import IncomingMessage
from rebuilder.inventory.source import source_of
from rebuilder.store import change_lookup, changes, inbox, inventory, pending_changes, verdicts
from rebuilder.store.data_errors import is_of_the_values, one_line

log = logging.getLogger(__name__)

Parse = Callable[[IncomingMessage], tuple[Event, ...]]
BATCH = 500
EVENTS = 1000  # after so many the rest waits for the next pass: one message may have thousands
NOT_CONFIGURED = StreamSettings()


class IngestResult(Struct):
    """What was read: how many messages; the numbers of the tasks whose container builds ended, 0 for one without.

    `repositories` are the build tags whose repositories were made anew.
    `images` is true where an image may have got another build at the inventory's source, `withdrawals` where something
    may be offered no more.
    """

    messages: int = 0
    tasks: set[int] = field(default_factory=set)
    repositories: set[str] = field(default_factory=set)
    images: bool = False
    withdrawals: bool = False


def read(connection: Connection, parse: Parse, settings: Settings, now: float) -> IngestResult:
    """Act on the oldest unread messages. What cannot be parsed is rejected, with the reason."""
    unread = inbox.unread(connection, BATCH)
    taken, left = IngestResult(), EVENTS
    streams = known_streams(connection, settings) if unread else ()
    for kept in unread:
        events: tuple[Event, ...] = ()
        try:
            with connection.begin_nested():  # PostgreSQL: an error undoes this message alone, not the batch
                events = parse(kept.message)
                reasons = [_act(connection, event, kept.message.id, settings, streams, now) for event in events]
                _note(connection, events, settings, taken)
            state, reason = "ignored" if all(reasons) else "accepted", "; ".join(filter(None, reasons))
        except Exception as error:
            if isinstance(error, SQLAlchemyError) and not is_of_the_values(error):
                raise
            state, reason = "rejected", _why_rejected(error)
        log.debug("message %s (%s): %s %s", kept.message.id, kept.message.topic, state, reason)
        inbox.mark(connection, kept.seq, state, reason)
        taken.messages += 1
        left -= len(events)
        if left <= 0:
            break
    return taken


def _note(connection: Connection, events: Iterable[Event], settings: Settings, taken: IngestResult) -> None:
    """Remember what the events tell of images and of their builds."""
    for event in events:
        if isinstance(event, BuildFinished) and event.container:
            taken.tasks.add(event.task_id or 0)
        elif isinstance(event, RepoDone):
            taken.repositories.add(event.koji_tag)
        elif isinstance(event, AvailableBuild | BuildUntagged) and event.koji_tag:
            taken.images = taken.images or _is_image(connection, event, settings)
        taken.withdrawals = taken.withdrawals or isinstance(event, BuildUntagged)


def _why_rejected(error: Exception) -> str:
    """In one line; what is no fault of the message's fields goes to the log as well."""
    if not isinstance(error, InvalidMessage):
        log.error("a message is rejected: %s", _reason(error))
    return _reason(error)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, InvalidMessage) else f"{type(error).__name__}: {one_line(error)}"


def _is_image(connection: Connection, event: AvailableBuild | BuildUntagged, settings: Settings) -> bool:
    """Whether what was tagged, or untagged, is by its name an image of a stream that the tag feeds."""
    if not source_of(settings).follows_koji_tags:
        return False
    fed = [name for name, stream in settings.streams.items() if event.koji_tag in stream.koji_tags]
    return bool(inventory.find(connection, [str(ImageName(event.build.name, name)) for name in fed]))


def preview(connection: Connection, message: IncomingMessage, parse: Parse, settings: Settings) -> tuple[str, str]:
    """What reading the message will make of it: accepted, ignored or rejected, and then why. Changes nothing."""
    try:
        events = parse(message)
    except Exception as error:
        return "rejected", _reason(error)
    streams = known_streams(connection, settings)
    return ("accepted" if any(_result(event, settings, streams) for event in events) else "ignored"), ""


def _result(event: Event, settings: Settings, streams: tuple[Stream, ...]) -> bool:
    if isinstance(event, AvailableBuild):
        return bool(feeds(event, settings, streams))
    if isinstance(event, TestFinished):
        return _is_awaited(event, settings)
    return isinstance(event, RepoDone | BuildUntagged) or (isinstance(event, BuildFinished) and event.container)


def known_streams(connection: Connection, settings: Settings) -> tuple[Stream, ...]:
    """The configured streams, then those that only the inventory names."""
    configured = settings.known_streams
    names = {stream.name for stream in configured}
    return (*configured, *(stream for stream in inventory.streams(connection) if stream.name not in names))


def _act(
    connection: Connection, event: Event, message_id: str, settings: Settings, streams: tuple[Stream, ...], now: float
) -> str:
    """Carry out one event; the reason where it is of no interest, else nothing."""
    match event:
        case AvailableBuild():
            noticed = [Change(event.build, name, event.severity, event.update, event.url, event.type, cves=event.cves)
                     for name in feeds(event, settings, streams)]
            changes.notice(connection, noticed, message_id, event.waits_for_repo, now)
            return "" if noticed else f"no stream takes {event.build} from {event.bodhi_release or event.koji_tag}"
        case RepoDone():
            pending_changes.repo_done(connection, event.koji_tag)
            return ""
        case BuildUntagged():
            _withdraw(connection, event, settings, now)
            return ""
        case TestFinished():
            return _judge(connection, event, settings, now)
        case Ignored():
            return event.reason
        case BuildFinished(container=True):
            return ""
        case _:
            return "the end of a build does not cause a rebuild"


def _judge(connection: Connection, event: TestFinished, settings: Settings, now: float) -> str:
    """The result answers the gates that wait for this test, now or when the build is proven; else why it does not."""
    if not _is_awaited(event, settings):
        return f"no gate waits for the test {event.test}"
    reason = " ".join(filter(None, (f"{event.test} {event.result}", event.url)))
    verdicts.answer_for(connection, event.builds, event.passed, reason, now)
    return ""


def _is_awaited(event: TestFinished, settings: Settings) -> bool:
    return bool(event.test) and any(event.test == stream.gate_test for stream in settings.streams.values())


def _withdraw(connection: Connection, event: BuildUntagged, settings: Settings, now: float) -> None:
    """Bodhi's word on an update is final. A build that left a tag may be in another one of the stream: Koji knows.

    Without a Koji to ask, it is gone where it waited for that tag's repository, or the stream has no other tag.
    """
    if event.update:
        changes.withdraw(connection, change_lookup.offered_by_update(connection, event.build, event.update), now)
        return
    doubted, gone = [], []
    for ident, stream, waits_for_repo in change_lookup.of_build(connection, event.build):
        tags = settings.streams[stream].koji_tags if stream in settings.streams else ()
        if settings.koji.hub and event.koji_tag in tags:
            doubted.append(ident)
        elif waits_for_repo == event.koji_tag or set(tags) == {event.koji_tag}:
            gone.append(ident)
    changes.doubt(connection, doubted)
    changes.withdraw(connection, gone, now)


def feeds(offer: AvailableBuild, settings: Settings, streams: Iterable[Stream]) -> list[str]:
    """The streams that take what is available: those fed by its release or tag, and whose dist tag it has.

    A stream for which no release or tag is configured takes what its dist tag fits.
    """
    if offer.stream:
        return [stream.name for stream in streams if stream.name == offer.stream]
    names = []
    for stream in streams:
        fed = settings.streams.get(stream.name)
        if _is_fed_by(offer, fed or NOT_CONFIGURED) and _fits(offer, stream, fed):
            names.append(stream.name)
    return names


def _is_fed_by(offer: AvailableBuild, fed: StreamSettings) -> bool:
    """By the release or tag, where any is configured; what is in testing only where the stream takes that."""
    if offer.testing and not fed.testing:
        return False
    if fed.bodhi_releases or fed.koji_tags:
        return offer.bodhi_release in fed.bodhi_releases or offer.koji_tag in fed.koji_tags
    return True


def _fits(offer: AvailableBuild, stream: Stream, fed: StreamSettings | None) -> bool:
    """By its dist tag; or Bodhi publishes it for the stream's release and it has none, as fedora-release."""
    published = fed is not None and bool(offer.bodhi_release) and offer.bodhi_release in fed.bodhi_releases
    return bool(streams_for(offer.build, (stream,))) or (published and not has_dist(offer.build.evr.release))
