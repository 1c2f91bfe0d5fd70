"""The end of the process where an orderly one does not come.

A signal to stop must be obeyed within seconds, also while a model loads, while a file system hangs
and while a driver does not return. Nothing in the event loop can promise that, so a thread does: it
is told of the signal by the interpreter's own handler in C, through a pipe, whatever the main
thread is doing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

__all__ = ["LastResort"]

_STOPPING = {int(signal.SIGTERM), int(signal.SIGINT)}
_READ_BYTES = 64


class LastResort:
    """Ends the process when a stop takes too long, saying what it was doing and what is lost.

    Args:
        limit_s: seconds from the signal.
        wake: lets the main thread look for the signal, which another may have received.
        leave: ends the process with an exit code; for tests.
    """

    def __init__(
        self,
        limit_s: float,
        *,
        wake: Callable[[], object] = lambda: None,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self.limit_s = limit_s
        self.doing = "starting"
        # While it starts, nothing can be lost.
        self.lost: Callable[[], str] | None = None
        self._wake = wake
        self._leave = leave
        self._ended = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch for signals while the context is open; for the main thread."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        thread = threading.Thread(
            target=self._watch, args=(reading,), name="last-resort", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            self._ended.set()
            os.close(writing)
            thread.join()
            os.close(reading)

    def begin(self) -> None:
        """Let the time run from now on, as after a signal."""
        threading.Thread(target=self._count_down, name="last-resort", daemon=True).start()

    def _watch(self, reading: int) -> None:
        while received := os.read(reading, _READ_BYTES):
            # A loop that has been closed needs no waking.
            with suppress(RuntimeError):
                self._wake()
            if _STOPPING & set(received):
                self._count_down()
                return

    def _count_down(self) -> None:
        if self._ended.wait(self.limit_s):
            return
        with suppress(OSError):
            os.write(2, f"streamgate: {self.account()}\n".encode())
        self._leave(0 if self.lost is None else 1)

    def account(self) -> str:
        """What was being done, and what is lost, in words."""
        told = f"stopped by force after {self.limit_s:g} s, while {self.doing}"
        if self.lost is None:
            return f"{told}; nothing is lost"
        try:
            return f"{told}; {self.lost()}"
        except Exception:  # the account must not keep the process
            return f"{told}; best shots may be lost"
