"""The demo as its user runs it: every visitor forwarded once, at a good moment, and recognised."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.needs import ROOT

pytestmark = [pytest.mark.live, pytest.mark.slow]

SECONDS = 14


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a demo has written."""
    out = tmp_path_factory.mktemp("demo")
    command = [
        *(sys.executable, "-m", "streamgate", "demo"),
        *("--once", "--seconds", str(SECONDS), "--out", str(out)),
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def summary(played: Path) -> dict[str, Any]:
    """What the demo says of itself."""
    return dict(json.loads((played / "summary.json").read_text(encoding="utf-8")))


def test_every_visit_is_one_track_and_one_best_shot(played: Path, summary: dict[str, Any]) -> None:
    """No ghost, nobody twice, nobody missed."""
    assert summary["tracks"] == summary["forwarded"] == summary["visits"] == 3
    assert len(list((played / "best-shots").rglob("*.json"))) == 3


def test_the_chosen_frames_are_among_the_least_degraded(summary: dict[str, Any]) -> None:
    """At most a tenth of a visit's frames is better than the chosen one."""
    assert len(summary["chosen_rank"]) == 3
    assert max(summary["chosen_rank"]) <= 0.10


def test_the_best_shots_are_recognised(summary: dict[str, Any]) -> None:
    """By a gallery of the two photographs."""
    assert sorted(summary["recognised"]) == ["astronaut", "astronaut", "hopper"]


def test_the_contact_sheet_is_a_picture(played: Path) -> None:
    """A row of faces for each track."""
    sheet = cv2.imread(str(played / "contact-sheet.png"))
    assert sheet is not None
    assert sheet.shape[1] > 1000
    assert sheet.shape[0] > 400
