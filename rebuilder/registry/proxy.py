"""Single blobs of images, by skopeo's image proxy.

`skopeo copy` takes all layers or none. The proxy hands out one blob at a time through a pipe, with the credentials,
mirrors and certificates that skopeo itself uses, and keeps nothing. It speaks JSON over a socket, and passes the pipes
along: see docs/experimental-image-proxy of containers/skopeo (protocol 0.2).
"""

from __future__ import annotations

import io
import json
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from rebuilder.registry.errors import Cause, registry_error
from rebuilder.registry.skopeo import command, last_words

LARGEST = 65536  # bytes of an answer
CHUNK = 1 << 20  # bytes that a pipe is read by
SLOWEST = 64 << 10  # bytes in a second, on the average of a blob
SMALL = 8 << 20  # bytes of a manifest, a configuration or an SBOM at the most, as of containers/image for manifests


class BlobReader(io.RawIOBase):
    """A pipe with a blob of `size` bytes, which must not stand still for longer than `seconds`, nor be too slow.

    Raises RegistryError where it does, and where more comes than the blob has.
    """

    def __init__(self, pipe: int, spec: str, seconds: float, size: int) -> None:
        self._pipe, self._spec, self._seconds = pipe, spec, seconds
        self._size = self._left = size
        self._until = time.monotonic() + seconds + size / SLOWEST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        ready, _, _ = select.select([self._pipe], [], [], self._seconds)
        if not ready:
            raise registry_error(self._spec, f"nothing came for {self._seconds:g} s", Cause.SLOW)
        if time.monotonic() > self._until:
            raise registry_error(self._spec, f"a blob of {self._size} bytes comes too slowly", Cause.SLOW)
        count = os.readv(self._pipe, [buffer])
        self._left -= count
        if self._left < 0:
            raise registry_error(self._spec, f"a blob has more than its {self._size} bytes", Cause.OTHER)
        return count


@contextmanager
def _to_its_end(stream: IO[bytes]) -> Iterator[None]:
    """Whatever the reader leaves of the stream is read, also after an error of the reader's."""
    try:
        yield
    finally:
        while stream.read(CHUNK):
            pass


class ImageProxy:
    """One skopeo process that hands out blobs of one image after another. For one thread at a time.

    Every call takes at most `seconds` for its answer, and raises RegistryError.
    """

    def __init__(self, spec: str, seconds: float) -> None:
        self._spec, self._seconds = spec, seconds
        started = [*command(spec), "experimental-image-proxy", "--sockfd", "0"]  # 0: its standard input
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        with theirs:
            self._process = subprocess.Popen(
                started, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=self._log
            )
        self._socket.settimeout(seconds)
        try:
            self._call("Initialize")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the process: it has nothing to finish."""
        self._socket.close()
        self._process.kill()
        self._process.wait()
        self._log.close()

    def open(self, spec: str) -> int:
        """The number of the image of this full name; its blobs are asked for by it."""
        number, _ = self._call("OpenImage", f"docker://{spec}")
        return int(number)

    @contextmanager
    def blob(self, image: int, digest: str, size: int) -> Iterator[IO[bytes]]:
        """A blob as a stream. It is taken to its end, as only then skopeo can tell whether it is the right one.

        Where the stream broke off, that is raised in place of what its reader made of it.
        """
        _, (pipe, ident) = self._call("GetBlob", image, digest, size)
        # The proxy closes its end of the pipe when it is asked to finish, and answers when all was taken.
        try:
            self._send("FinishPipe", ident)
            source = BlobReader(pipe, self._spec, self._seconds, size)
            with io.BufferedReader(source, CHUNK) as stream, _to_its_end(stream):
                yield stream
        finally:
            os.close(pipe)
            self._receive()

    def read(self, image: int, digest: str, size: int) -> bytes:
        """A small blob as a whole. Raises RegistryError for one that is too large to be what is looked for."""
        if size > SMALL:
            raise registry_error(self._spec, f"{digest} has {size} bytes", Cause.OTHER)
        with self.blob(image, digest, size) as stream:
            return stream.read()

    def _call(self, method: str, *arguments: object) -> tuple[Any, tuple[int, int]]:
        """The value that a method answers, and the descriptor and the number of the pipe with more, if any."""
        self._send(method, *arguments)
        return self._receive()

    def _send(self, method: str, *arguments: object) -> None:
        try:
            self._socket.send(json.dumps({"method": method, "args": arguments}).encode())
        except OSError:
            raise registry_error(self._spec, self._last_words()) from None

    def _receive(self) -> tuple[Any, tuple[int, int]]:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, LARGEST, 1)
        except TimeoutError:
            raise registry_error(self._spec, f"no answer within {self._seconds:g} s", Cause.SLOW) from None
        except OSError:
            data, descriptors = b"", []
        if not data:
            raise registry_error(self._spec, self._last_words())
        answer = json.loads(data)
        if not answer.get("success"):
            raise registry_error(self._spec, str(answer.get("error") or "no reason given"))
        return answer.get("value"), (descriptors[0] if descriptors else -1, int(answer.get("pipeid") or 0))

    def _last_words(self) -> str:
        self._log.seek(0)
        return last_words(self._log.read().decode(errors="replace"))
