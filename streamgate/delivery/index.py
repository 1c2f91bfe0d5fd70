"""Which best shots still wait for which sinks: every rule of the outbox, and no I/O.

An outbox in memory and one on disk must not differ in order, in what they give up, or in how they
count it. Both keep a index; time is an argument.

The rules:

- A best shot goes to every sink; to one sink, those of one track go in order, one at a time.
- One that a sink has refused for good is a dead letter for that sink and lets its successors pass.
- Over a size limit, dead letters go first, oldest first; then what is still unsent: the one of
  lowest quality, of equals the oldest. One that is being delivered now is never given up.
- What is older than the time limit goes, dead letters too.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence

from streamgate.delivery.entry import (
    DeliveryState,
    Dropped,
    DropReason,
    Entry,
    Limits,
    ShotSummary,
    dropped_from,
)
from streamgate.delivery.sink_queue import SinkQueue

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
        self._lines = {name: SinkQueue(name, self._entries) for name in sinks}
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
            self._lines.setdefault(name, SinkQueue(name, self._entries))

    def unclaim(self, sink: str) -> None:
        """Offer again what a sink was being given when its deliveries were broken off."""
        for entry in self._entries.values():
            state = entry.sinks.get(sink)
            if state is not None and state.claimed:
                self._lines[sink].release(entry)

    def get(self, number: int) -> Entry | None:
        """The entry of that number, if it is still there."""
        return self._entries.get(number)

    def waiting(self, sink: str) -> int:
        """How many best shots wait for a sink; its dead letters do not."""
        return self._lines[sink].waiting if sink in self._lines else 0

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
        """Take up a best shot; numbers rise. States are given for one that was stored."""
        if states is None:
            states = {name: DeliveryState() for name in self.sinks}
        entry = Entry(number, summary, dict(states))
        self._entries[number] = entry
        self._numbers[summary.key] = number
        self.bytes += summary.size
        for name, state in entry.sinks.items():
            line = self._lines.setdefault(name, SinkQueue(name, self._entries))
            if not state.dead:
                line.add(entry)
        heapq.heappush(self._victims, _victim(entry))
        return entry

    # Delivery

    def claim(self, sink: str, now: float) -> Entry | None:
        """Take the oldest best shot that may be offered to a sink now."""
        return self._lines[sink].claim(now) if sink in self._lines else None

    def next_due(self, sink: str) -> float | None:
        """Unix seconds at which a best shot may next be offered to a sink, if any waits."""
        return self._lines[sink].next_due() if sink in self._lines else None

    def release(self, number: int, sink: str) -> None:
        """Give a claimed best shot back, to be offered again."""
        entry = self._entries.get(number)
        if entry is not None and sink in entry.sinks:
            self._lines[sink].release(entry)

    def postpone(self, number: int, sink: str, due: float) -> None:
        """Give a claimed best shot back, to be offered again when due."""
        entry = self._entries.get(number)
        if entry is not None and sink in entry.sinks:
            entry.sinks[sink].due = due
            self._lines[sink].release(entry)

    def refuse(self, number: int, sink: str, due: float, error: str) -> None:
        """Give a claimed best shot back that the sink has refused; offer it again when due."""
        entry = self._entries.get(number)
        if entry is not None and sink in entry.sinks:
            entry.sinks[sink].refusals += 1
            entry.sinks[sink].error = error
            self.postpone(number, sink, due)

    def dead_letter(self, number: int, sink: str, error: str) -> None:
        """Make a claimed best shot a dead letter for a sink that has refused it."""
        entry = self._entries.get(number)
        if entry is None or sink not in entry.sinks:
            return
        state = entry.sinks[sink]
        state.refusals += 1
        state.error = error
        state.claimed = False
        state.dead = True
        self._lines[sink].remove(entry)
        if entry.dead:
            heapq.heappush(self._victims, _victim(entry))

    def acknowledge(self, number: int, sink: str) -> bool:
        """Note that a sink has a best shot; return whether no sink is left that lacks it."""
        entry = self._entries.get(number)
        if entry is None or sink not in entry.sinks:
            return False
        if not entry.sinks[sink].dead:
            self._lines[sink].remove(entry)
        del entry.sinks[sink]
        if not entry.sinks:
            self._forget(entry)
            return True
        if entry.dead:
            heapq.heappush(self._victims, _victim(entry))
        return False

    # Giving up

    def drop(self, number: int, reason: DropReason) -> Dropped | None:
        """Give up a best shot for every sink that it still waits for."""
        entry = self._entries.get(number)
        if entry is None:
            return None
        dropped = dropped_from(entry, reason)
        for name in dropped.sinks:
            self._lines[name].remove(entry)
        self._forget(entry)
        return dropped

    def abandon(self, sink: str) -> list[Dropped]:
        """Give up, for one sink, all that waits for it."""
        dropped: list[Dropped] = []
        for entry in list(self._entries.values()):
            state = entry.sinks.get(sink)
            if state is None:
                continue
            if not state.dead:
                self._lines[sink].remove(entry)
                summary, reason = entry.summary, DropReason.SINK_REMOVED
                dropped.append(Dropped(entry.number, summary.key, summary.quality, reason, (sink,)))
            del entry.sinks[sink]
            if not entry.sinks:
                self._forget(entry)
            elif entry.dead:
                heapq.heappush(self._victims, _victim(entry))
        return dropped

    def shrink(self) -> list[Dropped]:
        """Give up what is over the size limits."""
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
        """Give up what is older than the time limit."""
        old: list[int] = []
        for entry in self._entries.values():
            if now - entry.summary.decided_wall <= self._limits.ttl_s:
                break
            if not entry.claimed:
                old.append(entry.number)
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
    """Sorts what is given up first before what is given up last."""
    if entry.dead:
        return False, 0.0, entry.number
    return True, entry.summary.quality, entry.number
