"""The publisher: sends what is in the outbox, in order, and forgets what the broker has confirmed.

A letter leaves the outbox only then, so it can be killed anywhere; what is sent twice has the same id and body. Many
are on their way at a time, but of what is about the same only one: the next is sent when that one is confirmed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf

from fedora_messaging.exceptions import PublishForbidden, PublishReturned
from fedora_messaging.exceptions import ValidationError as Invalid
from fedora_messaging.message import Message
from jsonschema.exceptions import SchemaError, ValidationError
from msgspec import Struct, field
from pika.exceptions import ShortStringTooLong, UnsupportedAMQPFieldException
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from rebuilder.config import Settings
from rebuilder.engine import notifications
from rebuilder.engine.clock import Clock, SystemClock
from rebuilder.store import heartbeats, lease, outbox
from rebuilder.store.database import first_line, reading
from rebuilder.store.outbox import OutboxEntry

log = logging.getLogger(__name__)

BATCH = 100  # letters on their way, read, and forgotten, at a time: no more than these are sent again after a crash
HELD = 100  # subjects whose letters the broker does not take; with more, it is the broker that fails
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
DATABASE_PAUSE = 5.0
BEAT_SECONDS = 10.0
FORGET_SECONDS = 3600.0
RENEW_SECONDS = 3.0
NEVER = (
    PublishForbidden, Invalid, ValidationError, SchemaError, ShortStringTooLong, UnsupportedAMQPFieldException,
)  # fmt: skip

Outcome = Callable[[], None]
Send = Callable[[Message], Outcome]
Subject = tuple[int, int | None]


class _Round(Struct):
    """Some letters, and what became of them. `behind` are subjects of which an earlier letter has not gone out.

    `doubtful` are letters that were on their way when one was forbidden: that ends them all, and does not say which.
    """

    done: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    behind: set[Subject] = field(default_factory=set)
    flight: list[tuple[OutboxEntry, Outcome]] = field(default_factory=list)
    doubtful: list[OutboxEntry] = field(default_factory=list)
    over: bool = False

    def must_wait(self, letter: OutboxEntry) -> bool:
        """Whether one on its way, or in doubt, is about the same; a wave's letter goes before or after its images'."""
        on_their_way = (other for other, _ in self.flight)
        return any(_about_the_same(letter, other) for other in (*on_their_way, *self.doubtful))


def _about_the_same(one: OutboxEntry, other: OutboxEntry) -> bool:
    return one.wave_id == other.wave_id and (one.rebuild_id == other.rebuild_id or None in (
        one.rebuild_id, other.rebuild_id))  # fmt: skip


class Publisher:
    """Works off the outbox. `send` begins to publish a message; what it gives returns once the broker has confirmed it,
    or raises what publishing does.

    `rest` has the seconds to let pass before the next letters, for the sake of who has more urgent work.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        send: Send,
        *,
        rest: Callable[[], float] = lambda: 0.0,
        clock: Clock | None = None,
    ) -> None:
        self._engine = engine
        self._term = lease.term_of(engine)
        self._settings = settings
        self._send = send
        self._rest = rest
        self._clock = clock or SystemClock()
        self._pause = 0.0
        self._trouble = ""
        self._beat_at = -inf
        self._forget_at = -inf
        self._held: dict[Subject, tuple[float, float]] = {}  # until when (monotonic), and for how long that is

    def run(self, stop: threading.Event) -> None:
        """Send what there is until `stop` is set. The broker and the database are waited for. Raises LeaseLost."""
        while not stop.is_set():
            try:
                self._confirm()
                sent = self.once(stop)
                self._beat()
                self._wait(self._pause or (self._rest() if sent else self._settings.poll_seconds), stop)
            except DBAPIError as error:
                log.error("database: %s; trying again in %.0f s", first_line(error), DATABASE_PAUSE)
                stop.wait(DATABASE_PAUSE)
        with suppress(DBAPIError), self._engine.begin() as connection:
            heartbeats.stopped(connection, ("publisher",))

    def _confirm(self) -> None:
        """Make sure that no other publisher acts. Raises LeaseLost."""
        if self._term is not None:
            self._term.confirm(RENEW_SECONDS)

    def _wait(self, seconds: float, stop: threading.Event) -> None:
        """Let time pass, and keep the lease meanwhile."""
        while self._term is not None and seconds > RENEW_SECONDS and not stop.wait(RENEW_SECONDS):
            self._confirm()
            seconds -= RENEW_SECONDS
        stop.wait(seconds)

    def _beat(self) -> None:
        """Say that the publisher gets on, and what the broker said where it takes nothing; at most every few seconds.

        Between two tries there may be a pause as long as the longest.
        """
        if (now := self._clock.monotonic()) >= self._beat_at:
            with self._engine.begin() as connection:
                heartbeats.record_heartbeat(connection, "publisher", LONGEST_PAUSE, self._clock.now(), self._trouble)
            self._beat_at = now + BEAT_SECONDS

    def once(self, stop: threading.Event) -> int:
        """Send the oldest letters; how many the broker has now, or were set aside."""
        self._forget()
        held = self._holding(self._clock.monotonic())
        with reading(self._engine) as connection:
            letters = outbox.unsent(connection, BATCH, held) if len(held) < HELD else []
        if not letters:
            self._pause = 0.0
            return 0
        this = _Round()
        try:
            self._send_all(self._written(letters), this, stop)
        finally:
            with self._engine.begin() as connection:
                outbox.confirmed(connection, this.done)
                outbox.refuse(connection, this.refused, self._clock.now())
        return len(this.done) + len(this.refused)

    def _send_all(self, letters: Sequence[OutboxEntry], this: _Round, stop: threading.Event) -> None:
        for letter in letters:
            while this.flight and this.must_wait(letter):
                self._settle(this)
            if this.doubtful and this.must_wait(letter):
                self._settle_all(this)
            if stop.is_set() or this.over or not self._sure():
                break
            if letter.subject not in this.behind:
                this.flight.append((letter, self._send(notifications.message(letter))))
        self._settle_all(this)

    def _sure(self) -> bool:
        return self._term is None or self._term.sure

    def _settle_all(self, this: _Round) -> None:
        """Wait for all that is on its way; what was ended by another's fault is sent again, each by itself."""
        while this.flight:
            self._settle(this)
        again, this.doubtful = this.doubtful, []
        for letter in again:
            if not this.over and letter.subject not in this.behind:
                self._deal(letter, self._send(notifications.message(letter)), this, alone=True)

    def _settle(self, this: _Round) -> None:
        """Wait for the first that is on its way."""
        letter, outcome = this.flight.pop(0)
        self._deal(letter, outcome, this, alone=False)

    def _forget(self) -> None:
        """What was set aside is kept for a while, and no longer."""
        if (now := self._clock.monotonic()) >= self._forget_at:
            kept = self._settings.retention.notification_days * 86400
            with self._engine.begin() as connection:
                outbox.forget_refused(connection, self._clock.now() - kept)
            self._forget_at = now + FORGET_SECONDS

    def _written(self, letters: Sequence[OutboxEntry]) -> list[OutboxEntry]:
        """The letters with their bodies, which are kept before anything is sent."""
        blank = [letter for letter in letters if letter.body is None]
        if not blank:
            return list(letters)
        with reading(self._engine) as connection:
            bodies = notifications.write(connection, blank, self._settings.notify.url)
        with self._engine.begin() as connection:
            outbox.keep(connection, bodies)
        return [letter.written(bodies[letter.seq]) if letter.body is None else letter for letter in letters]

    def _deal(self, letter: OutboxEntry, outcome: Outcome, this: _Round, *, alone: bool) -> None:
        """Take note of what became of one letter."""
        try:
            outcome()
        except NEVER as error:
            if isinstance(error, PublishForbidden) and not alone:
                this.doubtful.append(letter)
                return
            this.refused[letter.seq] = reason_of(error)
            log.error("%s of wave %d is set aside: %s", letter.notice, letter.wave_id, this.refused[letter.seq])
        except PublishReturned as error:
            this.behind.add(letter.subject)
            this.over |= not self._hold(letter, error)
            return
        except Exception as error:  # whatever it is, the letter is not lost: it stays where it is
            self._lost(error, this)
            return
        else:
            this.done.append(letter.seq)
        self._held.pop(letter.subject, None)
        if not this.over:
            self._reached()

    def _lost(self, error: Exception, this: _Round) -> None:
        """The broker is away; told once, however many letters were on their way."""
        if not this.over:
            self._pause = min(2 * self._pause or FIRST_PAUSE, LONGEST_PAUSE)
            self._trouble = f"the broker cannot be reached: {reason_of(error)}"
            log.warning("the broker cannot be reached, and is tried again: %s", reason_of(error))
        this.over = True

    def _reached(self) -> None:
        if self._pause:
            log.info("the broker is there again")
        self._pause, self._trouble = 0.0, ""

    def _hold(self, letter: OutboxEntry, error: Exception) -> bool:
        """Something is full: the letter is sent again later, and until then what is about others."""
        now = self._clock.monotonic()
        _, before = self._held.get(letter.subject, (now, 0.0))
        pause = min(2 * before or FIRST_PAUSE, LONGEST_PAUSE)
        self._held[letter.subject] = now + pause, pause
        log.warning("%s of wave %d is not taken, and sent again: %s", letter.notice, letter.wave_id, reason_of(error))
        return len(self._holding(now)) < HELD

    def _holding(self, now: float) -> list[Subject]:
        """What nothing is sent about now."""
        return [subject for subject, (until, _) in self._held.items() if until > now]


def reason_of(error: Exception) -> str:
    """What went wrong, in one line; of a message that its schema refuses, where that is."""
    if isinstance(error, ValidationError):
        return f"{error.json_path}: {error.message}"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
