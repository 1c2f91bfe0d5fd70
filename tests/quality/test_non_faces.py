"""The file that says what pictures without a face look like to a network."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamgate import Scorer
from streamgate.errors import ModelError
from streamgate.quality.non_faces import load_non_faces, non_faces_path, save_non_faces

HASH = "ab" * 32


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of which only the name matters, with the file beside them."""
    path = tmp_path / "door.safetensors"
    save_non_faces(
        np.array([3.0, 4.0]), non_faces_path(path), weights_sha256=HASH, source="walls", count=9
    )
    return path


def test_the_centre_comes_back_with_length_one(weights: Path) -> None:
    loaded = load_non_faces(weights, HASH, 0.5)
    assert loaded is not None
    assert loaded.centre.tolist() == pytest.approx([0.6, 0.8])


def test_a_limit_of_one_switches_it_off(weights: Path) -> None:
    assert load_non_faces(weights, HASH, 1.0) is None


def test_without_a_file_nothing_is_rejected(tmp_path: Path) -> None:
    assert load_non_faces(tmp_path / "other.safetensors", HASH, 0.5) is None


def test_a_file_of_other_weights_is_refused(weights: Path) -> None:
    """The message says how to make the right one."""
    with pytest.raises(ModelError, match="calibrate --non-faces"):
        load_non_faces(weights, "cd" * 32, 0.5)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        json.dumps({"version": 1, "weights_sha256": HASH, "centre": "north"}),
        json.dumps({"version": 9, "weights_sha256": HASH, "centre": [1.0]}),
        json.dumps({"version": 1, "weights_sha256": HASH, "centre": [0.0, 0.0]}),
        '{"version": 1, "weights_sha256": "' + HASH + '", "centre": [NaN]}',
    ],
)
def test_a_damaged_file_is_refused_by_name(weights: Path, content: str) -> None:
    path = non_faces_path(weights)
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=path.name):
        load_non_faces(weights, HASH, 0.5)


def test_the_included_network_knows_textures_from_the_included_faces() -> None:
    """Blurred noise, as foliage or hair, is none."""
    scorer = Scorer.load(threads=1)
    non_faces = load_non_faces("default", scorer.model_hash, 0.5)
    assert non_faces is not None
    chance = np.random.default_rng(0)
    textures = []
    for sigma in (2.0, 5.0, 9.0):
        grain = cv2.GaussianBlur(chance.normal(size=(112, 112, 3)), (0, 0), sigma)
        textures.append(np.clip(127 + grain / grain.std() * 50, 0, 255).astype(np.uint8))
    embeddings = scorer.score(np.stack(textures)).embedding
    assert all(embedding in non_faces for embedding in embeddings)
