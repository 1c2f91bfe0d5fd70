"""The hand-off of size one from the decode thread to the event loop.

A queue of frames grows stale while inference is busy. The slot holds the newest frame alone, so
that decoding never waits and the reader is never late by more than one frame. Its reader is woken
once per item that it can take, not once per item that arrives: a `call_soon_threadsafe` for every
frame would pin one frame in memory for each turn that a busy loop has not made.

A recording that is read faster than it was made is the exception: there every frame counts, and
its writer waits, by `offer`, until the frame before has been taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable

from streamgate.values import Discontinuity, Frame

__all__ = ["LatestSlot"]


class LatestSlot:
    """Newest frame wins; a discontinuity is never lost and keeps its place among the frames.

    Discontinuities with no frame between them become one. `put`, `offer`, `mark` and `close` may be
    called from any thread; `frames` is for one task at a time.

    Args:
        on_replaced: called, on the writer's thread, for each frame that nobody had read.
        is_wanted: asked, on the writer's thread, whether a frame need be handed over at all; one
            that need not wakes nobody.
    """

    def __init__(
        self,
        on_replaced: Callable[[], None] = lambda: None,
        is_wanted: Callable[[Frame], bool] = lambda _frame: True,
    ) -> None:
        self._lock = threading.Lock()
        self._taken = threading.Condition(self._lock)
        # At most one discontinuity on either side of the frame; none after it without a frame.
        self._before: Discontinuity | None = None
        self._frame: Frame | None = None
        self._after: Discontinuity | None = None
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reader: asyncio.Future[None] | None = None
        self._on_replaced = on_replaced
        self._is_wanted = is_wanted

    def put(self, frame: Frame) -> None:
        """Leave the newest frame if it is wanted; after `close` it is dropped."""
        if not self._is_wanted(frame):
            return
        with self._lock:
            if self._closed:
                return
            replaced = self._frame is not None
            self._store(frame)
        if replaced:
            self._on_replaced()

    def offer(self, frame: Frame, *, timeout_s: float) -> bool:
        """Leave a frame once the one before has been taken; see `FrameSink.offer`."""
        with self._taken:
            if not self._taken.wait_for(self._is_free, timeout_s):
                return False
            if not self._closed:
                self._store(frame)
        return True

    def mark(self, discontinuity: Discontinuity) -> None:
        """Leave word that the stream was lost after the frames that came before."""
        with self._lock:
            if self._closed:
                return
            if self._frame is None:
                self._before = discontinuity
            else:
                self._after = discontinuity
            self._wake()

    def close(self) -> None:
        """End the reader once it has taken what is there, and let a waiting writer go."""
        with self._lock:
            self._closed = True
            self._taken.notify_all()
            self._wake()

    async def frames(self) -> AsyncIterator[Frame | Discontinuity]:
        """Yield frames and discontinuities in order until the slot is closed and empty."""
        self._loop = asyncio.get_running_loop()
        while True:
            with self._lock:
                item = self._take()
                if item is None:
                    if self._closed:
                        return
                    self._reader = self._loop.create_future()
                reader = self._reader
            if item is not None:
                yield item
                # The generator's frame must not keep a picture alive while it waits.
                item = None
            elif reader is not None:
                await reader

    def _is_free(self) -> bool:
        return self._closed or self._frame is None

    def _store(self, frame: Frame) -> None:
        if self._after is not None:
            self._before, self._after = self._after, None
        self._frame = frame
        self._wake()

    def _take(self) -> Frame | Discontinuity | None:
        item: Frame | Discontinuity | None
        if self._before is not None:
            item, self._before = self._before, None
        else:
            item, self._frame = self._frame, None
            self._before, self._after = self._after, None
            self._taken.notify_all()
        return item

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and self._loop is not None:
            # A loop that has been closed meanwhile has no reader left to wake.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_resolve, reader)


def _resolve(reader: asyncio.Future[None]) -> None:
    if not reader.done():
        reader.set_result(None)
