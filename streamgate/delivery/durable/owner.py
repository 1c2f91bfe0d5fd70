"""The one thread that touches the outbox's file, and its claim to serve it alone."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from streamgate.delivery.durable.cipher import Cipher
from streamgate.delivery.durable.faults import FULL_ERRNOS, StoreCorruptError, StoreFaultError
from streamgate.delivery.durable.recovery import Recovery, recover_file
from streamgate.delivery.durable.store import Store
from streamgate.errors import OutboxError

__all__ = ["StoreOwner"]

T = TypeVar("T")


class StoreOwner:
    """Opens the file when it is first needed, and again after a fault; closes it in its thread."""

    def __init__(self, path: Path, cipher: Cipher, camera: str) -> None:
        self.path = path
        self._cipher = cipher
        self._camera = camera
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._store: Store | None = None
        self._lock: int | None = None
        self.recoveries = 0

    async def call(self, work: Callable[[Store], T]) -> T:
        """Do some work with the file, off the event loop.

        Raises:
            OutboxError: it can never work as it is configured.
            StoreFaultError, StoreCorruptError: see there.
        """
        return await self._run(lambda: work(self._opened()))

    async def recover(self) -> Recovery:
        """Put the damaged file aside and save what can be read of it.

        Raises:
            StoreFaultError: the disk does not let it.
        """
        done = await self._run(self._recover)
        self.recoveries += 1
        return done

    async def close(self) -> None:
        """Close the file and end the thread."""
        await self._run(self._close)
        await asyncio.to_thread(self._thread.shutdown)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _opened(self) -> Store:
        if self._store is None:
            self._take_lock()
            self._store = Store(self.path, self._cipher, self._camera)
        return self._store

    def _recover(self) -> Recovery:
        if self._store is not None:
            self._store.close()
            self._store = None
        stamp = time.strftime("%Y%m%dT%H%M%S")
        try:
            return recover_file(self.path, self._cipher, self._camera, stamp=stamp)
        except StoreCorruptError as error:
            raise StoreFaultError(self.path, "corrupt", str(error)) from None

    def _take_lock(self) -> None:
        """Two cameras, or one started twice, would deliver each other's best shots."""
        if self._lock is not None:
            return
        path = self.path.with_name(f"{self.path.name}.lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
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

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
