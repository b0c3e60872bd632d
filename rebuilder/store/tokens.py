"""Tokens: who may change things over HTTP.

A token has 256 bits of chance in it, so it cannot be guessed, and a plain SHA-256 is enough to keep it by: slow hashes
are for passwords, which people choose. What is kept cannot be turned back into the token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from msgspec import Struct
from sqlalchemy import Connection, delete, select

from rebuilder.domain.errors import RequestError, UnknownError
from rebuilder.domain.scope import Scope
from rebuilder.store.models import Token
from rebuilder.store.upsert import insert_one

PREFIX = "rebuilder_"
LONGEST_NAME = 64


class Known(Struct, frozen=True):
    """A token without its secret. `scopes` are the orders that may be given with it, as `Scope` reads them."""

    name: str
    scopes: tuple[str, ...]
    created_at: float

    def may(self, order: str, image: str | None) -> bool:
        """Whether an order may be given with it about this image, or, with None, about more than one image."""
        return any(Scope.parse(scope).covers(order, image) for scope in self.scopes)


def add(connection: Connection, name: str, scopes: tuple[str, ...], now: float) -> str:
    """Make a token, which cannot be read again later. Raises RequestError where the name is taken, or is none."""
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise RequestError(f"a token's name has 1 to {LONGEST_NAME} characters, all of them printable")
    token = PREFIX + secrets.token_urlsafe(32)
    row = {"name": name, "digest": _digest(token), "scopes": sorted(set(scopes)), "created_at": now}
    if not insert_one(connection, Token, row):
        raise RequestError(f"there is a token named {name} already; revoke it first")
    return token


def revoke(connection: Connection, name: str) -> None:
    """It is of no use from now on. Raises UnknownError."""
    if connection.execute(delete(Token).where(Token.name == name).returning(Token.id)).first() is None:
        raise UnknownError(f"there is no token named {name}")


def listing(connection: Connection) -> list[Known]:
    """All tokens, by name."""
    rows = connection.execute(select(Token.name, Token.scopes, Token.created_at).order_by(Token.name))
    return [Known(name, tuple(scopes), created_at) for name, scopes, created_at in rows]


def find(connection: Connection, token: str) -> Known | None:
    """The token that was presented, if it is one. All are compared, each in a time that tells nothing of the other."""
    digest = _digest(token)
    match = None
    for row in connection.execute(select(Token.name, Token.scopes, Token.created_at, Token.digest)):
        if hmac.compare_digest(row.digest, digest):
            match = Known(row.name, tuple(row.scopes), row.created_at)
    return match


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
