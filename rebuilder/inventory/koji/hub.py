"""Sessions with a Koji hub: who we are there, and what an answer, a refusal and an outage look like.

The `koji` client retries for minutes, or for ever, and knows a dozen ways to fail. Here every call ends soon, in one
of three ways: an answer, Denied where the hub said no, or InfrastructureError where nobody can tell what became of it.
"""

from __future__ import annotations

import http.client
import os
import time
import xmlrpc.client
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from rebuilder.config import KojiSettings
from rebuilder.domain.build import InfrastructureError
from rebuilder.domain.errors import RequestError

CONNECT_SECONDS = 5.0
BATCH = 100
SLOW_SECONDS = 1.0
LEFT_ALONE = 4.0  # times as long as it let us wait
LONGEST_REASON = 500
OFFLINE = 1014
EXECUTED = ("RetryError", "SequenceError")  # the hub has seen this call before: what came of it, it does not tell
Call = tuple[str, tuple[Any, ...], dict[str, Any]]


class Denied(Exception):
    """The hub's own answer that it will not, or cannot. `code` is the fault's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(one_line(text))
        self.code = code


def ask(method: str, *arguments: Any, **named: Any) -> Call:
    """A call, to be made together with others."""
    return method, arguments, named


def one_line(text: str) -> str:
    """The text in one line, and not too long for one."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}…"


def client() -> Any:
    """Koji's client. Raises RequestError where it is not installed."""
    try:
        import koji
    except ImportError:
        raise RequestError("Koji's client is not installed: pip install 'rebuilder[koji]'") from None
    return koji


def check(settings: KojiSettings, *, building: bool) -> None:
    """Raises RequestError saying what is missing to read from the hub or, with `building`, to build there."""
    client()
    if not settings.hub:
        raise _missing("hub", "the URL of the hub's XML-RPC, as https://koji.fedoraproject.org/kojihub")
    if not building:
        return
    match settings.login:
        case "gssapi":
            _readable("keytab", settings.keytab, "the keytab of the Kerberos principal that builds")
            if not settings.principal:
                raise _missing("principal", "the Kerberos principal that the keytab is for")
        case "certificate":
            _readable("certificate", settings.certificate, "the file with the client certificate and its key")
        case "password":
            if not settings.user:
                raise _missing("user", "the name that the password is for")
            _readable("password_file", settings.password_file, "the file with the password")
        case _:
            raise _missing("login", "gssapi, certificate or password: nobody may build without a name")


def _missing(key: str, what: str) -> RequestError:
    return RequestError(f"consumer_config.koji.{key} is not set: {what}")


def _readable(key: str, path: Path | None, what: str) -> None:
    if path is None:
        raise _missing(key, what)
    if not os.access(path, os.R_OK) or not path.is_file():
        raise RequestError(f"consumer_config.koji.{key}: {path} cannot be read; it must be {what}")


class Hub:
    """One session with a hub: anonymous, or as the user of the settings with `building`.

    Nothing is sent before the first call. A hub that lets us wait in vain is left alone for a while, so that it cannot
    hold up whoever asks it for many things. Raises RequestError where something is missing in the settings.
    """

    def __init__(
        self, settings: KojiSettings, *, building: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        check(settings, building=building)
        self._settings = settings
        self._building = building
        self._clock = clock
        self._koji = client()
        self._session: Any = None
        self._not_before = 0.0

    def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """The answer. Raises Denied and InfrastructureError."""
        return self._guarded(lambda session: getattr(session, method)(*arguments, **named))

    def many(self, calls: Sequence[Call], batch: int = BATCH) -> Iterator[Any]:
        """The answers in order, `batch` of them with one round trip; a Denied stands where the hub said no.

        Raises InfrastructureError.
        """
        for start in range(0, len(calls), batch):
            answers = self._guarded(partial(_together, calls[start : start + batch]))
            for at, answer in enumerate(answers):
                answers[at] = None  # a batch may be large: what was read goes away while it is looked at
                yield self._answer(answer)

    def _answer(self, answer: Any) -> Any:
        if not isinstance(answer, dict):
            return answer[0]
        if answer["faultCode"] == OFFLINE:
            raise InfrastructureError(f"{self._settings.hub}: {one_line(answer['faultString'])}")
        return Denied(answer["faultCode"], answer["faultString"])

    def close(self) -> None:
        """Log out, where somebody is logged in and the hub is there."""
        if self._session is not None and self._session.logged_in:
            with suppress(*self._trouble):
                self._session.logout()
        self._forget()

    def _guarded(self, work: Callable[[Any], Any]) -> Any:
        began = self._clock()
        if began < self._not_before:
            raise InfrastructureError(f"{self._settings.hub} does not answer, and is left alone for a moment")
        try:
            return self._logged_in(work)
        except self._trouble as error:
            meaning = self._meaning(error)
            waited = self._clock() - began
            if isinstance(meaning, InfrastructureError) and waited > SLOW_SECONDS:
                self._not_before = self._clock() + LEFT_ALONE * waited
            raise meaning from None

    @property
    def _trouble(self) -> tuple[type[BaseException], ...]:
        """All that the client raises where something is wrong outside this program."""
        import requests  # the client's own

        return (
            self._koji.GenericError, xmlrpc.client.Error, requests.exceptions.RequestException, OSError, ExpatError,
            http.client.HTTPException, ValueError,
        )

    def _logged_in(self, work: Callable[[Any], Any]) -> Any:
        """Do it; once more with a new login where the hub does not know this session any more, and so did nothing."""
        try:
            return work(self._opened())
        except self._koji.AuthError as error:
            known = self._session is not None
            self._forget()
            if not known or type(error).__name__ in EXECUTED:
                raise
        return work(self._opened())

    def _forget(self) -> None:
        """Begin anew with the next call. The client would log out on its own, of what the hub does not know."""
        if self._session is not None:
            self._session.logged_in = False
            self._session = None

    def _opened(self) -> Any:
        if self._session is None:
            session = self._koji.ClientSession(self._settings.hub, self._options)
            if self._building:
                self._log_in(session)
            self._session = session
        return self._session

    @property
    def _options(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "timeout": (CONNECT_SECONDS, settings.timeout_seconds),
            "auth_timeout": (CONNECT_SECONDS, settings.timeout_seconds),
            "max_retries": 1,  # none with GSSAPI, and one elsewhere: fewer, and GSSAPI does not even begin
            "retry_interval": 0,
            "anon_retry": False,
            "offline_retry": False,
            **({"serverca": str(settings.server_ca)} if settings.server_ca else {}),
        }

    def _log_in(self, session: Any) -> None:
        settings = self._settings
        match settings.login:
            case "gssapi":
                session.gssapi_login(principal=settings.principal, keytab=str(settings.keytab))
            case "certificate":
                session.ssl_login(cert=str(settings.certificate))
            case _:
                assert settings.password_file is not None
                password = settings.password_file.read_text(encoding="utf-8").strip()
                session.opts.update(user=settings.user, password=password)
                session.login()
        session.opts["max_retries"] = 0

    def _meaning(self, error: BaseException) -> Exception:
        """What an exception of the client means to us."""
        koji, text = self._koji, one_line(str(error)) or type(error).__name__
        if isinstance(error, koji.AuthError | koji.ServerOffline):
            return InfrastructureError(f"{self._settings.hub}: {text}")
        if isinstance(error, xmlrpc.client.Fault):
            return Denied(error.faultCode, error.faultString)
        if isinstance(error, koji.GenericError) and error.fromFault:
            return Denied(error.faultCode, text)
        return InfrastructureError(f"{self._settings.hub} cannot be reached: {text}")


def _together(calls: Sequence[Call], session: Any) -> list[Any]:
    multi = session.multicall()
    for method, arguments, named in calls:
        getattr(multi, method)(*arguments, **named)
    answers: list[Any] = multi.call_all()
    return answers
