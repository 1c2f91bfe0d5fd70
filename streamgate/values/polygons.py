"""Polygons in parts of a picture: x and y from 0 to 1, so that they fit every size of it.

Pure geometry, in plain Python: polygons have few points, and most questions are asked once, when a
configuration is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

__all__ = [
    "Point",
    "Polygon",
    "area_of",
    "contains",
    "crossing_edges",
    "shared_area",
]

Point: TypeAlias = tuple[float, float]
"""x to the right and y downwards."""
Polygon: TypeAlias = Sequence[Point]
"""Its corners in order; the last one is joined to the first."""

_SAME = 1e-12


def contains(polygon: Polygon, x: float, y: float) -> bool:
    """Whether a point is inside, by the number of edges to its right (even-odd rule).

    Of two polygons that share an edge, a point on it is in one of them only.
    """
    inside = False
    before_x, before_y = polygon[-1]
    for corner_x, corner_y in polygon:
        if (corner_y > y) != (before_y > y):
            across = corner_x + (y - corner_y) * (before_x - corner_x) / (before_y - corner_y)
            if x < across:
                inside = not inside
        before_x, before_y = corner_x, corner_y
    return inside


def area_of(polygon: Polygon) -> float:
    """Its area as a part of the picture's, 0-1 (Gauss's formula)."""
    edges = zip(polygon, _next(polygon), strict=True)
    double = sum(one[0] * other[1] - other[0] * one[1] for one, other in edges)
    return abs(double) / 2


def crossing_edges(polygon: Polygon) -> tuple[int, int] | None:
    """The first two edges that cross or touch, by the places of their first points, or None.

    Edges that follow each other share a point; they cross if one lies on the other.
    """
    count = len(polygon)
    edges = list(zip(polygon, _next(polygon), strict=True))
    for one in range(count):
        for other in range(one + 1, count):
            if other == one + 1 or (one == 0 and other == count - 1):
                first, last = (one, other) if other == one + 1 else (other, one)
                if _turns_back(edges[first][0], edges[first][1], edges[last][1]):
                    return one, other
            elif _meet(*edges[one], *edges[other]):
                return one, other
    return None


def shared_area(one: Polygon, other: Polygon) -> float:
    """The area that two polygons have in common, as a part of the picture's.

    Between two heights at which an edge begins, ends or crosses another, all lengths change
    linearly, so the length half-way times the height is exact.
    """
    low = max(min(y for _, y in one), min(y for _, y in other))
    high = min(max(y for _, y in one), max(y for _, y in other))
    if low >= high:
        return 0.0
    heights = {low, high, *(y for _, y in (*one, *other) if low < y < high)}
    for first in zip(one, _next(one), strict=True):
        for second in zip(other, _next(other), strict=True):
            y = _crossing_height(*first, *second)
            if y is not None and low < y < high:
                heights.add(y)
    steps = sorted(heights)
    return sum(
        (bottom - top) * _shared_length(one, other, (top + bottom) / 2)
        for top, bottom in pairwise(steps)
    )


def _next(polygon: Polygon) -> list[Point]:
    return [*polygon[1:], polygon[0]]


def _side(a: Point, b: Point, c: Point) -> float:
    """On which side of the line from a to b the point c is; 0 on it."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _is_between(a: Point, b: Point, c: Point) -> bool:
    """Whether c, which is on the line through a and b, is between them."""
    across = min(a[0], b[0]) - _SAME <= c[0] <= max(a[0], b[0]) + _SAME
    return across and min(a[1], b[1]) - _SAME <= c[1] <= max(a[1], b[1]) + _SAME


def _meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether the edges from a to b and from c to d have a point in common."""
    sides = (_side(a, b, c), _side(a, b, d), _side(c, d, a), _side(c, d, b))
    if sides[0] * sides[1] < 0 and sides[2] * sides[3] < 0:
        return True
    places = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(
        abs(side) <= _SAME and _is_between(*place)
        for side, place in zip(sides, places, strict=True)
    )


def _turns_back(a: Point, b: Point, c: Point) -> bool:
    """Whether the edge from b to c lies on that from a to b, or has no length."""
    if abs(_side(a, b, c)) > _SAME:
        return False
    along = (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1])
    return along <= _SAME


def _crossing_height(a: Point, b: Point, c: Point, d: Point) -> float | None:
    """The y at which the lines of two edges cross; None for parallel ones."""
    ab, cd = (b[0] - a[0], b[1] - a[1]), (d[0] - c[0], d[1] - c[1])
    slant = ab[0] * cd[1] - ab[1] * cd[0]
    if abs(slant) <= _SAME:
        return None
    share = ((c[0] - a[0]) * cd[1] - (c[1] - a[1]) * cd[0]) / slant
    return a[1] + share * ab[1] if 0 <= share <= 1 else None


def _shared_length(one: Polygon, other: Polygon, y: float) -> float:
    return sum(
        max(0.0, min(right, end) - max(left, start))
        for left, right in _spans(one, y)
        for start, end in _spans(other, y)
    )


def _spans(polygon: Polygon, y: float) -> list[tuple[float, float]]:
    """Where a horizontal line is inside, from left to right."""
    crossings = sorted(
        a[0] + (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1])
        for a, b in zip(polygon, _next(polygon), strict=True)
        if (a[1] > y) != (b[1] > y)
    )
    return list(zip(crossings[::2], crossings[1::2], strict=False))
