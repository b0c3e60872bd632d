"""Takes builds back: the names of an image return to an earlier build, which is its current one again.

Registries are asked first whether they still have it. Then all that follows is committed at once: the moves of the
names, which are made and replayed as those to new builds are, the current build, the hold, and what is announced.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from functools import partial

from msgspec import Struct
from sqlalchemy import Connection

from rebuilder.builders.protocol import Builder, Promoting, Restoring
from rebuilder.domain.errors import RequestError
from rebuilder.domain.lifecycle import UNDER_WAY, Canceled
from rebuilder.domain.rollback import PastBuild, meant_build, named_builds, standing_on, without
from rebuilder.domain.topics import RollbackFacts
from rebuilder.domain.wording import few
from rebuilder.engine.backoff import Backoff, Failure
from rebuilder.engine.calls import Answer, Kind
from rebuilder.engine.context import Context
from rebuilder.registry.push import Remote
from rebuilder.store import actions, deliveries, holds, outbox, rebuilds, rollbacks
from rebuilder.store.database import reading
from rebuilder.store.deliveries import Wanted
from rebuilder.store.rollbacks import RequestedRollback
from rebuilder.store.sync import make_current

log = logging.getLogger(__name__)
NAMED = 5  # images in one line
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
REFUSED = "not rolled back"
MOST = 20  # earlier builds that registries are asked for, of one image


class Choice(Struct, frozen=True):
    """An image whose build is `bad`, and the earlier ones that it may go back to, newest first.

    `others` are the earlier builds that no operator asked for, to be told of where none of these can be pulled.
    """

    bad: PastBuild
    candidates: tuple[PastBuild, ...]
    others: tuple[PastBuild, ...] = ()


class Found(Struct, frozen=True):
    """What a choice came to: the build to go back to (None where it is gone), and where it is, by digest.

    `at` is empty where it is on this machine alone. `there` are other builds that could be pulled.
    """

    bad: PastBuild
    good: PastBuild | None
    at: str = ""
    there: tuple[PastBuild, ...] = ()


class Rollbacks:
    """What operators want to be taken back, in the order of asking; each until registries have answered for it."""

    kinds = frozenset({Kind.ROLLBACK})
    woken_by = kinds

    def __init__(self, context: Context) -> None:
        self._context = context
        self._failures = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._out: dict[int, RequestedRollback] = {}

    @property
    def failure(self) -> Failure | None:
        """Why registries could not be asked last."""
        return self._failures.longest(self._out)

    def ask(self) -> None:
        context, now = self._context, self._context.clock.monotonic()
        with reading(context.engine) as connection:
            requests = {one.id: one for one in rollbacks.requested(connection)}
        self._failures.forget(requests)
        self._out = requests
        for ident, one in requests.items():
            if not self._failures.resting(ident, now):
                context.calls.start(Kind.ROLLBACK, ident, partial(_look, context, one))

    def record(self, connection: Connection, answers: Sequence[Answer]) -> int:
        for answer in answers:
            request = self._out.get(int(str(answer.subject)))
            if request is None or answer.late:
                continue
            if isinstance(answer.error, RequestError):
                self._over(connection, request, f"{REFUSED}: {answer.error}")
            elif answer.error is not None:
                failure = self._failures.failed(request.id, str(answer.error), self._context.clock.monotonic())
                if failure.count == 1:
                    log.warning("%s cannot be rolled back yet: %s", request.image, answer.error)
            else:
                self._failures.succeeded(request.id)
                self._decided(connection, request, answer.value)
        return len(answers)

    def _decided(self, connection: Connection, request: RequestedRollback, outcomes: Sequence[Found]) -> None:
        top = outcomes[0] if outcomes else None
        current = rollbacks.current(connection)
        if any(current.get(one.bad.image) != one.bad for one in outcomes):
            return  # a build has ended meanwhile: it is looked at anew
        if top is None or top.good is None:
            self._over(connection, request, f"{REFUSED}: {_gone(request, top)}")
            return
        changed = [(one.bad, one.good, one.at) for one in outcomes if one.good is not None]
        self._take_back(connection, request, changed)
        self._over(connection, request, _told(request, changed, standing_on(top.bad, current)))

    def _take_back(
        self, connection: Connection, request: RequestedRollback, changed: Sequence[tuple[PastBuild, PastBuild, str]]
    ) -> None:
        now = self._context.clock.now()
        pairs = [(bad, good) for bad, good, _ in changed]
        names = self._names(connection, changed)
        deliveries.request(connection, [name for of_image in names.values() for name in of_image], now)
        make_current(connection, {bad.image_id: good.id for bad, good in pairs})
        rollbacks.record(connection, pairs, request.who, request.reason, now)
        current = rollbacks.current(connection)
        for bad, good in pairs:
            holds.hold(connection, bad.image, request.who, f"rolled back to {good.ident}: {request.reason}", None, now)
            self._stop(connection, bad, request)
            about = rollbacks.rebuild_of(connection, bad)
            if about is not None:
                facts = RollbackFacts(
                    bad=bad.id, good=good.id, who=request.who, reason=request.reason,
                    names=tuple(name.spec for name in names[bad.image] if name.remote),
                    built_on_bad=tuple(build.image for build in standing_on(bad, current)),
                )  # fmt: skip
                outbox.about_rollback(connection, *about, now, facts)

    def _stop(self, connection: Connection, bad: PastBuild, request: RequestedRollback) -> None:
        """What is being built of the image was planned before anybody knew."""
        reason = f"rolled back by {request.who}: {request.reason}"
        live = [entry for entry in rebuilds.of_image(connection, bad.image_id, 2) if entry.state in UNDER_WAY]
        self._context.transitions(connection).apply([(entry, Canceled(reason, who=request.who)) for entry in live])

    def _names(
        self, connection: Connection, changed: Sequence[tuple[PastBuild, PastBuild, str]]
    ) -> dict[str, list[Wanted]]:
        """The names that go back, by image: those that were given to the bad build or the good one, and move."""
        builder = self._context.builder
        ours = rollbacks.moved_names(connection, [build.id for bad, good, _ in changed for build in (bad, good)])
        by_image: dict[str, list[Wanted]] = {}
        for bad, good, at in changed:
            specs = ours.get(bad.image_id) or (bad.names & good.names if at else ())
            names = [Wanted(bad.image_id, good.key, good.id, spec, remote=True, at=at) for spec in sorted(specs)]
            if isinstance(builder, Promoting):
                names.append(Wanted(bad.image_id, good.key, good.id, builder.public_name(bad.image), at=at))
            by_image[bad.image] = names
        return by_image

    def _over(self, connection: Connection, request: RequestedRollback, answer: str) -> None:
        actions.carried_out(connection, request.id, answer, self._context.clock.now())
        log.warning("rollback of %s by %s: %s", request.image, request.who, answer)


def choices(connection: Connection, request: RequestedRollback) -> list[Choice]:
    """What may be gone back to. Raises RequestError where there is nothing, whatever registries have."""
    current = rollbacks.current(connection)
    bad = current.get(request.image)
    if bad is None:
        raise RequestError(f"{request.image} has no build")
    below = standing_on(bad, current) if request.with_descendants else []
    earlier = rollbacks.earlier(connection, [request.image, *(build.image for build in below)])
    mine = earlier.get(request.image, [])
    meant = meant_build(request.image, request.build, mine)
    others = tuple(build for build in mine[:MOST] if build not in meant)
    idents = {bad.ident, *(build.ident for build in below)}
    return [
        Choice(bad, tuple(meant[:MOST]), others),
        *(Choice(build, tuple(without(idents, earlier.get(build.image, ()))[:MOST])) for build in below),
    ]


def _look(context: Context, request: RequestedRollback) -> list[Found]:
    """Which builds can be gone back to. Raises RequestError, and RegistryError where a registry is unreachable."""
    with reading(context.engine) as connection:
        options = choices(connection, request)
    registry = context.settings.registry
    with closing(Remote(registry.auth_file, registry.call_seconds, registry.call_seconds)) as remote:
        return [_found(context.builder, remote, one) for one in options]


def _found(builder: Builder, remote: Remote, choice: Choice) -> Found:
    for build in choice.candidates:
        at = _place(builder, remote, build)
        if at is not None:
            return Found(choice.bad, build, at)
    there = tuple(build for build in choice.others if _place(builder, remote, build) is not None)
    return Found(choice.bad, None, there=there)


def _place(builder: Builder, remote: Remote, build: PastBuild) -> str | None:
    """Where the build can be pulled, by digest; "" where it was never pushed, and is on this machine. None where it is
    gone.
    """
    for spec in build.places:
        if remote.has(spec):
            return spec
    return "" if not build.places and isinstance(builder, Restoring) and builder.keeps(build.ident) else None


def _gone(request: RequestedRollback, top: Found | None) -> str:
    what = f"build {request.build}" if request.build else "no earlier build"
    gone = f"{what} of {request.image} is {'gone' if request.build else 'there any more'}"
    there = top.there if top is not None else ()
    return f"{gone}; there are: {named_builds(there)}" if there else gone


def _told(
    request: RequestedRollback, changed: Sequence[tuple[PastBuild, PastBuild, str]], below: Sequence[PastBuild]
) -> str:
    """What became of it; `below` stood on the bad build."""
    back = {bad.image for bad, _, _ in changed}
    left = [build.image for build in below if build.image not in back]
    said = [f"{bad.image} goes back from {bad.ident} to {good.ident}, and is held" for bad, good, _ in changed]
    if left:
        hint = "no earlier build of them is there" if request.with_descendants else "--with-descendants takes them back"
        said.append(f"still on the bad build: {few(left, NAMED)} ({hint})")
    return "; ".join(said)


def give(connection: Connection, request: RequestedRollback, now: float) -> int:
    """Ask for it; the number of the request. Raises RequestError where it cannot be, whatever registries have."""
    if not request.reason:
        raise RequestError("a rollback needs a reason: people will ask; give --reason")
    choices(connection, request)
    return rollbacks.request(connection, request, now)
