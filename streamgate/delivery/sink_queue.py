"""The order in which one sink is offered what waits for it."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping

from streamgate.delivery.entry import Entry, Track

__all__ = ["SinkQueue"]

_SLACK = 64


class SinkQueue:
    """What waits for one sink: the first of each track may be claimed, the oldest of them first.

    Args:
        sink: the sink's name.
        entries: every entry of the index by number, shared with it.
    """

    def __init__(self, sink: str, entries: Mapping[int, Entry]) -> None:
        self.waiting = 0
        self._sink = sink
        self._entries = entries
        self._tracks: dict[Track, deque[int]] = {}
        # Due time and number of the first of each track, and entries that have become stale.
        self._heap: list[tuple[float, int]] = []

    def add(self, entry: Entry) -> None:
        """Put an entry behind those of its track."""
        line = self._tracks.setdefault(entry.summary.track, deque())
        line.append(entry.number)
        self.waiting += 1
        if len(line) == 1:
            self._offer(entry.number)

    def remove(self, entry: Entry) -> None:
        """Take an entry out, wherever it stands."""
        line = self._tracks[entry.summary.track]
        was_first = line[0] == entry.number
        line.remove(entry.number)
        self.waiting -= 1
        if not line:
            del self._tracks[entry.summary.track]
        elif was_first:
            self._offer(line[0])

    def claim(self, now: float) -> Entry | None:
        """Take the oldest entry that may be offered now; it stays in its place, claimed."""
        due = self.next_due()
        if due is None or due > now:
            return None
        entry = self._entries[heapq.heappop(self._heap)[1]]
        entry.sinks[self._sink].claimed = True
        return entry

    def next_due(self) -> float | None:
        """Unix seconds at which an entry may next be offered, if one waits unclaimed."""
        while self._heap:
            due, number = self._heap[0]
            if self._is_first(due, number):
                return due
            heapq.heappop(self._heap)
        return None

    def release(self, entry: Entry) -> None:
        """Offer a claimed entry again."""
        entry.sinks[self._sink].claimed = False
        self._offer(entry.number)

    def _is_first(self, due: float, number: int) -> bool:
        entry = self._entries.get(number)
        state = entry.sinks.get(self._sink) if entry is not None else None
        if entry is None or state is None or state.dead or state.claimed:
            return False
        line = self._tracks.get(entry.summary.track)
        return state.due == due and line is not None and line[0] == number

    def _offer(self, number: int) -> None:
        state = self._entries[number].sinks[self._sink]
        heapq.heappush(self._heap, (state.due, number))
        # While a sink is away nobody pops the entries that the size limit has made stale.
        if len(self._heap) > 2 * len(self._tracks) + _SLACK:
            firsts = [line[0] for line in self._tracks.values()]
            self._heap = [
                (self._entries[first].sinks[self._sink].due, first)
                for first in firsts
                if not self._entries[first].sinks[self._sink].claimed
            ]
            heapq.heapify(self._heap)
