"""Which zone a face is in, and which parts of the picture the motion detector does not see.

A face is where the middle of its box is, which the tracker follows too: a nose or an eye wanders
when a head turns. Ignore zones come first: what is in one of them is in no watch zone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgate.config import PrecheckSection, ZoneSection
from streamgate.values import Face
from streamgate.values.polygons import contains

__all__ = ["FaceZones"]

_FINENESS = 6
"""Binary digits of a corner's place within a cell of the mask."""

_SAMPLED = 5
"""Of so many cells one is enough to know the median."""


class FaceZones:
    """The zones of one camera; immutable, except that it keeps the mask of the last size.

    Args:
        sections: the zones of the configuration.
    """

    def __init__(self, sections: Sequence[ZoneSection] = ()) -> None:
        self.sections = tuple(sections)
        self._ignored = tuple(_Area(zone) for zone in sections if zone.kind == "ignore")
        self._watched = tuple(_Area(zone) for zone in sections if zone.kind == "watch")
        self._sizes = {zone.name: zone.min_size_px for zone in sections if zone.kind == "watch"}
        self._mask: NDArray[np.bool_] | None = None
        self._sample: NDArray[np.intp] = np.zeros(0, np.intp)

    def split(
        self, faces: Sequence[Face], width: int, height: int
    ) -> tuple[list[Face], dict[str, int]]:
        """Return the faces outside ignore zones, and how many are in each of those zones.

        Args:
            width, height: of the frame in whose pixels the faces are.
        """
        if not self._ignored:
            return list(faces), {}
        kept: list[Face] = []
        dropped: dict[str, int] = {}
        for face in faces:
            zone = _zone_of(face, self._ignored, width, height)
            if zone is None:
                kept.append(face)
            else:
                dropped[zone] = dropped.get(zone, 0) + 1
        return kept, dropped

    def watched(self, face: Face, width: int, height: int) -> str | None:
        """Return the name of the watch zone that a face is in; None outside of all."""
        return _zone_of(face, self._watched, width, height)

    def prechecks(self, settings: PrecheckSection) -> Mapping[str | None, PrecheckSection]:
        """Return the prechecks' settings by watch zone; None stands for the rest."""
        found: dict[str | None, PrecheckSection] = {None: settings}
        for name, size in self._sizes.items():
            own = {} if size is None else {"min_size_px": size}
            found[name] = settings.model_copy(update=own)
        return found

    def without_ignored(self, luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a grey picture in which nothing can move in an ignore zone.

        Its cells there get the median of the others, so that a change of light is the same in all.

        Args:
            luma: uint8 [H, W]; it is not changed.
        """
        if not self._ignored:
            return luma
        mask = self._mask
        if mask is None or mask.shape != luma.shape:
            mask = self._mask = _mask(self._ignored, luma.shape[1], luma.shape[0])
            self._sample = np.flatnonzero(~mask)[::_SAMPLED]
        seen = luma.ravel()[self._sample]
        level = np.sort(seen)[seen.size // 2] if seen.size else np.uint8(0)
        return np.where(mask, level, luma)


class _Area:
    """A zone, with the box around it: most faces are outside that."""

    def __init__(self, section: ZoneSection) -> None:
        self.name, self.points = section.name, section.points
        across, down = zip(*section.points, strict=True)
        self._box = min(across), min(down), max(across), max(down)

    def contains(self, x: float, y: float) -> bool:
        left, top, right, bottom = self._box
        return left <= x <= right and top <= y <= bottom and contains(self.points, x, y)


def _zone_of(face: Face, areas: Sequence[_Area], width: int, height: int) -> str | None:
    if not areas:
        return None
    x1, y1, x2, y2 = face.box.tolist()
    x, y = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
    return next((area.name for area in areas if area.contains(x, y)), None)


def _mask(zones: Sequence[_Area], width: int, height: int) -> NDArray[np.bool_]:
    """The cells that a zone covers or touches, bool [height, width]."""
    mask = np.zeros((height, width), np.uint8)
    scale = np.array([width, height]) * (1 << _FINENESS)
    for zone in zones:
        # Cells are counted from their middle.
        corners = np.asarray(zone.points) * scale - (1 << (_FINENESS - 1))
        outline = [corners.round().astype(np.int32)]
        cv2.fillPoly(mask, outline, 1, shift=_FINENESS)
        cv2.polylines(mask, outline, isClosed=True, color=1, thickness=1, shift=_FINENESS)
    return mask.astype(bool)
