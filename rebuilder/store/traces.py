"""What a trace of a wave is made of: its changes with the messages that told of them, and the story of its rebuilds."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import Struct
from sqlalchemy import Connection, select

from rebuilder.store import rebuild_progress
from rebuilder.store.models import Change, Delivery, Image, Message, Rebuild, Wave, WaveChange
from rebuilder.store.rebuild_progress import Step
from rebuilder.store.upsert import chunks


class TracedChange(Struct, frozen=True):
    """A change; `received` is when its message came, or else when it was noticed (seconds since the epoch)."""

    build: str
    stream: str
    severity: str
    update: str
    message: str
    received: float
    noticed: float


class Promotion(Struct, frozen=True):
    """A name that came to point to a build of the wave."""

    delivery: int
    image: str
    name: str
    requested: float
    done: float


class FinishedWave(Struct, frozen=True):
    """A wave that is finished, with all that happened to its rebuilds, in order, and to the names of its builds."""

    id: int
    begun: float
    finished: float
    changes: tuple[TracedChange, ...]
    steps: tuple[Step, ...]
    promotions: tuple[Promotion, ...] = ()


def finished(connection: Connection, after: tuple[float, int], limit: int) -> list[FinishedWave]:
    """The waves that finished after another one, which `after` names by its end and its number; the first of them."""
    end, number = after
    later = (Wave.finished_at > end) | ((Wave.finished_at == end) & (Wave.id > number))
    query = _WAVES.where(later).order_by(Wave.finished_at, Wave.id)
    return [_in_full(connection, *row) for row in connection.execute(query.limit(limit)).all()]


def unmoved(connection: Connection) -> frozenset[int]:
    """The deliveries that are still to be made: names that wait for a whole wave, an operator, or a registry."""
    return frozenset(connection.scalars(select(Delivery.id).where(Delivery.state.in_(("waiting", "pending")))))


def moved(connection: Connection, deliveries: Collection[int], until: tuple[float, int]) -> Iterator[FinishedWave]:
    """The waves, up to the one that `until` names, that some of these deliveries, now made, belong to."""
    end, number = until
    for some in chunks(sorted(deliveries)):
        query = (
            _WAVES.join(Rebuild, Rebuild.wave_id == Wave.id)
            .join(Delivery, Delivery.build_id == Rebuild.build_id)
            .where(Delivery.id.in_(some), Delivery.state == "done")
            .where((Wave.finished_at < end) | ((Wave.finished_at == end) & (Wave.id <= number)))
        )
        for row in connection.execute(query.distinct()).all():
            yield _in_full(connection, *row)


_WAVES = select(Wave.id, Wave.created_at, Wave.finished_at)


def _in_full(connection: Connection, wave: int, begun: float, ended: float | None) -> FinishedWave:
    steps = tuple(rebuild_progress.steps_of_wave(connection, wave))
    return FinishedWave(wave, begun, ended or begun, _changes(connection, wave), steps, _promotions(connection, wave))


def _changes(connection: Connection, wave: int) -> tuple[TracedChange, ...]:
    nvr = Change.source + "-" + Change.version_release
    query = (
        select(
            nvr, Change.stream, Change.severity, Change.update, Change.message_id, Message.received_at,
            Change.noticed_at,
        )
        .join(WaveChange, WaveChange.change_id == Change.id)
        .outerjoin(Message, Message.id == Change.message_id)
        .where(WaveChange.wave_id == wave)
        .order_by(Change.id)
    )
    return tuple(
        TracedChange(build, stream, severity, update, message or "", received or noticed, noticed)
        for build, stream, severity, update, message, received, noticed in connection.execute(query)
    )


def _promotions(connection: Connection, wave: int) -> tuple[Promotion, ...]:
    query = (
        select(Delivery.id, Image.key, Delivery.spec, Delivery.requested_at, Delivery.done_at)
        .join(Image, Image.id == Delivery.image_id)
        .join(Rebuild, Rebuild.build_id == Delivery.build_id)
        .where(Rebuild.wave_id == wave, Delivery.state == "done")
        .order_by(Delivery.id)
    )
    return tuple(
        Promotion(ident, image, name, requested, done or requested)
        for ident, image, name, requested, done in connection.execute(query)
    )
