"""Error-versus-discard curves, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from streamgate.errors import StreamgateError
from streamgate.lab.evaluation.edc import DISCARDS, Comparisons, edc, partial_area


def comparisons(genuine: list[float], impostors: list[float]) -> Comparisons:
    """Pairs in which the second face is always the last one."""
    count = len(genuine) + len(impostors)
    return Comparisons(
        first=np.arange(count),
        second=np.full(count, count),
        similarity=np.array(genuine + impostors),
        mated=np.arange(count) < len(genuine),
    )


GENUINE = [0.1, 0.9, 0.2, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
IMPOSTORS = [0.05 * step for step in range(10)]


def test_fnmr_falls_as_the_worst_pairs_go() -> None:
    """Of ten mated pairs two fail; quality knows one of them, and ranks the other third."""
    quality = np.array([0, 2, 3, 4, 5, 6, 7, 8, 9, 10, *[20.0] * 10, 30.0])
    curve = edc(comparisons(GENUINE, IMPOSTORS), quality, 0.1)
    # One impostor of ten may lie above the threshold: it is the second highest, 0.4.
    assert curve.threshold == pytest.approx(0.4)
    assert curve.fixed[[0, 9, 10, 20, 30, 95]] == pytest.approx([0.2, 0.2, 1 / 9, 1 / 8, 0, 0])


def test_the_quality_of_a_pair_is_its_lower_one() -> None:
    """A bad gallery face spoils every pair of it."""
    low, high = np.arange(20.0), np.full(20, 50.0)
    shared = edc(comparisons(GENUINE, IMPOSTORS), np.append(high, -1.0), 0.1)
    # All pairs tie, so they go in the order of the input.
    own = edc(comparisons(GENUINE, IMPOSTORS), np.append(low, 99.0), 0.1)
    assert shared.fixed == pytest.approx(own.fixed)


def test_a_recomputed_threshold_follows_what_is_left() -> None:
    """Without the bad impostors it is lower, and more mated pairs pass."""
    quality = np.array([*range(10, 20), *range(9, -1, -1), 99.0]).astype(np.float64)
    impostors = [0.05] * 10
    impostors[-1] = impostors[-2] = 0.95
    curve = edc(comparisons(GENUINE, impostors), quality, 0.1)
    assert curve.fixed[0] == 1.0
    # At the start nothing has gone, so both ways agree; then the impostors, which are all worse
    # than the worst mated pair, go with the first one and leave none to set a threshold.
    assert curve.recomputed[:10] == pytest.approx(1.0)
    assert np.isnan(curve.recomputed[10:]).all()
    kept = np.append(quality[:18], [0.0, 0.0, *[50.0] * 21])
    better = edc(comparisons(GENUINE, impostors + [0.05] * 20), kept, 0.06)
    assert better.threshold == pytest.approx(0.95)
    assert better.fixed[10] == 1.0
    assert better.recomputed[10] < better.fixed[10]


def test_every_share_discards_as_many_pairs_as_it_says() -> None:
    """29 % of a hundred pairs are 29, whatever binary fractions make of it."""
    curve = edc(comparisons([0.0] * 29 + [1.0] * 71, IMPOSTORS), np.arange(111.0), 0.1)
    assert curve.fixed[28] > 0
    assert curve.fixed[29] == 0


def test_too_few_impostors_are_an_error() -> None:
    """A rate of one in a hundred takes a hundred of them."""
    with pytest.raises(StreamgateError, match=r"10 non-mated pairs cannot resolve .* 100 are"):
        edc(comparisons(GENUINE, IMPOSTORS), np.zeros(21), 0.01)


def test_without_mated_pairs_there_is_no_curve() -> None:
    """The message says why."""
    with pytest.raises(StreamgateError, match="no mated pairs"):
        edc(comparisons([], IMPOSTORS), np.zeros(11), 0.1)


def test_no_more_impostors_pass_than_the_rate_allows() -> None:
    """Ties at the threshold do not pass."""
    rng = np.random.default_rng(1)
    impostors = np.round(rng.normal(0, 0.2, 5000), 2)
    curve = edc(comparisons(GENUINE, impostors.tolist()), np.zeros(5011), 1e-3)
    assert (impostors > curve.threshold).mean() <= 1e-3


def test_partial_areas_of_simple_curves() -> None:
    """A constant gives width times height, a line its triangle."""
    assert partial_area(np.full(96, 0.5), 0.2) == pytest.approx(0.1)
    assert partial_area(DISCARDS, 0.3) == pytest.approx(0.045)
