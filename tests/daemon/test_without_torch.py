"""A camera on a CPU, in an installation that has no torch."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from streamgate import Scorer
from streamgate.models.registry import path_of
from streamgate.quality import GROUPS
from streamgate.quality.layout import DEPTHS, Layout
from tests.daemon.films import film_visit
from tests.quality import cases

FLOAT32 = 2e-4

# What `sitecustomize` holds runs before anything else in a process.
_BLOCKER = """
import sys

class _Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "onnx", "onnxscript"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, _Block())
"""
_SCORING = """
import sys
import numpy as np
from streamgate import Scorer

_, weights, crops, output = sys.argv
scorer = Scorer.load(weights, device="auto", threads=1)
scores = scorer.score_all_groups(np.load(crops))
np.savez(output, embedding=scores.embedding, **scores.raw)
"""

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a process that cannot import torch."""
    folder = tmp_path / "blocker"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_BLOCKER)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    cache = {"STREAMGATE_CACHE": str(tmp_path / "cache")}
    return {**os.environ, **cache, "PYTHONPATH": os.pathsep.join(paths)}


def run(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=200
    )


def test_a_daemon_runs_and_its_scores_are_the_references(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """From a film to a best shot in a folder, with the score that torch has for its crop."""
    del environment["STREAMGATE_CACHE"]  # that of the tests has the detector
    film = film_visit(tmp_path / "visit.mkv", stays_s=2, away_s=2)
    config: dict[str, Any] = {
        "camera": {"name": "door"},
        "source": {"kind": "file", "path": str(film), "pace": "fast"},
        "gate": {"min_quality": 0},
        "delivery": {
            "crop_format": "png",
            "sinks": [{"kind": "directory", "path": str(tmp_path / "shots")}],
        },
        "web": {"enabled": False},
    }
    # JSON is YAML.
    (tmp_path / "camera.yaml").write_text(json.dumps(config))
    done = run(environment, "-m", "streamgate", "run", tmp_path / "camera.yaml")
    assert done.returncode == 0, done.stderr[-3000:]
    shots = list((tmp_path / "shots").rglob("*.json"))
    assert shots
    reference = Scorer.load(device="cpu", precision="float64")
    for path in shots:
        shot = json.loads(path.read_text())
        png = cv2.imread(str(path.with_suffix(".png")))
        assert png is not None
        expected = reference.score(np.asarray(cv2.cvtColor(png, cv2.COLOR_BGR2RGB), np.uint8)[None])
        embedding = np.frombuffer(base64.b64decode(shot["embedding"]["base64"]), "<f4")
        assert shot["raw"] == pytest.approx(expected.raw[0], rel=FLOAT32)
        assert np.abs(embedding - expected.embedding[0]).max() < 1e-5


def test_every_command_of_a_camera_runs(environment: dict[str, str], tmp_path: Path) -> None:
    """run, score, check, replay and outbox, and recognise up to the loaded gallery."""
    del environment["STREAMGATE_CACHE"]  # as above
    film = film_visit(tmp_path / "visit.mkv", stays_s=1, away_s=1)
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    (gallery / "Eileen.png").write_bytes(path_of("photo-astronaut").read_bytes())
    config: dict[str, Any] = {
        "camera": {"name": "door"},
        "source": {"kind": "file", "path": str(film), "pace": "fast"},
        "delivery": {
            "outbox": {
                "kind": "sqlite",
                "path": str(tmp_path / "outbox.sqlite"),
                "store_pictures_unencrypted": True,
            },
            "sinks": [{"kind": "directory", "path": str(tmp_path / "shots")}],
        },
        "web": {"enabled": False},
    }
    (tmp_path / "camera.yaml").write_text(json.dumps(config))
    commands: dict[str, tuple[object, ...]] = {
        "score": ("score", "--format", "json", gallery / "Eileen.png"),
        "run": ("run", tmp_path / "camera.yaml"),
        "check": ("check", tmp_path / "camera.yaml"),
        "replay": ("replay", film, "--policy", "gate", "--out", tmp_path / "replay"),
        "outbox": ("outbox", "list", tmp_path / "camera.yaml"),
    }
    for name, command in commands.items():
        done = run(environment, "-m", "streamgate", *command)
        assert done.returncode == 0, (name, done.stderr[-2000:])
    recognise = [sys.executable, "-m", "streamgate", "recognise", "--gallery", str(gallery)]
    with subprocess.Popen(
        [*recognise, "--from", "http", "--port", "0"], env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as listening:  # fmt: skip
        assert listening.stderr is not None
        try:
            told = listening.stderr.readline()
        finally:
            listening.terminate()
    assert "1 people enrolled" in told


def test_the_librarys_scores_of_every_group_are_the_references(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """On seeded weights of a published layout."""
    weights = cases.save(tmp_path, Layout(DEPTHS["iresnet18"]), seed=5)
    crops = cases.pictures(3, 31)
    np.save(tmp_path / "crops.npy", crops)
    output = tmp_path / "scores.npz"
    done = run(environment, "-c", _SCORING, weights, tmp_path / "crops.npy", output)
    assert done.returncode == 0, done.stderr[-3000:]
    found = np.load(output)
    reference = Scorer.load(weights, device="cpu", precision="float64")
    expected = reference.score_all_groups(crops)
    for group in GROUPS:
        assert found[group] == pytest.approx(expected.raw[group], rel=FLOAT32), group
    assert np.abs(found["embedding"] - expected.embedding).max() < 1e-5


def test_what_needs_torch_names_the_extra(environment: dict[str, str], tmp_path: Path) -> None:
    """A device, a precision, and weights that torch has pickled."""
    pickled = tmp_path / "weights.pth"
    torch.save(cases.state_dict(cases.TINY, seed=1), pickled)
    for choice in ("device='cuda'", "device='cpu', precision='float64'", f"weights='{pickled}'"):
        code = f"from streamgate import Scorer; Scorer.load({choice})"
        done = run(environment, "-c", code)
        assert done.returncode == 1
        assert "streamgate[torch]" in done.stderr, (choice, done.stderr[-2000:])
    assert "streamgate export --format safetensors" in done.stderr


def test_pickled_weights_are_converted_once_by_another_process(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Where torch is installed a camera does not hold it all the same; afterwards none is asked."""
    pickled = tmp_path / "weights.pth"
    torch.save(cases.state_dict(cases.TINY, seed=1), pickled)
    code = (
        "import sys; from streamgate import Scorer; "
        f"print(Scorer.load({str(pickled)!r}, device='cpu', threads=1).model_hash); "
        "assert 'torch' not in sys.modules or sys.modules['torch'] is None"
    )
    with_torch = {**environment, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    first = run(with_torch, "-c", code)
    assert first.returncode == 0, first.stderr[-2000:]
    second = run(environment, "-c", code)
    assert second.stdout == first.stdout.splitlines(keepends=True)[-1], second.stderr[-2000:]
    assert second.stdout.strip() == Scorer.load(pickled, device="cpu").model_hash


def test_damaged_pickled_weights_are_refused_in_the_same_words(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The other process' refusal is the caller's."""
    damaged = tmp_path / "weights.pth"
    damaged.write_bytes(b"\x80\x04nothing")
    with_torch = {**environment, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    code = f"from streamgate import Scorer; Scorer.load({str(damaged)!r}, device='cpu')"
    done = run(with_torch, "-c", code)
    assert done.returncode == 1
    assert f"ModelError: {damaged}: refused" in done.stderr, done.stderr[-2000:]
