"""Best shots as files in a folder.

A reader may look at any time and must never find half a file: each file is written under another
name, forced to disk and renamed, the JSON last. Its presence says that the pictures are there.
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import partial
from pathlib import Path

from streamgate.config import DirectorySinkSection
from streamgate.delivery.threads import StuckError, Threads
from streamgate.errors import DeliveryError, SinkFault
from streamgate.values import EncodedShot

__all__ = ["DirectorySink", "file_stem"]

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_STEM = 200
_MOST_AT_ONCE = 64


def file_stem(key: str) -> str:
    """A file name that differs for every key and is safe on every file system."""
    safe = _UNSAFE.sub("_", key)
    if safe == key and len(key) <= _LONGEST_STEM:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return f"{safe[: _LONGEST_STEM - 17]}-{digest}"


class DirectorySink:
    """Writes `KEY.json`, `KEY.jpg` (or `.png`) and, where there is one, `KEY.context.jpg`."""

    def __init__(self, section: DirectorySinkSection) -> None:
        self.name = section.name
        self._folder = section.path
        self._timeout_s = section.timeout_s
        self._modes = (0o640, 0o750) if section.group_readable else (0o600, 0o700)
        self._threads = Threads(f"directory-{section.name}", _MOST_AT_ONCE)

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

    async def close(self) -> None:
        """Let the threads end."""
        self._threads.close()

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
