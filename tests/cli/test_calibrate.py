"""`streamgate calibrate`: from crops or a sketch to a file that the scorer takes, and no other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from streamgate import Scorer
from streamgate.quality.calibration import calibration_path
from streamgate.quality.score_sketch import ScoreSketch
from tests.cli.crops import invoke, write_picture
from tests.quality import cases


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return cases.save(tmp_path, cases.TINY, seed=1)


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    for number, crop in enumerate(cases.pictures(24, 7)):
        write_picture(tmp_path / "crops" / f"person{number // 4}" / f"{number}.png", crop)
    return tmp_path / "crops"


def test_the_file_lies_beside_the_weights_and_is_used(weights: Path, crops: Path) -> None:
    """With the hash of the weights; the scorer finds it, and the best crop has quality 100."""
    result = invoke("calibrate", "--images", crops, "--weights", weights, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "fitted on one half of the people" in result.stdout
    scorer = Scorer.load(weights, device="cpu")
    assert scorer.calibrated
    assert scorer.score(cases.pictures(24, 7)).quality.max() == 100
    content = json.loads(calibration_path(weights).read_text())
    assert content["weights_sha256"] == scorer.model_hash
    assert (content["count"], content["source"]) == (24, "crops")


def test_errors_are_learnt_from_the_folders_names(weights: Path, crops: Path) -> None:
    """Each folder is a person; what a target comes to is printed."""
    result = invoke(
        "calibrate", "--images", crops, "--weights", weights, "--device", "cpu",
        "--errors", "--fmr", 0.05,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "target_fnmr 0.1 at FMR 0.05" in result.stdout
    errors = json.loads(calibration_path(weights).read_text())["errors"]
    assert (errors["fmr"], errors["pairs"]) == (0.05, 6 * 6)


def test_labels_of_a_table_are_taken(weights: Path, crops: Path, tmp_path: Path) -> None:
    """Instead of folders; a table of other files is refused."""
    labels = tmp_path / "labels.csv"
    rows = [f"person{i // 4}/{i}.png,{'ab'[i % 2]}" for i in range(24)]
    labels.write_text("\n".join(["file,identity", *rows]))
    arguments = ("calibrate", "--images", crops, "--weights", weights, "--device", "cpu")
    result = invoke(*arguments, "--errors", "--fmr", 0.05, "--labels", labels)
    assert result.exit_code == 0, result.output
    assert json.loads(calibration_path(weights).read_text())["errors"]["pairs"] == 2 * 66
    labels.write_text("file,identity\nother.png,a\n")
    result = invoke(*arguments, "--errors", "--labels", labels)
    assert result.exit_code == 1
    assert "names none of the files" in result.stderr


def test_a_sketch_of_live_traffic_becomes_a_calibration(weights: Path, tmp_path: Path) -> None:
    """No picture is needed; a sketch of other weights is refused."""
    scorer = Scorer.load(weights, device="cpu")
    sketch = ScoreSketch(scorer.model_hash, "block4")
    for raw in np.random.default_rng(0).uniform(0.1, 0.9, 1000):
        sketch.add(float(raw))
    sketch.save(tmp_path / "door.sketch")
    arguments = ("calibrate", "--from-sketch", tmp_path / "door.sketch", "--device", "cpu")
    out = tmp_path / "door.json"
    result = invoke(*arguments, "--weights", weights, "--out", out)
    assert result.exit_code == 0, result.output
    quality = Scorer.load(weights, device="cpu", calibration=out)._calibration
    assert quality is not None
    assert quality(np.array([0.5]))[0] == pytest.approx(50, abs=5)
    other = cases.save(tmp_path, cases.TINY, seed=2)
    result = invoke(*arguments, "--weights", other, "--out", out)
    assert result.exit_code == 1
    assert "give --weights" in result.stderr


def test_a_daemon_refuses_a_calibration_of_other_weights(weights: Path, tmp_path: Path) -> None:
    """Exit code 1 and the remedy, rather than a wrong scale."""
    other = cases.save(tmp_path, cases.TINY, seed=2)
    out = tmp_path / "other.json"
    for number, crop in enumerate(cases.pictures(3, 7)):
        write_picture(tmp_path / "few" / f"{number}.png", crop)
    result = invoke(
        "calibrate", "--images", tmp_path / "few", "--weights", other, "--out", out,
        "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    file = tmp_path / "door.yaml"
    settings = {
        "camera": {"name": "door"},
        "source": {"kind": "file", "path": str(tmp_path / "none.mkv")},
        "quality": {"weights": str(weights), "calibration": str(out), "device": "cpu"},
        "web": {"enabled": False},
    }
    file.write_text(json.dumps(settings))
    result = invoke("run", file)
    assert result.exit_code == 1
    assert "calibrate again with streamgate calibrate" in result.stderr


def test_the_package_s_own_calibration_is_not_overwritten(crops: Path) -> None:
    """For the default weights a file must be named; and one kind of faces is given."""
    result = invoke("calibrate", "--images", crops)
    assert result.exit_code == 2
    assert "give --out FILE" in result.stderr
    assert invoke("calibrate").exit_code == 2


_SOURCE = "source: {kind: rtsp, url: 'rtsp://192.0.2.1/a'}"


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("{discard: 20%, min_quality: 30}", "one threshold only, not discard and min_quality"),
        ("{discard: 0.2}", "wanted a percentage such as 20%"),
        ("{discard: many%}", "wanted a percentage such as 20%"),
        ("{discard: 20%, release_quality: 10}", "release_quality must not be below"),
    ],
)
def test_a_bar_that_makes_no_sense_is_told_with_its_line(
    gate: str, message: str, tmp_path: Path
) -> None:
    """By `streamgate check`, as every fault of a file."""
    file = tmp_path / "door.yaml"
    file.write_text(f"camera: {{name: door}}\n{_SOURCE}\ngate: {gate}\n")
    result = invoke("check", file)
    assert result.exit_code == 2
    assert f"{file}:3" in result.stderr
    assert message in result.stderr
    file.write_text(f"camera: {{name: door}}\n{_SOURCE}\ngate: {{discard: 20%}}\n")
    assert invoke("check", file).exit_code == 0
