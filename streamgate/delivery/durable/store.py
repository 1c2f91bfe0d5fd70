"""The rows of the outbox file: insert, read, change, delete.

Everything here runs on the one thread that owns the connection. The command line opens the same
file beside a running camera, which is why every change is one short transaction and nothing is
cached here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamgate.delivery.durable.age import EARLIEST_WALL, Moment, elapsed_s, moment_now
from streamgate.delivery.durable.cipher import Cipher, DamagedError, pack, unpack
from streamgate.delivery.durable.disk_reserve import DiskReserve
from streamgate.delivery.durable.faults import StoreFaultError, faults_of
from streamgate.delivery.durable.file import BUSY_MS, open_file, transaction
from streamgate.delivery.entry import DeliveryState, ShotSummary
from streamgate.values import EncodedShot

__all__ = ["Change", "Row", "Store", "state_from", "stored_size"]

_PAGE = 4096
_ROW_BYTES = 512
_LONGEST_PAUSE_S = 3600.0
_FOLD_WAIT_MS = 100
_STEP_PAGES = 128
_STEPS = 12
"""Together twice the room that is kept in reserve."""
_HEAD = (
    "number, key, camera, boot_id, track_id, revision, quality, captured_wall, decided_wall, key_id"
)
_HEAD_TYPES = (int, str, str, str, int, int, float, float, float, str)


@dataclass(frozen=True, slots=True)
class Row:
    """A stored best shot without its body.

    Attributes:
        summary: None where the row's values are damaged; `accepted_at` is on the outbox's own time.
        age_s: seconds since the outbox took it, see `age`.
        camera, boot_id, track_id: see `EncodedShot`; whatever is there where they are damaged.
    """

    number: int
    key: str
    summary: ShotSummary | None
    key_id: str
    states: dict[str, DeliveryState]
    age_s: float = 0.0
    camera: object = ""
    boot_id: object = ""
    track_id: object = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a row.

    Attributes:
        states: those of the sinks that lack it; None deletes the row.
        shot: the best shot, where the row is new.
        age_s: seconds since it was taken, where the row is new.
    """

    number: int
    states: Mapping[str, DeliveryState] | None
    shot: EncodedShot | None = None
    age_s: float = 0.0


def stored_size(content: int) -> int:
    """Bytes of the whole pages that a best shot of that size occupies."""
    return -(-(content + _ROW_BYTES) // _PAGE) * _PAGE


class Store:
    """An open outbox file; for one thread.

    Args:
        camera: as for `open_file`.
        moment: tells what time it is, see `age`.
    """

    def __init__(
        self,
        path: Path,
        cipher: Cipher,
        camera: str | None = None,
        *,
        moment: Callable[[], Moment] = moment_now,
    ) -> None:
        self.path = path
        self._cipher = cipher
        self._moment = moment
        self._disk_reserve = DiskReserve(path)
        self._connection = open_file(path, cipher, camera)
        self._file = _identity(path)
        self._companions = {
            name: _identity(name) for name in (Path(f"{path}-wal"), Path(f"{path}-shm"))
        }
        self._has_ages = bool(
            self._connection.execute(
                "SELECT 1 FROM sqlite_schema WHERE name = 'ages'"
            ).fetchone()
        )  # fmt: skip

    def is_in_place(self) -> bool:
        """Whether the file at its path is still the one that is open."""
        return self._file is not None and _identity(self.path) == self._file

    def forget_names(self) -> None:
        """Take the names of the WAL away from the open file, which has lost its own."""
        for name, identity in self._companions.items():
            if identity is not None and _identity(name) == identity:
                name.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; the last process to do so folds the WAL into it."""
        self._connection.close()

    def rows(self) -> list[Row]:
        """Every best shot, oldest first."""
        with self._faults():
            now_s, wall = self.time_s(), self._moment().wall
            accepted = self._accepted()
            states: dict[int, dict[str, DeliveryState]] = {}
            for number, sink, *values in self._connection.execute(
                "SELECT number, sink, refusals, due, dead, error FROM standings"
            ):
                states.setdefault(number, {})[str(sink)] = state_from(values, wall)
            heads = self._connection.execute(
                f"SELECT {_HEAD}, length(body) FROM shots ORDER BY number"  # noqa: S608 - constant
            )
            return [
                _row(head, states.get(head[0], {}), self._age_s(head[0], accepted, now_s, wall))
                for head in heads
            ]

    def time_s(self) -> float:
        """The outbox's own time: seconds since its file was made."""
        about = dict(
            self._connection.execute("SELECT name, value FROM about WHERE name LIKE 'time%'")
        )
        try:
            before = Moment(
                str(about["time_boot"]), float(about["time_boot_s"]), float(about["time_wall"])
            )
            return float(about["time_s"]) + elapsed_s(before, self._moment())
        except (KeyError, TypeError, ValueError):
            return 0.0

    def keep_time(self) -> None:
        """Write down the outbox's own time, as every change does."""
        with self._faults(), transaction(self._connection):
            self._keep_time()

    def _keep_time(self) -> None:
        now_s, moment = self.time_s(), self._moment()
        values = {
            "time_s": now_s, "time_boot": moment.boot, "time_boot_s": moment.boot_s,
            "time_wall": moment.wall,
        }  # fmt: skip
        self._connection.executemany(
            "INSERT OR REPLACE INTO about VALUES(?, ?)",
            [
                (name, value if isinstance(value, str) else repr(value))
                for name, value in values.items()
            ],
        )

    def _accepted(self) -> dict[int, float]:
        if not self._has_ages:
            return {}
        found = self._connection.execute("SELECT number, accepted_s FROM ages")
        return {number: at for number, at in found if isinstance(at, float)}

    def _age_s(
        self, number: int, accepted: Mapping[int, float], now_s: float, wall: float
    ) -> float:
        at = accepted.get(number)
        if at is not None:
            return max(0.0, now_s - at)
        # Written by an earlier program: the number tells when, by the wall clock of that time.
        since = number / 1e6
        return max(0.0, wall - since) if since >= EARLIEST_WALL else 0.0

    def read(self, number: int) -> EncodedShot | None:
        """Return a best shot, or None where it is gone.

        Raises:
            DamagedError: its bytes are not those that were written.
        """
        with self._faults():
            found = self._connection.execute(
                f"SELECT {_HEAD}, body FROM shots WHERE number = ?",  # noqa: S608 - constant
                (number,),
            ).fetchone()
        if found is None:
            return None
        *head, body = found
        if not _is_sound(head) or not isinstance(body, bytes):
            raise DamagedError("its row holds values of other types")
        metadata, crop, context = unpack(self._cipher.open(head[-1], body, _bound(head)))
        _, key, camera, boot_id, track_id, revision, quality, captured, decided, _ = head
        return EncodedShot(
            key=key, camera=camera, boot_id=boot_id, track_id=track_id, revision=revision,
            quality=quality, captured_wall=captured, decided_wall=decided,
            metadata=metadata, crop=crop, context=context,
        )  # fmt: skip

    def apply(self, changes: Sequence[Change]) -> None:
        """Make changes in one transaction; they are on disk when this returns.

        What frees room must not share a transaction with what takes it: a full disk refuses both.
        """
        grows = any(change.shot is not None for change in changes)
        if grows:
            if not self.is_in_place():
                raise StoreFaultError(self.path, "moved", "it was deleted or replaced")
            self._set_aside()
        try:
            self._apply_all(changes)
        except StoreFaultError as error:
            if error.reason != "full":
                raise
            # What deletes may use the reserve. What adds must not: the reserve has to be there when
            # a full outbox is to be emptied.
            if grows:
                self._shorten()
            else:
                self._make_room()
            self._apply_all(changes)

    def _apply_all(self, changes: Sequence[Change]) -> None:
        with self._faults(), transaction(self._connection):
            if any(change.shot is not None for change in changes):
                self._keep_time()
            for change in changes:
                self._apply(change)

    def _vacuum(self, pages: int) -> None:
        # `execute` would stop after the first page.
        self._connection.executescript(f"PRAGMA incremental_vacuum({pages})")

    def _set_aside(self) -> None:
        try:
            self._disk_reserve.hold()
        except StoreFaultError:
            self._shorten()
            self._disk_reserve.hold()

    def _shorten(self) -> None:
        """Give back what deletions have left in the file, and what the WAL occupies.

        Both move pages through the WAL, so that it takes small steps on a disk that is full.
        """
        with suppress(sqlite3.DatabaseError):
            # A reader, such as a backup, keeps the WAL as it is: each step would only wait for it.
            for _ in range(_STEPS):
                if not self._fold() or self._free_pages() == 0:
                    return
                self._vacuum(_STEP_PAGES)
            self._fold()

    def _make_room(self) -> None:
        """Fold the WAL into the file, in the room that was kept for it."""
        self._disk_reserve.give_up()
        with suppress(sqlite3.DatabaseError):
            self._fold()

    def _fold(self) -> bool:
        """Move the WAL into the file; return whether all of it could be."""
        # A reader may stay for minutes, and best shots wait for this thread.
        self._connection.execute(f"PRAGMA busy_timeout = {_FOLD_WAIT_MS}")
        try:
            row = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        return bool(row[0] == 0)

    def _free_pages(self) -> int:
        return int(self._connection.execute("PRAGMA freelist_count").fetchone()[0])

    def version(self) -> int:
        """A number that changes when another process has changed the file."""
        with self._faults():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def give_back_space(self, pages: int) -> None:
        """Shorten the file by at most so many pages that are free."""
        with self._faults():
            if self._free_pages() >= pages:
                self._vacuum(pages)

    def retry(self, numbers: Sequence[int], sink: str | None = None) -> int:
        """Offer dead letters again, to one sink or all; return how many deliveries that makes."""
        with self._faults(), transaction(self._connection):
            return sum(
                self._connection.execute(
                    "UPDATE standings SET dead = 0, refusals = 0, due = 0.0, error = '' "
                    "WHERE number = ?1 AND dead != 0 AND (?2 IS NULL OR sink = ?2)",
                    (number, sink),
                ).rowcount
                for number in numbers
            )

    def purge(self, numbers: Sequence[int]) -> int:
        """Delete best shots for good; return how many there were."""
        try:
            return self._purge(numbers)
        except StoreFaultError as error:
            if error.reason != "full":
                raise
            self._make_room()
            return self._purge(numbers)

    def erase(self, numbers: Sequence[int]) -> tuple[int, bool]:
        """Delete best shots and every copy of their bytes in the file and its WAL.

        Deleted rows are overwritten where they were (secure_delete), but the WAL may still hold
        them as they were before.

        Returns:
            How many there were, and whether the WAL could be emptied: a reader keeps it.
        """
        deleted = self.purge(numbers)
        with self._faults():
            emptied = self._fold()
            if emptied:
                self._vacuum(self._free_pages())
                emptied = self._fold()
        return deleted, emptied

    def _purge(self, numbers: Sequence[int]) -> int:
        with self._faults(), transaction(self._connection):
            return sum(self._delete(number) for number in numbers)

    def _apply(self, change: Change) -> None:
        if change.states is None:
            self._delete(change.number)
            return
        if change.shot is not None:
            self._insert(change.number, change.shot, change.age_s)
        self._set_states(change.number, change.states)

    def _delete(self, number: int) -> int:
        return self._connection.execute("DELETE FROM shots WHERE number = ?", (number,)).rowcount

    def _insert(self, number: int, shot: EncodedShot, age_s: float) -> None:
        head = [
            number, shot.key, shot.camera, shot.boot_id, shot.track_id, shot.revision,
            shot.quality, shot.captured_wall, shot.decided_wall, self._cipher.key_id,
        ]  # fmt: skip
        body = self._cipher.seal(pack(shot.metadata, shot.crop, shot.context), _bound(head))
        marks = ", ".join("?" * (len(head) + 1))
        self._connection.execute(
            # IGNORE, because a write whose outcome was not learnt is repeated.
            f"INSERT OR IGNORE INTO shots({_HEAD}, body) VALUES({marks})",
            (*head, body),
        )
        self._connection.execute(
            "INSERT OR IGNORE INTO ages VALUES(?, ?)", (number, self.time_s() - age_s)
        )

    def _set_states(self, number: int, states: Mapping[str, DeliveryState]) -> None:
        # `due` counts from now in memory, where clocks cannot be set, and is a date in the file.
        wall = self._moment().wall
        self._connection.execute("DELETE FROM standings WHERE number = ?", (number,))
        self._connection.executemany(
            "INSERT INTO standings(number, sink, refusals, due, dead, error) "
            # Another process may have purged the best shot.
            "SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM shots WHERE number = ?1)",
            [
                (
                    number,
                    sink,
                    at.refusals,
                    wall + at.due if at.due else 0.0,
                    int(at.dead),
                    at.error,
                )
                for sink, at in states.items()
            ],
        )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        with faults_of(self.path):
            try:
                yield
            except sqlite3.ProgrammingError:
                raise StoreFaultError(self.path, "open", "it is closed") from None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _bound(head: Sequence[Any]) -> bytes:
    """What a body is bound to: every value of its row."""
    return json.dumps(head, ensure_ascii=True, separators=(",", ":")).encode()


def _is_sound(head: Sequence[Any]) -> bool:
    return all(type(value) is kind for value, kind in zip(head, _HEAD_TYPES, strict=True))


def _row(head: Sequence[Any], states: dict[str, DeliveryState], age_s: float) -> Row:
    *values, length = head
    number, key, camera, boot_id, track_id, _, quality, _, decided_wall, key_id = values
    summary = None
    if _is_sound(values) and isinstance(length, int):
        summary = ShotSummary(key, (boot_id, track_id), quality, stored_size(length), decided_wall)
    return Row(number, str(key), summary, str(key_id), states, age_s, camera, boot_id, track_id)


def state_from(values: Sequence[Any], wall: float) -> DeliveryState:
    """A state as it was stored; a new one where its values are damaged.

    Its `due` is in seconds from now, and never further away than any pause: clocks are set.
    """
    refusals, due, dead, error = values
    if not isinstance(refusals, int) or not isinstance(due, float) or not isinstance(error, str):
        return DeliveryState()
    left_s = min(max(0.0, due - wall), _LONGEST_PAUSE_S)
    return DeliveryState(
        refusals=refusals, due=left_s, dead=bool(dead), aside=bool(error), error=error
    )
