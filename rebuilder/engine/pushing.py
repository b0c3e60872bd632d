"""Pushes proven builds to registries, each once, under all their names with one digest.

That a build is to be pushed is committed with its proof. A push that was broken off goes on: what is there already
under a name that never moves is recognized by the build's key, and is copied from there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from rebuilder.builders.protocol import Uploading
from rebuilder.config import Settings
from rebuilder.domain.build import BuildRejected, InfrastructureError
from rebuilder.engine.backoff import Backoff, Failure
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.context import Context
from rebuilder.registry.pull_spec import at_digest, repository
from rebuilder.registry.push import Remote
from rebuilder.store import deliveries, lease
from rebuilder.store.database import reading
from rebuilder.store.deliveries import Pending
from rebuilder.store.lease import Term

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0
RENAMED = "{spec} is there already, and is not of this build: it stays as it is"


@dataclass(frozen=True, slots=True)
class Push:
    """All names that one build is still to get, those that never move first; `at` is where it is already."""

    names: tuple[Pending, ...]
    at: str

    @property
    def build(self) -> Pending:
        return self.names[0]


@dataclass(frozen=True, slots=True)
class Pushed:
    """The names that were given, with the pull spec by digest behind each; and those that are taken."""

    given: dict[int, str]
    taken: dict[int, str]


class Pushes:
    """The builds that are to be pushed: of one image, one at a time, so that the latest is the last to move a tag."""

    kinds = frozenset({Kind.PUSH})
    woken_by = kinds | {Kind.RESULT}

    def __init__(self, context: Context) -> None:
        self._context = context
        self._failures = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._out: dict[str, Push] = {}  # by image

    @property
    def failure(self) -> Failure | None:
        """Why some build could not be pushed last."""
        return self._failures.longest(self._out)

    def ask(self) -> None:
        context, now = self._context, self._context.clock.monotonic()
        if not isinstance(context.builder, Uploading):
            return
        pushes = self._wanted()
        self._failures.forget(pushes)
        self._out = {image: push for image, push in self._out.items() if image in pushes}
        out = context.calls.outstanding().get(Kind.PUSH)
        free = context.settings.registry.at_once - (out.count if out else 0)
        term = lease.term_of(context.engine)
        for image, push in pushes.items():
            if free <= 0:
                return
            call = partial(_push, context.builder, push, context.settings, term)
            if not self._failures.resting(image, now) and context.calls.start(Kind.PUSH, image, call):
                self._out[image] = push
                free -= 1

    def _wanted(self) -> dict[str, Push]:
        """The oldest build of each image that is to be pushed."""
        with reading(self._context.engine) as connection:
            pending = deliveries.pending(connection, remote=True)
            there = deliveries.places(connection, {one.build_id for one in pending}) if pending else {}
        found: dict[str, list[Pending]] = {}
        for one in pending:
            names = found.setdefault(one.image, [])
            if not names or names[0].build_id == one.build_id:
                names.append(one)
        return {
            image: Push(tuple(sorted(names, key=lambda one: (one.moves, one.id))), there.get(names[0].build_id, ""))
            for image, names in found.items()
        }

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        for answer in answers:
            image = str(answer.subject)
            if answer.error is not None:
                if not answer.late:
                    self._failed(connection, image, answer)
                continue
            self._failures.succeeded(image)
            deliveries.pushed(connection, answer.value.given, self._context.clock.now())
            deliveries.refused(connection, answer.value.taken, self._context.clock.now())
            for reason in answer.value.taken.values():
                log.error("%s", reason)
            log.info("%s was pushed: %s", image, ", ".join(dict.fromkeys(answer.value.given.values())))
        return len(answers)

    def _failed(self, connection: Connection, image: str, answer: Answer) -> None:
        reasons = {one.id: str(answer.error) for one in self._out[image].names} if image in self._out else {}
        if isinstance(answer.error, BuildRejected):
            deliveries.refused(connection, reasons, self._context.clock.now())
            log.error("%s is not pushed: %s", image, answer.error)
            return
        failure = self._failures.failed(image, str(answer.error), self._context.clock.monotonic())
        deliveries.delayed(connection, reasons)
        if failure.count == 1:
            log.warning("%s cannot be pushed yet: %s", image, answer.error)


def _push(builder: Uploading, push: Push, settings: Settings, term: Term | None) -> Pushed:
    """Give the build its names. Raises InfrastructureError and RegistryError: what was done is found the next time."""
    login, seconds = settings.registry.auth_file, settings.calls.push_seconds
    remote, at = Remote(login, seconds), push.at
    given: dict[int, str] = {}
    taken: dict[int, str] = {}
    for name in push.names:
        if term is not None and not term.sure:
            raise InfrastructureError("this engine may not be the one that acts any more", arrived=False)
        there = None if name.moves else remote.digest_of(name.spec, name.key)
        if there == "":
            taken[name.id] = RENAMED.format(spec=name.spec)
            continue
        if there:
            at = at_digest(name.spec, there)
        elif at:
            remote.copy(at, name.spec)
        else:
            at = at_digest(name.spec, builder.upload(push.build.ident, name.spec, login, seconds))
        given[name.id] = f"{repository(name.spec)}@{at.partition('@')[2]}"
    return Pushed(given, taken)
