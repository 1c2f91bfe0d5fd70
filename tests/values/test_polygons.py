"""The geometry of zones, compared with counting points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgate.values.polygons import Polygon, area_of, contains, crossing_edges, shared_area

SQUARE = ((0.2, 0.2), (0.6, 0.2), (0.6, 0.6), (0.2, 0.6))


def star(cx: float, cy: float, radii: list[float]) -> Polygon:
    """A polygon around a point, which never crosses itself."""
    step = 2 * math.pi / len(radii)
    return [
        (cx + radius * math.cos(i * step), cy + radius * math.sin(i * step))
        for i, radius in enumerate(radii)
    ]


STARS = st.builds(
    star, st.floats(0.3, 0.7), st.floats(0.3, 0.7),
    st.lists(st.floats(0.05, 0.3), min_size=3, max_size=9),
)  # fmt: skip


@settings(max_examples=20)
@given(STARS, STARS)
def test_areas_are_those_that_counting_gives(one: Polygon, other: Polygon) -> None:
    """The exact area of one and of what two share is near the share of a grid's points."""
    grid = (np.arange(50) + 0.5) / 50
    inside = np.array([[contains(one, x, y) for x in grid] for y in grid])
    both = inside & np.array([[contains(other, x, y) for x in grid] for y in grid])
    assert abs(area_of(one) - inside.mean()) < 0.02
    assert abs(shared_area(one, other) - both.mean()) < 0.02
    assert shared_area(one, one) == pytest.approx(area_of(one), abs=1e-9)


@given(STARS)
def test_a_walk_around_a_point_does_not_cross_itself(polygon: Polygon) -> None:
    """And it does once two of its corners are exchanged, where there are four or more apart."""
    assert crossing_edges(polygon) is None


@pytest.mark.parametrize(
    ("points", "edges"),
    [
        ([(0, 0), (1, 1), (1, 0), (0, 1)], (0, 2)),
        ([(0, 0), (1, 0), (0.5, 0)], (0, 1)),
        ([(0, 0), (0, 0), (1, 1)], (0, 1)),
        ([(0, 0), (1, 0), (1, 1), (0.5, 0), (0, 1)], (0, 2)),
    ],
    ids=["crosses", "turns-back", "twice", "touches"],
)
def test_what_is_no_outline_is_found(points: Polygon, edges: tuple[int, int]) -> None:
    """Crossing, going back on an edge, a corner given twice, and a corner on another edge."""
    assert crossing_edges(points) == edges


def test_neighbours_share_no_area_and_no_point() -> None:
    """A point on the edge between two zones is in one of them."""
    right = ((0.6, 0.2), (0.9, 0.2), (0.9, 0.6), (0.6, 0.6))
    assert shared_area(SQUARE, right) == 0
    for y in (0.2, 0.3, 0.5999):
        assert contains(SQUARE, 0.6, y) + contains(right, 0.6, y) == 1
