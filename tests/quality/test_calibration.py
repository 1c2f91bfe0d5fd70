"""From raw scores to quality."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from streamgate import Scorer
from streamgate.errors import ModelError
from streamgate.quality import Calibration, fit_percentile, load_calibration
from streamgate.quality.calibration import calibration_path, uncalibrated_quality
from streamgate.values import IdentityThresholds
from tests.quality import cases

HASH = "ab" * 32


def fit(raw: np.ndarray[tuple[int], np.dtype[np.float64]], group: str = "block4") -> Calibration:
    return fit_percentile(raw, weights_sha256=HASH, group=group, source="test")


def test_quality_is_the_percentage_of_reference_faces_that_score_worse() -> None:
    """Lower raw is better, so the best reference face gets 100 and the worst 0."""
    raw = np.exp(np.random.default_rng(1).normal(-3, 0.7, 5000))
    quality = fit(raw)(raw)
    worse = 100 * (raw[None, :] > raw[:, None]).mean(axis=1)
    assert np.abs(quality - worse).max() < 0.5
    assert quality[raw.argmin()] == 100
    assert quality[raw.argmax()] == 0


def test_quality_stays_within_0_and_100_for_any_number() -> None:
    """Zero, infinity and NaN included."""
    raw = np.array([0.0, 1e-300, 1e300, np.inf, np.nan])
    assert fit(np.array([0.1, 0.2, 0.4]))(raw).tolist() == [100, 100, 0, 0, 0]
    assert uncalibrated_quality(raw)[3:].tolist() == [0, 0]


def test_ties_among_the_reference_leave_a_decreasing_map() -> None:
    """Many equal scores become one knot."""
    calibration = fit(np.array([0.1] * 50 + [0.2] * 50 + [0.3]))
    assert np.all(np.diff(calibration.raw) > 0)
    assert np.all(np.diff(calibration.quality) < 0)


@pytest.mark.parametrize("raw", [[], [0.1], [0.1, 0.1], [0.1, np.nan], [0.0, 0.1]])
def test_a_reference_that_cannot_be_fitted_is_refused(raw: list[float]) -> None:
    """Too few, all the same, or no numbers."""
    with pytest.raises(ModelError):
        fit(np.array(raw))


def test_a_saved_calibration_is_read_back(tmp_path: Path) -> None:
    """To the last bit."""
    calibration = fit(np.random.default_rng(2).uniform(0.1, 0.5, 300))
    calibration.save(tmp_path / "c.json")
    read = load_calibration(tmp_path / "c.json", weights_sha256=HASH)
    assert (read.raw, read.quality) == (calibration.raw, calibration.quality)
    assert (read.group, read.count) == ("block4", 300)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 1"),
        ({"raw": [0.1, 0.1]}, "raw knots that rise"),
        ({"quality": [50, 60]}, "qualities that fall"),
        ({"quality": [150, 60]}, "qualities that fall"),
        ({"raw": ["a", "b"]}, "damaged"),
        ({"group": None, "count": None}, "damaged"),
    ],
)
def test_a_damaged_calibration_is_refused(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    """The message says what was expected."""
    path = tmp_path / "c.json"
    fit(np.array([0.1, 0.4])).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        load_calibration(path, weights_sha256=HASH)


def test_a_calibration_of_other_weights_is_refused(tmp_path: Path) -> None:
    """A scale of another network would be a wrong scale."""
    fit(np.array([0.1, 0.4])).save(tmp_path / "c.json")
    with pytest.raises(ModelError, match="made for weights abababababab"):
        load_calibration(tmp_path / "c.json", weights_sha256="cd" * 32)


def test_a_calibration_of_another_group_is_refused_when_named(tmp_path: Path) -> None:
    """And is not used when it merely lies beside the weights."""
    weights = cases.save(tmp_path, cases.TINY, seed=1)
    scorer = Scorer.load(weights, device="cpu")
    calibration = fit_percentile(
        scorer.score(cases.pictures(5, 1)).raw,
        weights_sha256=scorer.model_hash,
        group="block4",
        source="test",
    )
    beside = calibration_path(weights)
    calibration.save(beside)
    with pytest.raises(ModelError, match="made for group block4, but block3 is scored"):
        Scorer.load(weights, device="cpu", group="block3", calibration=beside)
    assert not Scorer.load(weights, device="cpu", group="block3").calibrated
    assert Scorer.load(weights, device="cpu").calibrated


def test_without_a_calibration_quality_ranks_and_says_so(tmp_path: Path) -> None:
    """The scores carry the flag."""
    scorer = Scorer.load(cases.save(tmp_path, cases.TINY, seed=1), device="cpu")
    scores = scorer.score(cases.pictures(6, 1))
    assert not scores.calibrated
    assert np.array_equal(np.argsort(scores.raw), np.argsort(-scores.quality))


def test_the_default_backbone_is_calibrated() -> None:
    """Its file belongs to its weights."""
    scores = Scorer.load(device="cpu").score(cases.flat(100))
    assert scores.calibrated
    assert np.all((scores.quality >= 0) & (scores.quality <= 100))


def test_how_alike_people_are_is_kept_with_the_scale(tmp_path: Path) -> None:
    """A file without it is read as before, and one that makes no sense is refused."""
    calibration = fit(np.array([0.1, 0.2, 0.4]))
    known = IdentityThresholds(0.47, 0.32, 0.05, people=500, pairs=100_000)
    file = tmp_path / "c.json"
    calibration.with_identity(known).save(file)
    assert load_calibration(file, weights_sha256=HASH).identity == known
    calibration.save(file)
    assert load_calibration(file, weights_sha256=HASH).identity is None
    calibration.with_identity(IdentityThresholds(0.2, 0.3, 0.1, 2, 2)).save(file)
    with pytest.raises(ModelError, match="identity must rise"):
        load_calibration(file, weights_sha256=HASH)


def test_the_default_weights_say_how_alike_people_are(tmp_path: Path) -> None:
    """Also where a scale that knows no people is used with them."""
    scorer = Scorer.load(threads=1)
    identity = scorer.identity
    assert identity is not None
    assert identity.pairs > 100_000
    assert 0.3 < identity.continued < identity.same < 0.6
    scale = fit_percentile(
        np.array([0.1, 0.2]), weights_sha256=scorer.model_hash, group="block4", source="a camera"
    )
    scale.save(tmp_path / "door.json")
    assert Scorer.load(threads=1, calibration=tmp_path / "door.json").identity == identity
