"""`streamgate score`: photographs in, qualities out."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamgate import Scorer
from streamgate.errors import StreamgateError
from streamgate.models.registry import path_of
from tests import needs
from tests.cli.crops import invoke, write_picture
from tests.faces.test_photographs import png_of
from tests.quality import cases


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    for number, crop in enumerate(cases.pictures(3, 41)):
        write_picture(tmp_path / "crops" / f"{number}.png", crop)
    return tmp_path / "crops"


def test_json_holds_what_the_scorer_says(crops: Path) -> None:
    """For crops that are aligned already."""
    result = invoke("score", crops, "--aligned", "--device", "cpu", "--format", "json")
    assert result.exit_code == 0, result.output
    expected = Scorer.load(device="cpu").score(cases.pictures(3, 41))
    rows = json.loads(result.stdout)
    assert [row["raw"] for row in rows] == pytest.approx(expected.raw, rel=1e-5)
    assert [row["quality"] for row in rows] == pytest.approx(expected.quality, abs=0.01)


def test_csv_and_table_show_the_same_faces(crops: Path) -> None:
    """One row each."""
    result = invoke("score", crops, "--aligned", "--device", "cpu", "--format", "csv")
    assert len(list(csv.DictReader(io.StringIO(result.stdout)))) == 3
    result = invoke("score", crops, "--aligned", "--device", "cpu")
    assert sum("crops" in line for line in result.stdout.splitlines()) == 3


def test_heat_maps_are_written(crops: Path, tmp_path: Path) -> None:
    """One for each face, as big as its crop."""
    result = invoke("score", crops, "--aligned", "--device", "cpu", "--explain", tmp_path / "maps")
    assert result.exit_code == 0, result.output
    maps = list((tmp_path / "maps").iterdir())
    assert len(maps) == 3
    picture = cv2.imread(str(maps[0]))
    assert picture is not None
    assert picture.shape == (112, 112, 3)


def test_an_unreadable_picture_fails_at_the_end(crops: Path) -> None:
    """The others are shown."""
    (crops / "broken.jpg").write_bytes(b"no picture")
    result = invoke("score", crops, "--aligned", "--device", "cpu", "--format", "json")
    assert result.exit_code == 1
    assert "broken.jpg: skipped" in result.stderr
    assert len(json.loads(result.stdout)) == 3


def test_uncalibrated_weights_are_pointed_out(crops: Path, tmp_path: Path) -> None:
    """Their quality only ranks."""
    weights = cases.save(tmp_path, cases.TINY, seed=1)
    result = invoke("score", crops, "--aligned", "--device", "cpu", "--weights", weights)
    assert result.exit_code == 0
    assert "not calibrated" in result.stderr


def test_a_face_in_a_photograph_is_found_and_scored() -> None:
    """A photograph of a person has a face with a box."""
    try:
        photo = path_of("photo-astronaut")
    except StreamgateError as error:
        needs.missing("the photograph of an astronaut", str(error))
    result = invoke("score", photo, "--device", "cpu", "--format", "json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert 0 < row["quality"] <= 100
    left, top, right, bottom = row["box"]
    assert 150 <= left < 225 < right <= 300
    assert 30 <= top < 115 < bottom <= 200


def test_a_picture_that_claims_a_billion_pixels_is_skipped(crops: Path) -> None:
    """The others are shown, the skipped are counted, and there is no traceback."""
    (crops / "big.png").write_bytes(png_of(40_000, 40_000))
    result = invoke("score", crops, "--aligned", "--device", "cpu", "--format", "json")
    assert result.exit_code == 1
    assert "big.png: skipped, " in result.stderr
    assert "1 pictures were skipped" in result.stderr
    assert len(json.loads(result.stdout)) == 3


def test_libraries_keep_their_own_lines_to_themselves(crops: Path) -> None:
    """On the terminal there are our messages alone, each picture's on one line."""
    whole = (crops / "0.png").read_bytes()
    tiff = cv2.imencode(".tif", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    (crops / "0.png").write_bytes(whole[: len(whole) // 2])
    (crops / "half.tif").write_bytes(tiff[: len(tiff) // 2])
    done = subprocess.run(
        [sys.executable, "-m", "streamgate", "score", str(crops), "--aligned", "--device", "cpu"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert "WARN" not in done.stderr
    assert "ERROR" not in done.stderr
    assert "0.png: skipped, it is no picture that can be decoded" in done.stderr
