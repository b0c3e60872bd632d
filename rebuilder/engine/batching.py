"""Questions about many subjects, asked in as few calls as possible, so that no subject waits long for another.

A peer that answers for all at once is asked once. Where such a call is slow, its subjects are asked again in halves
while it goes on: what can be answered is answered after a few seconds, and what hangs ends up in a call of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec import Struct

SPLIT_SECONDS = 3.0
Batch = tuple[str, ...]


class _Open(Struct):
    subjects: Batch
    began: float
    split: bool = False


class Batches:
    """What is being asked about which subjects. Times are those of a monotonic clock."""

    def __init__(self) -> None:
        self._open: list[_Open] = []
        self._most: dict[str, int] = {}  # how many a subject may share a call with, where others hung with it

    def split(self, now: float) -> list[str]:
        """The subjects of calls that have just become slow: they are to be asked about again, in halves."""
        slow = [c for c in self._open if not c.split and len(c.subjects) > 1 and now - c.began >= SPLIT_SECONDS]
        for call in slow:
            call.split = True
            self._most.update(dict.fromkeys(call.subjects, (len(call.subjects) + 1) // 2))
        return [subject for call in slow for subject in call.subjects]

    def next(self, candidates: Iterable[str]) -> list[Batch]:
        """The calls to make about those of the candidates that no call is out about, but for slow ones."""
        busy = {subject for call in self._open if not call.split for subject in call.subjects}
        alike: dict[int | None, list[str]] = {}  # by how many of them may be in one call
        for subject in dict.fromkeys(candidates):
            if subject not in busy:
                alike.setdefault(self._most.get(subject), []).append(subject)
        batches: list[Batch] = []
        for most, subjects in alike.items():
            batches += _pieces(subjects, most or len(subjects))
        return batches

    def start(self, candidates: Iterable[str], now: float, call: Callable[[Batch], bool]) -> None:
        """Make the `next` calls; `call` says whether it could be made."""
        for batch in self.next(candidates):
            if call(batch):
                self.asked(batch, now)

    def asked(self, batch: Batch, now: float) -> None:
        """The call was made."""
        self._open.append(_Open(batch, now))

    def answered(self, batch: Batch, left_out: Collection[str] = ()) -> None:
        """It was answered, but for some subjects: those are asked alone from now on, the others together again."""
        self._close(batch)
        for subject in batch:
            self._most.pop(subject, None)
        self._most.update(dict.fromkeys(left_out, 1))

    def unanswered(self, batch: Batch) -> None:
        """It failed or ran out of time: whatever it was about is asked again."""
        self._close(batch)
        if len(batch) == 1:
            self._most[batch[0]] = 1

    def _close(self, batch: Batch) -> None:
        self._open = [call for call in self._open if call.subjects != batch]

    def forget(self, keep: Collection[str]) -> None:
        """Remember nothing of subjects that are asked about no more."""
        self._most = {subject: most for subject, most in self._most.items() if subject in keep}


def _pieces(subjects: Sequence[str], most: int) -> list[Batch]:
    return [tuple(subjects[start : start + most]) for start in range(0, len(subjects), most)]
