"""`streamgate calibrate --non-faces`: what pictures without a face look like to a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamgate import Scorer
from streamgate.quality.non_faces import load_non_faces, non_faces_path
from tests.cli.crops import invoke, write_picture
from tests.quality import cases


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    for number, crop in enumerate(cases.pictures(8, 7)):
        write_picture(tmp_path / "crops" / f"{number}.png", crop)
    return tmp_path / "crops"


def test_the_file_lies_beside_the_weights_and_is_theirs(tmp_path: Path, crops: Path) -> None:
    """The gate finds it there, with a centre as long as the embeddings."""
    weights = cases.save(tmp_path, cases.TINY, seed=1)
    result = invoke(
        "calibrate", "--non-faces", "--images", crops, "--weights", weights, "--device", "cpu"
    )
    assert result.exit_code == 0, result.output
    assert str(non_faces_path(weights)) in result.stdout
    scorer = Scorer.load(weights, device="cpu")
    non_faces = load_non_faces(weights, scorer.model_hash, 0.5)
    assert non_faces is not None
    assert non_faces.centre.shape == (scorer.embedding_size,)


def test_what_belongs_to_the_package_is_not_overwritten(crops: Path) -> None:
    result = invoke("calibrate", "--non-faces", "--images", crops)
    assert result.exit_code == 2
    assert "--out" in result.output


def test_it_needs_pictures(tmp_path: Path) -> None:
    result = invoke("calibrate", "--non-faces", "--from-sketch", tmp_path / "door.sketch")
    assert result.exit_code == 2
