"""What a tight, grey crop lacks is made up without touching the face."""

from __future__ import annotations

import numpy as np

from streamgate.lab.distill.border_augment import fill_border, tint


def bordered() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A grey face-like picture whose lower third is black."""
    image = np.full((112, 112, 3), 120, dtype=np.uint8)
    image[40:50, 30:80] = 0
    image[76:] = 0
    return image


def test_the_border_is_filled_from_the_nearest_pixels() -> None:
    """What touches the edge is black no more."""
    assert fill_border(bordered())[80:].min() > 100


def test_black_within_the_face_stays() -> None:
    """Dark hair and pupils do not touch the edge through black alone."""
    assert np.array_equal(fill_border(bordered())[:70], bordered()[:70])


def test_a_picture_without_border_stays_as_it_is() -> None:
    """Nothing is filled where nothing is missing."""
    image = np.random.default_rng(0).integers(20, 255, (112, 112, 3), dtype=np.uint8)
    assert np.array_equal(fill_border(image), image)


def test_a_black_picture_stays_black() -> None:
    """There is nothing to fill it from."""
    assert not fill_border(np.zeros((112, 112, 3), dtype=np.uint8)).any()


def test_grey_gets_a_complexion_and_colour_stays() -> None:
    """The same light for the whole picture, and none for one that has colours."""
    grey = np.full((8, 8, 3), 120, dtype=np.uint8)
    coloured = grey.copy()
    coloured[..., 0] = 200
    tinted = tint(grey, np.random.default_rng(1))
    assert len(np.unique(tinted.reshape(-1, 3), axis=0)) == 1
    assert np.ptp(tinted[0, 0].astype(int)) > 3
    assert np.array_equal(tint(coloured, np.random.default_rng(1)), coloured)
