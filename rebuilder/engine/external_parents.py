"""External parents: their registries are asked at intervals, and what is new in them becomes changes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

from msgspec import Struct
from sqlalchemy import Connection, Engine

from rebuilder.config import Settings
from rebuilder.domain.change import Change
from rebuilder.domain.rpm import Rpm
from rebuilder.engine import ingest
from rebuilder.engine.backoff import Backoff, Failure
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.context import Context
from rebuilder.engine.reconcile import Reconciliation, newer_builds
from rebuilder.inventory import external
from rebuilder.inventory.external import Wanted
from rebuilder.store import actions, changes, externals
from rebuilder.store.actions import Verb
from rebuilder.store.database import reading
from rebuilder.store.externals import Observed
from rebuilder.store.startable import FRESH_SECONDS

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 15.0, 600.0
LOOK_SECONDS = 2.0  # how soon a pull spec that is new in the inventory is asked for
SUBJECT = "external parents"


def ask(engine: Engine, settings: Settings, heard: Callable[[], None] = lambda: None,
        specs: Collection[str] | None = None) -> list[Observed]:  # fmt: skip
    """What registries say of these pull specs, or of all that images are built on. Nothing is open meanwhile.

    A registry that is unreachable is told in `trouble`. `heard` is told of each that is done.
    """
    with reading(engine) as connection:
        used, stored = externals.in_use(connection), externals.stored(connection)
    questions = []
    for spec in external.remote(used if specs is None else [spec for spec in specs if spec in used]):
        before = stored.get(spec)
        platforms = external.platforms_of(settings, used[spec])
        questions.append(
            Wanted(spec, platforms, before.name, before.digest, tuple(before.platforms)) if before
            else Wanted(spec, platforms)
        )  # fmt: skip
    return [
        Observed(answer.spec, answer.name, answer.digest, answer.offered, answer.contents or {}, answer.trouble)
        for answer in external.ask(questions, settings, heard)
    ]


def save(connection: Connection, observed: Sequence[Observed], settings: Settings, now: float) -> set[str]:
    """Keep what registries said, and notice what new external parents bring; the pull specs of which more is known."""
    moved = externals.record(connection, observed, now)
    if moved and settings.external_changes == "rpms":
        new = changes.unknown(connection, brought(connection, moved, settings))
        changes.notice(connection, new, None, "", now)
    return moved


class Refreshed(Struct, frozen=True):
    """How many external parents were asked for, the pull specs of which more is known now, and what went wrong."""

    asked: int = 0
    moved: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()


def refresh(engine: Engine, settings: Settings, who: str, heard: Callable[[], None] = lambda: None) -> Refreshed:
    """Ask for all external parents for the operator `who`, and let the engine look at what is new in them."""
    observed = ask(engine, settings, heard)
    now = time.time()
    with engine.begin() as connection:
        moved = save(connection, observed, settings, now)
        if moved:
            actions.request(connection, Verb.CATCH_UP, "external parents", who, "registries were asked", now)
    return Refreshed(len(observed), tuple(sorted(moved)), tuple(one.trouble for one in observed if one.trouble))


def brought(connection: Connection, specs: Iterable[str], settings: Settings) -> list[Change]:
    """What these external parents have newer than the images on them, as changes of the images' streams."""
    newer: dict[Change, None] = {}
    for spec in specs:
        contents = externals.manifests_of(connection, spec).values()
        rpms = [rpm for content in contents if content is not None for rpm in content.rpms]
        newer.update(dict.fromkeys(newer_than_images(connection, spec, rpms, settings)))
    return list(newer)


def newer_than_images(
    connection: Connection, spec: str, rpms: Collection[Rpm], settings: Settings
) -> list[Change]:
    """What a build of an external parent with these RPMs has newer than the images on it."""
    takes = {stream.name: stream for stream in ingest.known_streams(connection, settings)}
    below: dict[str, list[Rpm]] = {}
    for stream, rpm in externals.rpms_on(connection, spec, {rpm.name for rpm in rpms}):
        below.setdefault(stream, []).append(rpm)
    return [
        change
        for stream, carried in below.items() if stream in takes
        for change in newer_builds(rpms, carried, stream) if takes[stream].takes(change.build.evr.release)
    ]  # fmt: skip


class ExternalParents:
    """Asks registries for external parents. `ready` is false until those of the inventory were asked for once.

    Until then no change is planned: it is unknown which images a rebuild can help.
    """

    kinds = woken_by = frozenset({Kind.EXTERNALS})

    def __init__(self, context: Context, reconciliation: Reconciliation) -> None:
        self._context, self._reconciliation = context, reconciliation
        self._failures = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._ask_at = self._look_at = context.clock.monotonic()
        self._asked_at = self._ask_at - FRESH_SECONDS
        self._before_builds: tuple[str, ...] = ()
        self.ready = False

    @property
    def busy(self) -> bool:
        """Whether something is still to be asked before all can be said to be done."""
        return not self.ready or self._context.calls.any_out(*self.kinds)

    @property
    def failure(self) -> Failure | None:
        """Why a registry could not be asked last."""
        return self._failures.of(SUBJECT)

    def ask_for(self, specs: Iterable[str]) -> None:
        """Builds on these external parents wait to hear which digest there is now."""
        self._before_builds = tuple(specs)

    def ask(self) -> None:
        context, now = self._context, self._context.clock.monotonic()
        for spec in self._before_builds:  # each by itself: a registry that is slow keeps no build on others waiting
            context.calls.start(Kind.EXTERNALS, spec, partial(ask, context.engine, context.settings, specs=[spec]))
        self._before_builds = ()
        if not self._reconciliation.ready or now < self._look_at or context.calls.is_out(Kind.EXTERNALS, SUBJECT):
            return
        self._look_at = now + LOOK_SECONDS
        all_of_them = now >= self._ask_at or self._plan_is_near(now)
        specs = self._in_use(new=not all_of_them)
        if specs:
            heard = partial(context.calls.heard_of, Kind.EXTERNALS, SUBJECT)
            call = partial(ask, context.engine, context.settings, heard, specs)
            if not context.calls.start(Kind.EXTERNALS, SUBJECT, call):
                return
        elif all_of_them:  # no image is built on one
            self.ready = True
        if all_of_them:
            self._asked_at = now
            self._ask_at = now + context.settings.reconcile.externals_seconds

    def _plan_is_near(self, now: float) -> bool:
        """Whether changes are about to be planned, which is to be done on what registries have now."""
        if now - self._asked_at < FRESH_SECONDS:
            return False
        with reading(self._context.engine) as connection:
            return changes.settling(connection) > 0

    def _in_use(self, *, new: bool) -> list[str]:
        """What images are built on that a registry can be asked for; with `new` only what was never asked for."""
        with reading(self._context.engine) as connection:
            return external.remote(externals.never_asked(connection) if new else externals.in_use(connection))

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        done = 0
        now = self._context.clock.now()
        for answer in answers:
            self.ready = self.ready or answer.subject == SUBJECT
            if answer.error is not None:
                self._failed(str(answer.error))
                externals.asked_in_vain(connection, None if answer.subject == SUBJECT else str(answer.subject), now)
                continue
            troubles = [one for one in answer.value if one.trouble]
            if troubles:
                self._failed(troubles[0].trouble)
            else:
                self._failures.succeeded(SUBJECT)
            done += len(save(connection, answer.value, self._context.settings, now))
        if done:
            self._reconciliation.look_soon()
        return done

    def _failed(self, reason: str) -> None:
        now = self._context.clock.monotonic()
        failure = self._failures.failed(SUBJECT, reason, now)
        self._ask_at = min(self._ask_at, failure.until)
        log.error("an external parent's registry is unreachable, next try in %.0f s: %s", failure.until - now, reason)
