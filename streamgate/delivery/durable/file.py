"""How the outbox's file is made, opened and judged."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from streamgate.delivery.durable.cipher import Cipher
from streamgate.delivery.durable.faults import FULL_ERRNOS, StoreFaultError, faults_of
from streamgate.errors import OutboxError

__all__ = ["BUSY_MS", "camera_of", "foreign_error", "is_foreign", "open_file", "transaction"]

_SCHEMA_VERSION = 1
BUSY_MS = 2_000
"""For so long a write waits for another process's."""
_WAL_BYTES = 1_048_576
_PAGE = 4096
_TABLES = frozenset({"about", "keys", "shots", "standings"})
_MAGIC = b"SQLite format 3\0"
_AGES = """
CREATE TABLE IF NOT EXISTS ages(
    number INTEGER PRIMARY KEY REFERENCES shots ON DELETE CASCADE,
    accepted_s REAL NOT NULL
)
"""
"""Not in the first files of this version, which is why it is made in any."""
_SCHEMA = """
CREATE TABLE about(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE keys(id TEXT PRIMARY KEY, proof BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE shots(
    number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    camera TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    track_id INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    quality REAL NOT NULL,
    captured_wall REAL NOT NULL,
    decided_wall REAL NOT NULL,
    key_id TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE standings(
    number INTEGER NOT NULL REFERENCES shots ON DELETE CASCADE,
    sink TEXT NOT NULL,
    refusals INTEGER NOT NULL,
    due REAL NOT NULL,
    dead INTEGER NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY(number, sink)
) WITHOUT ROWID;
"""


def open_file(path: Path, cipher: Cipher, camera: str | None) -> sqlite3.Connection:
    """Open an outbox; where a camera is named, make it if there is none and insist on its keys.

    Raises:
        OutboxError: it belongs to another camera, or its keys are not those of the config.
        StoreFaultError, StoreCorruptError: see there.
    """
    if camera is not None:
        _make(path)
    elif not path.is_file():
        raise OutboxError(f"outbox {path}: there is no such file")
    with faults_of(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_MS / 1000,
            isolation_level=None,
        )
        try:
            _set_up(connection, path, camera)
            if camera is not None:
                _tighten(path)
                with transaction(connection):
                    _judge_keys(connection, path, cipher)
        except BaseException:
            connection.close()
            raise
    return connection


def camera_of(path: Path) -> str:
    """The camera that an outbox belongs to.

    Raises:
        OutboxError: it is no outbox, or it cannot be read.
    """
    if is_foreign(path) or not path.is_file():
        raise OutboxError(f"{path}: is not an outbox")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
        try:
            found = connection.execute("SELECT value FROM about WHERE name = 'camera'").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OutboxError(f"{path}: cannot be read as an outbox: {error}") from None
    if found is None:
        raise OutboxError(f"{path}: is not an outbox")
    return str(found[0])


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; the write lock is taken at once, so that no reader has to be upgraded."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After a full disk SQLite may have rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _make(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Faces are nobody else's business; SQLite gives its other files the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if error.errno in FULL_ERRNOS:
            raise StoreFaultError(path, "full", "the disk is full") from None
        raise OutboxError(
            f"outbox {path}: cannot be opened: {error.strerror}; choose another "
            "delivery.outbox.path or change who may write there"
        ) from None


def is_foreign(path: Path) -> bool:
    """Whether there is a file that is no database; a damaged outbox may look so too."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except OSError:
        return False
    return bool(head) and head != _MAGIC


def foreign_error(path: Path) -> OutboxError:
    """What is said where a file belongs to somebody else."""
    return OutboxError(
        f"outbox {path}: is a file of another kind, which is left alone; set "
        "delivery.outbox.path to a file of its own"
    )


def _tighten(path: Path) -> None:
    """Let nobody but its owner look into a file that was made by others, or copied."""
    for suffix in ("", "-wal", "-shm"):
        file = Path(f"{path}{suffix}")
        with suppress(OSError):
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)


def _refuse_strangers(connection: sqlite3.Connection, path: Path) -> None:
    """Before anything is changed: a wrong path must not make tables in another's database."""
    named = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    marks = [
        connection.execute(f"PRAGMA {pragma}").fetchone()[0]
        for pragma in ("application_id", "user_version")
    ]
    if (named or any(marks)) and not named >= _TABLES:
        raise foreign_error(path)


def _set_up(connection: sqlite3.Connection, path: Path, camera: str | None) -> None:
    _refuse_strangers(connection, path)
    if camera is not None and connection.execute("PRAGMA page_count").fetchone()[0] == 0:
        # Only a new file takes it; on another it would count as a change that others must look at.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL").fetchall()
    for pragma in (
        "journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "foreign_keys = ON",
        "cell_size_check = ON",
        f"journal_size_limit = {_WAL_BYTES}", f"wal_autocheckpoint = {_WAL_BYTES // _PAGE}",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}").fetchall()
    with transaction(connection):
        named = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'about'").fetchone()
        if named is None:
            if camera is None:
                raise OutboxError(f"{path}: is not an outbox")
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            about = {"schema": str(_SCHEMA_VERSION), "camera": camera}
            connection.executemany("INSERT INTO about VALUES(?, ?)", about.items())
        if camera is not None:
            connection.execute(_AGES)
        _judge(dict(connection.execute("SELECT name, value FROM about")), path, camera)


def _judge(about: dict[str, str], path: Path, camera: str | None) -> None:
    if about.get("schema") != str(_SCHEMA_VERSION):
        raise OutboxError(
            f"outbox {path}: has version {about.get('schema')}, this program reads "
            f"{_SCHEMA_VERSION}; deliver what it holds with the program that wrote it"
        )
    if camera is not None and about.get("camera") != camera:
        raise OutboxError(
            f"outbox {path}: belongs to the camera {about.get('camera')}; give each "
            "camera a delivery.outbox.path of its own"
        )


def _judge_keys(connection: sqlite3.Connection, path: Path, cipher: Cipher) -> None:
    proofs: dict[str, bytes] = dict(connection.execute("SELECT id, proof FROM keys"))
    for key_id in cipher.key_ids:
        if key_id not in proofs:
            proof = cipher.proof_of(key_id)
            connection.execute("INSERT INTO keys VALUES(?, ?)", (key_id, proof))
        elif not cipher.proves(key_id, proofs[key_id]):
            raise OutboxError(
                f"outbox {path}: the key {key_id} is not the one that it was written with; give "
                "the new key an id of its own and keep the old one in delivery.outbox.keys"
            )
    # An id that never was a key's comes from damage, which is found when its row is read.
    used = connection.execute(
        "SELECT key_id, COUNT(*) FROM shots WHERE key_id IN (SELECT id FROM keys) GROUP BY key_id"
    )
    for key_id, count in used:
        if not cipher.knows(key_id):
            raise OutboxError(
                f"outbox {path}: {count} best shots are encrypted with the key {key_id}, which is "
                "not in delivery.outbox.keys; add it, or give them up with "
                f"`streamgate outbox purge --key-id {key_id}`"
            )
