"""What the dispatcher needs of an outbox, and the outbox that lives in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from streamgate.config import MemoryOutboxSection
from streamgate.delivery.entry import Dropped, Limits, ShotSummary
from streamgate.delivery.index import OutboxIndex
from streamgate.ports import Clock
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Acceptance, EncodedShot

__all__ = ["Claim", "MemoryOutbox", "Outbox", "report_dropped"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claim:
    """A best shot that is being delivered to one sink.

    Attributes:
        number: its number in the outbox.
        refusals: how often the sink has failed on it before, while it took others.
        failures: how often in a row it has failed before, whoever was to count_failure.
        accepted_at: monotonic seconds, see `ShotSummary`.
    """

    number: int
    sink: str
    refusals: int
    failures: int
    accepted_at: float
    shot: EncodedShot


class Outbox(Protocol):
    """Keeps best shots until every sink has acknowledged them; for one event loop."""

    @property
    def sinks(self) -> tuple[str, ...]:
        """Names of the sinks that every best shot goes to from now on."""
        ...

    @property
    def durable(self) -> bool:
        """Whether its content survives the process."""
        ...

    @property
    def perishable(self) -> int:
        """How many of those that wait are in memory only, and lost with the process."""
        ...

    @property
    def pending(self) -> int:
        """How many best shots wait for at least one sink."""
        ...

    def waiting(self, sink: str) -> int:
        """How many best shots wait for a sink."""
        ...

    def next_due(self, sink: str) -> float | None:
        """Monotonic seconds at which a best shot may next be offered to a sink, if any waits."""
        ...

    def holds(self, key: str) -> bool:
        """Whether it has the best shot of that key."""
        ...

    def serve(self, sinks: Sequence[str]) -> None:
        """Let every best shot from now on go to these sinks."""
        ...

    def detach(self, sink: str, *, removed: bool) -> None:
        """Note that deliveries to a sink have stopped, and whether the sink was removed for good.

        What waits for a removed sink is dropped if it would be lost with the process anyway. If it
        survives the process, it waits until it expires or the sink is back.
        """
        ...

    async def open(self) -> None:
        """Make it ready; calling it again does nothing.

        Raises:
            OutboxError: it can never work as it is configured.
        """
        ...

    async def add(self, shot: EncodedShot) -> Acceptance:
        """Take up a best shot; a key that it has already is taken once."""
        ...

    async def claim(self, sink: str) -> Claim | None:
        """Take the next best shot that may be offered to a sink now."""
        ...

    async def acknowledge(self, claim: Claim) -> None:
        """Note that the sink has it."""
        ...

    async def release(self, claim: Claim) -> None:
        """Give it back, to be offered again."""
        ...

    async def set_aside(self, claim: Claim, *, due: float, error: str) -> None:
        """Give it back after a failure; others pass it until it is due (monotonic seconds)."""
        ...

    def refusals(self, number: int, sink: str) -> int:
        """How often a sink has failed on a best shot while it took others."""
        ...

    async def count_failure(self, number: int, sink: str, *, due: float) -> int:
        """Count a failure as the best shot's own; return how many there are."""
        ...

    async def clear_failures(self, sink: str) -> None:
        """Give those that failed with the sink, and were not blamed, their places again."""
        ...

    async def dead_letter(self, number: int, sink: str) -> bool:
        """Offer a best shot to this sink no more; return whether it was still offered."""
        ...

    async def maintain(self) -> bool:
        """Do what is due by time; return whether something new may be claimed."""
        ...

    async def close(self) -> None:
        """Release what it holds."""
        ...


def report_dropped(dropped: Iterable[Dropped], metrics: Metrics) -> None:
    """Count and log what was dropped, by key."""
    for gone in dropped:
        for sink in gone.sinks:
            metrics.outbox_dropped.labels(sink, gone.reason.value).inc()
        log.warning(
            "best shot given up", key=gone.key, reason=gone.reason.value,
            quality=round(gone.quality, 1), sinks=list(gone.sinks),
        )  # fmt: skip


class MemoryOutbox:
    """Keeps best shots in memory: what waits is lost with the process.

    Args:
        sinks: names of those that every best shot goes to.
    """

    durable = False

    def __init__(
        self, section: MemoryOutboxSection, sinks: Sequence[str], *, metrics: Metrics, clock: Clock
    ) -> None:
        limits = Limits(section.max_shots, section.max_bytes, section.ttl_s)
        self._index = OutboxIndex(sinks, limits)
        self._shots: dict[int, EncodedShot] = {}
        self._last_number = 0
        self._metrics = metrics
        self._clock = clock
        self._is_open = False

    @property
    def sinks(self) -> tuple[str, ...]:
        """Names of the sinks that every best shot goes to from now on."""
        return self._index.sinks

    @property
    def perishable(self) -> int:
        """All that wait: nothing of this outbox outlives the process."""
        return self.pending

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
        self._index.serve(sinks)

    def detach(self, sink: str, *, removed: bool) -> None:
        """Offer again what was under way, or give up what waits for a sink that was removed."""
        self._index.unclaim(sink)
        if removed:
            self._drop(self._index.abandon(sink))

    async def open(self) -> None:
        """Warn that this outbox does not survive the process."""
        if not self._is_open and self._index.sinks:
            log.warning(
                "the outbox is in memory: best shots that wait are lost when the process ends",
                remedy="set delivery.outbox to kind: sqlite",
            )
        self._is_open = True

    async def add(self, shot: EncodedShot) -> Acceptance:
        """Take up a best shot; a key that it has already is taken once."""
        if not self._index.sinks or shot.key in self._index:
            return Acceptance.ACCEPTED
        self._last_number += 1
        number = self._last_number
        summary = ShotSummary(
            shot.key, shot.track, shot.quality, shot.size, shot.decided_wall,
            self._clock.monotonic(),
        )  # fmt: skip
        self._index.add(number, summary)
        self._shots[number] = shot
        self._drop(self._index.shrink())
        return Acceptance.ACCEPTED if number in self._shots else Acceptance.DROPPED

    async def claim(self, sink: str) -> Claim | None:
        """Take the next best shot that may be offered to a sink now."""
        entry = self._index.claim(sink, self._clock.monotonic())
        if entry is None:
            return None
        at = entry.sinks[sink]
        return Claim(
            entry.number, sink, at.refusals, at.failures, entry.summary.accepted_at,
            self._shots[entry.number],
        )  # fmt: skip

    async def acknowledge(self, claim: Claim) -> None:
        """Note that the sink has it."""
        if self._index.acknowledge(claim.number, claim.sink):
            del self._shots[claim.number]

    async def release(self, claim: Claim) -> None:
        """Give it back, to be offered again."""
        self._index.release(claim.number, claim.sink)

    async def set_aside(self, claim: Claim, *, due: float, error: str) -> None:
        """Give it back after a failure; others pass it until it is due."""
        self._index.set_aside(claim.number, claim.sink, due, error)

    def refusals(self, number: int, sink: str) -> int:
        """How often a sink has failed on a best shot while it took others."""
        return self._index.refusals(number, sink)

    async def count_failure(self, number: int, sink: str, *, due: float) -> int:
        """Count a failure as the best shot's own; return how many there are."""
        return self._index.count_failure(number, sink, due)

    async def clear_failures(self, sink: str) -> None:
        """Give those that failed with the sink, and were not blamed, their places again."""
        self._index.clear_failures(sink)

    async def dead_letter(self, number: int, sink: str) -> bool:
        """Give it up for this sink: dead letters in memory could never be retried."""
        if not self._index.dead_letter(number, sink):
            return False
        if self._index.acknowledge(number, sink):
            del self._shots[number]
        return True

    async def maintain(self) -> bool:
        """Give up what is too old."""
        expired = self._index.expire(self._clock.monotonic())
        self._drop(expired)
        return bool(expired)

    async def close(self) -> None:
        """Say what is lost."""
        lost = self._index.pending
        if lost:
            log.warning("best shots are lost with the outbox in memory", shots=lost)

    def _drop(self, dropped: Sequence[Dropped]) -> None:
        for gone in dropped:
            # It may still wait for another sink.
            if self._index.get(gone.number) is None:
                del self._shots[gone.number]
        report_dropped(dropped, self._metrics)
