"""What a daemon keeps of its scores on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamgate.daemon import sketch as module
from streamgate.daemon.sketch import SketchKeeper
from streamgate.errors import ModelError
from streamgate.quality.score_sketch import ScoreSketch

HASH, OTHER = "ab" * 32, "cd" * 32


class Clock:
    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at

    def wall(self) -> float:
        return self.at


def test_scores_are_kept_over_restarts(tmp_path: Path) -> None:
    """A daemon that stops writes what it has; the next one goes on with it."""
    path = tmp_path / "door.sketch"
    for expected in (3, 6):
        with SketchKeeper(path, HASH, "block4", Clock()) as keeper:
            for raw in (0.1, 0.2, 0.3):
                keeper.add(raw)
        assert len(ScoreSketch.load(path)) == expected


def test_a_sketch_is_saved_while_the_daemon_runs(tmp_path: Path) -> None:
    """A crash costs a few minutes of scores, not all."""
    path, clock = tmp_path / "door.sketch", Clock()
    with SketchKeeper(path, HASH, "block4", clock) as keeper:
        keeper.add(0.1)
        assert not path.exists()
        clock.at += module._SAVE_EVERY_S
        keeper.add(0.2)
        assert keeper._saving is not None
        keeper._saving.result(30)
        assert len(ScoreSketch.load(path)) == 2


def test_a_sketch_of_other_weights_is_put_aside(tmp_path: Path) -> None:
    """Scores of two networks are never mixed, and days of traffic are not thrown away."""
    path = tmp_path / "door.sketch"
    for weights in (HASH, OTHER):
        with SketchKeeper(path, weights, "block4", Clock()) as keeper:
            keeper.add(0.1)
    assert ScoreSketch.load(path).weights_sha256 == OTHER
    aside = tmp_path / f"door.sketch.{HASH[:12]}-block4"
    assert ScoreSketch.load(aside).weights_sha256 == HASH


def test_a_folder_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    """Rather than after five minutes in the log."""
    with pytest.raises(ModelError, match=r"change quality\.sketch"):
        SketchKeeper(tmp_path / "none" / "door.sketch", HASH, "block4", Clock())
