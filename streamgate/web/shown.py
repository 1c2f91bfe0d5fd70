"""A track and a best shot, as sent to the live page."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from streamgate.values import Image
from streamgate.web.figures import figure, limit_figure
from streamgate.web.live_words import rejection_in_words

__all__ = ["ShownShot", "ShownTrack"]

_POINTS = 90
_POINT_GAP_S = 0.1
_UNDECIDED = ("waiting", "failing")


@dataclass(slots=True)
class ShownTrack:
    """A live track as the page shows it.

    Attributes:
        points: seconds of capture and quality of its scored faces in order, thinned to the best
            of each moment.
        crop: its best face so far, where pictures may be shown.
        crop_index: frame of that face.
        zone: the watch zone that it is in or was in last.
        outside: whether there are watch zones, and it was in none of them.
    """

    track_id: int
    first_at: float
    last_at: float
    points: list[tuple[float, float]] = field(default_factory=list)
    best: float | None = None
    quality: float | None = None
    scored: int = 0
    forwarded: int = 0
    rejected: int = 0
    rejection: str | None = None
    crop: Image | None = None
    crop_index: int = 0
    quality_at: float = -math.inf
    zone: str | None = None
    outside: bool = False

    def add(self, at: float, quality: float) -> None:
        """Take a score; faces that had to wait for theirs come out of order."""
        if at >= self.quality_at:
            self.quality, self.quality_at = quality, at
        place = bisect(self.points, (at, quality))
        for near in (place - 1, place):
            if 0 <= near < len(self.points) and abs(self.points[near][0] - at) < _POINT_GAP_S:
                self.points[near] = max(self.points[near], (at, quality), key=lambda p: p[1])
                return
        self.points.insert(place, (at, quality))
        del self.points[:-_POINTS]

    def page(self, wanted: float) -> dict[str, Any]:
        """Return what the page is sent.

        Args:
            wanted: the quality that a best shot needs.
        """
        best, quality = self.best, self.quality
        return {
            "id": self.track_id,
            "age_s": round(self.last_at - self.first_at, 1),
            "quality": None if quality is None else figure(quality, wanted),
            "best": None if best is None else figure(best, wanted),
            "good": best is not None and best >= wanted,
            "wanted": wanted,
            "limit": limit_figure(wanted),
            "zone": self.zone,
            "outside": self.outside,
            "scored": self.scored,
            "rejected": self.rejected,
            "forwarded": self.forwarded,
            "rejection": None if self.rejection is None else rejection_in_words(self.rejection),
            "crop": None if self.crop is None else self.crop_index,
            "points": [
                (round(at - self.first_at, 1), round(quality, 1)) for at, quality in self.points
            ],
        }


@dataclass(slots=True)
class ShownShot:
    """A best shot as the page shows it.

    Attributes:
        crop: the aligned face, where pictures may be shown.
        sinks: its state at each sink.
        zone: the watch zone that it is of.
    """

    key: str
    track_id: int
    revision: int
    quality: float
    reason: str
    captured_wall: float
    crop: Image | None
    sinks: dict[str, str]
    zone: str | None = None

    def page(self, wanted: float, holds: Callable[[str], bool]) -> dict[str, Any]:
        """Return what the page is sent.

        Args:
            wanted: the quality that a best shot needs.
            holds: whether the outbox still has the best shot of a key.
        """
        # What has left the outbox without an acknowledgement was dropped.
        is_open = any(state in _UNDECIDED for state in self.sinks.values())
        gone = is_open and not holds(self.key)
        states = {
            name: "given up" if gone and state in _UNDECIDED else state
            for name, state in self.sinks.items()
        }
        return {
            "key": self.key,
            "track": self.track_id,
            "revision": self.revision,
            "quality": figure(self.quality, wanted),
            "reason": self.reason,
            "wall": round(self.captured_wall, 2),
            "picture": self.crop is not None,
            "sinks": states,
            "zone": self.zone,
        }
