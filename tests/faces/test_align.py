"""Alignment: a known similarity is found again, and faces land on the template."""

from __future__ import annotations

import cmath
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgate.faces.align import TEMPLATE, Similarity, align, similarity_to_template

ANGLES = st.floats(-math.pi, math.pi)
SCALES = st.floats(0.05, 20)
SHIFTS = st.complex_numbers(max_magnitude=5000)


@given(SCALES, ANGLES, SHIFTS)
def test_a_known_similarity_is_found_again(scale: float, angle: float, shift: complex) -> None:
    """However a template is turned, scaled and moved, its landmarks come back to their places."""
    placed = Similarity(cmath.rect(scale, angle), shift).apply(TEMPLATE)
    found = similarity_to_template(placed)
    assert found is not None
    assert found.apply(placed) == pytest.approx(TEMPLATE, abs=1e-5)
    assert found.scale == pytest.approx(1 / scale, rel=1e-6)


# Below a tenth the noise may leave a face too small to say anything, which is told as None.
@given(st.floats(0.1, 20), ANGLES, SHIFTS, st.integers(0, 2**32 - 1))
def test_no_other_similarity_fits_better(
    scale: float, angle: float, shift: complex, seed: int
) -> None:
    """Of landmarks that are no template the nearest map is found: any other one is farther."""
    noise = np.random.default_rng(seed)
    uneven = TEMPLATE + noise.normal(0, 4, (5, 2))
    landmarks = Similarity(cmath.rect(scale, angle), shift).apply(uneven)
    found = similarity_to_template(landmarks)
    assert found is not None
    error = ((found.apply(landmarks) - TEMPLATE) ** 2).sum()
    for turn, aside in ((1.01, 0), (cmath.rect(1, 0.01), 0), (1, 0.3), (1, 0.3j)):
        centre = complex(*landmarks.mean(axis=0))
        other = Similarity(
            found.turn * turn, found.shift + found.turn * (1 - turn) * centre + aside
        )
        assert ((other.apply(landmarks) - TEMPLATE) ** 2).sum() > error


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    """No reflection is ever made: recognisers see faces the way round that they are."""
    found = similarity_to_template(TEMPLATE * [-1, 1])
    if found is not None:
        assert np.linalg.det(found.matrix[:, :2]) > 0


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.5, 8.0])
def test_marks_at_the_landmarks_land_on_the_template(scale: float) -> None:
    """Dots painted at a face's landmarks, at any size and tilt, land where the template says."""
    placed = Similarity(cmath.rect(scale, 0.3), complex(60, 40) * scale).apply(TEMPLATE)
    side = round(250 * scale)
    picture = np.zeros((side, side, 3), np.uint8)
    for x, y in placed:
        # Sub-pixel centres, 4 bits of fraction.
        cv2.circle(
            picture,
            (round(x * 16), round(y * 16)),
            round(2.5 * scale * 16),
            (255, 255, 255),
            -1,
            cv2.LINE_AA,
            shift=4,
        )
    found = similarity_to_template(placed)
    assert found is not None
    crop = align(picture, found).image[..., 0].astype(np.float64)
    across, down = np.meshgrid(np.arange(112), np.arange(112))
    for x, y in TEMPLATE:
        near = crop * (np.hypot(across - x, down - y) < 7)
        assert near.sum() > 0
        centre = [(across * near).sum() / near.sum(), (down * near).sum() / near.sum()]
        assert centre == pytest.approx([x, y], abs=0.4)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (40, 40)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_a_face_outside_a_small_picture_is_cut_out_all_the_same(
    size: tuple[int, int], scale: float
) -> None:
    """The picture's border goes on; nothing fails, and an even picture gives an even crop."""
    picture = np.full((*size, 3), (10, 120, 240), np.uint8)
    found = similarity_to_template(TEMPLATE * scale - 500)
    assert found is not None
    crop = align(picture, found).image
    assert crop.shape == (112, 112, 3)
    assert np.abs(crop.astype(int) - [10, 120, 240]).max() <= 1
    assert not crop.flags.writeable
