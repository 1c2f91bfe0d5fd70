"""From what a camera has shown to settings for it; pure.

Nothing is proposed without enough people to go by: a default that was chosen on many cameras is
better than a threshold that was chosen by two faces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from streamgate.lab.setup.watch import SeenTrack, Watched

__all__ = ["IgnoredPlace", "Proposal", "propose"]

_LEAST_PEOPLE = 3
_LEAST_LOOKS = 3
_STATIC_SHARE = 0.8
_MOVES_BY = 0.25
"""A face that stays within a quarter of its width has not moved."""
_MARGIN = 0.2
_SMALLEST_PX, _LARGEST_PX = 24, 80
_LEAST_QUALITY, _MOST_QUALITY = 10, 60
_STEP = 5
_LEFT_OUT = 0.1
"""Share of the people who may fall short: somebody passes far away at every camera."""


@dataclass(frozen=True, slots=True)
class IgnoredPlace:
    """Where a face stood all the while without moving: a poster, a screen, or somebody at a desk.

    Attributes:
        polygon: corners, x and y as parts of the picture.
    """

    polygon: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Settings that fit a camera.

    Attributes:
        people: moving faces that were followed for long enough.
        min_size_px, min_quality: thresholds; None where there is not enough to go by.
        max_side_px: a finer detector for faces that are small in a large picture, or None.
        ignore: places whose faces never moved.
    """

    people: int
    min_size_px: int | None
    min_quality: int | None
    max_side_px: int | None
    ignore: tuple[IgnoredPlace, ...]


def propose(watched: Watched) -> Proposal:
    """Return settings for what was seen.

    Thresholds must let people through: of fewer than ten everybody, of more nine of ten.

    - `min_size_px`: four fifths of the largest face of the smallest of them.
    - `min_quality`: what the best face of the poorest of them reaches, in steps of five.
    """
    tracks = [track for track in watched.tracks if len(track.boxes) >= _LEAST_LOOKS]
    static = [track for track in tracks if _is_static(track, watched.seconds)]
    people = [track for track in tracks if track not in static]
    height, width = watched.picture.shape[:2]
    sizes = [track.largest_px for track in people]
    qualities = [max(track.qualities) for track in people if track.qualities]
    min_size = _low(sizes)
    quality = _low(qualities)
    return Proposal(
        people=len(people),
        min_size_px=None
        if min_size is None
        else int(np.clip(0.8 * min_size, _SMALLEST_PX, _LARGEST_PX)),
        min_quality=None
        if quality is None
        else int(np.clip(_STEP * (quality // _STEP), _LEAST_QUALITY, _MOST_QUALITY)),
        max_side_px=_finer(min_size, max(width, height)),
        ignore=tuple(_places(static)),
    )


def _low(values: Sequence[float]) -> float | None:
    if len(values) < _LEAST_PEOPLE:
        return None
    return float(np.quantile(values, _LEFT_OUT, method="lower"))


def _finer(smallest_px: float | None, side_px: int) -> int | None:
    """A larger picture for the detector, where faces would be less than ten pixels in its own."""
    if smallest_px is None or side_px <= 640 or smallest_px * 640 / side_px >= 10:
        return None
    return min(1280, side_px)


def _is_static(track: SeenTrack, watched_s: float) -> bool:
    if track.at[-1] - track.at[0] < _STATIC_SHARE * watched_s:
        return False
    boxes = np.asarray(track.boxes)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = np.median(boxes[:, 2:] - boxes[:, :2], axis=0)
    return bool(np.all(np.ptp(centres, axis=0) < _MOVES_BY * sides))


def _places(static: Iterable[SeenTrack]) -> Iterable[IgnoredPlace]:
    for track in static:
        x1, y1, x2, y2 = np.median(np.asarray(track.boxes), axis=0)
        across, down = _MARGIN * (x2 - x1), _MARGIN * (y2 - y1)
        left, right = (round(float(np.clip(x, 0, 1)), 3) for x in (x1 - across, x2 + across))
        top, bottom = (round(float(np.clip(y, 0, 1)), 3) for y in (y1 - down, y2 + down))
        yield IgnoredPlace(((left, top), (right, top), (right, bottom), (left, bottom)))
