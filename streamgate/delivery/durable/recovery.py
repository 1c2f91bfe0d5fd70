"""Saving what can be read from an outbox whose file is damaged, deleted or replaced.

A kill or a power cut may come between any two steps, so that each leaves either the old file or a
whole new one:

1. What can be read is copied into PATH.recovering. The old file stays where it is; whatever goes
   wrong, it is read again the next time.
2. The copy is forced to disk and renamed to PATH.recovered-STAMP: from here on it counts.
3. The old file is put aside, its WAL first: beside the new file it would be taken for that one's.
4. The copy is renamed to PATH.

Who opens an outbox finishes first what is left of that, see `finish_recovery`.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from streamgate.delivery.durable.cipher import DamagedError
from streamgate.delivery.durable.faults import FULL_ERRNOS, StoreCorruptError, StoreFaultError
from streamgate.delivery.durable.file import foreign_error, is_foreign
from streamgate.delivery.durable.store import Change, Store, state_from
from streamgate.delivery.entry import DeliveryState
from streamgate.errors import OutboxError

__all__ = ["Recovery", "finish_recovery", "recover_file", "rewrite_file"]

_SUFFIXES = ("-wal", "-shm", "")
_LEFTOVERS = (*_SUFFIXES, ".reserve")


class OpenAt(Protocol):
    """Opens an outbox of one camera."""

    def __call__(self, path: Path, *, make: bool = True) -> Store:
        """Open it; where it is to be made, insist on its camera and its keys."""
        ...


@dataclass(frozen=True, slots=True)
class Recovery:
    """What came of a damaged outbox.

    Attributes:
        put_aside: the damaged file, which is left for who wants to look; None where it is gone.
        saved: how many best shots are in the new file.
        lost: keys of those that could not be read, as far as the keys themselves could.
    """

    put_aside: Path | None
    saved: int
    lost: tuple[str, ...]


def recover_file(path: Path, open_at: OpenAt, *, stamp: str) -> Recovery:
    """Begin a damaged outbox anew with all that could be read of it.

    Args:
        open_at: opens an outbox of this camera.
        stamp: part of the name of the file that is put aside.

    Raises:
        StoreFaultError: the disk does not let it; the damaged file is as it was.
    """
    with _named_faults(path):
        saved, lost = _copied(path, open_at)
        _commit(path, stamp)
        finish_recovery(path)
    return Recovery(_aside(path, stamp), saved, lost)


def rewrite_file(old: Store, open_at: OpenAt) -> Recovery:
    """Write an outbox anew whose file was deleted or replaced while it was open.

    Where another outbox of this camera has taken its place, what it holds is kept as well. The new
    file gets its name from `finish_recovery`, before which `old` must be closed: its end deletes a
    WAL by its name.

    Args:
        old: still open on the file that has lost its name.
        open_at: opens an outbox of this camera.

    Raises:
        OutboxError: what has taken its place is not this camera's outbox.
        StoreFaultError: the disk does not let it.
    """
    path = old.path
    with _named_faults(path):
        if is_foreign(path):
            raise foreign_error(path)
        # Beside another file they would be taken for that one's.
        old.forget_names()
        if path.exists():
            # Raises where it is somebody else's, before anything was changed.
            open_at(path).close()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy = _begin_copy(path)
        with closing(open_at(copy)) as fresh:
            lost = _copy_open(old, fresh)
            if path.exists():
                with closing(open_at(path, make=False)) as other:
                    lost += _copy_open(other, fresh)
            saved = len(fresh.rows())
        _commit(path, stamp := time.strftime("%Y%m%dT%H%M%S"))
    return Recovery(_aside(path, stamp) if path.exists() else None, saved, tuple(lost))


def finish_recovery(path: Path) -> None:
    """Finish what a recovery has left undone when it was broken off.

    Raises:
        OSError: the disk does not let it.
    """
    done = sorted(path.parent.glob(f"{_glob(path)}.recovered-*"))
    for copy in done:
        stamp = copy.name.removeprefix(f"{path.name}.recovered-")
        for suffix in _SUFFIXES:
            with suppress(FileNotFoundError):
                Path(f"{path}{suffix}").rename(f"{_aside(path, stamp)}{suffix}")
        _sync_folder(path.parent)
        copy.rename(path)
        _sync_folder(path.parent)
    for suffix in _LEFTOVERS:
        Path(f"{path}.recovering{suffix}").unlink(missing_ok=True)


def _copied(path: Path, open_at: OpenAt) -> tuple[int, tuple[str, ...]]:
    copy = _begin_copy(path)
    with closing(open_at(copy)) as fresh:
        return _copy(path, open_at, fresh)


def _begin_copy(path: Path) -> Path:
    for suffix in _LEFTOVERS:
        Path(f"{path}.recovering{suffix}").unlink(missing_ok=True)
    return path.with_name(f"{path.name}.recovering")


def _commit(path: Path, stamp: str) -> None:
    """Make the copy count: once it has this name it is whole and on disk."""
    copy = path.with_name(f"{path.name}.recovering")
    descriptor = os.open(copy, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    copy.rename(path.with_name(f"{path.name}.recovered-{stamp}"))
    _sync_folder(path.parent)


def _aside(path: Path, stamp: str) -> Path:
    return path.with_name(f"{path.name}.damaged-{stamp}")


def _glob(path: Path) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in path.name)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _named_faults:  # noqa: N801 - reads as what it does
    """Turn the operating system's errors into ours."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            reason = "full" if error.errno in FULL_ERRNOS else "io"
            text = error.strerror or "it cannot be copied"
            raise StoreFaultError(self._path, reason, text) from None


def _copy_open(source: Store, fresh: Store) -> list[str]:
    """Copy from one that is sound; return the keys of what could not be read."""
    lost: list[str] = []
    # Two outboxes may have given one number to different best shots.
    keys = {row.number: row.key for row in fresh.rows()}
    for row in source.rows():
        try:
            shot = source.read(row.number)
        except DamagedError:
            shot = None
        if shot is None:
            lost.append(row.key)
            continue
        number = row.number
        while keys.get(number, row.key) != row.key:
            number += 1
        keys[number] = row.key
        fresh.apply([Change(number, row.states, shot, row.age_s)])
    return lost


def _copy(damaged: Path, open_at: OpenAt, fresh: Store) -> tuple[int, tuple[str, ...]]:
    try:
        old = open_at(damaged, make=False)
    except (StoreCorruptError, OutboxError):
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
            change = Change(number, _states(plain, number), shot, _age_s(old, plain, number))
            fresh.apply([change])
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
    wall = time.time()
    return {str(sink): state_from(values, wall) for sink, *values in rows}


def _age_s(old: Store, connection: sqlite3.Connection, number: int) -> float:
    """The age of one, or none where that cannot be read: too young is better than given up."""
    with suppress(sqlite3.DatabaseError, StoreFaultError, StoreCorruptError):
        row = connection.execute(
            "SELECT accepted_s FROM ages WHERE number = ?", (number,)
        ).fetchone()
        if row is not None and isinstance(row[0], float):
            return max(0.0, old.time_s() - row[0])
    return 0.0
