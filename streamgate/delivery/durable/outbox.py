"""The outbox that survives the process.

The index decides, the file remembers. A best shot is on disk before it is offered to any sink;
changes of its state are written later. A full disk never stops the camera: best shots
are then held in memory, delivered from there, and written as soon as there is room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import structlog

from streamgate.config import SqliteOutboxSection
from streamgate.delivery.durable.age import Moment, moment_now
from streamgate.delivery.durable.cipher import CLEAR, Cipher, DamagedError
from streamgate.delivery.durable.faults import StoreFaultError
from streamgate.delivery.durable.owner import StoreOwner
from streamgate.delivery.durable.store import Change, Row, Store, stored_size
from streamgate.delivery.durable.write_behind import WriteBehind
from streamgate.delivery.entry import (
    DeliveryState,
    Dropped,
    Entry,
    Limits,
    ShotSummary,
    dropped_from,
)
from streamgate.delivery.index import OutboxIndex
from streamgate.delivery.outbox import Claim, report_dropped
from streamgate.errors import OutboxError
from streamgate.ports import Clock
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Acceptance, EncodedShot
from streamgate.values.reasons import DropReason

__all__ = ["SqliteOutbox"]

log = structlog.get_logger(__name__)

_UNREADABLE_PAUSE_S = 1.0
_LAST_WRITE_S = 1.0
_FIRST_LOAD_S = 3.0
_LOAD_S = 60.0
"""A million rows from a memory card."""
_KEEP_TIME_S = 60.0
_FREE_PAGES = 1024


class SqliteOutbox:
    """Keeps best shots in an encrypted SQLite file.

    Args:
        sinks: names of those that every best shot goes to.
        camera: the one camera that the file belongs to.
        moment: tells what time it is across restarts, see `durable.age`.
    """

    durable = True

    def __init__(  # noqa: PLR0913 # its settings, and its clocks
        self, section: SqliteOutboxSection, sinks: Sequence[str], *,
        camera: str, metrics: Metrics, clock: Clock, moment: Callable[[], Moment] = moment_now,
    ) -> None:  # fmt: skip
        self._section = section
        self._sinks = tuple(sinks)
        self._limits = Limits(section.max_shots, section.max_bytes, section.ttl_s)
        self._index = OutboxIndex(sinks, self._limits)
        cipher = Cipher(section.keys)
        self._is_clear = cipher.key_id == CLEAR
        self._owner = StoreOwner(section.path, cipher, camera, moment)
        self._write_behind = WriteBehind(self._owner, self._entry, metrics, clock)
        self._metrics = metrics
        self._clock = clock
        self._last_number = 0
        self._time_kept_at = clock.monotonic()
        self._opening = asyncio.Lock()
        self._adding = asyncio.Lock()
        self._is_open = False
        self._watch()

    @property
    def sinks(self) -> tuple[str, ...]:
        """Names of the sinks that every best shot goes to from now on."""
        return self._sinks

    @property
    def perishable(self) -> int:
        """Best shots that the file could not take: they are lost with the process."""
        return len(self._write_behind.held)

    @property
    def pending(self) -> int:
        """How many best shots wait for at least one sink."""
        return self._index.pending

    def waiting(self, sink: str) -> int:
        """How many best shots wait for a sink."""
        return self._index.waiting(sink)

    def next_due(self, sink: str) -> float | None:
        """Monotonic seconds at which a best shot may next be offered to a sink, if any waits."""
        return self._index.next_due(sink)

    def holds(self, key: str) -> bool:
        """Whether it has the best shot of that key."""
        return key in self._index

    def serve(self, sinks: Sequence[str]) -> None:
        """Let every best shot from now on go to these sinks."""
        self._sinks = tuple(sinks)
        self._index.serve(sinks)
        self._watch()

    def detach(self, sink: str, *, removed: bool) -> None:
        """Offer again what was under way; what waits for a sink that was removed stays."""
        self._index.unclaim(sink)
        if removed:
            self._warn_unconfigured_sinks()

    async def open(self) -> None:
        """Open the file and take up what it holds; a full disk is no reason not to start.

        Raises:
            OutboxError: it can never work as it is configured.
        """
        async with self._opening:
            if self._is_open:
                return
            if self._is_clear:
                log.warning(
                    "the outbox stores pictures of faces unencrypted, as the config demands",
                    path=str(self._section.path),
                )
            try:
                await self._compare(DropReason.DAMAGED, limit_s=_FIRST_LOAD_S)
            except StoreFaultError as error:
                # A disk that hangs is no reason to wait; what it holds is taken up later.
                self._write_behind.note_fault(error)
            self._is_open = True

    async def close(self) -> None:
        """Write what is still to be written and close the file; a disk that hangs ends it too.

        Raises:
            OutboxError: the disk does not answer, so that nothing is known of the last changes.
        """
        if self._is_open:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WRITE_S):
                    await self._write_behind.flush()
            if self._write_behind.held:
                log.error("best shots held in memory are lost", shots=len(self._write_behind.held))
        try:
            await self._owner.close()
        except StoreFaultError as error:
            raise OutboxError(f"outbox {error}; it could not be closed") from None

    # Best shots in, best shots out

    async def add(self, shot: EncodedShot) -> Acceptance:
        """Take up a best shot; a key that it has already is taken once."""
        async with self._adding:
            if not self._sinks or shot.key in self._index:
                return Acceptance.ACCEPTED
            # Microseconds since 1970, so that numbers also grow across restarts when the file was
            # lost; at least one more than the last, because clocks are set back.
            self._last_number = max(self._last_number + 1, int(self._clock.wall() * 1e6))
            number = self._last_number
            states = {name: DeliveryState() for name in self._sinks}
            now = self._clock.monotonic()
            written = await self._write_behind.flush(Change(number, states, shot))
            # It may have been found in the file already, while that was being compared.
            if self._index.get(number) is None:
                size = stored_size(shot.size)
                summary = ShotSummary(
                    shot.key, shot.track, shot.quality, size, shot.decided_wall, now
                )
                self._index.add(number, summary)
            if not written:
                self._hold(number, shot)
            dropped = self._index.shrink()
            # Before anybody could deliver it: what is delivered is gone from the index, too.
            kept = self._index.get(number) is not None
            await self._give_up(dropped)
            if not kept:
                return Acceptance.DROPPED
            return Acceptance.ACCEPTED if written else Acceptance.HELD

    async def claim(self, sink: str) -> Claim | None:
        """Take the next best shot that may be offered to a sink now."""
        while (entry := self._index.claim(sink, self._clock.monotonic())) is not None:
            number, at = entry.number, entry.sinks[sink]
            try:
                shot = await self._write_behind.read(number)
            except DamagedError as error:
                log.error("best shot is damaged", key=entry.summary.key, error=str(error))
                await self._drop(number, DropReason.DAMAGED)
                continue
            except StoreFaultError as error:
                self._write_behind.note_fault(error)
                self._index.postpone(number, sink, self._clock.monotonic() + _UNREADABLE_PAUSE_S)
                return None
            if shot is None:
                # Without a version the file has just been begun anew; otherwise another process
                # purged it.
                lost = self._write_behind.version is None
                await self._drop(number, DropReason.DAMAGED if lost else DropReason.PURGED)
            elif self._index.get(number) is not None:
                # It may have expired or been dropped while it was read.
                return Claim(
                    number, sink, at.refusals, at.failures, entry.summary.accepted_at, shot
                )
        return None

    async def acknowledge(self, claim: Claim) -> None:
        """Note that the sink has it; once all have, it is deleted."""
        if self._index.acknowledge(claim.number, claim.sink):
            self._write_behind.held.pop(claim.number, None)
        await self._write_behind.write(claim.number)

    async def release(self, claim: Claim) -> None:
        """Give it back, to be offered again."""
        self._index.release(claim.number, claim.sink)

    async def set_aside(self, claim: Claim, *, due: float, error: str) -> None:
        """Give it back after a failure; others pass it until it is due."""
        if self._index.set_aside(claim.number, claim.sink, due, error):
            await self._write_behind.write(claim.number)

    def refusals(self, number: int, sink: str) -> int:
        """How often a sink has failed on a best shot while it took others."""
        return self._index.refusals(number, sink)

    async def count_failure(self, number: int, sink: str, *, due: float) -> int:
        """Count a failure as the best shot's own; return how many there are."""
        count = self._index.count_failure(number, sink, due)
        if count:
            await self._write_behind.write(number)
        return count

    async def clear_failures(self, sink: str) -> None:
        """Give those that failed with the sink, and were not blamed, their places again."""
        cleared = self._index.clear_failures(sink)
        if cleared:
            self._write_behind.stale.update(cleared)
            await self._write_behind.flush()

    async def dead_letter(self, number: int, sink: str) -> bool:
        """Keep it as a dead letter of this sink."""
        done = self._index.dead_letter(number, sink)
        if done:
            await self._write_behind.write(number)
        return done

    async def maintain(self) -> bool:
        """Drop what is too old, write what could not be written, take in what others changed."""
        expired = self._index.expire(self._clock.monotonic())
        await self._give_up(expired)
        changed = False
        try:
            await self._write_behind.replace_missing()
            # The file has not been compared with the index since the start or since a recovery.
            if self._write_behind.version is None:
                await self._compare(DropReason.DAMAGED)
                changed = True
            elif not await self._write_behind.flush():
                return bool(expired)
            elif await self._write_behind.call(Store.version) != self._write_behind.version:
                # Only changes by another process count here: `streamgate outbox` was at work.
                await self._compare(DropReason.PURGED)
                changed = True
            await self._write_behind.call(lambda store: store.give_back_space(_FREE_PAGES))
            await self._keep_time()
        except (StoreFaultError, OutboxError) as error:
            self._write_behind.note_fault(error)
        return changed or bool(expired)

    async def _keep_time(self) -> None:
        """Let the file know how old it is, so that the time does not stand still across boots."""
        now = self._clock.monotonic()
        if self._index.pending and now - self._time_kept_at >= _KEEP_TIME_S:
            self._time_kept_at = now
            await self._write_behind.call(Store.keep_time)

    # Giving up

    async def _drop(self, number: int, reason: DropReason) -> None:
        dropped = self._index.drop(number, reason)
        if dropped is not None:
            await self._give_up([dropped])

    async def _give_up(self, dropped: Sequence[Dropped]) -> None:
        if not dropped:
            return
        for gone in dropped:
            self._write_behind.held.pop(gone.number, None)
            self._write_behind.stale.add(gone.number)
        report_dropped(dropped, self._metrics)
        await self._write_behind.flush()

    def _hold(self, number: int, shot: EncodedShot) -> None:
        """Keep one in memory that could not be written, or the better ones where it is full."""
        held = self._write_behind.held
        held[number] = shot
        self._write_behind.stale.add(number)
        if len(held) <= self._section.held_shots:
            return
        # What is being delivered must stay. Never empty: the new one is not claimed yet.
        idle = [n for n in held if (entry := self._index.get(n)) and not entry.claimed]
        worst = min(idle, key=lambda n: (held[n].quality, n))
        dropped = self._index.drop(worst, DropReason.UNWRITABLE)
        del held[worst]
        self._write_behind.stale.discard(worst)
        if dropped is not None:
            report_dropped([dropped], self._metrics)

    # The index and the file

    async def _compare(self, gone: DropReason, *, limit_s: float = _LOAD_S) -> None:
        """Rebuild the index from the file, after another process or a recovery has changed it."""
        async with self._write_behind.writing:
            rows, version = await self._write_behind.call(
                lambda store: (store.rows(), store.version()), timeout_s=limit_s
            )
            dropped = self._rebuild(rows, gone)
            self._write_behind.version = version
        await self._give_up([*dropped, *self._index.shrink()])

    def _rebuild(self, rows: Sequence[Row], gone: DropReason) -> list[Dropped]:
        old, self._index = self._index, OutboxIndex(self._sinks, self._limits)
        fresh = {row.number: row for row in rows}
        now = self._clock.monotonic()
        self._last_number = max([self._last_number, *fresh])
        dropped: list[Dropped] = []
        for number in sorted({*fresh, *(entry.number for entry in old)}):
            row, before = fresh.get(number), old.get(number)
            if number in self._write_behind.stale:
                # The file is behind; without an entry its row is about to go.
                if before is not None:
                    self._index.add(number, before.summary, before.sinks)
            elif row is None:
                if before is not None:
                    dropped.append(dropped_from(before, gone))
            elif row.summary is None:
                dropped.append(Dropped(number, row.key, 0.0, DropReason.DAMAGED, self._sinks))
            else:
                # The file tells an age, the index keeps a time.
                at = now - row.age_s if before is None else before.summary.accepted_at
                summary = replace(row.summary, accepted_at=at)
                self._index.add(number, summary, self._states(row, before, now))
        self._warn_unconfigured_sinks()
        return dropped

    def _states(self, row: Row, before: Entry | None, now: float) -> dict[str, DeliveryState]:
        """As the file tells them; what is being delivered stays claimed."""
        states = row.states or {name: DeliveryState() for name in self._sinks}
        for name, at in states.items():
            known = before.sinks.get(name) if before is not None else None
            if known is not None and _say_the_same(known, at):
                # The index knows more than is written down.
                states[name] = known
                continue
            at.due = now + at.due if at.due else 0.0
            at.claimed = known is not None and known.claimed
        return states

    def _warn_unconfigured_sinks(self) -> None:
        waiting = {name for entry in self._index for name in entry.sinks}
        strangers = sorted(waiting.difference(self._sinks))
        if strangers:
            log.warning(
                "best shots wait for sinks that are not configured", sinks=strangers,
                remedy="configure them again, or wait until the best shots expire",
            )  # fmt: skip

    def _watch(self) -> None:
        metrics = self._metrics
        metrics.watch(metrics.outbox_held, lambda: len(self._write_behind.held))
        metrics.watch(metrics.outbox_bytes, lambda: self._index.bytes)
        for name in self._sinks:
            gauge = metrics.outbox_dead_letters.labels(name)
            metrics.watch(gauge, partial(self._dead_letters, name))

    def _entry(self, number: int) -> Entry | None:
        # The index is replaced when the file has changed, so nobody may keep its methods.
        return self._index.get(number)

    def _dead_letters(self, sink: str) -> int:
        return self._index.dead_letters(sink)


def _say_the_same(one: DeliveryState, other: DeliveryState) -> bool:
    return (one.refusals, one.dead, one.error) == (other.refusals, other.dead, other.error)
