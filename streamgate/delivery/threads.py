"""Threads for calls that may hang: a disk on a dead server answers no `fsync`.

Neither a deadline nor the end of the process waits for such a call: the threads are daemons, and
who has asked is told when time is up. The call itself goes on until the operating system lets it
end; until then its thread takes nothing else.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["StuckError", "Threads"]

T = TypeVar("T")


class StuckError(Exception):
    """A call has not returned in time, or cannot begin because earlier ones have not returned."""


class _Call:
    """One call and whom its result is for."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        # A result that comes too late is nobody's.
        self.future.add_done_callback(_look_at)

    def run(self) -> None:
        if self.future.cancelled():
            return
        try:
            result, error = self.work(), None
        except BaseException as raised:  # it belongs to who has asked
            result, error = None, raised
        with suppress(RuntimeError):  # the loop has ended without waiting for it
            self.loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class Threads:
    """At most `most` threads, begun when they are needed; for one event loop."""

    def __init__(self, name: str, most: int = 1) -> None:
        self._name = name
        self._most = most
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._threads = 0
        self._open = 0
        self._late = 0
        self._closed = False

    @property
    def stuck(self) -> int:
        """How many calls have not returned although their time was up."""
        return self._late

    def begin(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have some work done; nothing waits for it but who awaits the future."""
        if self._closed:
            raise StuckError("it is closed")
        call = _Call(work)
        self._open += 1
        call.future.add_done_callback(self._done)
        if self._threads < min(self._open, self._most):
            self._threads += 1
            name = f"{self._name}_{self._threads}"
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        self._calls.put(call)
        return call.future

    async def run(self, work: Callable[[], T], timeout_s: float) -> T:
        """Have some work done and return its result.

        Raises:
            StuckError: it has not returned in time; it may still do what it was to do.
        """
        if self._late >= self._most:
            raise StuckError("an earlier call has not returned")
        future = self.begin(work)
        # Who is cancelled here does not end what was begun, so that nothing is left half-way.
        done, _ = await asyncio.wait({future}, timeout=timeout_s)
        if not done:
            self._late += 1
            future.add_done_callback(self._returned)
            raise StuckError(f"it has not returned within {timeout_s:g} s")
        return future.result()

    def close(self) -> None:
        """Let the threads end once they have returned; nobody waits for them."""
        self._closed = True
        for _ in range(self._threads):
            self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
            # The last result would be kept until the next call.
            del call

    def _done(self, _: object) -> None:
        self._open -= 1

    def _returned(self, _: object) -> None:
        self._late -= 1


def _look_at(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
