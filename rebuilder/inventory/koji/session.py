"""Sessions with a Koji hub: who we are there, and what an answer, a refusal and an outage look like.

The `koji` client retries for minutes, or for ever, and knows a dozen ways to fail. Here every call ends soon, in one
of three ways: an answer, Denied where the hub said no, or InfrastructureError, which tells whether the hub may have
carried the call out.
"""

from __future__ import annotations

import http.client
import os
import xmlrpc.client
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from rebuilder.config import KojiSettings
from rebuilder.distribution import install
from rebuilder.domain.build import SiteError
from rebuilder.domain.errors import InfrastructureError, RequestError
from rebuilder.inventory.koji.faults import one_line

CONNECT_SECONDS = 5.0
BATCH = 100
OFFLINE = 1014
EXECUTED = ("RetryError", "SequenceError")  # the hub has seen this call before: what came of it, it does not tell
Call = tuple[str, tuple[Any, ...], dict[str, Any]]


class Denied(Exception):
    """The hub's own answer that it will not, or cannot. `code` is the fault's, `text` all that it says."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(one_line(text))
        self.code = code
        self.text = text


class _SessionEnded(InfrastructureError):
    """The hub does not know the session any more, and has done nothing."""


def ask(method: str, *arguments: Any, **named: Any) -> Call:
    """A call, to be made together with others."""
    return method, arguments, named


def client() -> Any:
    """Koji's client. Raises RequestError where it is not installed."""
    try:
        import koji
    except ImportError:
        raise RequestError(f"Koji's client is not installed: {install('koji')}") from None
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
            raise _missing("login", "gssapi, certificate or password: building needs a user")


def _missing(key: str, what: str) -> RequestError:
    return RequestError(f"consumer_config.koji.{key} is not set: {what}")


def _readable(key: str, path: Path | None, what: str) -> None:
    if path is None:
        raise _missing(key, what)
    if not os.access(path, os.R_OK) or not path.is_file():
        raise RequestError(f"consumer_config.koji.{key}: {path} cannot be read; it must be {what}")


class KojiSession:
    """A hub, asked anonymously or, with `building`, as the user of the settings. Any number of threads may share it.

    A session with the hub serves one call at a time, so each call takes an idle one, or opens one more, and gives it
    back when it is answered. A call that takes long therefore holds up no other. Nothing is sent before the first
    call. Raises RequestError where something is missing in the settings.
    """

    def __init__(self, settings: KojiSettings, *, building: bool = False) -> None:
        check(settings, building=building)
        self._settings = settings
        self._building = building
        self._koji = client()
        self._idle: deque[Any] = deque()  # its methods are atomic; the last one given back is the first one taken

    def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """The answer. Raises Denied and InfrastructureError."""
        return self.call_within(self._settings.timeout_seconds, method, *arguments, **named)

    def call_within(self, seconds: float, method: str, *arguments: Any, **named: Any) -> Any:
        """The answer to a call that may take this long. Raises Denied and InfrastructureError."""
        return self._guarded(lambda session: getattr(session, method)(*arguments, **named), seconds)

    def many(self, calls: Sequence[Call], batch: int = BATCH, at_once: int = 1) -> Iterator[Any]:
        """The answers in order, `batch` of them with one round trip, `at_once` round trips at a time.

        A Denied stands where the hub said no. Raises InfrastructureError.
        """
        batches = [calls[start : start + batch] for start in range(0, len(calls), batch)]
        for answers in self._batches(batches, at_once):
            for at, answer in enumerate(answers):
                answers[at] = None  # a batch may be large: what was read goes away while it is looked at
                yield self._answer(answer)

    def _batches(self, batches: Sequence[Sequence[Call]], at_once: int) -> Iterator[list[Any]]:
        """What each batch is answered, in order. Few are on their way or wait to be looked at: they may be large."""
        if min(at_once, len(batches)) <= 1:
            yield from map(self._batch, batches)
            return
        pool = ThreadPoolExecutor(at_once, "koji")
        try:
            coming: deque[Future[list[Any]]] = deque()
            for calls in batches:
                coming.append(pool.submit(self._batch, calls))
                if len(coming) > at_once:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _batch(self, calls: Sequence[Call]) -> list[Any]:
        answers: list[Any] = self._guarded(partial(_together, calls), self._settings.timeout_seconds)
        return answers

    def _answer(self, answer: Any) -> Any:
        if not isinstance(answer, dict):
            return answer[0]
        if answer["faultCode"] == OFFLINE:
            raise InfrastructureError(f"{self._settings.hub}: {one_line(answer['faultString'])}", arrived=False)
        return Denied(answer["faultCode"], answer["faultString"])

    def close(self) -> None:
        """Log out the sessions that serve no call, where the hub is there."""
        while self._idle:
            with suppress(IndexError, *self._client_errors):
                self._idle.pop().logout()

    def _guarded(self, work: Callable[[Any], Any], seconds: float) -> Any:
        """Do it; once more with a new login where the hub does not know the session any more, and so did nothing."""
        try:
            session = self._idle.pop()
        except IndexError:
            return self._served(self._opened(), work, seconds)
        try:
            return self._served(session, work, seconds)
        except _SessionEnded:
            return self._served(self._opened(), work, seconds)

    def _served(self, session: Any, work: Callable[[Any], Any], seconds: float) -> Any:
        """Do it with this session, and keep the session where it can serve another call.

        After a time-out the hub may still hold the session's row locked for the call that was given up.
        """
        session.opts["timeout"] = CONNECT_SECONDS, seconds
        session.reached = False
        try:
            answer = work(session)
        except self._client_errors as error:
            meaning = self._meaning(error, session.reached)
            if isinstance(error, self._koji.AuthError) and type(error).__name__ not in EXECUTED:
                raise _SessionEnded(str(meaning), arrived=False) from None
            if isinstance(meaning, Denied) or not meaning.arrived:
                self._idle.append(session)
            raise meaning from None
        self._idle.append(session)
        return answer

    @property
    def _client_errors(self) -> tuple[type[BaseException], ...]:
        """All that the client raises where something is wrong outside this program."""
        import requests  # the client's own

        return (
            self._koji.GenericError, xmlrpc.client.Error, requests.exceptions.RequestException, OSError, ExpatError,
            http.client.HTTPException, ValueError,
        )

    def _opened(self) -> Any:
        """A new session, logged in where that is asked for. Raises InfrastructureError: nothing else was sent yet."""
        from rebuilder.inventory.koji.client_session import ClientSession

        session = ClientSession(self._settings.hub, self._options)
        if self._building:
            try:
                self._log_in(session)
            except self._client_errors as error:
                raise self._login_failed(error) from None
        return session

    def _login_failed(self, error: BaseException) -> InfrastructureError:
        """A login that the hub refuses is refused for every image; one that did not get there is an outage."""
        text = str(self._meaning(error, reached=False))
        if isinstance(error, self._koji.AuthError) and error.fromFault:
            return SiteError(text)
        return InfrastructureError(text, arrived=False)

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
                # The client sets this for the login and takes it back, in the environment of all threads.
                os.environ["KRB5_CLIENT_KTNAME"] = str(settings.keytab)
                session.gssapi_login(principal=settings.principal, keytab=str(settings.keytab))
            case "certificate":
                session.ssl_login(cert=str(settings.certificate))
            case _:
                assert settings.password_file is not None
                password = settings.password_file.read_text(encoding="utf-8").strip()
                session.opts.update(user=settings.user, password=password)
                session.login()
        session.opts["max_retries"] = 0

    def _meaning(self, error: BaseException, reached: bool) -> Denied | InfrastructureError:
        """What an exception of the client means to us; with `reached` the call may have got to the hub."""
        koji, text = self._koji, one_line(str(error)) or type(error).__name__
        if isinstance(error, koji.ServerOffline):  # said before the hub begins with a call
            return InfrastructureError(f"{self._settings.hub}: {text}", arrived=False)
        if isinstance(error, koji.AuthError):
            return InfrastructureError(f"{self._settings.hub}: {text}", arrived=type(error).__name__ in EXECUTED)
        if isinstance(error, xmlrpc.client.Fault):
            return Denied(error.faultCode, error.faultString)
        if isinstance(error, koji.GenericError) and error.fromFault:
            return Denied(error.faultCode, str(error))
        return InfrastructureError(f"{self._settings.hub} cannot be reached: {text}", arrived=reached)


def _together(calls: Sequence[Call], session: Any) -> list[Any]:
    multi = session.multicall()
    for method, arguments, named in calls:
        getattr(multi, method)(*arguments, **named)
    answers: list[Any] = multi.call_all()
    return answers
