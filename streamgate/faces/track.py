"""Follow faces from frame to frame by motion alone, and stop where motion is ambiguous.

The results are *tracklets*: runs of sightings that belong to one person as surely as motion can
tell. Where two people meet, a face jumps, or a face was hidden, a tracklet ends and another one
begins, with a list of the lost tracklets that it may continue; the embeddings of the faces decide
which (see `selection.identity`). A broken track can be joined later, but a track that mixes two
people loses one of them.

A link is made if it is part of the best one-to-one assignment of tracklets to faces, and if the
best assignment without it is worse by a margin: when the second-best explanation is nearly as good,
the link is uncertain. A lost tracklet is never extrapolated across other people.

The cost of a link is the squared distance of the face from the predicted position, in units of how
far a face of its size may have moved since, plus the squared change of size in such units. Above 1
there is no link.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streamgate.config import TrackerSection
from streamgate.values import Face, TrackBeginning, TrackedFace

__all__ = ["FaceTracker", "TrackerUpdate", "assign"]

# Two frames may carry one timestamp; a speed wants time to advance.
_LEAST_STEP_S = 1e-4
# A frame or two in which the detector misses a face are bridged, if nobody else is near.
_BRIEF_GAP_S = 0.13
_FRAMES_KEPT = 1.5
# A face that is hidden from just after one frame until just before another was hidden for less than
# the time between its sightings, by up to a frame at either end.
_LONGEST_STEP_S = 0.25
# A false detection, such as hair or a hand, lasts for a frame or two.
_LEAST_AGE_S = 0.1
# How far a face may be from where it is expected, in face sizes: detected boxes jitter; a speed
# is known to so many sizes a second; a face is 16 cm wide and a person walks 1.4 m/s.
_BOX_JITTER = 0.22
_SPEED_ERROR = 2.0
_WALKING_PACE = 9.0
_SIZE_CHANGE = 0.30
_SIZE_PACE = 0.6
_GATE = 1.0
_MARGIN = 0.15
_NEIGHBOUR_GATE = 0.3
_NEIGHBOUR_REACH = 2.5
# Detected boxes jitter, so speed is averaged over about this time.
_SPEED_MEMORY_S = 0.2
# A lost face may be found again within this many of its sizes of its possible path, and further
# the longer it was hidden.
_REACH = 0.6
_REACH_PER_SECOND = 1.5
_SIZE_RATIO = 1.6


@dataclass(frozen=True, slots=True, eq=False)
class TrackerUpdate:
    """The result of one frame.

    Attributes:
        tracked: detected faces that belong to a tracklet, in the order of the detections; from the
            first sighting on.
        began: tracklets that begin in this frame.
        confirmed: tracklets that have now been seen for long enough not to be false detections.
        ended: confirmed tracklets that nothing can continue any more, oldest first.
        dismissed: tracklets that ended without being confirmed, oldest first.
    """

    tracked: Sequence[TrackedFace]
    began: Sequence[TrackBeginning]
    confirmed: Sequence[int]
    ended: Sequence[int]
    dismissed: Sequence[int]


@dataclass(slots=True, eq=False)
class _Trail:
    """Where a face was last seen, and its speed in pixels per second."""

    track_id: int
    center: NDArray[np.float64]
    size: float
    born_at: float
    seen_at: float
    speed: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    sightings: int = 1
    confirmed: bool = False
    lost: bool = False

    def expected(self, at: float) -> NDArray[np.float64]:
        return self.center + self.speed * (at - self.seen_at)

    def follow(self, center: NDArray[np.float64], size: float, at: float) -> None:
        elapsed = at - self.seen_at
        # Over an interval this short, as after a clock error, speed is noise.
        if elapsed > _LEAST_STEP_S:
            step = (center - self.center) / elapsed
            share = 1.0 if self.sightings == 1 else 1.0 - math.exp(-elapsed / _SPEED_MEMORY_S)
            self.speed = self.speed + share * (step - self.speed)
            self.sightings += 1
        self.center, self.size, self.seen_at = center, size, at


class FaceTracker:
    """Follows the faces of one stream.

    Bounded: a trail is kept for `max_gap_s` after its last sighting.
    """

    def __init__(self, settings: TrackerSection) -> None:
        self._settings = settings
        self._next_id = 1
        self._trails: list[_Trail] = []
        self._last_at = -np.inf

    @property
    def following(self) -> int:
        """How many faces are followed, those that were lost a moment ago included."""
        return len(self._trails)

    @property
    def newest_at(self) -> float:
        """When the newest of the faces that are followed was first seen, seconds; -inf for none."""
        return max((trail.born_at for trail in self._trails), default=-math.inf)

    def adopt(self, settings: TrackerSection) -> None:
        """Change the settings on a reload; live tracklets continue."""
        self._settings = settings

    def flush(self) -> None:
        """Forget everything before another stream starts. Numbers are never used twice."""
        self._trails = []

    def update(self, faces: Sequence[Face], at: float) -> TrackerUpdate:
        """Take the faces of the next frame, captured at `at` seconds."""
        at = max(at, self._last_at + _LEAST_STEP_S)
        elapsed = at - self._last_at if np.isfinite(self._last_at) else 0.0
        self._last_at = at
        ended, dismissed = self._given_up(at, elapsed)
        centers = [(face.box[:2] + face.box[2:]) / 2 for face in faces]
        sizes = [math.sqrt(max(face.area, 1e-6)) for face in faces]
        live = self._live(at, elapsed)
        links = _sure_links(_costs(live, centers, sizes, at))
        links = {
            index: place
            for index, place in links.items()
            if self._is_plain(live[place], index, centers, sizes, at)
        }
        self._lose(live, set(links.values()), centers, sizes, at)
        confirmed, began, numbers = [], [], dict[int, int]()
        for index, place in links.items():
            live[place].follow(centers[index], sizes[index], at)
            numbers[index] = live[place].track_id
        for index, face in enumerate(faces):
            if index not in links and face.detector_score >= self._settings.high_score:
                began.append(self._begin(centers[index], sizes[index], at))
                numbers[index] = began[-1].track_id
        for trail in self._trails:
            if not trail.confirmed and _is_settled(trail):
                trail.confirmed = True
                confirmed.append(trail.track_id)
        tracked = [TrackedFace(faces[index], number) for index, number in sorted(numbers.items())]
        return TrackerUpdate(tracked, began, confirmed, ended, dismissed)

    def _live(self, at: float, elapsed: float) -> list[_Trail]:
        """Return the trails that a face may be linked to: seen a moment ago, and not in a crowd."""
        limit = max(_BRIEF_GAP_S, _FRAMES_KEPT * elapsed)
        limit = min(limit, self._settings.max_gap_s + min(elapsed, _LONGEST_STEP_S))
        for trail in self._trails:
            trail.lost = trail.lost or at - trail.seen_at > limit + _LEAST_STEP_S
        return [trail for trail in self._trails if not trail.lost]

    def _is_plain(
        self,
        trail: _Trail,
        index: int,
        centers: Sequence[NDArray[np.float64]],
        sizes: Sequence[float],
        at: float,
    ) -> bool:
        """Return whether a link is good enough, given other people near the face."""
        cost = _cost(trail, centers[index], sizes[index], at)
        if cost <= _NEIGHBOUR_GATE:
            return True
        near = _NEIGHBOUR_REACH * max(sizes[index], trail.size)
        others = [center for other, center in enumerate(centers) if other != index]
        others += [one.expected(at) for one in self._trails if one is not trail and one.confirmed]
        places = (centers[index], trail.expected(at))
        return all(float(np.hypot(*(one - place))) > near for one in others for place in places)

    def _lose(
        self,
        live: Sequence[_Trail],
        linked: set[int],
        centers: Sequence[NDArray[np.float64]],
        sizes: Sequence[float],
        at: float,
    ) -> None:
        """End trails that were not seen while somebody else is at their predicted position."""
        for place, trail in enumerate(live):
            if place in linked:
                continue
            expected = trail.expected(at)
            trail.lost = any(
                float(np.hypot(*(center - expected))) < (size + trail.size) / 2
                for center, size in zip(centers, sizes, strict=True)
            )

    def _begin(self, center: NDArray[np.float64], size: float, at: float) -> TrackBeginning:
        before = [
            trail
            for trail in self._trails
            if trail.confirmed and trail.seen_at < at and _may_be(trail, center, size, at)
        ]
        before.sort(key=lambda trail: float(np.hypot(*(trail.expected(at) - center))))
        trail = _Trail(self._next_id, center, size, at, at)
        self._next_id += 1
        self._trails.append(trail)
        return TrackBeginning(trail.track_id, tuple(one.track_id for one in before))

    def _given_up(self, at: float, elapsed: float) -> tuple[Sequence[int], Sequence[int]]:
        """Forget what was hidden for too long; unconfirmed trails may not be hidden at all."""
        gap_s = self._settings.max_gap_s + min(elapsed, _LONGEST_STEP_S)
        brief_s = max(_BRIEF_GAP_S, _FRAMES_KEPT * elapsed)
        kept: list[_Trail] = []
        gone: list[_Trail] = []
        for trail in self._trails:
            limit = gap_s if trail.confirmed else min(brief_s, gap_s)
            (kept if at - trail.seen_at <= limit + _LEAST_STEP_S else gone).append(trail)
        self._trails = kept
        return _split(gone)


def _split(trails: Sequence[_Trail]) -> tuple[Sequence[int], Sequence[int]]:
    return (
        sorted(trail.track_id for trail in trails if trail.confirmed),
        sorted(trail.track_id for trail in trails if not trail.confirmed),
    )


def _is_settled(trail: _Trail) -> bool:
    return trail.seen_at - trail.born_at >= _LEAST_AGE_S - _LEAST_STEP_S


def _may_be(trail: _Trail, center: NDArray[np.float64], size: float, at: float) -> bool:
    """Return whether a face may be a lost one, because it is near a possible path of that one."""
    large, small = max(trail.size, size), min(trail.size, size)
    if large > _SIZE_RATIO * small:
        return False
    gap_s = at - trail.seen_at
    way, apart = trail.speed * gap_s, center - trail.center
    length = float(way @ way)
    share = min(1.0, max(0.0, float(apart @ way) / length)) if length > 0 else 0.0
    reach = large * (_REACH + _REACH_PER_SECOND * gap_s)
    return float(np.hypot(*(apart - share * way))) <= reach


def _costs(
    trails: Sequence[_Trail],
    centers: Sequence[NDArray[np.float64]],
    sizes: Sequence[float],
    at: float,
) -> NDArray[np.float64]:
    """Costs of links, float64 [trails, faces]; infinite where there can be none."""
    costs = np.full((len(trails), len(centers)), np.inf)
    for row, trail in enumerate(trails):
        for column, (center, size) in enumerate(zip(centers, sizes, strict=True)):
            cost = _cost(trail, center, size, at)
            if cost <= _GATE:
                costs[row, column] = cost
    return costs


def _cost(trail: _Trail, center: NDArray[np.float64], size: float, at: float) -> float:
    gap_s = at - trail.seen_at
    pace = _WALKING_PACE if trail.sightings == 1 else _SPEED_ERROR
    expected, stray = trail.expected(at), _BOX_JITTER + pace * gap_s
    away = float(np.hypot(*(center - expected))) / math.sqrt(size * trail.size) / stray
    swollen = math.log(size / trail.size) / (_SIZE_CHANGE + _SIZE_PACE * gap_s)
    return away * away + swollen * swollen


def _sure_links(costs: NDArray[np.float64]) -> dict[int, int]:
    """Return the trail of each face for which it is certain, by their indices."""
    sure: dict[int, int] = {}
    for rows, columns in _components(np.isfinite(costs)):
        part = costs[np.ix_(rows, columns)]
        pairs, total = assign(part, _GATE)
        for row, column in pairs:
            if len(rows) == len(columns) == 1 or _is_sure(part, row, column, total):
                sure[columns[column]] = rows[row]
    return sure


def _is_sure(costs: NDArray[np.float64], row: int, column: int, total: float) -> bool:
    """Return whether the best assignment without this link is worse by the margin."""
    without = costs.copy()
    without[row, column] = np.inf
    return assign(without, _GATE)[1] - total >= _MARGIN


def _components(linked: NDArray[np.bool_]) -> list[tuple[list[int], list[int]]]:
    """Split a bipartite graph into its connected parts, without isolated nodes."""
    parts: list[tuple[list[int], list[int]]] = []
    left = set(np.flatnonzero(linked.any(axis=1)).tolist())
    while left:
        rows, columns, open_rows = set[int](), set[int](), {min(left)}
        while open_rows:
            rows |= open_rows
            columns |= set(np.flatnonzero(linked[sorted(open_rows)].any(axis=0)).tolist())
            reached = np.flatnonzero(linked[:, sorted(columns)].any(axis=1)).tolist()
            open_rows = set(reached) - rows
        left -= rows
        parts.append((sorted(rows), sorted(columns)))
    return parts


def assign(costs: NDArray[np.float64], unlinked: float) -> tuple[list[tuple[int, int]], float]:
    """Link rows and columns one to one so that the sum of costs is least.

    The Hungarian method by shortest augmenting paths (Jonker and Volgenant, Computing 38, 1987), a
    row at a time, O(rows² · (rows + columns)).

    Args:
        costs: float64 [R, C], infinite where there is no link.
        unlinked: what a row costs that is linked to nothing.

    Returns:
        Row and column of each link, by row, and the sum of costs.
    """
    rows, columns = costs.shape
    # Each row has an additional column for "no link", so that every row finds one.
    square = np.full((rows, columns + rows), np.inf)
    square[:, :columns] = costs
    square[np.arange(rows), columns + np.arange(rows)] = unlinked
    owner = np.full(columns + rows, -1)
    row_price, column_price = np.zeros(rows), np.zeros(columns + rows)
    for start in range(rows):
        _augment(square, start, owner, row_price, column_price)
    pairs = sorted((int(owner[c]), c) for c in range(columns) if owner[c] >= 0)
    total = sum(float(costs[row, column]) for row, column in pairs)
    return pairs, total + unlinked * (rows - len(pairs))


def _augment(
    costs: NDArray[np.float64],
    start: int,
    owner: NDArray[np.int64],
    row_price: NDArray[np.float64],
    column_price: NDArray[np.float64],
) -> None:
    """Give the row `start` a column, moving others along a shortest path."""
    size = costs.shape[1]
    shortest, came_from = np.full(size, np.inf), np.full(size, -1)
    done = np.zeros(size, bool)
    row, distance, end = start, 0.0, -1
    visited = [start]
    while end < 0:
        reduced = distance + costs[row] - row_price[row] - column_price
        better = ~done & (reduced < shortest)
        shortest[better], came_from[better] = reduced[better], row
        column = int(np.argmin(np.where(done, np.inf, shortest)))
        distance = float(shortest[column])
        done[column] = True
        if owner[column] < 0:
            end = column
        else:
            row = int(owner[column])
            visited.append(row)
    for one in visited[1:]:
        row_price[one] += distance - shortest[np.flatnonzero(owner == one)[0]]
    row_price[start] += distance
    column_price[done] -= distance - shortest[done]
    while end >= 0:
        row = int(came_from[end])
        before = -1 if row == start else int(np.flatnonzero(owner == row)[0])
        owner[end] = row
        end = before
