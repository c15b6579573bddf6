"""Calls that may hang for ever (a dead network mount, a slow sensor) under a time limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class StuckError(Exception):
    """The call did not return in time, or an earlier one for the same key still has not."""


class _Job(Generic[T]):
    def __init__(self, function: Callable[[], T]) -> None:
        self.function = function
        self.done = threading.Event()
        self.value: T | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.value = self.function()
        except Exception as error:  # noqa: BLE001 - handed to the caller, who asked for the call
            self.error = error
        finally:
            self.done.set()


class _Worker:
    """One daemon thread that runs jobs one after another; left behind when a job hangs."""

    def __init__(self) -> None:
        self._job: _Job[Any] | None = None
        self._given = threading.Event()
        self._retired = False
        threading.Thread(target=self._loop, name="guard", daemon=True).start()

    def give(self, job: _Job[Any]) -> None:
        self._job = job
        self._given.set()

    def retire(self) -> None:
        self._retired = True

    def _loop(self) -> None:
        while not self._retired:
            self._given.wait()
            self._given.clear()
            if self._job is not None:
                self._job.run()


class Guard:
    """Runs calls on a worker thread and gives up waiting after ``limit`` seconds.

    A thread cannot be killed, so a call that hangs keeps its thread; the key is then skipped, at no cost,
    until that call comes back.  Not safe for use from several threads at once.
    """

    def __init__(self, limit: float = 2.0) -> None:
        self._limit = limit
        self._worker: _Worker | None = None
        self._stuck: dict[str, _Job[Any]] = {}

    @property
    def stuck(self) -> tuple[str, ...]:
        """Keys whose call has not come back yet."""
        return tuple(key for key, job in self._stuck.items() if not job.done.is_set())

    def call(self, key: str, function: Callable[[], T]) -> T:
        """Return ``function()``; raise what it raises, or :class:`StuckError` when it hangs."""
        earlier = self._stuck.get(key)
        if earlier is not None:
            if not earlier.done.is_set():
                raise StuckError(key)
            del self._stuck[key]
        if self._worker is None:
            self._worker = _Worker()
        job = _Job(function)
        self._worker.give(job)
        if not job.done.wait(self._limit):
            self._stuck[key] = job
            self._worker.retire()
            self._worker = None
            raise StuckError(key)
        if job.error is not None:
            raise job.error
        return job.value  # type: ignore[return-value]  # set whenever error is not
