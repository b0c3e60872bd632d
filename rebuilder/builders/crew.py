"""Calls that are given only so long: into a library that waits, sleeps and tries again as long as it likes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from rebuilder.domain.build import InfrastructureError

T = TypeVar("T")


class Call(Generic[T]):
    """A call in a thread of its own, which does not keep the process from ending."""

    def __init__(self, do: Callable[[], T]) -> None:
        self._do = do
        self._done = threading.Event()
        self._result: T
        self._error: BaseException | None = None

    def begin(self) -> Call[T]:
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def _run(self) -> None:
        try:
            self._result = self._do()
        except BaseException as error:
            self._error = error
        self._done.set()

    @property
    def ended(self) -> bool:
        return self._done.is_set()

    def result(self, seconds: float, waited: float = 0.0) -> T:
        """Its answer, or its exception. Raises InfrastructureError where it has not come in time; the call goes on.

        `waited` is how much of the time is gone already.
        """
        if not self._done.wait(max(0.0, seconds - waited)):
            raise InfrastructureError(f"no answer within {seconds:g} s")
        if self._error is not None:
            raise self._error
        return self._result
