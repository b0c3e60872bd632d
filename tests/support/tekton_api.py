"""What Tekton and Kubernetes answer over HTTP of a cluster of `support.tekton`, with the faults that it is to make."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from support.tekton import Cluster, Fault, TaskRun

TEKTON, CORE = "/apis/tekton.dev/v1beta1", "/api/v1"
PIECE = 32 * 1024


class Server(ThreadingHTTPServer):
    cluster: Cluster
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no news."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Refusal(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        """Not to the terminal."""

    def _serve(self) -> None:
        cluster = self.server.cluster
        path = urlsplit(self.path).path.rstrip("/")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        time.sleep(cluster.call_seconds)
        fault = self._fault(path)
        if fault is not None and not fault.after:
            return self._answer(fault.code, _status(fault.code, f"injected {fault.code}"))
        try:
            if path == "/oauth/authorize":
                return self._token()
            self._authorize()
            if fault is not None:
                with cluster.lock:
                    self._documents(path, body)
                return self._answer(fault.code, _status(fault.code, f"injected {fault.code}"))
            if self._streams(path):
                return None
            with cluster.lock:
                code, document = self._documents(path, body)
            return self._answer(code, document)
        except Refusal as refusal:
            return self._answer(refusal.code, _status(refusal.code, str(refusal)))

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _fault(self, path: str) -> Fault | None:
        cluster = self.server.cluster
        with cluster.lock:
            for fault in cluster.faults:
                if fault.times and fault.method == self.command and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def _authorize(self) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.server.cluster.tokens:
            raise Refusal(401, "Unauthorized")

    def _token(self) -> None:
        """As OpenShift's login does: the token is in the fragment of where it sends the client on."""
        if not self.headers.get("Authorization", "").startswith("Basic "):
            return self._answer(401, _status(401, "Unauthorized"))
        self.send_response(302)
        token = sorted(self.server.cluster.tokens)[-1]
        self.send_header("Location", f"{self.server.cluster.url}oauth/token#access_token={token}&token_type=Bearer")
        self.send_header("Content-Length", "0")
        return self.end_headers()

    def _answer(self, code: int, document: Any) -> None:
        if isinstance(document, Iterator):
            return self._stream(document)
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _documents(self, path: str, body: bytes) -> tuple[int, Any]:
        cluster = self.server.cluster
        prefix = f"{TEKTON}/namespaces/{cluster.namespace}"
        if path == f"{prefix}/pipelineruns" and self.command == "POST":
            return self._create(json.loads(body))
        if path == f"{prefix}/pipelineruns":
            return 200, self._listed(list(cluster.runs.values()))
        if path == f"{prefix}/taskruns":
            return 200, self._listed([task.document for tasks in cluster.tasks.values() for task in tasks])
        kind, _, name = path.removeprefix(prefix + "/").partition("/")
        cluster.reads += 1
        if kind == "pipelineruns" and name in cluster.runs:
            return self._run(name, body)
        if kind == "taskruns" and (task := cluster.task(name)) is not None:
            return 200, task.document
        return self._pod(path)

    def _listed(self, documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One page of the documents that have the labels asked for, and where the next begins."""
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        self.server.cluster.lists += 1
        selected = _selector(query.get("labelSelector", ""))
        runs = [document for document in documents if selected(document["metadata"].get("labels") or {})]
        begin = int(query.get("continue", 0))
        end = begin + int(query.get("limit", len(runs) or 1))
        more = {"continue": str(end)} if end < len(runs) else {}
        return {"kind": "List", "metadata": more, "items": runs[begin:end]}

    def _create(self, document: dict[str, Any]) -> tuple[int, Any]:
        cluster, name = self.server.cluster, document["metadata"]["name"]
        cluster.posted.append(name)
        if len(name) > 63 or not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name):
            raise Refusal(422, f'PipelineRun "{name}" is invalid: metadata.name')
        if name in cluster.runs:
            raise Refusal(409, f'pipelineruns.tekton.dev "{name}" already exists')
        cluster.created.append(name)
        cluster.runs[name] = document
        return 201, document

    def _run(self, name: str, body: bytes) -> tuple[int, Any]:
        cluster = self.server.cluster
        document = cluster.runs[name]
        if self.command == "DELETE":
            cluster.remove(name)
        elif self.command == "PATCH":
            patch = json.loads(body)
            document["spec"].update(patch.get("spec") or {})
            document["metadata"].setdefault("labels", {}).update((patch.get("metadata") or {}).get("labels") or {})
            if patch.get("spec"):
                cluster.cancel(name)
        return 200, document

    def _pod(self, path: str) -> tuple[int, Any]:
        found = re.fullmatch(rf"{CORE}/namespaces/{self.server.cluster.namespace}/pods/(.+)-pod(/log)?", path)
        task = self.server.cluster.task(found[1]) if found else None
        if found is None or task is None:
            raise Refusal(404, f"{path} not found")
        if found[2]:
            if not {"running", "terminated"} & task.status["steps"][0].keys():  # as the kubelet says it
                raise Refusal(400, f'container "step-{task.task}" in pod "{found[1]}-pod" is waiting to start')
            return 200, self._written(task)
        return 200, {"metadata": {"name": f"{task.name}-pod"}, "status": {"phase": "Running"}}

    def _written(self, task: TaskRun) -> Iterator[bytes]:
        """The log so far, in the pieces that the kubelet copies; the next one is cut off where that was wanted."""
        cuts, self.server.cluster.cut_logs = self.server.cluster.cut_logs, max(0, self.server.cluster.cut_logs - 1)
        piece = b""
        for at in range(len(task.lines)):
            piece += with_newline(task.lines[at])
            if cuts:
                yield piece[: len(piece) // 2]
                raise ConnectionAbortedError
            if len(piece) >= PIECE:
                yield piece
                piece = b""
        if piece:
            yield piece

    def _streams(self, path: str) -> bool:
        """Whether it was a request for a log that is followed."""
        cluster = self.server.cluster
        query = parse_qs(urlsplit(self.path).query)
        if not (path.endswith("/log") and query.get("follow")):
            return False
        with cluster.lock:
            cluster.streams += 1
            self._pod(path)
            task = cluster.task(path.split("/")[-2].removesuffix("-pod"))
        assert task is not None
        self._stream(cluster.lines(task))
        return True

    def _stream(self, parts: Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for data in parts:
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()
        except ConnectionError:  # the reader has gone, or the connection is to break
            return
        self.wfile.write(b"0\r\n\r\n")


def with_newline(line: str | bytes) -> bytes:
    return (line.encode() if isinstance(line, str) else line) + b"\n"


def _selector(text: str) -> Callable[[Mapping[str, str]], bool]:
    """Kubernetes' label selectors, as far as they are used: `a=b,!c`, or `a in (b,c)`."""
    if listed := re.fullmatch(r"(\S+) in \((.*)\)", text):
        return lambda labels: labels.get(listed[1]) in listed[2].split(",")
    parts = [part for part in text.split(",") if part]
    wanted = dict(part.split("=") for part in parts if not part.startswith("!"))
    unwanted = {part[1:] for part in parts if part.startswith("!")}
    return lambda labels: wanted.items() <= labels.items() and not unwanted & labels.keys()


def _status(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "message": message, "code": code}
