"""Writing behind: what the file does not say yet.

A row whose state in the file is out of date is *stale*; a best shot that could not be written at
all is *held*. Both are tried again with each write until the disk takes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import structlog

from streamgate.delivery.durable.faults import StoreCorruptError, StoreFaultError
from streamgate.delivery.durable.owner import StoreOwner
from streamgate.delivery.durable.recovery import Recovery
from streamgate.delivery.durable.store import Change, Store
from streamgate.delivery.entry import Entry
from streamgate.errors import OutboxError
from streamgate.ports import Clock
from streamgate.telemetry.metrics import Metrics
from streamgate.values import EncodedShot

__all__ = ["WriteBehind"]

log = structlog.get_logger(__name__)
T = TypeVar("T")

_BATCH = 8


class WriteBehind:
    """Keeps the file in step with the index.

    Args:
        entry_of: the index's entry of a number.

    Attributes:
        held: best shots that are in memory only.
        stale: numbers whose rows differ from the index.
        version: the file's version when it was last compared with the index; None until it is.
        writing: held by whoever must see the file at rest.
    """

    def __init__(
        self,
        owner: StoreOwner,
        entry_of: Callable[[int], Entry | None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.held: dict[int, EncodedShot] = {}
        self.stale: set[int] = set()
        self.version: int | None = None
        self.writing = asyncio.Lock()
        self._owner = owner
        self._entry_of = entry_of
        self._metrics = metrics
        self._clock = clock
        self._recovering = asyncio.Lock()
        self._trouble: str | None = None

    async def call(self, work: Callable[[Store], T], **limits: float) -> T:
        """Work with the file; a damaged one is put aside and begun anew with what can be read.

        Raises:
            OutboxError: it can never work as it is configured.
            StoreFaultError: it cannot be used now.
        """
        recoveries = self._owner.recoveries
        try:
            return await self._owner.call(work, **limits)
        except StoreCorruptError as error:
            async with self._recovering:
                if self._owner.recoveries == recoveries:
                    await self._recover(error)
        try:
            return await self._owner.call(work, **limits)
        except StoreCorruptError as error:
            raise StoreFaultError(self._owner.path, "corrupt", str(error)) from None

    async def read(self, number: int) -> EncodedShot | None:
        """Return a best shot, or None where it is gone.

        Raises:
            DamagedError: its bytes are not those that were written.
            StoreFaultError: the file cannot be read now.
        """
        held = self.held.get(number)
        return held if held is not None else await self.call(lambda store: store.read(number))

    async def write(self, number: int) -> None:
        """Write a row's new state, now or as soon as the disk takes it."""
        self.stale.add(number)
        await self.flush()

    async def flush(self, new: Change | None = None) -> bool:
        """Bring the file up to date, with one new row; return whether it is."""
        async with self.writing:
            while self.stale:
                # What frees room goes first, and by itself.
                freeing = [number for number in self.stale if number not in self.held]
                batch = sorted(freeing or self.stale)[:_BATCH]
                if not await self._apply(batch, [self._change(number) for number in batch]):
                    return False
            if new is not None and not await self._apply([], [new]):
                return False
            if self._trouble is not None:
                log.info("the outbox can be used again", was=self._trouble)
                self._trouble = None
            return True

    async def _apply(self, batch: list[int], changes: list[Change]) -> bool:
        self.stale.difference_update(batch)
        try:
            await self.call(lambda store: store.apply(changes))
        except (StoreFaultError, OutboxError) as error:
            self.stale.update(batch)
            self.note_fault(error)
            return False
        except asyncio.CancelledError:
            self.stale.update(batch)
            raise
        for number in batch:
            self.held.pop(number, None)
        return True

    def _change(self, number: int) -> Change:
        entry = self._entry_of(number)
        if entry is None:
            return Change(number, None)
        # The other thread must not see what the loop goes on to change. A date is made there.
        now = self._clock.monotonic()
        states = {name: replace(at, due=max(0.0, at.due - now)) for name, at in entry.sinks.items()}
        age_s = max(0.0, now - entry.summary.accepted_at)
        return Change(number, states, self.held.get(number), age_s)

    def note_fault(self, error: StoreFaultError | OutboxError) -> None:
        """Count a fault, and log it where it is another than the last."""
        reason = error.reason if isinstance(error, StoreFaultError) else "config"
        self._metrics.outbox_faults.labels(reason).inc()
        if self._trouble != reason:
            self._trouble = reason
            log.error(
                "the outbox cannot be used; new best shots are held in memory", error=str(error)
            )

    async def _recover(self, error: StoreCorruptError) -> None:
        self._metrics.outbox_faults.labels("corrupt").inc()
        log.error("the outbox's file is damaged", error=str(error))
        self.version = None
        self._tell_anew(await self._owner.recover())

    async def replace_missing(self) -> bool:
        """Write the file anew where it was deleted or replaced; return whether it was.

        Raises:
            OutboxError: what has taken its place is somebody else's.
            StoreFaultError: the disk does not let it.
        """
        async with self._recovering:
            try:
                done = await self._owner.replace_missing()
            except StoreCorruptError:
                # Whoever reads it next has it saved.
                return False
        if done is None:
            return False
        self._metrics.outbox_faults.labels("moved").inc()
        log.error("the outbox's file was deleted or replaced", path=str(self._owner.path))
        self.version = None
        self._tell_anew(done)
        return True

    def _tell_anew(self, done: Recovery) -> None:
        log.error(
            "the outbox was begun anew", saved=done.saved, lost=list(done.lost),
            put_aside=None if done.put_aside is None else str(done.put_aside),
        )  # fmt: skip
