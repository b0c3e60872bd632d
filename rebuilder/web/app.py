"""The application: one factory, with everything that a request needs in `app.state`."""

from __future__ import annotations

import asyncio
import time
from functools import cache
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Engine
from starlette.routing import BaseRoute

from rebuilder import distribution
from rebuilder.config import Settings
from rebuilder.config_file import Bus
from rebuilder.queries.logs import Logs
from rebuilder.web import api, description, health, metrics, pages, problems, sse
from rebuilder.web.broker import Broker
from rebuilder.web.dependencies import READING
from rebuilder.web.head import Head
from rebuilder.web.limits import Limits
from rebuilder.web.security import SecurityHeaders
from rebuilder.web.wrong_tokens import WrongTokens

STATIC = Path(__file__).parent / "static"


def operation_id(route: APIRoute) -> str:
    """What a generated client calls the operation: `list_images`."""
    return route.name


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """What answers which path, for all applications of this process: what differs between them is in their states.

    FastAPI builds the models of a router's routes at its first request, which takes longer than the request itself.
    """
    root = APIRouter(generate_unique_id_function=operation_id)
    for router in (api.router, health.router, metrics.router, sse.router, pages.router):
        root.include_router(router)
    root.mount("/static", StaticFiles(directory=STATIC), name="static")
    root.include_router(pages.nowhere)
    return tuple(root.routes)


def create_app(engine: Engine, settings: Settings, bus: Bus | None = None) -> FastAPI:
    """The web application on this database. The description of its API is at /api/v1/openapi.json.

    With a `bus` that is configured, health and metrics look at the broker too.

    FastAPI's own pages about the API load scripts from elsewhere, so they are left out.
    """
    app = FastAPI(
        title="rebuilder",
        summary="Ordered rebuilds of layered container images when an RPM in a lower layer is updated",
        version=distribution.version(),
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    made = app.openapi
    app.openapi = cache(lambda: description.describe(made()))  # type: ignore[method-assign]
    app.state.engine = engine
    app.state.turns = asyncio.Semaphore(READING)
    app.state.settings = settings
    app.state.logs = Logs(engine, settings)
    app.state.broker = Broker(bus) if bus and bus.configured else None
    app.state.hub = sse.Broadcaster(engine)
    app.state.wrong_tokens = WrongTokens(time.monotonic)
    app.state.registry = metrics.registry_of(engine, settings, app.state.broker)
    problems.install(app)
    app.router.routes.extend(_routes())
    app.add_middleware(Head)
    app.add_middleware(Limits)
    app.add_middleware(SecurityHeaders)
    return app
