"""Kinds of damage that the ladder lacks, and a score judged across them."""

from __future__ import annotations

import numpy as np
import pytest

from streamgate.lab.evaluation.ladder import KINDS as LADDER
from streamgate.lab.evaluation.unseen_kinds import (
    KINDS,
    RELATED,
    across_kinds,
    damage,
    damage_all,
)

FACE = (
    np.random.default_rng(0).integers(0, 256, (14, 14, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
)


def test_there_are_enough_kinds_and_the_ladder_has_none_of_them() -> None:
    assert len(KINDS) >= 20
    assert not set(KINDS) & set(LADDER)
    assert set(KINDS) > RELATED
    assert len(set(KINDS) - RELATED) >= 10


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_changes_a_face_and_keeps_its_form(kind: str) -> None:
    damaged = damage(FACE, kind, np.random.default_rng(1))
    assert damaged.shape == FACE.shape
    assert damaged.dtype == np.uint8
    assert np.abs(damaged.astype(float) - FACE).mean() > 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_damage(kind: str) -> None:
    faces = np.stack([FACE, FACE[::-1]])
    assert np.array_equal(damage_all(faces, kind, 3), damage_all(faces, kind, 3))


def test_a_perspective_keeps_the_face_upright() -> None:
    """Whatever side is nearer, the bright upper half stays above."""
    half = np.zeros((112, 112, 3), dtype=np.uint8)
    half[:56] = 200
    for damaged in damage_all(np.stack([half] * 8), "perspective"):
        assert damaged[:40].mean() > 3 * damaged[-40:].mean()


def test_a_score_that_follows_similarity_across_kinds_correlates_fully() -> None:
    chance = np.random.default_rng(0)
    similarity = {"a": chance.random(50), "b": chance.random(50) - 1}
    across = across_kinds(np.full(50, 2.0), similarity, similarity)
    assert across.rank_correlation == pytest.approx(1.0)
    assert across.separation == {"a": 1.0, "b": 1.0}


def test_a_score_that_is_blind_between_kinds_correlates_less() -> None:
    """It orders each kind rightly, but takes a hopeless kind for as good as a harmless one."""
    chance = np.random.default_rng(0)
    quality = {"a": chance.random(200), "b": chance.random(200)}
    similarity = {"a": quality["a"], "b": quality["b"] - 3}
    across = across_kinds(np.ones(200), quality, similarity)
    assert across.low <= across.rank_correlation <= across.high < 0.7


def test_faces_without_another_picture_are_left_out() -> None:
    quality = {"a": np.append(np.arange(30.0), 0.0)}
    similarity = {"a": np.append(np.arange(30.0) / 30, np.nan)}
    assert across_kinds(np.ones(31), quality, similarity).rank_correlation == pytest.approx(1.0)
