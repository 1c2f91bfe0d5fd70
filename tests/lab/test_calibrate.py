"""Calibrations learnt from faces, from labelled faces and from live traffic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamgate import Scorer
from streamgate.config import GateSection
from streamgate.errors import ConfigError, DataError, ModelError
from streamgate.lab.calibrate import fall_isotonic, fit_errors, fit_identity, realised_discards
from streamgate.lab.crops import CropSet, read_crops
from streamgate.quality import Calibration, fit_percentile, load_calibration
from streamgate.quality.calibration import ErrorCurve
from streamgate.quality.score_sketch import ScoreSketch
from streamgate.quality.threshold import with_threshold
from tests import needs

HASH = "ab" * 32
numbers = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 1)), min_size=1, max_size=60)


def fit(raw: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Calibration:
    return fit_percentile(raw, weights_sha256=HASH, group="block4", source="test")


@given(numbers)
def test_isotonic_regression_falls_and_keeps_the_mean(pairs: list[tuple[int, int]]) -> None:
    """The stairs fall, and weighted by what lies on each they have the mean of all."""
    x = np.array([float(a) for a, _ in pairs])
    y = np.array([float(b) for _, b in pairs])
    begins, heights = fall_isotonic(x, y)
    assert np.all(np.diff(begins) > 0)
    assert np.all(np.diff(heights) < 0)
    stairs = heights[np.searchsorted(begins, x, side="right") - 1]
    assert stairs.mean() == pytest.approx(y.mean())


def test_isotonic_regression_is_the_best_falling_one() -> None:
    """A case small enough to be done by hand: the two that rise become their mean."""
    begins, heights = fall_isotonic(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 0.2, 0.6, 0.0]))
    assert begins.tolist() == [1, 2, 4]
    assert heights.tolist() == pytest.approx([1.0, 0.4, 0.0])


def faces(
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.str_]]:
    """Qualities, embeddings and identities of 60 people: the worse a face, the more it strays."""
    rng = np.random.default_rng(seed)
    quality = rng.uniform(0, 100, 600)
    people = np.repeat(np.arange(60), 10)
    centre = rng.normal(size=(60, 32))[people]
    vectors = centre + rng.normal(size=(600, 32)) * (2.0 - quality[:, None] / 50.0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return quality, vectors.astype(np.float32), people.astype(np.str_)


def test_errors_are_those_that_the_same_people_have_again() -> None:
    """The threshold of a target, learnt on some people, holds it on others."""
    quality, vectors, people = faces(1)
    curve = fit_errors(quality, vectors, people, fmr=1e-3, recogniser="test")
    least = curve.quality_for(0.1)
    assert least is not None
    quality, vectors, people = faces(2)
    first, second = np.triu_indices(len(people), 1)
    similarity, same = (vectors @ vectors.T)[first, second], people[first] == people[second]
    threshold = np.quantile(similarity[~same], 0.999)
    kept = same & (np.minimum(quality[first], quality[second]) >= least)
    assert (similarity[kept] <= threshold).mean() <= 0.1
    assert (similarity[same] <= threshold).mean() > 0.3


def test_one_pair_of_two_people_in_ten_thousand_is_more_alike() -> None:
    """Of other people of the same kind, as well as a sample can tell."""
    quality, vectors, people = _many_people(1)
    identity = fit_identity(quality, vectors, people)
    assert identity.people == 300
    assert identity.different <= identity.continued < identity.same
    _, others, _ = _many_people(2)
    first, second = np.triu_indices(len(people), 1)
    strangers = (others @ others.T)[first, second][people[first] != people[second]]
    assert 3e-5 < (strangers > identity.same).mean() < 3e-4
    assert 3e-3 < (strangers > identity.continued).mean() < 8e-3


def test_poor_faces_do_not_say_how_alike_people_are() -> None:
    """The gate never compares them."""
    quality, vectors, people = _many_people(1)
    known = fit_identity(quality, vectors, people)
    poor = np.ones((300, 32), np.float32) / np.sqrt(32)
    again = fit_identity(
        np.concatenate([quality, np.full(300, 5.0)]),
        np.concatenate([vectors, poor.astype(np.float32)]),
        np.concatenate([people, np.arange(300).astype(np.str_)]),
    )
    assert again == known


def test_too_few_people_say_nothing_of_how_alike_people_are() -> None:
    """And it is told how many pairs are wanted."""
    quality, vectors, people = _many_people(1)
    with pytest.raises(DataError, match="at least 100000"):
        fit_identity(quality[:60], vectors[:60], people[:60])


def _many_people(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.str_]]:
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(300), 3)
    vectors = rng.normal(size=(300, 32))[people] + 0.5 * rng.normal(size=(900, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.full(900, 60.0), vectors.astype(np.float32), people.astype(np.str_)


def test_a_rate_that_no_quality_reaches_has_no_bar() -> None:
    """None, rather than a number that promises it."""
    curve = ErrorCurve((0.0, 50.0), (0.5, 0.2), 1e-3, "test", 100)
    assert curve.quality_for(0.2) == 50
    assert curve.quality_for(0.1) is None


def test_errors_need_two_people_and_enough_pairs() -> None:
    """And say what is missing."""
    quality, vectors, people = faces(3)
    with pytest.raises(DataError, match="identities are needed"):
        fit_errors(quality, vectors, np.full(600, ""), fmr=1e-3, recogniser="test")
    with pytest.raises(DataError, match="at least 100000000 are needed"):
        fit_errors(quality, vectors, people, fmr=1e-8, recogniser="test")


def test_errors_are_saved_and_read_back(tmp_path: Path) -> None:
    """And a damaged curve is refused."""
    curve = ErrorCurve((0.0, 50.0), (0.5, 0.2), 1e-3, "test", 100)
    path = tmp_path / "c.json"
    fit(np.array([0.1, 0.4])).with_errors(curve).save(path)
    read = load_calibration(path, weights_sha256=HASH).errors
    assert read is not None
    assert (read.quality, read.fnmr, read.pairs) == (curve.quality, curve.fnmr, 100)
    content = json.loads(path.read_text())
    content["errors"]["fnmr"] = [0.2, 0.5]
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="errors must fall"):
        load_calibration(path, weights_sha256=HASH)


# The gate's threshold


def test_discard_is_the_quality_that_as_many_faces_miss() -> None:
    """Quality is a percentage already."""
    gate = GateSection.model_validate({"discard": "20%"})
    calibration = fit(np.random.default_rng(0).uniform(0.1, 0.9, 1000))
    assert with_threshold(gate, calibration).min_quality == 20
    with pytest.raises(
        ConfigError, match=r"gate.discard: got 20%, but these weights are not calib"
    ):
        with_threshold(gate, None)


def test_target_fnmr_needs_a_calibration_with_errors() -> None:
    """The message says how to make one; a target that is out of reach is refused as well."""
    gate = GateSection(target_fnmr=0.25)
    calibration = fit(np.array([0.1, 0.4]))
    with pytest.raises(ConfigError, match=r"gate.target_fnmr: got 0.25.*calibrate --images"):
        with_threshold(gate, calibration)
    known = calibration.with_errors(ErrorCurve((0.0, 55.0), (0.5, 0.2), 1e-3, "test", 100))
    assert with_threshold(gate, known).min_quality == 55
    with pytest.raises(ConfigError, match=r"expected to fail in 0.2000"):
        with_threshold(GateSection(target_fnmr=0.1), known)
    with pytest.raises(ConfigError, match=r"gate.release_quality: got 40"):
        with_threshold(GateSection(target_fnmr=0.25, release_quality=40), known)


# Sketches


def test_a_sketch_knows_the_quantiles_of_what_went_by(tmp_path: Path) -> None:
    """Saved and taken up again half-way, its calibration discards what it says within a point."""
    path, rng = tmp_path / "door.sketch", np.random.default_rng(4)
    raw = np.exp(rng.normal(-3, 0.6, 20_000))
    sketch = ScoreSketch(HASH, "block4")
    for value in (*raw[:9000], float("nan"), 0.0, -1.0):
        sketch.add(float(value))
    sketch.save(path)
    sketch = ScoreSketch.load(path)
    for value in raw[9000:]:
        sketch.add(float(value))
    calibration = sketch.calibration("door")
    assert calibration.count == 20_000
    quality = calibration(np.exp(rng.normal(-3, 0.6, 20_000)))
    for discard in (5, 20, 50):
        assert 100 * (quality < discard).mean() == pytest.approx(discard, abs=1.5)
    assert path.stat().st_size < 30_000


def test_a_sketch_of_few_faces_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    """With the reason."""
    with pytest.raises(ModelError, match="0 faces were scored; a calibration needs 500"):
        ScoreSketch(HASH, "block4").calibration("door")
    path = tmp_path / "door.sketch"
    ScoreSketch(HASH, "block4").save(path)
    for change in ({"kll_doubles": "AAAA"}, {"kll_doubles": "%"}, {"version": 2}, {"group": None}):
        content = json.loads(path.read_text()) | change
        if change == {"group": None}:
            del content["group"]
        other = tmp_path / "other"
        other.write_text(json.dumps(content))
        with pytest.raises(ModelError, match=r"no sketch of scores|sketch of version 1"):
            ScoreSketch.load(other)


def test_half_of_the_people_foretells_the_other() -> None:
    """A setting and what it discards of people apart, where a person's faces are alike."""
    rng = np.random.default_rng(3)
    people = np.repeat(np.arange(300), 5)
    raw = np.exp(rng.normal(-3, 0.5, 300)[people] + rng.normal(0, 0.3, len(people)))
    crops = CropSet(
        images=np.zeros((len(people), 0), np.uint8),
        names=tuple(map(str, range(len(people)))),
        columns={"identity": tuple(map(str, people))},
        source="test",
    )
    halves = [half for seed in range(8) for half in realised_discards(crops, raw, seed=seed)]
    assert {half.setting for half in halves} == {5, 10, 20, 30, 40, 50}
    assert np.abs([half.realised - half.setting for half in halves]).mean() < 3


def test_half_of_unseen_faces_foretells_the_other() -> None:
    """Of real people apart, a setting and what it discards differ by less than 2 points on average.

    Halves of 759 faces alone make 1.9 points (at 30 %) of it by chance, so several are taken.
    """
    crops = read_crops(needs.reference_data("data/faces-aligned.tar"), split="val")
    raw = Scorer.load(device="cpu").score(crops.images).raw
    errors = [
        half.realised - half.setting
        for seed in range(8)
        for half in realised_discards(crops, raw, seed=seed)
    ]
    assert np.abs(errors).mean() < 2
