"""A media server for tests: WHEP over aiortc, in a process of its own, fed with any clip."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from tests.needs import ROOT

__all__ = ["WhepServer"]

START_TIMEOUT_S = 30.0


class WhepServer:
    """Plays clips for ever at `url`.

    Args:
        clips: video files; none, and there is no such stream (404).
        codec: what it sends.
        token: what it asks for.
        host: address to listen on.
        stamp_time: draw the monotonic clock into each picture.
        once: end the stream after the last clip.
        answer: text to answer every offer with, instead of a session.
        before: what to run the server by, such as `ip netns exec ...`.
    """

    def __init__(
        self,
        *clips: Path,
        codec: Literal["H264", "VP8"] = "VP8",
        token: str | None = None,
        host: str = "127.0.0.1",
        stamp_time: bool = False,
        once: bool = False,
        answer: str | None = None,
        before: Sequence[str] = (),
    ) -> None:
        self._settings: dict[str, Any] = {
            "clips": [str(clip) for clip in clips],
            "codec": codec,
            "token": token,
            "host": host,
            "port": 0,
            "stamp_time": stamp_time,
            "once": once,
            "answer": answer,
        }
        self._before = before
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://{self._settings['host']}:{self._settings['port']}/whep"

    def __enter__(self) -> Self:
        self.restart()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def restart(self, **changes: Any) -> None:
        """Start, on the same port as before, with other settings where some are given."""
        self.kill()
        self._settings.update(changes)
        command = [*self._before, sys.executable, "-m", "tests.servers.whep_server"]
        with tempfile.TemporaryFile() as complaints:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                cwd=ROOT,
            )
            assert self._process.stdin is not None
            with self._process.stdin as told:
                told.write(json.dumps(self._settings).encode())
            line = _first_line(self._process)
            if not line:
                self.kill()
                complaints.seek(0)
                raise RuntimeError(f"no WHEP server: {complaints.read().decode()}")
        self._settings["port"] = int(line)

    def kill(self) -> None:
        """Die at once, without a word to those who watch."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End in order: readers are told."""
        self._end(signal.SIGTERM)

    def sessions(self) -> dict[str, int]:
        """How many sessions are open, and how many were deleted by their reader."""
        url = self.url.replace("/whep", "/sessions")
        with urllib.request.urlopen(url, timeout=10) as answer:
            counts: dict[str, int] = json.load(answer)
        return counts

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
    return process.stdout.readline() if ready else b""
