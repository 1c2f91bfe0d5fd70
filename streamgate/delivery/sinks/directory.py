"""Best shots as files in a folder.

A reader may look at any time and must never find half a file: each file is written under another
name, forced to disk and renamed, the JSON last. Its presence says that the pictures are there.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from functools import partial
from pathlib import Path

import structlog

from streamgate.config import DirectorySinkSection
from streamgate.delivery.sinks.directory_files import file_stem, sweep
from streamgate.delivery.threads import StuckError, Threads
from streamgate.errors import DeliveryError, ProbeError, SinkFault
from streamgate.values import EncodedShot

__all__ = ["DirectorySink", "file_stem"]

_MOST_AT_ONCE = 64
_DAY_S = 86_400.0
_SWEEP_EVERY_S = 600.0
_MOST_SWEPT = 1000

log = structlog.get_logger(__name__)


class DirectorySink:
    """Writes `KEY.json`, `KEY.jpg` (or `.png`) and, where there is one, `KEY.context.jpg`."""

    def __init__(self, section: DirectorySinkSection) -> None:
        self.name = section.name
        self._folder = section.path
        self._timeout_s = section.timeout_s
        self._modes = (0o640, 0o750) if section.group_readable else (0o600, 0o700)
        self._threads = Threads(f"directory-{section.name}", _MOST_AT_ONCE)
        self._keep_s = None if section.keep_days is None else section.keep_days * _DAY_S
        self._sweeper = Threads(f"sweep-{section.name}")
        self._swept_at: float | None = None

    async def deliver(self, shot: EncodedShot) -> None:
        """Write the files; once this returns they survive a power cut.

        Raises:
            DeliveryError: they cannot be written now.
        """
        if self._threads.stuck:
            # Each attempt on a disk that hangs would leave one more thread behind.
            raise self._silent()
        try:
            await self._threads.run(partial(self._write, shot), self._timeout_s)
        except StuckError:
            raise self._silent() from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise DeliveryError(
                f"cannot write into {self._folder}: {reason}", fault=SinkFault.AWAY
            ) from None

    async def tend(self) -> None:
        """Delete what is older than `keep_days`, some at a time; see `TendedSink`.

        Raises:
            DeliveryError: it cannot be deleted.
        """
        now = time.monotonic()
        if self._keep_s is None or (
            self._swept_at is not None and now - self._swept_at < _SWEEP_EVERY_S
        ):
            return
        work = partial(sweep, self._folder, time.time() - self._keep_s, _MOST_SWEPT)
        self._swept_at = now
        try:
            done = await self._sweeper.run(work, self._timeout_s)
        except FileNotFoundError:
            return
        except StuckError:
            raise self._silent() from None
        except OSError as error:
            raise DeliveryError(
                f"cannot delete old best shots in {self._folder}: {error.strerror}",
                fault=SinkFault.AWAY,
            ) from None
        if not done.complete:
            self._swept_at = None
        if done.shots:
            log.info("old best shots deleted", sink=self.name, shots=done.shots)

    async def probe(self, place: str) -> str:
        """Write a file and remove it; see `ProbedSink`."""
        await asyncio.to_thread(self._try_folder, place)
        return f"a file was written into {self._folder} and removed"

    def _try_folder(self, place: str) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".check-") as file:
                file.write(b"streamgate check\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ProbeError(
                f"{self._folder}: {error.strerror or error}",
                f"check {place}.path and who may write there",
            ) from None

    async def close(self) -> None:
        """Let the threads end."""
        self._threads.close()
        self._sweeper.close()

    def _silent(self) -> DeliveryError:
        return DeliveryError(
            f"cannot write into {self._folder}: the disk did not answer within "
            f"{self._timeout_s:g} s",
            fault=SinkFault.AWAY,
        )

    def _write(self, shot: EncodedShot) -> None:
        self._make_folder()
        stem = file_stem(shot.key)
        self._write_file(f"{stem}{shot.crop.suffix}", shot.crop.data)
        if shot.context is not None:
            self._write_file(f"{stem}.context{shot.context.suffix}", shot.context.data)
        # The pictures' names must be on disk before the JSON's name says that they are.
        _sync_folder(self._folder)
        self._write_file(f"{stem}.json", shot.metadata)
        _sync_folder(self._folder)

    def _make_folder(self) -> None:
        if self._folder.is_dir():
            # Whoever has made it has said who may look into it.
            return
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._folder.mkdir(self._modes[1], exist_ok=True)
        # The mode above is narrowed by the umask.
        self._folder.chmod(self._modes[1])

    def _write_file(self, name: str, data: bytes) -> None:
        part = self._folder / f".{name}.part"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
                # Also where it was left behind by an earlier attempt.
                os.fchmod(file.fileno(), self._modes[0])
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._folder / name)
        except OSError:
            part.unlink(missing_ok=True)
            raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
