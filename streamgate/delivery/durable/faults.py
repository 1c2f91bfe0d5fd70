"""What can go wrong with the outbox's file, told apart by what helps."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["FULL_ERRNOS", "StoreCorruptError", "StoreFaultError", "faults_of"]

FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REASONS = {
    sqlite3.SQLITE_FULL: ("full", "the disk is full"),
    sqlite3.SQLITE_IOERR: ("io", "the disk reports an error"),
    sqlite3.SQLITE_BUSY: ("busy", "another process holds it"),
    sqlite3.SQLITE_CANTOPEN: ("open", "it cannot be opened"),
    sqlite3.SQLITE_READONLY: ("readonly", "it cannot be written"),
    sqlite3.SQLITE_PERM: ("readonly", "it cannot be written"),
}


class StoreFaultError(Exception):
    """The file cannot be used now; it may be usable later.

    Attributes:
        reason: a short word, fit for a metric label.
    """

    def __init__(self, path: Path, reason: str, text: str) -> None:
        super().__init__(f"{path}: {text}")
        self.reason = reason


class StoreCorruptError(Exception):
    """The file's structure is damaged."""


@contextmanager
def faults_of(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        # The upper bits only say which call it was.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _DAMAGED:
            raise StoreCorruptError(f"{path}: {error}") from None
        reason, text = _REASONS.get(code, ("other", str(error)))
        raise StoreFaultError(path, reason, text) from None
