"""The web application, as its clients see it."""

from __future__ import annotations

from typing import Any

import httpx
from sqlalchemy import Engine
from starlette.testclient import TestClient

from rebuilder.config import Settings
from rebuilder.config_file import Bus
from rebuilder.store import tokens
from rebuilder.web.app import create_app


class Client:
    """Asks the API of an application on this database."""

    def __init__(self, store: Engine, settings: Settings | None = None, bus: Bus | None = None) -> None:
        self.store = store
        self.http = TestClient(create_app(store, settings or Settings(), bus), raise_server_exceptions=True)

    def get(self, path: str, **asked: Any) -> httpx.Response:
        return self.http.get(f"/api/v1/{path}", params=asked or None)

    def reads(self, path: str, **asked: Any) -> Any:
        response = self.get(path, **asked)
        assert response.status_code == 200, response.text
        return response.json()

    def items(self, path: str, **asked: Any) -> list[Any]:
        """All of a list, page after page."""
        found: list[Any] = []
        cursor = None
        while True:
            page = self.reads(path, **asked, **({"cursor": cursor} if cursor else {}))
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found

    def problem(self, path: str, status: int, **asked: Any) -> str:
        return problem(self.get(path, **asked), status)

    def orders(self, token: str, **order: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.http.post("/api/v1/actions", json=order, headers=headers)

    def token(self, name: str, *scopes: str) -> str:
        with self.store.begin() as connection:
            return tokens.add(connection, name, scopes, 0.0)


def problem(response: httpx.Response, status: int) -> str:
    """What a problem says; it is one, of that status."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    told = response.json()
    assert told["status"] == status
    detail: str = told["detail"]
    return detail
