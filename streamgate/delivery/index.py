"""Which best shots still wait for which sinks: every rule of the outbox, and no I/O.

An outbox in memory and one on disk must not differ in order, in what they drop, or in how they
count it. Both keep an index; time is an argument: seconds on a clock
that nobody can set.

The rules:

- A best shot goes to every sink; to one sink, those of one track go in order, one at a time.
- One that a sink has failed on is set aside: the others pass, those of its track too, and it is
  tried again by itself. Its place in the order of its track is given up for that.
- One that a sink has failed on too often while it took others is a dead letter for that sink.
- Above a size limit, dead letters are dropped first, the oldest first; then unsent best shots, that
  of lowest quality first and, among equals, the oldest. One that is being delivered is never
  dropped.
- What was accepted longer ago than the time limit goes, dead letters too.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence

from streamgate.delivery.entry import (
    DeliveryState,
    Dropped,
    Entry,
    Limits,
    ShotSummary,
    dropped_from,
)
from streamgate.delivery.sink_queue import SinkQueue
from streamgate.values.reasons import DropReason

__all__ = ["OutboxIndex"]

_SLACK = 64


class OutboxIndex:
    """The state of an outbox; for one thread.

    Args:
        sinks: names of those that every best shot goes to.
    """

    def __init__(self, sinks: Sequence[str], limits: Limits) -> None:
        self.sinks = tuple(sinks)
        self.bytes = 0
        self._limits = limits
        self._entries: dict[int, Entry] = {}
        self._numbers: dict[str, int] = {}
        self._queues = {name: SinkQueue(name, self._entries) for name in sinks}
        self._oldest = math.inf
        """No entry was accepted before."""
        self._victims: list[tuple[bool, float, int]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._numbers

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def serve(self, sinks: Sequence[str]) -> None:
        """Let every best shot from now on go to these sinks; what waits for others goes on."""
        self.sinks = tuple(sinks)
        for name in sinks:
            self._queues.setdefault(name, SinkQueue(name, self._entries))

    def unclaim(self, sink: str) -> None:
        """Offer again what was being delivered to a sink when its deliveries were interrupted."""
        for entry in self._entries.values():
            state = entry.sinks.get(sink)
            if state is not None and state.claimed:
                self._queues[sink].release(entry)

    def get(self, number: int) -> Entry | None:
        """The entry of that number, if it is still there."""
        return self._entries.get(number)

    def waiting(self, sink: str) -> int:
        """How many best shots wait for a sink; its dead letters do not."""
        return self._queues[sink].waiting if sink in self._queues else 0

    def dead_letters(self, sink: str) -> int:
        """How many best shots a sink has refused for good."""
        found = (entry.sinks.get(sink) for entry in self._entries.values())
        return sum(state is not None and state.dead for state in found)

    @property
    def pending(self) -> int:
        """How many best shots wait for at least one of the sinks."""
        return sum(
            any(name in self.sinks and not at.dead for name, at in entry.sinks.items())
            for entry in self._entries.values()
        )

    def add(
        self, number: int, summary: ShotSummary, states: Mapping[str, DeliveryState] | None = None
    ) -> Entry:
        """Add a best shot; numbers rise. States are given for one that was stored."""
        if states is None:
            states = {name: DeliveryState() for name in self.sinks}
        entry = Entry(number, summary, dict(states))
        self._entries[number] = entry
        self._numbers[summary.key] = number
        self.bytes += summary.size
        self._oldest = min(self._oldest, summary.accepted_at)
        for name, state in entry.sinks.items():
            queue = self._queues.setdefault(name, SinkQueue(name, self._entries))
            if not state.dead:
                queue.add(entry)
        heapq.heappush(self._victims, _victim(entry))
        return entry

    # Delivery

    def claim(self, sink: str, now: float) -> Entry | None:
        """Take the oldest best shot that may be offered to a sink now."""
        return self._queues[sink].claim(now) if sink in self._queues else None

    def next_due(self, sink: str) -> float | None:
        """Seconds at which a best shot may next be offered to a sink, if any waits."""
        return self._queues[sink].next_due() if sink in self._queues else None

    def release(self, number: int, sink: str) -> None:
        """Give a claimed best shot back, to be offered again."""
        entry = self._entries.get(number)
        if entry is not None and sink in entry.sinks:
            self._queues[sink].release(entry)

    def postpone(self, number: int, sink: str, due: float) -> None:
        """Give a claimed best shot back, to be offered again when due."""
        entry = self._entries.get(number)
        if entry is not None and sink in entry.sinks:
            entry.sinks[sink].due = due
            self._queues[sink].release(entry)

    def set_aside(self, number: int, sink: str, due: float, error: str) -> bool:
        """Give a claimed best shot back that the sink has failed on; offer it again when due.

        Returns:
            Whether the error is another than before.
        """
        entry = self._entries.get(number)
        if entry is None or sink not in entry.sinks:
            return False
        state = entry.sinks[sink]
        is_news, state.error = state.error != error, error
        state.failures += 1
        self._queues[sink].set_aside(entry, due)
        return is_news

    def refusals(self, number: int, sink: str) -> int:
        """How often a sink has failed on a best shot while it took others."""
        entry = self._entries.get(number)
        return entry.sinks[sink].refusals if entry is not None and sink in entry.sinks else 0

    def count_failure(self, number: int, sink: str, due: float) -> int:
        """Count a failure as the best shot's own, since others pass; return how many there are.

        One that is being tried again is not counted: what comes of that will tell.
        """
        entry = self._entries.get(number)
        if entry is None or sink not in entry.sinks:
            return 0
        state = entry.sinks[sink]
        if state.dead or state.claimed:
            return 0
        state.refusals += 1
        self._queues[sink].put_off(entry, due)
        return state.refusals

    def clear_failures(self, sink: str) -> list[int]:
        """Give those their places again that failed because the sink took nothing.

        Returns:
            Their numbers.
        """
        cleared: list[int] = []
        queue = self._queues.get(sink)
        for number in queue.aside if queue is not None else ():
            entry = self._entries[number]
            state = entry.sinks[sink]
            if not state.refusals and not state.claimed:
                self._queues[sink].reinstate(entry)
                state.failures, state.error = 0, ""
                cleared.append(number)
        return cleared

    def dead_letter(self, number: int, sink: str) -> bool:
        """Make a best shot a dead letter for a sink, unless it is being delivered right now."""
        entry = self._entries.get(number)
        if entry is None or sink not in entry.sinks:
            return False
        state = entry.sinks[sink]
        if state.dead or state.claimed:
            return False
        state.dead = True
        self._queues[sink].remove(entry)
        if entry.dead:
            heapq.heappush(self._victims, _victim(entry))
        return True

    def acknowledge(self, number: int, sink: str) -> bool:
        """Note that a sink has a best shot; return whether no sink is left that lacks it."""
        entry = self._entries.get(number)
        if entry is None or sink not in entry.sinks:
            return False
        if not entry.sinks[sink].dead:
            self._queues[sink].remove(entry)
        del entry.sinks[sink]
        if not entry.sinks:
            self._forget(entry)
            return True
        if entry.dead:
            heapq.heappush(self._victims, _victim(entry))
        return False

    # Giving up

    def drop(self, number: int, reason: DropReason) -> Dropped | None:
        """Drop a best shot for every sink that it still waits for."""
        entry = self._entries.get(number)
        if entry is None:
            return None
        dropped = dropped_from(entry, reason)
        for name in dropped.sinks:
            self._queues[name].remove(entry)
        self._forget(entry)
        return dropped

    def abandon(self, sink: str) -> list[Dropped]:
        """Drop everything that waits for one sink."""
        dropped: list[Dropped] = []
        for entry in list(self._entries.values()):
            state = entry.sinks.get(sink)
            if state is None:
                continue
            if not state.dead:
                self._queues[sink].remove(entry)
                summary, reason = entry.summary, DropReason.SINK_REMOVED
                dropped.append(Dropped(entry.number, summary.key, summary.quality, reason, (sink,)))
            del entry.sinks[sink]
            if not entry.sinks:
                self._forget(entry)
            elif entry.dead:
                heapq.heappush(self._victims, _victim(entry))
        return dropped

    def shrink(self) -> list[Dropped]:
        """Drop what exceeds the size limits."""
        dropped: list[Dropped] = []
        busy: list[tuple[bool, float, int]] = []
        while self._is_over() and self._victims:
            victim = heapq.heappop(self._victims)
            entry = self._entries.get(victim[2])
            if entry is None or victim != _victim(entry):
                continue
            if entry.claimed:
                busy.append(victim)
                continue
            gone = self.drop(entry.number, DropReason.FULL)
            if gone is not None:
                dropped.append(gone)
        for victim in busy:
            heapq.heappush(self._victims, victim)
        return dropped

    def expire(self, now: float) -> list[Dropped]:
        """Drop what is older than the time limit."""
        limit = now - self._limits.ttl_s
        if self._oldest >= limit:
            return []
        # All of them: where a clock was set between two runs, numbers say nothing of ages.
        entries = self._entries.values()
        old = [e.number for e in entries if e.summary.accepted_at < limit and not e.claimed]
        self._oldest = min((entry.summary.accepted_at for entry in entries), default=math.inf)
        gone = (self.drop(number, DropReason.EXPIRED) for number in old)
        return [dropped for dropped in gone if dropped is not None]

    def _is_over(self) -> bool:
        return len(self) > self._limits.max_shots or self.bytes > self._limits.max_bytes

    def _forget(self, entry: Entry) -> None:
        del self._entries[entry.number]
        del self._numbers[entry.summary.key]
        self.bytes -= entry.summary.size
        # Acknowledged entries stay behind in the heap; they must not outnumber the live ones.
        if len(self._victims) > 2 * len(self._entries) + _SLACK:
            self._victims[:] = [_victim(other) for other in self._entries.values()]
            heapq.heapify(self._victims)


def _victim(entry: Entry) -> tuple[bool, float, int]:
    """Sort key: what is dropped first comes first."""
    if entry.dead:
        return False, 0.0, entry.number
    return True, entry.summary.quality, entry.number
