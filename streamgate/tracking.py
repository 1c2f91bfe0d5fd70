"""Follow faces from frame to frame: ByteTrack of the `trackers` library, with ids of our own.

The library gives boxes and numbers; this module gives what a gate needs beside them: ids that start
at 1 for each camera and are never used twice, which tracks have ended, and detected boxes only - a
predicted box shows where a face may be, and there is nothing in it to score.

A face that stops behind a pillar is not where its speed says. So a track that begins where another
was lost a moment ago, with a face as large, goes on as that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import supervision as sv
from numpy.typing import NDArray
from trackers import ByteTrackTracker

from streamgate.config import TrackerSection
from streamgate.values import Face, TrackedFace

__all__ = ["FaceTracker", "TrackerUpdate"]

# The rate that the library's settings are given in; with timestamps it is a unit, not a claim.
_FRAMES_PER_SECOND = 30.0
_UNTRACKED = -1
# Two frames may carry one timestamp; the library wants time to advance.
_LEAST_STEP_S = 1e-4
# A lost face counts as found again within half its size, at 0.7 to 1.4 times its size.
_REACH = 0.5
_SIZE_RATIO = 1.4


@dataclass(frozen=True, slots=True, eq=False)
class TrackerUpdate:
    """What a frame changed.

    Attributes:
        tracked: detected faces that belong to a track, in the order of the detections.
        ended: tracks that were given up, oldest first.
    """

    tracked: Sequence[TrackedFace]
    ended: Sequence[int]


@dataclass(slots=True)
class _Trail:
    """Where a track was last seen."""

    track_id: int
    box: NDArray[np.float64]
    seen_at: float


class FaceTracker:
    """Follows the faces of one stream.

    A face is given an id from its second sighting on: what is seen once is noise.
    """

    def __init__(self, settings: TrackerSection) -> None:
        self._settings = settings
        self._next_id = 1
        # By the library's number; bounded by the tracks that it keeps.
        self._trails: dict[int, _Trail] = {}
        self._last_at = -np.inf
        self._tracker = self._new_tracker()

    def update(self, faces: Sequence[Face], at: float) -> TrackerUpdate:
        """Take the faces of the next frame, captured at `at` seconds."""
        at = max(at, self._last_at + _LEAST_STEP_S)
        self._last_at = at
        found = self._tracker.update(_detections(faces), timestamp=at)
        assert found.tracker_id is not None
        numbers = {
            int(index): int(number)
            for index, number in zip(found.data.get("index", ()), found.tracker_id, strict=True)
            if number != _UNTRACKED
        }
        # Those that are followed already come first: what was found cannot be found again.
        ids = {
            index: self._id_of(numbers[index], faces[index], at)
            for index in sorted(numbers, key=lambda i: (numbers[i] not in self._trails, i))
        }
        tracked = [TrackedFace(faces[index], ids[index]) for index in sorted(ids)]
        return TrackerUpdate(tracked, self._ended(at))

    def adopt(self, settings: TrackerSection) -> None:
        """Go on with other settings; live tracks go on as well."""
        self._settings = settings
        fresh, tracker = self._new_tracker(), self._tracker
        tracker.maximum_frames_without_update = fresh.maximum_frames_without_update
        tracker.maximum_time_without_update = fresh.maximum_time_without_update
        tracker.track_activation_threshold = fresh.track_activation_threshold
        tracker.high_conf_det_threshold = fresh.high_conf_det_threshold
        tracker.minimum_iou_threshold = fresh.minimum_iou_threshold

    def flush(self) -> Sequence[int]:
        """End every live track and return their ids, oldest first."""
        ended = sorted(trail.track_id for trail in self._trails.values())
        self._trails.clear()
        self._tracker = self._new_tracker()
        return ended

    def _new_tracker(self) -> ByteTrackTracker:
        settings = self._settings
        return ByteTrackTracker(
            lost_track_buffer=max(1, round(settings.max_gap_s * _FRAMES_PER_SECOND)),
            frame_rate=_FRAMES_PER_SECOND,
            track_activation_threshold=settings.high_score,
            high_conf_det_threshold=settings.high_score,
            minimum_iou_threshold=settings.min_iou,
            minimum_consecutive_frames=1,
        )

    def _id_of(self, number: int, face: Face, at: float) -> int:
        trail = self._trails.get(number)
        if trail is None:
            trail = self._found_again(face, at) or self._begin()
            self._trails[number] = trail
        trail.box, trail.seen_at = face.box, at
        return trail.track_id

    def _begin(self) -> _Trail:
        self._next_id += 1
        return _Trail(self._next_id - 1, np.zeros(4), 0.0)

    def _found_again(self, face: Face, at: float) -> _Trail | None:
        """Take over the trail of a face that was lost here a moment ago, if there is one."""
        lost = [
            (_distance(trail.box, face.box), number)
            for number, trail in self._trails.items()
            if trail.seen_at < at and at - trail.seen_at <= self._settings.max_gap_s
        ]
        distance, number = min(lost, default=(np.inf, 0))
        return self._trails.pop(number) if distance <= _REACH else None

    def _ended(self, at: float) -> Sequence[int]:
        kept = {int(track.tracker_id) for track in self._tracker.tracks}
        gone = [
            number
            for number, trail in self._trails.items()
            if number not in kept and at - trail.seen_at > self._settings.max_gap_s
        ]
        return sorted(self._trails.pop(number).track_id for number in gone)


def _detections(faces: Sequence[Face]) -> sv.Detections:
    if not faces:
        return sv.Detections.empty()
    return sv.Detections(
        xyxy=np.stack([face.box for face in faces]),
        confidence=np.array([face.detector_score for face in faces]),
        data={"index": np.arange(len(faces))},
    )


def _distance(before: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """Distance of the boxes' centres in box sizes; infinite where the sizes differ too much."""
    size_before = float(np.sqrt(np.prod(before[2:] - before[:2])))
    size_now = float(np.sqrt(np.prod(now[2:] - now[:2])))
    large, small = max(size_before, size_now), min(size_before, size_now)
    if small <= 0 or large / small > _SIZE_RATIO:
        return float("inf")
    apart = (before[:2] + before[2:] - now[:2] - now[2:]) / 2
    return float(np.hypot(*apart)) / large
