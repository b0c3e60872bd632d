"""What changes something: orders of operators, with a bearer token that may give them."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Engine

from rebuilder.domain.command import OF_IMAGES, Command
from rebuilder.domain.errors import RequestError
from rebuilder.engine import commands
from rebuilder.queries import records
from rebuilder.store import tokens
from rebuilder.store.database import reading
from rebuilder.web import problems
from rebuilder.web.dependencies import Database, Reader
from rebuilder.web.parameters import Ident, Text, When
from rebuilder.web.strict import Strict
from rebuilder.web.wrong_tokens import WrongTokens

CHALLENGE = {"WWW-Authenticate": "Bearer"}
bearer = HTTPBearer(auto_error=False, description="Made with `rebuilder token add`")


class _Authenticated(Strict):
    """Asks who it is before the body is read: what a stranger sends is not looked at."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def authenticated(request: Request) -> Response:
            if self.methods != {"GET"}:
                credentials = await bearer(request)
                request.state.token = await _known(request, credentials)
            return await answer(request)

        return authenticated


router = APIRouter(route_class=_Authenticated)


async def _known(request: Request, credentials: HTTPAuthorizationCredentials | None) -> tokens.Known:
    """The token that came with the request; 401 where there is none, or, after a while, where it is not known."""
    if credentials is None:
        raise HTTPException(401, "this needs a token: `Authorization: Bearer ...`", CHALLENGE)
    token = await run_in_threadpool(_find, request.app.state.engine, credentials.credentials)
    if token is None:
        wrong: WrongTokens = request.app.state.wrong_tokens
        await wrong.slow_down(request.client.host if request.client else "")
        raise HTTPException(401, "the token is not known", {"WWW-Authenticate": 'Bearer error="invalid_token"'})
    return token


def _find(engine: Engine, token: str) -> tokens.Known | None:
    with reading(engine) as connection:
        return tokens.find(connection, token)


def presented(
    request: Request, _described: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> tokens.Known:
    """The token that came with the request, as it was found before the body was read."""
    token: tokens.Known = request.state.token
    return token


class Ask(BaseModel):
    """An order. People will read the reason."""

    model_config = ConfigDict(extra="forbid")

    reason: Text = ""


class OfTarget(Ask):
    """An order about an image (name:stream), or about a wave, by its number."""

    verb: Literal["retry", "cancel"]
    target: Annotated[Text, Field(min_length=1)]


class ToRebuild(Ask):
    """Rebuild an image, whether an update asks for it or not; and then, if wished, what is built on it."""

    verb: Literal["rebuild"]
    target: Annotated[Text, Field(min_length=1)]
    with_descendants: bool = False


class ToHold(Ask):
    """Do not build an image, until it is released or that moment comes."""

    verb: Literal["hold"]
    target: Annotated[Text, Field(min_length=1)]
    until: When | None = None


class ToRelease(Ask):
    """Release an image from hold, so that it is built again."""

    verb: Literal["release"]
    target: Annotated[Text, Field(min_length=1)]


class ToPromote(Ask):
    """Let the names of an image's new build, or of all builds of a wave, move that wait for that."""

    verb: Literal["promote"]
    target: Annotated[Text, Field(min_length=1)]


class ToGate(Ask):
    """Say whether an image's new build is good, which waits for that.

    `build` is the NVR or image id that was tested; without it, the one that waits is meant.
    """

    verb: Literal["gate"]
    target: Annotated[Text, Field(min_length=1)]
    passed: bool
    build: Text = ""


class ToRollBack(Ask):
    """Let an image's names go back to an earlier build, and hold it; the engine asks registries whether that is there.

    `build` is the NVR, image id, digest or tag of that build; without it, the last one that can be pulled is meant.
    What is built on the bad build goes back, too, if wished. There must be a reason.
    """

    verb: Literal["rollback"]
    target: Annotated[Text, Field(min_length=1)]
    reason: Annotated[Text, Field(min_length=1)]
    build: Text = ""
    with_descendants: bool = False


class ToApprove(Ask):
    """Let a wave begin that a rule of the policy keeps waiting; `target` is its number."""

    verb: Literal["approve"]
    target: Annotated[Text, Field(pattern=r"^[0-9]{1,10}$")]


class OfEngine(Ask):
    """Start no builds; start builds again."""

    verb: Literal["pause", "resume"]


Asked = Annotated[
    OfTarget | ToRebuild | ToHold | ToRelease | ToPromote | ToGate | ToRollBack | ToApprove | OfEngine,
    Field(discriminator="verb"),
]
Presented = Annotated[tokens.Known, Depends(presented)]


@router.post(
    "/actions",
    status_code=201,
    responses={
        202: {"model": records.Action, "description": "The engine will do it in its next pass"},
        **problems.told(401, "There is no token, or it is not known"),
        **problems.told(403, "The token lacks a scope, which is named"),
        **problems.told(429, "Too many wrong tokens came from there"),
    },
)
def act(engine: Database, token: Presented, asked: Asked, response: Response) -> records.Action:
    """Give an order: 201, it is done; 202, the engine is asked, and `/actions/{id}` says what came of it.

    It is kept with the token's name as who gave it.
    """
    now = time.time()
    until = asked.until.timestamp() if isinstance(asked, ToHold) and asked.until else None
    order = Command(asked.verb, getattr(asked, "target", ""), token.name, asked.reason, until,
                    getattr(asked, "with_descendants", False), getattr(asked, "passed", False),
                    getattr(asked, "build", ""))
    # A pattern of images fits whole names. What is not there, none is told that may not ask.
    with reading(engine) as connection, suppress(RequestError):
        order = commands.resolved(connection, order)
    _check_scope(token, order)
    if until is not None and until <= now:
        raise HTTPException(400, "until: must be in the future")
    with engine.begin() as connection:
        given = commands.give(connection, order, now)
        action = records.one_action(connection, given.id)
    response.status_code = 202 if given.answer is None else 201
    response.headers["Location"] = f"/api/v1/actions/{given.id}"
    return action


def _check_scope(token: tokens.Known, order: Command) -> None:
    """403 where the token is not for this order; the answer says which scope is missing."""
    image = order.only_image
    if token.may(order.verb, image):
        return
    if image is not None:
        missing = f"{order.verb}:{image}, or {order.verb}"
    elif order.verb in OF_IMAGES:
        missing = f"{order.verb} without a pattern of images, as this is about more than one image"
    else:
        missing = order.verb
    raise HTTPException(403, f"the token {token.name} lacks the scope {missing}; it has {', '.join(token.scopes)}")


@router.get("/actions/{action_id}")
def read_action(connection: Reader, action_id: Ident) -> records.Action:
    """What an operator did or asked for, and what came of it."""
    return records.one_action(connection, action_id)
