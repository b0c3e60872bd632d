"""Query parameters that a route does not know are an error: what was meant to narrow an answer must not be passed over.

A list that ignored `sate=failed` would show all rebuilds as failed ones; one that took the last of two streams would
leave out the images of the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator
from functools import cached_property
from typing import Any, get_args, get_origin

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from rebuilder.domain.naming import did_you_mean, there_are

SHOWN, LONGEST = 3, 60


class Strict(APIRoute):
    """A route that takes the query parameters that it declares, as often as it reads them; refuses others: 422."""

    @cached_property
    def _parameters(self) -> dict[str, bool]:
        """The names that are known, with whether several values may be given."""
        return dict(_declared(self.dependant))

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request, as FastAPI calls it. It raises RequestValidationError, of which 422 is made."""
        handle = super().get_route_handler()

        async def check_and_handle(request: Request) -> Response:
            parameters, given = self._parameters, Counter(name for name, _ in request.query_params.multi_items())
            wrong = [_unknown(name, parameters) for name in given if name not in parameters]
            wrong += [_repeated(word, n) for word, n in given.items() if n > 1 and not parameters.get(word, True)]
            if wrong:
                raise RequestValidationError(wrong[:SHOWN])
            return await handle(request)

        return check_and_handle


def _declared(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """The query parameters that a function, or what it depends on, takes: their names, and whether they are lists."""
    for field in dependant.query_params:
        yield field.alias, _is_list(field.field_info.annotation)
    for other in dependant.dependencies:
        yield from _declared(other)


def _is_list(annotation: Any) -> bool:
    parts = (annotation, *get_args(annotation))
    return any(part in (list, tuple) or get_origin(part) in (list, tuple) for part in parts)


def _repeated(name: str, times: int) -> dict[str, Any]:
    """What is wrong with several values where one is read, as FastAPI tells of others."""
    message = f"given {times} times; it takes one"
    return {"type": "repeated_parameter", "loc": ("query", name), "msg": message, "input": None}


def _unknown(name: str, parameters: Collection[str]) -> dict[str, Any]:
    """What is wrong with a parameter of that name, as FastAPI tells of others."""
    short = name[:LONGEST]
    hint = did_you_mean(short, parameters, 1) or there_are(parameters)
    return {"type": "unknown_parameter", "loc": ("query", short), "msg": f"unknown parameter{hint}", "input": None}
