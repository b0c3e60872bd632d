"""The HTTP API, for scripts."""

from __future__ import annotations

import time

from fastapi import APIRouter

from rebuilder.answers import status
from rebuilder.web.reader import Reader

router = APIRouter(prefix="/api/v1")


@router.get("/status")
def read_status(connection: Reader) -> status.Status:
    """What is being rebuilt, what comes next, what failed."""
    return status.read(connection, time.time())
