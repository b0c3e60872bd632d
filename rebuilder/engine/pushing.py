"""Pushes proven builds to registries, each once, under all their names with one digest.

That a build is to be pushed is committed with its proof. A push that was broken off goes on: what is there already
under a name that never moves is recognized by the build's key, and is copied from there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from threading import Semaphore

from msgspec import Struct
from sqlalchemy import Connection

from rebuilder.builders.protocol import Builder, Uploading
from rebuilder.domain.build import BuildRejected
from rebuilder.domain.errors import InfrastructureError
from rebuilder.engine.backoff import Backoff, Failure
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.context import Context
from rebuilder.engine.endorsing import Endorsing
from rebuilder.registry.errors import Cause, RegistryError
from rebuilder.registry.pull_spec import at_digest, pinned, repository
from rebuilder.registry.push import Remote
from rebuilder.store import deliveries, endorsements, lease, pushes
from rebuilder.store.database import reading
from rebuilder.store.deliveries import Pending
from rebuilder.store.lease import Term

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0
AWAY = frozenset({Cause.UNREACHABLE, Cause.SLOW, Cause.BUSY, Cause.CERTIFICATE})
LONGEST_QUEUE = 30.0  # seconds that a push waits in line for a place before it is chosen anew
UNNAMED = "{place}: the build has no tag of its own in any repository, so it can be neither signed nor described"
RENAMED = "{spec} exists already and is not this build: it is left unchanged"


class Push(Struct, frozen=True):
    """All names that one build is still to get, those that never move first; `at` is where it is already.

    `endorsed` is what was attached to it and signed before.
    """

    names: tuple[Pending, ...]
    at: str
    endorsed: frozenset[str] = frozenset()

    @property
    def build(self) -> Pending:
        """The name that stands for the build where one of them is enough."""
        return self.names[0]


class Pushed(Struct, frozen=True):
    """The names that were given, with the pull spec by digest behind each; those that are taken, and why others failed.

    One that failed is tried again; `why` is the first reason. `endorsed` is what was attached to the build and signed.
    """

    given: dict[int, str]
    taken: dict[int, str]
    failed: dict[int, str]
    endorsed: list[str]

    @property
    def why(self) -> str:
        """Why the first of the names that failed did; empty where none failed."""
        return next(iter(self.failed.values()), "")


class Pushes:
    """The builds that are to be pushed: of one image, one at a time, so that the latest is the last to move a tag."""

    kinds = frozenset({Kind.PUSH})
    woken_by = kinds | {Kind.RESULT, Kind.TEST}

    def __init__(self, context: Context) -> None:
        self._context = context
        self._failures = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._endorsing = Endorsing.of(context.settings, context.engine)
        registry = context.settings.registry
        self._remote = Remote(registry.auth_file, context.settings.calls.push_seconds, registry.call_seconds)
        self._out: dict[str, Push] = {}  # by image
        self._places = Semaphore(registry.at_once)

    @property
    def failure(self) -> Failure | None:
        """Why some build could not be pushed last."""
        return self._failures.longest(self._out)

    def close(self) -> None:
        """End the connections to registries."""
        self._remote.close()

    def ask(self) -> None:
        context, now = self._context, self._context.clock.monotonic()
        pushes = self._wanted()
        self._failures.forget(pushes)
        self._out = {image: push for image, push in self._out.items() if image in pushes}
        out = context.calls.outstanding().get(Kind.PUSH)
        # As many again stand in line, so that no place is empty until the loop comes round.
        free = 2 * context.settings.registry.at_once - (out.count if out else 0)
        term = lease.term_of(context.engine)
        for image, push in pushes.items():
            if free <= 0:
                return
            call = partial(self._in_turn, image, push, term)
            if not self._failures.resting(image, now) and context.calls.start(Kind.PUSH, image, call):
                self._out[image] = push
                free -= 1

    def _in_turn(self, image: str, push: Push, term: Term | None) -> Pushed | None:
        """Push where there is a place for it; None where there was none for so long. Runs in a call's thread."""
        context = self._context
        if not self._places.acquire(timeout=min(LONGEST_QUEUE, self._remote.seconds / 2)):
            return None
        try:
            context.calls.heard_of(Kind.PUSH, image)  # its time begins now
            return _Pushing(context.builder, push, self._endorsing, self._remote, term).all()
        finally:
            self._places.release()

    def _wanted(self) -> dict[str, Push]:
        """The oldest build of each image that is to be pushed."""
        with reading(self._context.engine) as connection:
            pending = deliveries.pending(connection, remote=True)
            builds = {one.build_id for one in pending}
            there = deliveries.places(connection, builds) if pending else {}
            endorsed = endorsements.of_builds(connection, builds) if pending and self._endorsing.wanted else {}
        by_image: dict[str, list[Pending]] = {}
        for one in pending:
            names = by_image.setdefault(one.image, [])
            if not names or names[0].build_id == one.build_id:
                names.append(one)
        return {
            image: Push(
                tuple(sorted(names, key=lambda one: (one.moves, one.id))),
                names[0].at or there.get(names[0].build_id, ""),
                endorsed.get(names[0].build_id, frozenset()),
            )
            for image, names in by_image.items()
        }

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        for answer in answers:
            image = str(answer.subject)
            if answer.error is not None:
                if not answer.late:
                    self._failed(connection, image, answer)
            elif answer.value is not None:
                self._recorded(connection, image, answer.value)
        return 0  # nothing else is decided by it: the next pushes begin without that

    def _recorded(self, connection: Connection, image: str, pushed: Pushed) -> None:
        now = self._context.clock.now()
        deliveries.pushed(connection, pushed.given, now)
        pushes.given(connection, pushed.given, now)
        deliveries.refused(connection, pushed.taken, now)
        if pushed.endorsed and image in self._out:
            endorsements.add(connection, self._out[image].build.build_id, pushed.endorsed)
        for reason in pushed.taken.values():
            log.error("%s", reason)
        if pushed.given:
            log.info("%s was pushed: %s", image, ", ".join(dict.fromkeys(pushed.given.values())))
        if pushed.failed:
            self._delayed(connection, image, pushed.failed, pushed.why)
        else:
            self._failures.succeeded(image)

    def _failed(self, connection: Connection, image: str, answer: Answer) -> None:
        reasons = {one.id: str(answer.error) for one in self._out[image].names} if image in self._out else {}
        if isinstance(answer.error, BuildRejected):
            deliveries.refused(connection, reasons, self._context.clock.now())
            log.error("%s is not pushed: %s", image, answer.error)
            return
        self._delayed(connection, image, reasons, str(answer.error))

    def _delayed(self, connection: Connection, image: str, reasons: dict[int, str], why: str) -> None:
        failure = self._failures.failed(image, why, self._context.clock.monotonic())
        deliveries.delayed(connection, reasons)
        if failure.count == 1:
            log.warning("%s cannot be pushed yet: %s", image, why)


class _Pushing:
    """One build on its way under its names. A repository that fails stops no other one.

    What was done by an engine that died is found, and not done again.
    """

    def __init__(self, builder: Builder, push: Push, endorsing: Endorsing, remote: Remote, term: Term | None) -> None:
        self._builder, self._push, self._term, self._endorsing = builder, push, term, endorsing
        self._remote, self._at = remote, push.at
        self._broken: dict[str, str] = {}  # repositories and whole hosts, with the reason
        self.pushed = Pushed({}, {}, {}, [])

    def all(self) -> Pushed:
        """Give all names that can be given. Raises BuildRejected where the build is gone."""
        for name in self._push.names:
            place = repository(name.spec)
            why = self._broken.get(place) or self._broken.get(place.partition("/")[0])
            if why:
                self.pushed.failed[name.id] = why
                continue
            try:
                self._one(name)
            except (InfrastructureError, RegistryError) as error:
                self._breaks(place, error)
                self.pushed.failed[name.id] = str(error)
        return self.pushed

    def _breaks(self, place: str, error: Exception) -> None:
        """No further name is tried where this one failed: a registry that is away would be waited for each time."""
        gone = isinstance(error, RegistryError) and error.cause in AWAY
        self._broken[place.partition("/")[0] if gone else place] = str(error)

    def _one(self, name: Pending) -> None:
        lease.check(self._term)
        there = None if name.moves else self._remote.digest_of(name.spec, name.key)
        if there == "":
            self.pushed.taken[name.id] = RENAMED.format(spec=name.spec)
            return
        if name.moves and self._endorsing.wanted:
            self._endorse(repository(name.spec))
        if there:
            self._at = at_digest(name.spec, there)
        elif self._at:
            self._remote.copy(self._at, name.spec)
        elif isinstance(self._builder, Uploading):
            login, seconds = self._remote.auth_file, self._remote.seconds
            uploaded = self._builder.upload(self._push.build.ident, name.spec, login, seconds)
            self._at = at_digest(name.spec, uploaded)
        else:
            raise BuildRejected(f"the build {self._push.build.ident} is in no registry that is known")
        self.pushed.given[name.id] = at_digest(name.spec, pinned(self._at))

    def _endorse(self, place: str) -> None:
        """Attach and sign, in the repository, what no tag may move to without that."""
        if not self._at:
            raise InfrastructureError(UNNAMED.format(place=place), arrived=False)
        at = at_digest(place, pinned(self._at))
        if at != self._at and not any(given == at for given in self.pushed.given.values()):
            self._remote.copy(self._at, at)
        done = self._push.endorsed.union(self.pushed.endorsed)
        for one in self._endorsing.endorse(self._push.build.build_id, at, done):
            self.pushed.endorsed.append(one)  # what was done stays done, whatever fails after it
