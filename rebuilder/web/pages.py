"""The pages, made on the server from templates that escape whatever is put into them."""

from __future__ import annotations

import time
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rebuilder.answers import status
from rebuilder.web.reader import Reader

TEMPLATES = Path(__file__).parent / "templates"

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(
    env=Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
)


@router.get("/")
def overview(request: Request, connection: Reader) -> Response:
    """What goes on now."""
    found = status.read(connection, time.time())
    return templates.TemplateResponse(request, "overview.html", {"status": found})
