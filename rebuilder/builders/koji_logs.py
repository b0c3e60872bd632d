"""The logs of a Koji task and its children, from any place on."""

from __future__ import annotations

import codecs
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from msgspec import Struct, field

from rebuilder.domain.errors import InfrastructureError
from rebuilder.inventory.koji.session import Denied, KojiSession, ask

PIECE = 1 << 18  # bytes that are read with one call
TASKS, PLACES = 64, 8  # tasks whose logs are being read at a time; places that are kept of each
FILES = 12  # logs of a task whose ends are looked at: one for each platform, and a few others
File = tuple[int, str]  # a task, and the name of a file of it


class _Place(Struct, frozen=True):
    """A number of characters that were read of a task's logs, and the bytes of each file that those are."""

    characters: int = 0
    read: Mapping[File, int] = field(default_factory=dict)


class TaskLogs:
    """Reads logs piece by piece. It keeps the last places that it read up to: who goes on there gets what is new.

    The files are read in order, each as far as it is written; one that grows later goes on where it was left.
    """

    def __init__(self, hub: KojiSession) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._places: OrderedDict[int, list[_Place]] = OrderedDict()

    def read(self, task: int, offset: int) -> Iterator[str]:
        """The text from `offset` characters on. Raises InfrastructureError."""
        try:
            yield from self._read(task, offset)
        except Denied as error:
            raise InfrastructureError(f"the log of task {task} cannot be read: {error}") from None

    def _read(self, task: int, offset: int) -> Iterator[str]:
        place = self._nearest(task, offset)
        characters, read = place.characters, dict(place.read)
        for file, size in self._files(task):
            for text, at in self._pieces(file, read.get(file, 0), size):
                read[file], characters = at, characters + len(text)
                self._keep(task, _Place(characters, dict(read)))
                if characters > offset:
                    yield text[max(0, len(text) - (characters - offset)) :]

    def _pieces(self, file: File, at: int, size: float = math.inf) -> Iterator[tuple[str, int]]:
        """The text from the byte `at` on, and how many bytes are read by then, without the beginning of a character."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while at < size and (piece := self._hub.call("downloadTaskOutput", *file, offset=at, size=PIECE)):
            text, at = decoder.decode(piece), at + len(piece)
            yield text, at - len(decoder.getstate()[0])

    def of_name(self, task: int, name: str) -> Iterator[str]:
        """The text of one log of the task, as far as it takes; that of its children is not looked at.

        Raises Denied where there is none, and InfrastructureError where the hub is away.
        """
        return (text for text, _ in self._pieces((task, name), 0))

    def ends(self, task: int, until: float) -> Iterator[tuple[str, str]]:
        """The name of each log of the task, and what stands at its end.

        Raises Denied where the hub refuses one, and InfrastructureError where it is away or the monotonic clock says
        `until`.
        """
        _left(until)
        for (number, name), size in islice(self._files(task), FILES):
            offset = max(0, size - PIECE)
            end = self._hub.call_within(_left(until), "downloadTaskOutput", number, name, offset=offset, size=PIECE)
            yield name.removesuffix(".log"), end.decode(errors="replace")

    def _files(self, task: int) -> Iterator[tuple[File, int]]:
        """The log files of the task and its children, with their sizes in bytes."""
        children, own = self._hub.many([ask("getTaskChildren", task), ask("listTaskOutput", task, stat=True)])
        numbers = [int(child["id"]) for child in _told(children)]
        outputs = [own, *self._hub.many([ask("listTaskOutput", number, stat=True) for number in numbers])]
        for number, output in zip((task, *numbers), outputs, strict=True):
            for name, stat in sorted(dict(_told(output)).items()):
                if name.endswith(".log"):
                    yield (number, name), int(stat["st_size"])

    def _nearest(self, task: int, offset: int) -> _Place:
        with self._lock:
            kept = [place for place in self._places.get(task, ()) if place.characters <= offset]
            return max(kept, key=lambda place: place.characters, default=_Place())

    def _keep(self, task: int, place: _Place) -> None:
        with self._lock:
            self._places[task] = [*self._places.pop(task, ()), place][-PLACES:]
            if len(self._places) > TASKS:
                self._places.popitem(last=False)


def _left(until: float) -> float:
    """The seconds that are left. Raises InfrastructureError where none are."""
    left = until - time.monotonic()
    if left <= 0:
        raise InfrastructureError("the hub is slow, and the time for it is over")
    return left


def _told(answer: Any) -> Any:
    """The answer. Raises the Denied that stands in place of one."""
    if isinstance(answer, Denied):
        raise answer
    return answer
