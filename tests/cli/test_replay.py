"""`streamgate replay`: a real video, twice."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cli.crops import invoke
from tests.daemon.people import film_person
from tests.lab.test_recogniser import write_projection

CONFIG = "camera: {name: hall}\nsource: {kind: file, path: hall.mkv}\ngate: {min_quality: 0}\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "hall.yaml"
    path.write_text(CONFIG)
    return path


def test_two_replays_write_the_same_decisions(tmp_path: Path, config: Path) -> None:
    """To the byte, wherever they are written; with a page and figures beside them."""
    film = film_person(tmp_path / "hall.mkv", 15)
    results = []
    for name in ("one", "two"):
        result = invoke("replay", film, "--config", config, "--out", tmp_path / name)
        assert result.exit_code == 0, result.output
        results.append([(tmp_path / name / file).read_bytes() for file in FILES])
    assert results[0] == results[1]
    decisions, report, page = results[0]
    (decision,) = map(json.loads, decisions.splitlines())
    assert (decision["outcome"], decision["forwarded"]) == ("forwarded", 1)
    assert decision["shots"][0]["state"] == "replayed"
    assert decision["scored"] + decision["skipped"] == decision["faces"] > 20
    figures = json.loads(report)
    policies = {policy["policy"]: policy for policy in figures["policies"]}
    assert set(policies) > {"gate", "first", "last", "largest", "detector", "frigate", "random"}
    assert policies["oracle"]["regret_quality_mean"] == 0
    assert policies["gate"]["share_scored"] <= 0.35
    text = page.decode()
    assert "<svg" in text
    assert "data:image/jpeg;base64," in text
    # It opens without a network: nothing in it is fetched.
    sources = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'>]*)""", text)
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "url(http" not in text
    assert "<script" not in text


FILES = ("decisions.jsonl", "report.json", "report.html")


def test_policies_and_identities_can_be_chosen(tmp_path: Path, config: Path) -> None:
    """Only those that were asked for are judged; a table of people that is none is refused."""
    film = film_person(tmp_path / "hall.mkv", 6)
    people = tmp_path / "people.csv"
    people.write_text("video,track,identity\nhall.mkv,1,astronaut\n")
    arguments = ("replay", film, "--config", config, "--out", tmp_path / "out")
    result = invoke(*arguments, "--policy", "first", "--identities", people)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [policy["policy"] for policy in report["policies"]] == ["first"]
    people.write_text("film,number\nhall.mkv,1\n")
    result = invoke(*arguments, "--identities", people)
    assert result.exit_code == 1
    assert "expected a CSV with the columns video, track, identity" in result.stderr


def test_what_is_no_video_is_refused(tmp_path: Path, config: Path) -> None:
    """With the file's name, and exit code 1; an unknown policy with 2."""
    file = tmp_path / "none.mkv"
    file.write_bytes(b"no video")
    result = invoke("replay", file, "--config", config, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "none.mkv" in result.stderr
    assert invoke("replay", file, "--config", config, "--policy", "best").exit_code == 2


def test_a_picture_is_no_video(tmp_path: Path, config: Path) -> None:
    """One frame opens as a film; a table of zeros would be no answer."""
    picture = tmp_path / "face.jpg"
    cv2.imwrite(str(picture), np.full((240, 320, 3), 120, np.uint8))
    result = invoke("replay", picture, "--config", config, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "face.jpg: holds 1 frame, so it is no video" in result.stderr
    assert "streamgate score" in result.stderr
    assert not (tmp_path / "out" / "report.json").exists()


def test_a_recogniser_that_is_shown_another_scale_is_noticed(tmp_path: Path, config: Path) -> None:
    """Its similarities would mean nothing, and look like others."""
    film = film_person(tmp_path / "hall.mkv", 6)
    result = invoke(
        "replay", film, "--config", config, "--out", tmp_path / "out", "--policy", "gate",
        "--recogniser", write_projection(tmp_path), "--recogniser-size", 28,
        "--recogniser-std", 127.5**2,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "warning: projection.onnx: its embeddings hardly differ" in result.output
