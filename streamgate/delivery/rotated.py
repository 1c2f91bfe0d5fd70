"""Files of lines that stay bounded: rotated by size, and whole after a kill or a full disk."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["RotatedFile"]


class RotatedFile:
    """Appends lines, and puts the file aside as PATH.1, PATH.2, ... before it grows too large.

    It is opened for each write, so that it may be moved or deleted under the running camera. One
    process writes, one line at a time.

    Args:
        max_bytes: the file is put aside when it would grow beyond this; one line always fits.
        keep: how many files are kept that were put aside.
    """

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep

    def append(self, line: bytes) -> None:
        """Write a line whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._size() + len(line) > self._max_bytes:
            self._put_aside()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o640)
        try:
            _append_whole(descriptor, line)
        finally:
            os.close(descriptor)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _put_aside(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            older = self._aside(number)
            if older.exists():
                older.replace(self._aside(number + 1))
        if self._keep:
            if self._path.exists():
                self._path.replace(self._aside(1))
        else:
            self._path.unlink(missing_ok=True)

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _append_whole(descriptor: int, line: bytes) -> None:
    end = os.lseek(descriptor, 0, os.SEEK_END)
    # A power cut may have left half a line, which must not swallow this one.
    if end and os.pread(descriptor, 1, end - 1) != b"\n":
        line = b"\n" + line
    try:
        written = os.write(descriptor, line)
        if written < len(line):
            os.write(descriptor, line[written:])
    except OSError:
        os.ftruncate(descriptor, end)
        raise
