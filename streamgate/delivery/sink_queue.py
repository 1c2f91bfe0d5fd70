"""The order in which one sink is offered what waits for it."""

from __future__ import annotations

import bisect
import heapq
from collections import Counter, deque
from collections.abc import Mapping

from streamgate.delivery.entry import DeliveryState, Entry, Track

__all__ = ["SinkQueue"]

_SLACK = 64


class SinkQueue:
    """What waits for one sink: the first of each track may be claimed, the oldest of them first.

    An entry that the sink has failed on can be *set aside*: it leaves its place in its track, so
    that its successors pass, and is offered again by itself when it is due. One that was set aside
    is claimed only where no other is due, and one at a time: whatever the sink does to it, the
    others have the rest of the sink.

    Args:
        sink: the sink's name.
        entries: every entry of the index by number, shared with it.
    """

    def __init__(self, sink: str, entries: Mapping[int, Entry]) -> None:
        self.waiting = 0
        self._sink = sink
        self._entries = entries
        self._tracks: dict[Track, deque[int]] = {}
        # Due time, whether it overtakes one of its track, and number of the first of each track;
        # and due time and number of those that are set aside. Some have become stale.
        self._firsts: list[tuple[float, bool, int]] = []
        self._aside: list[tuple[float, int]] = []
        self._numbers_aside: set[int] = set()
        self._tracks_aside: Counter[Track] = Counter()
        self._aside_claimed: int | None = None

    def add(self, entry: Entry) -> None:
        """Put an entry behind those of its track."""
        self.waiting += 1
        state = entry.sinks[self._sink]
        if state.aside:
            self._join_aside(entry)
            if state.claimed:
                self._aside_claimed = entry.number
            else:
                self._offer_aside(entry)
            return
        track = self._tracks.setdefault(entry.summary.track, deque())
        track.append(entry.number)
        if len(track) == 1:
            self._offer(entry.number)

    def remove(self, entry: Entry) -> None:
        """Take an entry out, wherever it stands."""
        self.waiting -= 1
        if entry.sinks[self._sink].aside:
            self._leave_aside(entry)
        else:
            self._leave_track(entry)

    @property
    def aside(self) -> list[int]:
        """Numbers of those that are set aside, oldest first."""
        return sorted(self._numbers_aside)

    def claim(self, now: float) -> Entry | None:
        """Take the oldest entry that may be offered now; it stays in its place, claimed."""
        due = self._first_due()
        if due is not None and due <= now:
            number = heapq.heappop(self._firsts)[2]
        else:
            due = self._aside_due()
            if due is None or due > now:
                return None
            number = heapq.heappop(self._aside)[1]
            self._aside_claimed = number
        entry = self._entries[number]
        entry.sinks[self._sink].claimed = True
        return entry

    def next_due(self) -> float | None:
        """Monotonic seconds at which an entry may next be offered, if one waits unclaimed."""
        found = [due for due in (self._first_due(), self._aside_due()) if due is not None]
        return min(found, default=None)

    def release(self, entry: Entry) -> None:
        """Offer a claimed entry again."""
        self._unclaim(entry)
        if entry.sinks[self._sink].aside:
            self._offer_aside(entry)
        else:
            self._offer(entry.number)

    def set_aside(self, entry: Entry, due: float) -> None:
        """Let others pass a claimed entry; offer it again by itself when it is due."""
        self._unclaim(entry)
        state = entry.sinks[self._sink]
        state.due = due
        if not state.aside:
            self._join_aside(entry)
            self._leave_track(entry)
            state.aside = True
        self._offer_aside(entry)

    def put_off(self, entry: Entry, due: float) -> None:
        """Offer an entry that is set aside at another time."""
        state = entry.sinks[self._sink]
        if state.aside and not state.claimed:
            state.due = due
            self._offer_aside(entry)

    def reinstate(self, entry: Entry) -> None:
        """Give an entry that was set aside its place in its track again."""
        state = entry.sinks[self._sink]
        if not state.aside or state.claimed or state.dead:
            return
        self._leave_aside(entry)
        state.aside, state.due = False, 0.0
        track = self._tracks.setdefault(entry.summary.track, deque())
        bisect.insort(track, entry.number)
        if track[0] == entry.number:
            self._offer(entry.number)

    def _unclaim(self, entry: Entry) -> None:
        entry.sinks[self._sink].claimed = False
        if self._aside_claimed == entry.number:
            self._aside_claimed = None

    def _leave_track(self, entry: Entry) -> None:
        track = self._tracks[entry.summary.track]
        was_first = track[0] == entry.number
        track.remove(entry.number)
        if not track:
            del self._tracks[entry.summary.track]
        elif was_first:
            self._offer(track[0])

    def _join_aside(self, entry: Entry) -> None:
        self._numbers_aside.add(entry.number)
        self._tracks_aside[entry.summary.track] += 1

    def _leave_aside(self, entry: Entry) -> None:
        self._numbers_aside.discard(entry.number)
        self._tracks_aside[entry.summary.track] -= 1
        if not self._tracks_aside[entry.summary.track]:
            del self._tracks_aside[entry.summary.track]
        if self._aside_claimed == entry.number:
            self._aside_claimed = None

    def _first_due(self) -> float | None:
        while self._firsts:
            due, _, number = self._firsts[0]
            state = self._offered(number, due)
            if state is not None and not state.aside and self._is_first(number):
                return due
            heapq.heappop(self._firsts)
        return None

    def _aside_due(self) -> float | None:
        while self._aside:
            due, number = self._aside[0]
            state = self._offered(number, due)
            if state is not None and state.aside:
                return due if self._aside_claimed is None else None
            heapq.heappop(self._aside)
        return None

    def _offered(self, number: int, due: float) -> DeliveryState | None:
        """The state of an entry that is still to be had at that time."""
        entry = self._entries.get(number)
        state = entry.sinks.get(self._sink) if entry is not None else None
        if state is None or state.dead or state.claimed or state.due != due:
            return None
        return state

    def _is_first(self, number: int) -> bool:
        track = self._tracks.get(self._entries[number].summary.track)
        return track is not None and track[0] == number

    def _offer(self, number: int) -> None:
        entry = self._entries[number]
        heapq.heappush(self._firsts, self._place(entry))
        # While a sink is away nobody pops the entries that the size limit has made stale.
        if len(self._firsts) > 2 * len(self._tracks) + _SLACK:
            firsts = [self._entries[track[0]] for track in self._tracks.values()]
            self._firsts = [
                self._place(first) for first in firsts if not first.sinks[self._sink].claimed
            ]
            heapq.heapify(self._firsts)

    def _place(self, entry: Entry) -> tuple[float, bool, int]:
        overtakes = entry.summary.track in self._tracks_aside
        return entry.sinks[self._sink].due, overtakes, entry.number

    def _offer_aside(self, entry: Entry) -> None:
        heapq.heappush(self._aside, (entry.sinks[self._sink].due, entry.number))
        if len(self._aside) > 2 * len(self._numbers_aside) + _SLACK:
            dues = ((self._entries[n].sinks[self._sink].due, n) for n in self._numbers_aside)
            self._aside = [(due, n) for due, n in dues if self._offered(n, due) is not None]
            heapq.heapify(self._aside)
