"""A lease on servers that can only read a record, and replace the one that was read.

Such a server does not tell time. Whoever waits for the lease sees by its own clock whether the
record has changed: one that has not for as long as it says is taken over. So nobody's wall clock
decides, and a holder that was stopped finds another record than its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from streamgate.delivery.lease.tenure import next_epoch, since_boot_s

__all__ = ["Record", "RecordLease", "Register"]


@dataclass(frozen=True, slots=True)
class Record:
    """What a server keeps of a lease.

    Attributes:
        holder: who has it, empty once it was given back.
        ttl_s: how long it is valid after each change.
        version: the server's number of this state of the record.
    """

    holder: str
    epoch: int
    ttl_s: float
    version: str = ""


class Register(Protocol):
    """Where one record is kept; each method may raise LeaseError."""

    async def read(self) -> Record | None:
        """The record, None where there is none."""
        ...

    async def write(self, record: Record, before: Record | None) -> Record | None:
        """Put a record in the place of one that was read; None where that has changed since."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class RecordLease:
    """A `LeaseStore` on a register.

    Args:
        holder: who we are, different for each process.
        now: seconds that never run backwards, sleep of the machine included.
    """

    def __init__(
        self,
        register: Register,
        holder: str,
        ttl_s: float,
        *,
        now: Callable[[], float] = since_boot_s,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._register = register
        self._holder = holder
        self._ttl_s = ttl_s
        self._now = now
        self._wall = wall
        self._seen: tuple[str, float] | None = None

    async def acquire(self) -> int | None:
        """Take the lease, if it is free or has run out."""
        found = await self._register.read()
        if found is not None and not self._is_free(found):
            return None
        epoch = next_epoch(found.epoch if found is not None else 0, self._wall())
        self._seen = None
        taken = await self._register.write(self._record(epoch), found)
        return None if taken is None else epoch

    async def renew(self, epoch: int) -> bool:
        """Say that we are still there; False where the lease is no longer ours.

        It is read first: where a server has lost its data, versions begin anew, and another's
        record may have the version that ours had.
        """
        found = await self._register.read()
        if found is None or not self._is_ours(found, epoch):
            return False
        return await self._register.write(self._record(epoch), found) is not None

    async def release(self, epoch: int) -> None:
        """Let another have it at once."""
        found = await self._register.read()
        if found is not None and self._is_ours(found, epoch):
            await self._register.write(Record("", epoch, self._ttl_s), found)

    async def holder(self) -> str:
        """Who has it, as far as the server knows; empty where nobody has."""
        found = await self._register.read()
        return "" if found is None else found.holder

    async def close(self) -> None:
        """Release connections."""
        await self._register.close()

    def _record(self, epoch: int) -> Record:
        return Record(self._holder, epoch, self._ttl_s)

    def _is_ours(self, found: Record, epoch: int) -> bool:
        return (found.holder, found.epoch) == (self._holder, epoch)

    def _is_free(self, found: Record) -> bool:
        if found.holder in ("", self._holder):
            return True
        now = self._now()
        if self._seen is None or self._seen[0] != found.version:
            self._seen = found.version, now
            return False
        return now - self._seen[1] >= found.ttl_s
