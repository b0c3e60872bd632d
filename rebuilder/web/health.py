"""Health: whether rebuilder gets on, and what is wrong where it does not.

It is answered in time whatever stands still: the database and the broker are looked at on threads of their own, which
no other request takes, and who asks while a look is out waits for that one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from rebuilder.domain.errors import UnreachableError
from rebuilder.store import heartbeats, inbox
from rebuilder.store.database import reading
from rebuilder.store.heartbeats import HeartbeatEntry
from rebuilder.web.broker import Broker, State

UNREAD_SECONDS = 60.0
ANSWER_SECONDS = 1.5  # for the answer to be there within two
T = TypeVar("T")

router = APIRouter(prefix="/health", tags=["health"])


class Check(BaseModel):
    """One thing that must be well."""

    name: str
    ok: bool
    detail: str


NO_BUS = Check(name="bus", ok=True, detail="not configured")


class Health(BaseModel):
    """`ok` where all is well; else the checks say what is wrong."""

    ok: bool
    checks: list[Check]


class _Look:
    """A look at something that may stand still: never more than one at a time."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, f"health-{name}")
        self._out: Future[Any] | None = None

    async def at(self, what: Callable[[], T]) -> T | None:
        """What a look finds; None where it has not come back in time."""
        if self._out is None or self._out.done():
            self._out = self._executor.submit(what)
        try:
            result: T = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._out)), ANSWER_SECONDS)
        except TimeoutError:
            return None
        return result


class _Looks:
    """The looks of one application."""

    def __init__(self) -> None:
        self.database, self.broker = _Look("database"), _Look("broker")


_LOOKS: WeakKeyDictionary[Engine, _Looks] = WeakKeyDictionary()


@router.get("/live", responses={503: {"model": Health}})
async def live(request: Request, response: Response) -> Health:
    """Whether what runs gets on: the database answers, and no loop that began has stopped without being told to."""
    engine: Engine = request.app.state.engine
    return _answer(await _checks(engine, None, ready=False), response)


@router.get("/ready", responses={503: {"model": Health}})
async def ready(request: Request, response: Response) -> Health:
    """Whether messages become builds: the engine runs, reads the inbox and has its builder; the broker is there."""
    state = request.app.state
    return _answer(await _checks(state.engine, state.broker, ready=True), response)


def _answer(checks: list[Check], response: Response) -> Health:
    well = all(check.ok for check in checks)
    response.status_code = 200 if well else 503
    response.headers["Cache-Control"] = "no-store"
    return Health(ok=well, checks=checks)


async def _checks(engine: Engine, broker: Broker | None, *, ready: bool) -> list[Check]:
    """All that is looked at, in the order in which things depend on each other."""
    looks = _LOOKS.setdefault(engine, _Looks())
    beats_and_unread, state = await asyncio.gather(
        looks.database.at(lambda: _look(engine)), looks.broker.at(lambda: broker.state if broker else None)
    )
    if isinstance(beats_and_unread, str | None):
        silent = f"no answer within {ANSWER_SECONDS:g} s"
        return [Check(name="database", ok=False, detail=beats_and_unread or silent)]
    beats, oldest = beats_and_unread
    now = time.time()
    checks = _of_database(beats, oldest, now, ready=ready)
    if not ready:
        return checks
    if broker is None:
        return [*checks, NO_BUS]
    return [*checks, _bus(state or State(False, f"no answer within {ANSWER_SECONDS:g} s"), beats, now)]


def _look(engine: Engine) -> tuple[Mapping[str, HeartbeatEntry], float | None] | str:
    """The heartbeats, and since when the oldest unread message waits; or what is wrong with the database."""
    try:
        with reading(engine) as connection:
            return heartbeats.read(connection), inbox.oldest_unread(connection)
    except SQLAlchemyError:
        return "cannot be reached"
    except UnreachableError as error:
        return str(error)


def seen(connection: Connection, broker: Broker | None, now: float) -> list[Check]:
    """The same for who has a connection to a database that answers, and may wait for the broker."""
    beats = heartbeats.read(connection)
    checks = _of_database(beats, inbox.oldest_unread(connection), now, ready=True)
    return [*checks, _bus(broker.state, beats, now) if broker else NO_BUS]


def _of_database(beats: Mapping[str, HeartbeatEntry], oldest: float | None, now: float, *, ready: bool) -> list[Check]:
    engine = _loop("engine", beats, now) or Check(name="engine", ok=not ready, detail="does not run")
    publisher = _loop("publisher", beats, now)
    checks = [Check(name="database", ok=True, detail="answers"), engine, *([publisher] if publisher else [])]
    if not ready:
        return checks
    checks += _standbys(beats, now)
    checks += [_builder(beats), *_calls(beats), *_problems(beats), _inbox(oldest, now)]
    return [*checks, *([_announced(beats)] if publisher else [])]


def _loop(name: str, beats: Mapping[str, HeartbeatEntry], now: float) -> Check | None:
    """Whether a loop gets on; None for one that does not run, and is not meant to."""
    beat = beats.get(name)
    if beat is None:
        return None
    ago = f"{max(0, now - beat.at):.0f} s ago"
    return Check(name=name, ok=not beat.late(now), detail=f"last heartbeat {ago}")


def _standbys(beats: Mapping[str, HeartbeatEntry], now: float) -> list[Check]:
    """The engines that wait, where there are any: it is no fault to have none."""
    names = heartbeats.standbys(beats, now)
    acts = beats["engine"].activity.process if "engine" in beats else ""
    return [Check(name="standby", ok=True, detail=f"{', '.join(names)}; {acts or 'none'} acts")] if names else []


def _announced(beats: Mapping[str, HeartbeatEntry]) -> Check:
    trouble = beats["publisher"].trouble
    return Check(name="notifications", ok=not trouble, detail=trouble or "no infrastructure errors")


def _builder(beats: Mapping[str, HeartbeatEntry]) -> Check:
    beat = beats.get("builder")
    trouble = beat.trouble if beat else ""
    return Check(name="builder", ok=not trouble, detail=trouble or "no infrastructure errors")


def _calls(beats: Mapping[str, HeartbeatEntry]) -> list[Check]:
    """Calls that hang: they stop no others, and are no fault of the engine's."""
    calls = beats["engine"].activity.calls if "engine" in beats else ()
    late = [f"{c.overdue} {c.kind}, the oldest for {c.oldest:.0f} s" for c in calls if c.overdue]
    return [Check(name="calls", ok=False, detail=f"past their time limit: {'; '.join(late)}")] if late else []


def _problems(beats: Mapping[str, HeartbeatEntry]) -> list[Check]:
    """What else the engine waits for; the builder has a check of its own."""
    return [Check(name=p.what, ok=False, detail=p.reason) for p in heartbeats.problems(beats) if p.what != "builder"]


def _inbox(oldest: float | None, now: float) -> Check:
    if oldest is None:
        return Check(name="inbox", ok=True, detail="all messages are read")
    detail = f"the oldest unread message waits for {max(0, now - oldest):.0f} s"
    return Check(name="inbox", ok=now - oldest <= UNREAD_SECONDS, detail=detail)


def _bus(state: State, beats: Mapping[str, HeartbeatEntry], now: float) -> Check:
    """Messages that wait in a queue while none is being consumed are the sign of a consumer that hangs."""
    if not state.reachable or state.trouble:
        return Check(name="bus", ok=False, detail=state.trouble)
    unread = [name for name, queue in state.queues.items() if not queue.consumers]
    if unread:
        return Check(name="bus", ok=False, detail=f"no consumer reads queue {', '.join(unread)}")
    beat = beats.get("consumer")
    if state.waiting_seconds > UNREAD_SECONDS and (beat is None or beat.late(now)):
        detail = f"{state.waiting} messages wait for {state.waiting_seconds:.0f} s, and none is being consumed"
        return Check(name="bus", ok=False, detail=detail)
    return Check(name="bus", ok=True, detail=f"{state.waiting} messages wait")
