"""Best shots as files in a folder.

A reader may look at any time and must never find half a file: each file is written under another
name, forced to disk and renamed, the JSON last. Its presence says that the pictures are there.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from pathlib import Path

from streamgate.config import DirectorySinkSection
from streamgate.errors import DeliveryError
from streamgate.values import EncodedShot

__all__ = ["DirectorySink", "file_stem"]

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_STEM = 200


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

    async def deliver(self, shot: EncodedShot) -> None:
        """Write the files; once this returns they survive a power cut.

        Raises:
            DeliveryError: they cannot be written now.
        """
        try:
            await asyncio.to_thread(self._write, shot)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise DeliveryError(f"cannot write into {self._folder}: {reason}") from None

    async def close(self) -> None:
        """Nothing is held open."""

    def _write(self, shot: EncodedShot) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        stem = file_stem(shot.key)
        _write_file(self._folder / f"{stem}{shot.crop.suffix}", shot.crop.data)
        if shot.context is not None:
            _write_file(self._folder / f"{stem}.context{shot.context.suffix}", shot.context.data)
        # The pictures' names must be on disk before the JSON's name says that they are.
        _sync_folder(self._folder)
        _write_file(self._folder / f"{stem}.json", shot.metadata)
        _sync_folder(self._folder)


def _write_file(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
