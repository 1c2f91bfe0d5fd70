"""Faces that wait for the scorer.

The scorer is the slowest stage. While it is busy, new faces arrive; they do not queue, they
compete: each track keeps its few most promising faces, and what is scored next is the most
promising face of the track that has waited longest. So a slow scorer costs choice, never delay or
memory.
"""

from __future__ import annotations

import math

from streamgate.values import Candidate, FaceMeasures

__all__ = ["Shortlist", "promise"]

_PER_TRACK = 2


def promise(measures: FaceMeasures) -> float:
    """How likely a face is to score well by its cheap measures; only the order means anything."""
    return (
        measures.detector_score
        * min(1.0, measures.eye_distance_px / 48.0)
        * math.cos(math.radians(min(90.0, abs(measures.yaw_deg))))
        * min(1.0, math.sqrt(max(0.0, measures.sharpness) / 25.0))
        * max(0.1, 1.0 - abs(measures.brightness - 125.0) / 160.0)
    )


class Shortlist:
    """Bounded: at most two faces a track and `max_pending` in all.

    Args:
        max_pending: the most faces that wait.
    """

    def __init__(self, max_pending: int) -> None:
        self.max_pending = max_pending
        # Insertion order is waiting order: a track that was served goes to the end.
        self._waiting: dict[int, list[Candidate]] = {}

    def __len__(self) -> int:
        return sum(len(faces) for faces in self._waiting.values())

    def waits(self, track_id: int) -> bool:
        """Whether a face of the track waits."""
        return track_id in self._waiting

    def offer(self, candidate: Candidate) -> list[Candidate]:
        """Add a face and return those that lost their place, perhaps itself."""
        faces = self._waiting.setdefault(candidate.track_id, [])
        faces.append(candidate)
        faces.sort(key=_promise_of, reverse=True)
        lost = faces[_PER_TRACK:]
        del faces[_PER_TRACK:]
        while len(self) > self.max_pending:
            lost.append(self._drop_one())
        return lost

    def take(self, count: int) -> list[Candidate]:
        """Remove and return up to `count` faces: tracks in turn, the most promising first."""
        taken: list[Candidate] = []
        while self._waiting and len(taken) < count:
            track_id = next(iter(self._waiting))
            faces = self._waiting.pop(track_id)
            taken.append(faces.pop(0))
            if faces:
                self._waiting[track_id] = faces
        return taken

    def _drop_one(self) -> Candidate:
        """Give up the least promising face, of tracks that have a second one if there are any."""
        most = max(len(faces) for faces in self._waiting.values())
        fullest = [track for track, faces in self._waiting.items() if len(faces) == most]
        track_id = min(fullest, key=lambda track: _promise_of(self._waiting[track][-1]))
        lost = self._waiting[track_id].pop()
        if not self._waiting[track_id]:
            del self._waiting[track_id]
        return lost


def _promise_of(candidate: Candidate) -> float:
    return promise(candidate.measures)
