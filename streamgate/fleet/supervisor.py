"""Runs one process: starts it, starts it again when it ends, stops it in order; knows no Ray.

One thread starts the process and waits for it. It must be one and the same for its whole life,
because the kernel ends the process when that thread ends: nothing goes on when its supervisor is
gone, and another machine may have taken over.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from streamgate.delivery.rotated import RotatedFile
from streamgate.fleet.spec import ProcessSpec
from streamgate.values.backoff import Backoff, pause_s

__all__ = ["State", "Supervisor", "state_folder"]

_LINES = 500
_LINE_BYTES = 8192
_LOG_BYTES = 8_388_608
_LOGS_KEPT = 2
_SOON_S = 60.0
"""A process that ends within this after its start has failed to start."""
_LOOK_S = 0.2
_DEATH_SIGNAL = 1
_libc = ctypes.CDLL(None, use_errno=True)

Environment = Callable[[], Mapping[str, str] | None]


class State(StrEnum):
    """What the process is doing."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waits to be started again"
    CRASH_LOOP = "crash loop"
    NO_SCORER = "waits for a scorer"
    ENDED = "ended"
    STOPPED = "stopped"


def state_folder(spec: ProcessSpec) -> Path:
    """Where a process of the fleet keeps its files on this machine."""
    root = Path(spec.state) if spec.state else Path.home() / ".local" / "state" / "streamgate"
    return root / spec.fleet / (spec.name if spec.kind == "camera" else f"scorer-{spec.name}")


class Supervisor:
    """One process of the fleet.

    Args:
        environment: asked at each start for further variables; None while it cannot start yet.
        arguments: of the command, after its file.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        *,
        environment: Environment = dict,
        arguments: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self.spec = spec
        self.folder = state_folder(spec)
        self._environment = environment
        self._arguments = arguments
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = True
        self._again = False
        self._changed = threading.Condition()
        self._state = State.STARTING
        self._starts = 0
        self._failures = 0
        self._code: int | None = None
        self._started_at = time.monotonic()
        self._file = self.folder / "config.yaml"
        self._log = RotatedFile(self.folder / "process.log", _LOG_BYTES, _LOGS_KEPT)
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def start(self) -> None:
        """Write the configuration and begin; OSError where the folder cannot be used."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, 0o600)
            file.write(self.spec.text)
        self._thread.start()

    @property
    def state(self) -> State:
        """What the process is doing."""
        return self._state

    def status(self) -> dict[str, Any]:
        """State, process id, number of starts and last exit code; no setting is in it."""
        process = self._process
        return {
            "state": self._state.value,
            "pid": process.pid if process is not None and process.poll() is None else None,
            "starts": self._starts,
            "exit_code": self._code,
            "for_s": round(time.monotonic() - self._started_at, 1),
        }

    def lines(self, most: int = _LINES) -> list[str]:
        """The newest lines that it has written."""
        return list(self._lines)[-most:] if most > 0 else []

    def restart(self) -> None:
        """Stop it in order and start it again."""
        with self._changed:
            self._wanted = self._again = True
            self._failures = 0
            self._changed.notify_all()

    def stop(self) -> bool:
        """Stop it in order, and kill it when its time is up; return whether it ended by itself."""
        with self._changed:
            self._wanted = False
            self._changed.notify_all()
        deadline = time.monotonic() + self.spec.stop_s + 5
        with self._changed:
            while self._process is not None and time.monotonic() < deadline:
                self._changed.wait(_LOOK_S)
        return self._code is not None and self._code >= 0

    # In the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._wanted:
                    self._state = State.STOPPED
                    self._changed.wait()
                self._again = False
            more = self._environment()
            if more is None:
                self._state = State.NO_SCORER
            elif self._spawn(more):
                self._watch()
            if self._wanted and not self._again:
                self._pause()

    def _spawn(self, more: Mapping[str, str]) -> bool:
        command = self.spec.command or (
            sys.executable, "-m", "streamgate", "run" if self.spec.kind == "camera" else "serve",
        )  # fmt: skip
        own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self._started_at = time.monotonic()
        self._starts += 1
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*command, str(self._file), *self._arguments()],
                cwd=self.folder,
                env={**own, **more},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - it calls the kernel and nothing else
            )
        except OSError as error:
            self._note(f"cannot be started: {error.strerror}")
            return False
        self._state = State.RUNNING
        reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        reader.start()
        return True

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as stream:
            while line := stream.readline(_LINE_BYTES):
                self._note(line.decode(errors="replace").rstrip("\n"))

    def _note(self, line: str) -> None:
        self._lines.append(line)
        # A full disk must not stop a camera.
        with suppress(OSError):
            self._log.append(line.encode() + b"\n")

    def _watch(self) -> None:
        """Wait until it has ended, and end it when it is no longer wanted."""
        process = self._process
        assert process is not None
        asked_at: float | None = None
        while process.poll() is None:
            with self._changed:
                if asked_at is None and (self._again or not self._wanted):
                    asked_at = time.monotonic()
                    process.send_signal(signal.SIGTERM)
                self._changed.wait(_LOOK_S)
            if asked_at is not None and time.monotonic() - asked_at > self.spec.stop_s:
                self._note("does not stop in time and is killed")
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        lasted_s = time.monotonic() - self._started_at
        with self._changed:
            self._code = process.returncode
            self._process = None
            self._failures = 0 if lasted_s > _SOON_S or asked_at is not None else self._failures + 1
            self._changed.notify_all()
        if asked_at is None:
            self._note(f"has ended with exit code {self._code} after {lasted_s:.0f} s")

    def _pause(self) -> None:
        settings = self.spec.restart
        pauses = Backoff(
            float(settings.get("initial_s", 1.0)),
            float(settings.get("max_s", 60.0)),
            float(settings.get("jitter", 0.3)),
        )
        wait_s = pause_s(max(1, self._failures), pauses, random.random())  # noqa: S311 - spreads
        if self._state is not State.NO_SCORER:
            if self._code == 0 and self.spec.kind == "camera":
                # A recording has ended: it would only begin anew.
                self._state, wait_s = State.ENDED, float("inf")
            elif self._failures >= settings.get("crash_loop", 5):
                self._state, wait_s = State.CRASH_LOOP, pauses.max_s
            else:
                self._state = State.WAITING
        until = time.monotonic() + wait_s
        with self._changed:
            while self._wanted and not self._again and (left := until - time.monotonic()) > 0:
                self._changed.wait(min(left, 1.0))


def _end_with_parent() -> None:
    """Have the kernel end this process when the thread that has started it ends."""
    _libc.prctl(_DEATH_SIGNAL, signal.SIGTERM)
