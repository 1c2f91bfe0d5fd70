"""Saving what can be read from an outbox whose file is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from streamgate.delivery.durable.cipher import Cipher, DamagedError
from streamgate.delivery.durable.faults import StoreCorruptError, StoreFaultError
from streamgate.delivery.durable.store import Change, Store, state_from
from streamgate.delivery.entry import DeliveryState
from streamgate.errors import OutboxError

__all__ = ["Recovery", "recover_file"]

_SUFFIXES = ("", "-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Recovery:
    """What came of a damaged outbox.

    Attributes:
        put_aside: the damaged file, which is left for who wants to look.
        saved: how many best shots are in the new file.
        lost: keys of those that could not be read, as far as the keys themselves could.
    """

    put_aside: Path
    saved: int
    lost: tuple[str, ...]


def recover_file(path: Path, cipher: Cipher, camera: str, *, stamp: str) -> Recovery:
    """Put a damaged outbox aside and begin a new one with all that could be read of it.

    Args:
        stamp: part of the name of the file that is put aside.

    Raises:
        StoreFaultError: the disk does not let it.
    """
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    try:
        for suffix in _SUFFIXES:
            with suppress(FileNotFoundError):
                Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    except OSError as error:
        raise StoreFaultError(path, "io", error.strerror or "it cannot be renamed") from None
    fresh = Store(path, cipher, camera)
    with closing(fresh):
        saved, lost = _copy(aside, cipher, fresh)
    return Recovery(aside, saved, lost)


def _copy(damaged: Path, cipher: Cipher, fresh: Store) -> tuple[int, tuple[str, ...]]:
    try:
        old = Store(damaged, cipher)
    except (StoreCorruptError, StoreFaultError, OutboxError):
        return 0, ()
    saved, lost = 0, []
    with closing(old), closing(_plain(damaged)) as plain:
        for number, key in sorted(_numbers(plain).items()):
            try:
                shot = old.read(number)
            except (DamagedError, StoreCorruptError):
                shot = None
            if shot is None:
                lost.append(key)
                continue
            fresh.apply([Change(number, _states(plain, number), shot)])
            saved += 1
    return saved, tuple(lost)


def _plain(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _numbers(connection: sqlite3.Connection) -> dict[int, str]:
    """Numbers and keys as the table tells them from either end, and as its index does."""
    found: dict[int, str] = {}
    for query in (
        "SELECT number, key FROM shots INDEXED BY sqlite_autoindex_shots_1",
        "SELECT number, key FROM shots NOT INDEXED ORDER BY number",
        "SELECT number, key FROM shots NOT INDEXED ORDER BY number DESC",
    ):
        for number, key in _until_damage(connection, query):
            if isinstance(number, int):
                found.setdefault(number, str(key))
    return found


def _until_damage(connection: sqlite3.Connection, query: str) -> Iterator[tuple[object, object]]:
    with suppress(sqlite3.DatabaseError):
        yield from connection.execute(query)


def _states(connection: sqlite3.Connection, number: int) -> dict[str, DeliveryState]:
    try:
        rows = connection.execute(
            "SELECT sink, refusals, due, dead, error FROM standings WHERE number = ?", (number,)
        ).fetchall()
    except sqlite3.DatabaseError:
        return {}
    return {str(sink): state_from(values) for sink, *values in rows}
