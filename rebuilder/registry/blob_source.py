"""Blobs of one image: skopeo's proxy is started when the first of them is wanted."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import IO, Self

from rebuilder.registry.document import Blob
from rebuilder.registry.proxy import ImageProxy


class BlobSource:
    """The blobs of the repository of an image, which is named in full. Raises RegistryError."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._opened: tuple[ImageProxy, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self._opened is not None:
            self._opened[0].close()

    def open(self, blob: Blob) -> AbstractContextManager[IO[bytes]]:
        """The blob as a stream."""
        proxy, image = self._proxy()
        return proxy.blob(image, blob.digest, blob.size)

    def read(self, blob: Blob) -> bytes:
        """A small blob as a whole."""
        proxy, image = self._proxy()
        return proxy.read(image, blob.digest, blob.size)

    def _proxy(self) -> tuple[ImageProxy, int]:
        if self._opened is None:
            proxy = ImageProxy(self._name, self._seconds)
            try:
                self._opened = proxy, proxy.open(self._name)
            except BaseException:
                proxy.close()
                raise
        return self._opened
