"""Augmented crops: as many as asked for, the same every time."""

from __future__ import annotations

import numpy as np

from streamgate.lab.distill.augment import augment_some

CROPS = np.random.default_rng(0).integers(0, 256, (60, 112, 112, 3), dtype=np.uint8)


def test_the_asked_share_is_spoiled_and_the_rest_stays() -> None:
    """About half of sixty, and the given array is left alone."""
    before = CROPS.copy()
    augmented = augment_some(CROPS, 0.5, seed=1)
    changed = [not np.array_equal(a, b) for a, b in zip(augmented, CROPS, strict=True)]
    assert 15 <= sum(changed) <= 45
    assert np.array_equal(CROPS, before)


def test_the_same_seed_spoils_alike() -> None:
    """A calibration can be made again."""
    assert np.array_equal(augment_some(CROPS, 0.3, seed=2), augment_some(CROPS, 0.3, seed=2))
