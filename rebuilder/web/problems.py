"""Errors as RFC 9457 tells them (application/problem+json), whatever went wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from rebuilder.domain.errors import InfrastructureError, RequestError, UnknownError, UnreachableError

log = logging.getLogger(__name__)
TYPE = "tag:rebuilder,2026:problem:"  # tag URIs (RFC 4151): they name a kind of problem, and lead nowhere
CODES = {
    400: "invalid-request", 401: "not-authenticated", 403: "missing-scope", 404: "not-found", 405: "method-not-allowed",
    413: "body-too-large", 422: "invalid-parameter", 429: "too-many-requests", 500: "internal-error",
    503: "unavailable",
}  # fmt: skip
ALL_CODES = {*CODES.values(), "unknown-parameter", "database-unavailable"}
MEDIA_TYPE = "application/problem+json"
MODELS = "#/components/schemas/"  # rebuilder/web/description.py adds those of no route


class Wrong(TypedDict):
    """A part of the request that was wrong."""

    where: str
    what: str


class ProblemDetails(BaseModel):
    """What was wrong with the request, or with us. `errors` names the parts of the request that were wrong.

    `type` is a URI that ends with `code`, which stays the same whatever `title` and `detail` say.
    """

    type: str
    code: Annotated[str, Field(description=f"A stable word for the kind of problem: {', '.join(sorted(ALL_CODES))}.")]
    title: str
    status: int
    detail: str
    errors: list[Wrong] = []


def told(status: int, what: str) -> dict[int | str, dict[str, Any]]:
    """An answer of this kind, for the description of the API."""
    return {status: {"description": what, "content": {MEDIA_TYPE: {"schema": {"$ref": f"{MODELS}ProblemDetails"}}}}}


ANY: dict[int | str, dict[str, Any]] = {
    **told(400, "The request is wrong"),
    **told(404, "What is named is not there"),
    **told(422, "The request is not of the form that it must have"),
    **told(503, "The database, or the builder, cannot be reached"),
}


def install(app: FastAPI) -> None:
    """Answer every error of the application so."""
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_form)
    app.add_exception_handler(RequestError, _of_request)
    app.add_exception_handler(UnreachableError, _of_service)
    app.add_exception_handler(InfrastructureError, _of_service)
    app.add_exception_handler(SQLAlchemyError, _of_database)
    app.add_exception_handler(Exception, _of_ourselves)


def answer(
    status: int, detail: str, headers: Mapping[str, str] | None = None, errors: list[Wrong] | None = None,
    code: str = "",
) -> JSONResponse:
    """A problem as a response."""
    title = HTTPStatus(status).phrase
    code = code or CODES.get(status, "internal-error" if status >= 500 else "invalid-request")
    problem = ProblemDetails(
        type=TYPE + code, code=code, title=title, status=status, detail=detail, errors=errors or [])
    return JSONResponse(problem.model_dump(), status, headers, MEDIA_TYPE)


def _of_http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return answer(error.status_code, str(error.detail), error.headers)


def _of_form(_request: Request, error: Exception) -> JSONResponse:
    """What was sent is not repeated: it may be a secret, or what cannot be written."""
    assert isinstance(error, RequestValidationError)
    errors = [Wrong(where=_printable(".".join(map(str, fault["loc"]))), what=_printable(str(fault["msg"])))
              for fault in error.errors()]
    first = f"{errors[0]['where']}: {errors[0]['what']}" if errors else "not of the form that it must have"
    unknown = any(e["type"] == "unknown_parameter" for e in error.errors())
    code = "unknown-parameter" if unknown else ""
    return answer(422, first, code=code, errors=errors)


def _of_request(_request: Request, error: Exception) -> JSONResponse:
    return answer(404 if isinstance(error, UnknownError) else 400, _printable(str(error)))


def _of_service(_request: Request, error: Exception) -> JSONResponse:
    return answer(503, _printable(str(error)))


def _of_database(_request: Request, error: Exception) -> JSONResponse:
    log.error("database: %s", error)
    return answer(503, "the database cannot answer now", {"Retry-After": "5"}, code="database-unavailable")


def _of_ourselves(_request: Request, _error: Exception) -> JSONResponse:
    return answer(500, "internal error: see the log of the server")


def _printable(text: str) -> str:
    """The text in characters that every encoding of JSON can carry."""
    return text.encode(errors="replace").decode()
