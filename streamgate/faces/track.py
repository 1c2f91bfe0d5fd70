"""Follow faces from frame to frame: ByteTrack of the `trackers` library, with ids of our own.

The library links the faces of one frame to those of the next. Faces that were hidden for a while
are linked here, because a track that the library keeps alive moves on at its last speed, across
other people, and takes over their faces. So the library drops a lost face at once. A face that
appears later continues a lost track if it is about as large and lies near the path from where the
other was lost to where its speed would have taken it. That works for people who walk on, who stop
behind a pillar, and who turn back.

The gate also needs ids that start at 1 for each camera and are never used twice, the tracks that
have ended, and detected boxes only: a predicted box may contain no face.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import supervision as sv
from numpy.typing import NDArray
from trackers import ByteTrackTracker
from trackers.utils.iou import BIoU

from streamgate.config import TrackerSection
from streamgate.values import Face, TrackedFace

__all__ = ["FaceTracker", "TrackerUpdate"]

# The library's settings are in frames at this rate. With timestamps it is only a unit.
_FRAMES_PER_SECOND = 30.0
_UNTRACKED = -1
# Two frames may have the same timestamp, but the library requires time to advance.
_LEAST_STEP_S = 1e-4
# A face that is hidden from just after one frame until just before another was hidden for less than
# the time between its sightings, by up to a frame at either end.
_LONGEST_STEP_S = 0.25
# The library bridges one or two missed frames; longer gaps are bridged here.
_LIBRARY_GAP_S = 0.1
_FRAMES_KEPT = 1.5
# A false detection, such as hair or a hand, lasts for a frame or two.
_LEAST_AGE_S = 0.1
# A face is 16 cm wide and a person walks 1.4 m/s: so many face widths a second.
_WALKING_PACE = 9.0
_MOST_BUFFER = 1.0
# A lost face is looked for within this many of its sizes of its possible path, and further
# the longer it was hidden.
_REACH = 0.5
_REACH_PER_SECOND = 0.8
_SIZE_RATIO = 1.5
# Detected boxes jitter, so speed is averaged over about this time.
_SPEED_MEMORY_S = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class TrackerUpdate:
    """The result of one frame.

    Attributes:
        tracked: detected faces that belong to a track, in the order of the detections.
        ended: tracks that ended, oldest first.
    """

    tracked: Sequence[TrackedFace]
    ended: Sequence[int]


@dataclass(slots=True, eq=False)
class _Trail:
    """Where a face was last seen, and its speed in pixels per second.

    `track_id` is None until the face has been seen for long enough to be a track.
    """

    number: int
    box: NDArray[np.float64]
    born_at: float
    seen_at: float
    track_id: int | None = None
    speed: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))

    def follow(self, number: int, box: NDArray[np.float64], at: float) -> None:
        elapsed = at - self.seen_at
        # Over an interval this short, as after a clock error, speed is noise.
        if elapsed > _LEAST_STEP_S:
            share = 1.0 - np.exp(-elapsed / _SPEED_MEMORY_S)
            step = (_centre(box) - _centre(self.box)) / elapsed
            self.speed = self.speed + share * (step - self.speed)
        self.number, self.box, self.seen_at = number, box, at


class FaceTracker:
    """Follows the faces of one stream.

    A face gets an id with its second sighting, at least a tenth of a second after the first:
    what appears more briefly is noise.
    """

    def __init__(self, settings: TrackerSection) -> None:
        self._settings = settings
        self._next_id = 1
        # Oldest first; bounded, because each was seen within `max_gap_s`.
        self._trails: list[_Trail] = []
        self._last_at = -np.inf
        self._nearness = BIoU()
        self._tracker = self._new_tracker()

    def update(self, faces: Sequence[Face], at: float) -> TrackerUpdate:
        """Take the faces of the next frame, captured at `at` seconds."""
        at = max(at, self._last_at + _LEAST_STEP_S)
        elapsed = at - self._last_at if np.isfinite(self._last_at) else 0.0
        self._last_at = at
        numbers = self._linked(faces, at, elapsed)
        ended = self._ended(at, elapsed)
        followed = {trail.number: trail for trail in self._trails if trail.number != _UNTRACKED}
        trails = {i: followed[number] for i, number in numbers.items() if number in followed}
        # Faces that continue a track come first, so that they cannot be matched to a lost one.
        found_trails = set(trails.values())
        lost = [trail for trail in self._trails if trail not in found_trails]
        trails |= _found_again(faces, set(numbers) - set(trails), lost, at)
        for index, number in numbers.items():
            if index not in trails and number != _UNTRACKED:
                # The library numbers what it has seen twice, the first time in the frame before.
                trails[index] = _Trail(number, faces[index].box, at - elapsed, at)
                self._trails.append(trails[index])
        tracked = []
        for index, trail in sorted(trails.items()):
            trail.follow(numbers[index], faces[index].box, at)
            if (track_id := self._id_of(trail)) is not None:
                tracked.append(TrackedFace(faces[index], track_id))
        return TrackerUpdate(tracked, ended)

    def adopt(self, settings: TrackerSection) -> None:
        """Change the settings on a reload; live tracks continue."""
        self._settings = settings
        self._tracker.track_activation_threshold = settings.high_score
        self._tracker.high_conf_det_threshold = settings.high_score
        self._tracker.minimum_iou_threshold = settings.min_iou

    def flush(self) -> Sequence[int]:
        """End every live track and return their ids, oldest first."""
        ended = _ids(self._trails)
        self._trails.clear()
        self._tracker = self._new_tracker()
        return ended

    def _new_tracker(self) -> ByteTrackTracker:
        settings = self._settings
        gap_s = min(_LIBRARY_GAP_S, settings.max_gap_s)
        return ByteTrackTracker(
            lost_track_buffer=max(1, round(gap_s * _FRAMES_PER_SECOND)),
            frame_rate=_FRAMES_PER_SECOND,
            track_activation_threshold=settings.high_score,
            high_conf_det_threshold=settings.high_score,
            minimum_iou_threshold=settings.min_iou,
            minimum_consecutive_frames=1,
            iou=self._nearness,
        )

    def _linked(self, faces: Sequence[Face], at: float, elapsed: float) -> Mapping[int, int]:
        """Return the library's number, if any, of each face by its index."""
        self._nearness.buffer_ratio = _buffer(elapsed, self._settings.min_iou)
        # The frame before counts, however long ago it was, within what a track may be hidden.
        self._tracker.maximum_time_without_update = min(
            self._settings.max_gap_s, max(_LIBRARY_GAP_S, _FRAMES_KEPT * elapsed)
        )
        found = self._tracker.update(_detections(faces), timestamp=at)
        assert found.tracker_id is not None
        pairs = zip(found.data.get("index", ()), found.tracker_id, strict=True)
        return {int(index): int(number) for index, number in pairs}

    def _id_of(self, trail: _Trail) -> int | None:
        if trail.track_id is None and trail.seen_at - trail.born_at >= _LEAST_AGE_S - _LEAST_STEP_S:
            trail.track_id = self._next_id
            self._next_id += 1
        return trail.track_id

    def _ended(self, at: float, elapsed: float) -> Sequence[int]:
        """End what has been hidden for too long; a face without an id may not be hidden at all."""
        gap_s = self._settings.max_gap_s + min(elapsed, _LONGEST_STEP_S)
        brief_s = max(_LIBRARY_GAP_S, _FRAMES_KEPT * elapsed)
        kept: list[_Trail] = []
        lost: list[_Trail] = []
        for trail in self._trails:
            limit = brief_s if trail.track_id is None else gap_s
            (kept if at - trail.seen_at <= limit else lost).append(trail)
        self._trails = kept
        return _ids(lost)


def _ids(trails: Sequence[_Trail]) -> Sequence[int]:
    return sorted(trail.track_id for trail in trails if trail.track_id is not None)


def _found_again(
    faces: Sequence[Face], indexes: set[int], lost: Sequence[_Trail], at: float
) -> dict[int, _Trail]:
    """Pair unmatched faces with trails that were lost a moment ago.

    Of several trails, the one whose predicted position is nearest to the face comes first.
    """
    pairs = sorted(
        (_miss(trail, faces[index].box, at), index, place)
        for index in indexes
        for place, trail in enumerate(lost)
        if _may_be(trail, faces[index].box, at)
    )
    found: dict[int, _Trail] = {}
    taken: set[int] = set()
    for _, index, place in pairs:
        if index not in found and place not in taken:
            found[index] = lost[place]
            taken.add(place)
    return found


def _detections(faces: Sequence[Face]) -> sv.Detections:
    if not faces:
        return sv.Detections.empty()
    return sv.Detections(
        xyxy=np.stack([face.box for face in faces]),
        confidence=np.array([face.detector_score for face in faces]),
        data={"index": np.arange(len(faces))},
    )


def _buffer(elapsed_s: float, min_iou: float) -> float:
    """Return by what part of its size a box must grow on each side, so that a walking face
    overlaps.

    At 25 frames a second it need not grow. At 10, a face moves nearly its own width between two
    frames, and the library, which has no speed for it yet, would never link them.
    """
    # Two equal boxes, grown by r, overlap by min_iou at (1 + 2r)(1 - min_iou) / (1 + min_iou).
    overlapping = (1.0 - min_iou) / (1.0 + min_iou)
    wanted = _WALKING_PACE * elapsed_s
    if wanted >= overlapping * (1.0 + 2.0 * _MOST_BUFFER):
        return _MOST_BUFFER
    return max(0.0, (wanted / overlapping - 1.0) / 2.0)


def _may_be(trail: _Trail, box: NDArray[np.float64], at: float) -> bool:
    """Return whether a face can be one that was lost.

    It may be anywhere near the path from where the other was lost to where its speed would have
    taken it.
    """
    size_before, size_now = _size(trail.box), _size(box)
    large, small = max(size_before, size_now), min(size_before, size_now)
    if small <= 0 or large / small > _SIZE_RATIO:
        return False
    gap_s = at - trail.seen_at
    way = trail.speed * gap_s
    apart = _centre(box) - _centre(trail.box)
    length = float(way @ way)
    share = min(1.0, max(0.0, float(apart @ way) / length)) if length > 0 else 0.0
    reach = large * (_REACH + _REACH_PER_SECOND * gap_s)
    return float(np.hypot(*(apart - share * way))) <= reach


def _miss(trail: _Trail, box: NDArray[np.float64], at: float) -> float:
    """Return the distance, in pixels, of a face from the predicted position of a lost one."""
    expected = _centre(trail.box) + trail.speed * (at - trail.seen_at)
    return float(np.hypot(*(_centre(box) - expected)))


def _centre(box: NDArray[np.float64]) -> NDArray[np.float64]:
    return (box[:2] + box[2:]) / 2


def _size(box: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.prod(box[2:] - box[:2])))
