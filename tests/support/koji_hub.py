"""A stand-in for a Koji hub: real XML-RPC over HTTP, sessions included, for the real `koji` client.

It runs in threads of the test's process, so that the test holds the tasks in its hand, and can take the hub away.
"""

from __future__ import annotations

import base64
import secrets
import ssl
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, dumps, loads

from msgspec import Struct

from rebuilder.demo.process import LOOPBACK, free_port
from support.koji_builds import Koji
from support.koji_tasks import CANCELED

OWNER, PASSWORD = 7, "secret"
LOGINS = ("login", "sslLogin")
CHANGING = ("buildContainer", "cancelTask")
METHOD_UNKNOWN, AUTH, EXPIRED, SEQUENCE, RETRY, OFFLINE = 1000, 1002, 1007, 1008, 1009, 1014


class Session(Struct):
    id: int
    key: str
    callnum: int = -1
    expired: bool = False


class Hub:
    """`trouble` is nothing, `offline` (the hub says so), `503`, `silent` (no answer) or `refused` (nobody listens).

    `slow` has the seconds that a method takes. `losing` names the method of which the next call is carried out and its
    answer lost, `leaving` the one after which the hub goes away without an answer. `requests` counts the round trips,
    `calls` the calls in them. With a `keytab` it asks for a Kerberos ticket at the login over TLS.
    """

    def __init__(
        self, koji: Koji | None = None, tls: ssl.SSLContext | None = None, keytab: Path | None = None
    ) -> None:
        self.koji = koji or Koji()
        self.port = free_port()
        self.trouble = ""
        self.losing = ""
        self.leaving = ""
        self.slow: dict[str, float] = {}
        self.requests = 0
        self.calls: Counter[str] = Counter()
        self.sessions: dict[int, Session] = {}
        self.released = threading.Event()
        self.logins: list[str] = []
        self._tls = tls
        self._keytab = keytab
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        scheme, host = ("https", "localhost") if self._tls else ("http", LOOPBACK)
        return f"{scheme}://{host}:{self.port}/kojihub"

    def __enter__(self) -> Hub:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.stop()

    def start(self) -> None:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hub.answer(self)

            def log_message(self, *_: Any) -> None:
                """Not on the test's output."""

        server = ThreadingHTTPServer((LOOPBACK, self.port), Handler)
        server.daemon_threads = True
        if self._tls:
            server.socket = self._tls.wrap_socket(server.socket, server_side=True)
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @contextmanager
    def away(self, trouble: str = "refused") -> Iterator[None]:
        """The hub is away in this manner."""
        self.trouble = trouble
        if trouble == "refused":
            self.stop()
        self.released.clear()
        try:
            yield
        finally:
            self.trouble = ""
            self.released.set()
            if trouble == "refused":
                self.start()

    def expire(self) -> None:
        """Every session is over, as after a night without calls."""
        for session in self.sessions.values():
            session.expired = True

    def forget(self) -> None:
        """The hub knows no session any more."""
        self.sessions.clear()

    # --- requests

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        self.requests += 1
        if self.trouble == "503":
            request.send_error(503)
            return
        if self.trouble == "silent":
            self.released.wait(30)
            return
        headers, who = {}, ""
        if self._keytab and request.path.endswith("/ssllogin"):
            who, token = self._negotiated(request.headers.get("Authorization", ""))
            headers["WWW-Authenticate"] = f"Negotiate {token}".strip()
            if not who:
                request.send_response(401)
                request.send_header("WWW-Authenticate", "Negotiate")
                request.end_headers()
                return
        params, method = loads(body)
        assert method is not None
        try:
            result = (self._called(request, method, params, who),)
            content = dumps(result, methodresponse=True, allow_none=True)
        except Fault as fault:
            content = dumps(fault, allow_none=True)
        except Exception as error:
            traceback.print_exc()
            content = dumps(Fault(1, f"{type(error)}: {error}"), allow_none=True)
        if self.losing and method == self.losing:
            self.losing = ""
            return
        if self.leaving and method == self.leaving:
            self.stop()
            return
        request.send_response(200)
        request.send_header("Content-Type", "text/xml")
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content.encode())

    def _negotiated(self, header: str) -> tuple[str, str]:
        """Whose ticket came with the request, and the answer that proves who we are."""
        kind, _, token = header.partition(" ")
        if kind != "Negotiate":
            return "", ""
        import gssapi

        ours = gssapi.Credentials(usage="accept", store={"keytab": str(self._keytab)})
        context = gssapi.SecurityContext(creds=ours, usage="accept")
        answer = context.step(base64.b64decode(token))
        return str(context.initiator_name), base64.b64encode(answer or b"").decode()

    def _called(self, request: BaseHTTPRequestHandler, method: str, params: tuple[Any, ...], who: str) -> Any:
        if self.trouble == "offline":
            raise Fault(OFFLINE, "database outage")
        session = self._session(request, method)
        time.sleep(self.slow.get(method, 0))
        with self.koji.lock:
            if method == "sslLogin":
                return self._opened(who, None) if who else self._certified(request)
            if method != "multiCall":
                return self._one(session, method, params)
            return [self._part(session, call) for call in params[0]]

    def _part(self, session: Session | None, call: dict[str, Any]) -> Any:
        try:
            return [self._one(session, call["methodName"], tuple(call["params"]))]
        except Fault as fault:
            return {"faultCode": fault.faultCode, "faultString": fault.faultString, "traceback": []}

    def _session(self, request: BaseHTTPRequestHandler, method: str) -> Session | None:
        """Whose call this is: the checks of Session.__init__ in the hub's kojihub/auth.py, in their order.

        The number of a call is remembered when the call changes something, and then refused a second time.
        """
        ident = request.headers.get("Koji-Session-Id")
        if ident is None:
            return None
        session, callnum = self.sessions.get(int(ident)), int(request.headers["Koji-Session-Callnum"])
        if session is None or session.key != request.headers["Koji-Session-Key"]:
            raise Fault(AUTH, "Invalid session or bad credentials")
        if session.expired and method not in LOGINS:
            raise Fault(EXPIRED, f'session "{ident}" has expired')
        if callnum < session.callnum:
            raise Fault(SEQUENCE, f"{session.callnum} > {callnum} (session {ident})")
        if callnum == session.callnum:
            raise Fault(RETRY, f"unable to retry call {callnum} (method {method}) for session {ident}")
        if method in CHANGING:
            session.callnum = callnum
        return session

    def _one(self, session: Session | None, method: str, params: tuple[Any, ...]) -> Any:
        self.calls[method] += 1
        arguments, named = list(params), {}
        if arguments and isinstance(arguments[-1], dict) and arguments[-1].get("__starstar"):
            named = {name: value for name, value in arguments.pop().items() if name != "__starstar"}
        handler = self._methods(session).get(method)
        if handler is None:
            raise Fault(METHOD_UNKNOWN, f"Invalid method: {method}")
        return handler(*arguments, **named)

    def _methods(self, session: Session | None) -> dict[str, Callable[..., Any]]:
        koji, owner = self.koji, OWNER if session else None
        return {
            "login": lambda *a, **k: self._login(session, *a, **k),
            "logout": lambda session_id=None: self.sessions.pop(session.id if session else 0, None) and None,
            "getLoggedInUser": lambda: {"id": owner, "name": "rebuilder"} if owner else None,
            "buildContainer": lambda *a, **k: koji.build_container(owner, *a, **k),
            "cancelTask": lambda *a, **k: koji.cancel_task(owner, *a, **k),
            "listTasks": koji.list_tasks,
            "getTaskInfo": koji.get_task_info,
            "getTaskResult": koji.get_task_result,
            "getTaskRequest": koji.get_task_request,
            "getTaskChildren": lambda task: [],
            "listTaskOutput": koji.list_output,
            "downloadTaskOutput": koji.output,
            "getBuild": koji.get_build,
            "listTagged": koji.list_tagged,
            "getLatestBuilds": koji.get_latest_builds,
            "queryHistory": koji.query_history,
            "listTags": koji.list_tags,
            "getTag": koji.get_tag,
            "getBuildTarget": koji.get_build_target,
            "getFullInheritance": koji.get_full_inheritance,
            "listArchives": koji.list_archives,
            "listRPMs": koji.list_rpms,
            "listBuildRPMs": koji.list_build_rpms,
        }

    def _login(
        self, session: Session | None, user: str, password: str, opts: Any = None, renew: bool = False,
        exclusive: bool = False,
    ) -> Any:  # fmt: skip
        if password != PASSWORD:
            raise Fault(AUTH, "invalid username or password")
        return self._opened("password", session if renew else None)

    def _certified(self, request: BaseHTTPRequestHandler) -> Any:
        certificate = request.connection.getpeercert() if isinstance(request.connection, ssl.SSLSocket) else None
        if not request.path.endswith("/ssllogin") or not certificate:
            raise Fault(AUTH, "no client certificate")
        return self._opened("certificate", None)

    def _opened(self, how: str, renewed: Session | None) -> dict[str, Any]:
        """A new session, or the same one with a new key, which goes on counting its calls (createSession)."""
        session = renewed or Session(len(self.logins) + 1, "")
        session.key, session.expired = secrets.token_hex(8), False
        self.sessions[session.id] = session
        self.logins.append(how)
        return {"session-id": session.id, "session-key": session.key, "header-auth": True}


def password_file(folder: Path) -> Path:
    path = folder / "password"
    path.write_text(f"{PASSWORD}\n")
    return path


class Worker:
    """Moves every task on, one step at a time, but for those that the test keeps."""

    def __init__(self, koji: Koji, pause: float = 0.05) -> None:
        self._koji, self._pause, self._stop = koji, pause, threading.Event()
        self.kept: set[str] = set()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Worker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(self._pause):
            for task in self._koji.live():
                if not any(name in task.request[0] for name in self.kept):
                    self._koji.advance(task)


def cancel(koji: Koji, name: str) -> None:
    """Somebody cancels the live task of this image, by hand."""
    with koji.lock:
        (task,) = [task for task in koji.live() if f"/{name}#" in task.request[0]]
        task.state = CANCELED

