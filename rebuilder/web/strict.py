"""Query parameters that a route does not know are an error: what was meant to narrow an answer must not be passed over.

A list that ignored `sate=failed` would show all rebuilds as failed ones.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

SHOWN, LONGEST = 3, 60


class Strict(APIRoute):
    """A route that takes the query parameters that it declares, and refuses others with 422."""

    @cached_property
    def _parameters(self) -> frozenset[str]:
        return frozenset(_declared(self.dependant))

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def check_and_handle(request: Request) -> Response:
            unknown = [name for name in request.query_params if name not in self._parameters]
            if unknown:
                raise RequestValidationError([_error(name, self._parameters) for name in unknown[:SHOWN]])
            return await handle(request)

        return check_and_handle


def _declared(dependant: Dependant) -> Iterator[str]:
    """The names of the query parameters that a function, or what it depends on, takes."""
    yield from (field.alias for field in dependant.query_params)
    for other in dependant.dependencies:
        yield from _declared(other)


def _error(name: str, known: Iterable[str]) -> dict[str, Any]:
    """What is wrong with a parameter of that name, as FastAPI tells of others."""
    short = name[:LONGEST]
    close = get_close_matches(short, known, 1)
    if close:
        hint = f"; did you mean {close[0]}?"
    else:
        hint = f"; there are: {', '.join(sorted(known))}" if known else "; there are none here"
    return {"type": "unknown_parameter", "loc": ("query", short), "msg": f"unknown parameter{hint}", "input": None}
