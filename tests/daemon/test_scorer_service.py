"""`streamgate run` with `streamgate serve`, as a user starts them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.films import film_visit
from tests.servers.daemon import Daemon
from tests.servers.scorer import ScorerService

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(240)]

DEADLINE_S = 60.0
MOST_BYTES = 220e6
GATE = {"min_quality": 0}
COMPARED = ("track_id", "quality", "raw_score", "frame_index", "reason")


def until(daemon: Daemon, holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, daemon.log[-3000:]
        time.sleep(0.1)


def decided(folder: Path, film: Path, quality: dict[str, Any]) -> list[dict[str, Any]]:
    """The best shots of a film that is read as fast as it can be judged."""
    folder.mkdir()
    source = {"kind": "file", "path": str(film), "pace": "fast"}
    quality = {"score_share": 1.0, **quality}
    with Daemon(folder, source, gate=GATE, quality=quality) as daemon:
        assert daemon.wait(DEADLINE_S) == 0, daemon.log[-3000:]
        return daemon.shots()


def test_two_cameras_with_one_service_decide_as_without(tmp_path: Path) -> None:
    """The same best shots, and scores alike to 1e-5; each camera's faces are counted."""
    film = film_visit(tmp_path / "visits.mkv", stays_s=2, away_s=2)
    alone = decided(tmp_path / "alone", film, {})
    with ScorerService(tmp_path / "service") as service:
        quality = {"service": [service.address], "service_timeout_s": 30}
        for name in ("one", "two"):
            shots = decided(tmp_path / name, film, quality)
            assert len(shots) == len(alone) > 0
            for ours, theirs in zip(shots, alone, strict=True):
                assert ours["quality"] == pytest.approx(theirs["quality"], abs=1e-3)
                assert ours["raw"] == pytest.approx(theirs["raw"], rel=1e-5)
                for key in ("track_id", "frame_index", "reason", "model_hash"):
                    assert ours.get(key) == theirs.get(key)
        assert service.metrics()['faces_total{camera="door"}'] > 0


def test_a_camera_goes_on_without_its_service_and_uses_it_again(tmp_path: Path) -> None:
    """Killed and started again, then stopped by a signal: faces are skipped, counted, and scored
    again later; the camera has no network in memory."""
    film = film_visit(tmp_path / "standing.mkv", stays_s=90)
    source = {"kind": "file", "path": str(film), "pace": "realtime"}
    started = ScorerService(tmp_path / "service")
    quality = {"service": [started.address], "service_timeout_s": 0.5}
    with (
        started as service,
        Daemon(tmp_path, source, gate=GATE, quality={"score_share": 1.0, **quality}) as daemon,
    ):

        def scored() -> float:
            return daemon.metric("faces_scored_total")

        def skipped() -> float:
            return daemon.metric("faces_skipped_total", reason="scorer_away")

        until(daemon, lambda: scored() > 2)
        assert daemon.metric("process_resident_memory_bytes") < MOST_BYTES
        service.kill()
        until(daemon, lambda: skipped() > 0)
        assert daemon.metric("remote_scorer_up", service=started.address) == 0
        started.__enter__()
        before = scored()
        until(daemon, lambda: scored() > before)
        service.send(signal.SIGSTOP)
        before = skipped()
        until(daemon, lambda: skipped() > before)
        service.send(signal.SIGCONT)
        before = scored()
        until(daemon, lambda: scored() > before)
        assert daemon.metric("faces_skipped_total", reason="scorer_failed") == 0
        assert daemon.stop() == 0
        assert len(daemon.shots()) == 1
