"""Why a rebuild that is open does not go on: the first thing that would have to change, and until when."""

from __future__ import annotations

from collections import Counter

from msgspec import Struct
from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.image_name import stream_of
from rebuilder.domain.lifecycle import LIVE, UNDER_WAY, RebuildRecord, State
from rebuilder.store import cancellations, heartbeats, holds, open_rebuilds, rebuild_progress, verdicts


class Wait(Struct, frozen=True):
    """What a rebuild waits for, and until when at the most (seconds since the epoch). Empty where it goes on."""

    reason: str = ""
    until: float | None = None


class Waiting:
    """What rebuilds wait for, read once for all of them."""

    def __init__(self, connection: Connection, settings: Settings, now: float) -> None:
        self._connection = connection
        self._settings = settings
        self._now = now
        paused = holds.paused(connection, now)
        self._paused = f"paused by {paused}" if paused else ""
        self._held = holds.held(connection, now)
        live = open_rebuilds.in_states(connection, UNDER_WAY)
        self._building = {entry.image for entry in live if entry.state in LIVE}
        self._testing = {entry.image for entry in live} - self._building
        self._answers = verdicts.pending(connection)
        self._stopping = {build.image for build in cancellations.pending(connection)}
        self._streams = Counter(stream_of(entry.image) for entry in live if entry.state in LIVE)
        beat = heartbeats.read(connection).get("engine")
        self._activity = beat.activity if beat else heartbeats.NOTHING

    def of(self, entries: list[RebuildRecord]) -> dict[int, Wait]:
        """What each of these waits for, by its id."""
        not_before = rebuild_progress.not_before(self._connection, [entry.id for entry in entries])
        return {entry.id: self._wait(entry, not_before.get(entry.id, 0.0)) for entry in entries}

    def _wait(self, entry: RebuildRecord, not_before: float) -> Wait:
        match entry.state:
            case State.QUEUED:
                return self._in_queue(entry, not_before)
            case State.SUBMITTING:
                return self._at_submission(entry, not_before)
            case State.BUILDING if entry.ref in self._activity.at_builder:
                limit = self._settings.queue_limit
                until = entry.started_at + limit if limit and entry.started_at is not None else None
                return Wait("the builder has accepted it and not started it", until)
            case State.TESTING:
                return Wait(self._unanswered(entry))
        return Wait()

    def _unanswered(self, entry: RebuildRecord) -> str:
        """What has not said yet whether the build is good."""
        kinds = [one.kind for one in self._answers if one.rebuild_id == entry.id]
        return " and ".join(f"its {kind}" for kind in kinds)

    def _in_queue(self, entry: RebuildRecord, not_before: float) -> Wait:
        stream = stream_of(entry.image)
        limit = self._settings.streams[stream].max_builds if stream in self._settings.streams else None
        slots = self._settings.slots
        if (kept := self._kept(entry)).reason:
            return kept
        if entry.image in self._building:
            return Wait("an earlier build of it runs")
        if entry.image in self._testing:
            return Wait("an earlier build of it is being tested")
        if entry.image in self._stopping:
            return Wait("its last build is to be stopped at the builder first")
        if not_before > self._now:
            return Wait(f"the next attempt: {entry.reason}", not_before)
        if limit is not None and self._streams[stream] >= limit:
            return Wait(f"all {limit} slots of stream {stream} are in use")
        return Wait(f"all {slots} slots are in use") if self._streams.total() >= slots else Wait()

    def _kept(self, entry: RebuildRecord) -> Wait:
        """What an operator said."""
        if self._paused:
            return Wait(self._paused)
        hold = self._held.get(entry.image)
        return Wait(f"held by {hold}", hold.until) if hold else Wait()

    def _at_submission(self, entry: RebuildRecord, not_before: float) -> Wait:
        if entry.key in self._activity.in_doubt:
            error = self._activity.in_doubt[entry.key]
            return Wait(f"the submission was not answered ({error}); the builder is asked whether it has the build")
        if (kept := self._kept(entry)).reason:
            return kept
        for problem in self._activity.problems:
            if problem.what in ("submissions", "builder"):
                return Wait(problem.reason, problem.until)
        return Wait("the next try", not_before) if not_before > self._now else Wait()
