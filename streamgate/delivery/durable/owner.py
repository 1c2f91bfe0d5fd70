"""The one thread that touches the outbox's file, and its claim to serve it alone."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from streamgate.delivery.durable.age import Moment
from streamgate.delivery.durable.cipher import Cipher
from streamgate.delivery.durable.faults import FULL_ERRNOS, StoreCorruptError, StoreFaultError
from streamgate.delivery.durable.file import foreign_error, is_foreign
from streamgate.delivery.durable.recovery import (
    Recovery,
    finish_recovery,
    recover_file,
    rewrite_file,
)
from streamgate.delivery.durable.store import Store
from streamgate.delivery.threads import StuckError, Threads
from streamgate.errors import OutboxError

__all__ = ["StoreOwner"]

T = TypeVar("T")

_CALL_S = 3.0
"""What the disk has not done within this is in memory from there on: longer than a disk that was
asleep needs, short of what a camera can wait for."""
_COPY_S = 600.0
"""A gigabyte on a memory card; whoever else wants the file meanwhile is told that it is stuck."""
_CLOSE_S = 1.0


class StoreOwner:
    """Opens the file when it is first needed, and again after a fault; closes it in its thread.

    Args:
        moment: tells what time it is, see `age`.
    """

    def __init__(
        self, path: Path, cipher: Cipher, camera: str, moment: Callable[[], Moment]
    ) -> None:
        self.path = path
        self._cipher = cipher
        self._camera = camera
        self._moment = moment
        self._thread = Threads("outbox")
        self._store: Store | None = None
        self._lock: int | None = None
        self.recoveries = 0

    async def call(self, work: Callable[[Store], T], *, timeout_s: float = _CALL_S) -> T:
        """Do some work with the file, off the event loop.

        Raises:
            OutboxError: it can never work as it is configured.
            StoreFaultError, StoreCorruptError: see there. After the reason `stuck` the work may
                still be done.
        """
        return await self._run(lambda: work(self._opened()), timeout_s)

    async def recover(self) -> Recovery:
        """Put the damaged file aside and save what can be read of it.

        Raises:
            StoreFaultError: the disk does not let it.
        """
        done = await self._run(self._recover, _COPY_S)
        self.recoveries += 1
        return done

    async def replace_missing(self) -> Recovery | None:
        """Write the file anew where it was deleted or replaced; return what came of it.

        Raises:
            OutboxError: what has taken its place is somebody else's.
            StoreFaultError: the disk does not let it.
        """
        if await self._run(self._is_in_place, _CALL_S):
            return None
        return await self._run(self._rewrite, _COPY_S)

    async def close(self) -> None:
        """Close the file and end the thread.

        Raises:
            StoreFaultError: the disk does not answer; the file is left as it is.
        """
        try:
            await self._run(self._close, _CLOSE_S)
        finally:
            self._thread.close()

    async def _run(self, work: Callable[[], T], timeout_s: float) -> T:
        try:
            return await self._thread.run(work, timeout_s)
        except StuckError:
            raise StoreFaultError(self.path, "stuck", "the disk does not answer") from None

    def _opened(self) -> Store:
        if self._store is None:
            is_ours = self._lock is not None or self._lock_file.exists()
            if not is_ours and is_foreign(self.path):
                raise foreign_error(self.path)
            self._take_lock()
            try:
                finish_recovery(self.path)
            except OSError as error:
                text = error.strerror or "it cannot be renamed"
                raise StoreFaultError(self.path, "io", text) from None
            self._store = self._open_at(self.path)
        return self._store

    def _open_at(self, path: Path, *, make: bool = True) -> Store:
        return Store(path, self._cipher, self._camera if make else None, moment=self._moment)

    def _is_in_place(self) -> bool:
        return self._opened().is_in_place()

    def _rewrite(self) -> Recovery:
        store = self._opened()
        try:
            done = rewrite_file(store, self._open_at)
        except StoreCorruptError as error:
            raise StoreFaultError(self.path, "corrupt", str(error)) from None
        self._store = None
        with suppress(sqlite3.Error):
            store.close()
        # Its lock may have gone with it.
        if not self._lock_file.exists():
            self._release_lock()
        self._opened()
        return done

    def _recover(self) -> Recovery:
        if self._store is not None:
            self._store.close()
            self._store = None
        stamp = time.strftime("%Y%m%dT%H%M%S")
        try:
            return recover_file(self.path, self._open_at, stamp=stamp)
        except StoreCorruptError as error:
            raise StoreFaultError(self.path, "corrupt", str(error)) from None

    @property
    def _lock_file(self) -> Path:
        return self.path.with_name(f"{self.path.name}.lock")

    def _take_lock(self) -> None:
        """Two cameras, or one started twice, would deliver each other's best shots."""
        if self._lock is not None:
            return
        path = self._lock_file
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno in FULL_ERRNOS:
                raise StoreFaultError(self.path, "full", "the disk is full") from None
            raise OutboxError(
                f"outbox {self.path}: cannot be opened: {error.strerror}; choose another "
                "delivery.outbox.path or change who may write there"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise OutboxError(
                f"outbox {self.path}: another process serves it; give each camera a "
                "delivery.outbox.path of its own"
            ) from None
        self._lock = lock

    def _release_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _close(self) -> None:
        if self._store is not None:
            self._store.keep_time()
            self._store.close()
            self._store = None
        self._release_lock()
