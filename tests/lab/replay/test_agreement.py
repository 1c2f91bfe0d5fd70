"""A recording through the daemon and through replay: the same decisions and the same faces."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamgate.config import load_config
from streamgate.daemon import run_camera
from streamgate.errors import StreamgateError
from streamgate.lab.replay.recording import Recording
from streamgate.lab.replay.runner import record
from streamgate.lab.replay.simulation import Run, simulate
from streamgate.models.registry import path_of
from streamgate.sources.record import write_video
from streamgate.telemetry.metrics import Metrics
from streamgate.values import BestShot, Image, ScoredFace, TrackDecision
from tests import needs

RATE = 12
SECONDS = 6


def people() -> Iterator[Image]:
    """Two people; one goes by while the other one stays, and both are soft for a while."""
    try:
        photographs = [path_of("photo-astronaut"), path_of("photo-hopper")]
    except StreamgateError as error:
        needs.missing("two photographs", str(error))
    stays, passes = (
        cv2.cvtColor(cv2.resize(picture, (0, 0), fx=scale, fy=scale), cv2.COLOR_BGR2RGB)
        for picture, scale in zip(map(_read, photographs), (0.6, 0.4), strict=True)
    )
    for number in range(RATE * SECONDS):
        canvas = np.full((360, 640, 3), 120, np.uint8)
        _paste(canvas, stays, 20 + round(8 * np.sin(number / 4)), 40)
        _paste(canvas, passes, 640 - 14 * number, 80)
        soft = 3.0 * abs(np.sin(number / 9))
        yield np.asarray(cv2.GaussianBlur(canvas, (0, 0), 0.2 + soft), np.uint8)


def _read(path: Path) -> Image:
    picture = cv2.imread(str(path))
    assert picture is not None
    return np.asarray(picture, np.uint8)


def _paste(canvas: Image, picture: cv2.typing.MatLike, left: int, top: int) -> None:
    height, width = picture.shape[:2]
    x1, x2 = max(0, left), min(canvas.shape[1], left + width)
    y2 = min(canvas.shape[0], top + height)
    if x1 < x2:
        canvas[top:y2, x1:x2] = picture[: y2 - top, x1 - left : x2 - left]


class Witness:
    """Remembers what the daemon did."""

    def __init__(self) -> None:
        self.shots: list[BestShot] = []
        self.decisions: list[TrackDecision] = []

    def started(self, metrics: Metrics) -> None: ...

    def scored(self, face: ScoredFace) -> None: ...

    def released(self, shot: BestShot) -> None:
        self.shots.append(shot)

    def decided(self, decision: TrackDecision) -> None:
        self.decisions.append(decision)


def _told(decision: TrackDecision) -> tuple[object, ...]:
    return (
        decision.track_id, decision.outcome, decision.reason, decision.faces, decision.scored,
        decision.skipped, decision.forwarded, dict(decision.rejected),
    )  # fmt: skip


@pytest.mark.parametrize(
    "gate", ["{}", "{min_quality: 0, max_wait_s: 1.5, improve_by: 3, cooldown_s: 0.5}"]
)
def test_the_daemon_and_replay_choose_the_same_faces(tmp_path: Path, gate: str) -> None:
    """At the pace `fast`, where no frame may be dropped."""
    film = tmp_path / "people.mkv"
    write_video(film, people(), RATE)
    file = tmp_path / "camera.yaml"
    file.write_text(
        f"camera: {{name: hall}}\nsource: {{kind: file, path: {film}, pace: fast}}\n"
        f"gate: {gate}\nweb: {{enabled: false}}\n"
    )
    loaded = load_config(file)
    witness = Witness()
    asyncio.run(run_camera(loaded, "boot", witness))
    replayed = asyncio.run(_replay(film, file))

    assert len(witness.decisions) >= 2
    assert [_told(d) for d in witness.decisions] == [_told(d) for d in replayed.decisions]
    assert [
        (shot.track_id, shot.revision, shot.reason, shot.face.candidate.frame_index)
        for shot in witness.shots
    ] == [
        (one.track_id, one.revision, one.reason, one.face.candidate.frame_index)
        for one in replayed.releases
    ]
    assert [shot.face.quality for shot in witness.shots] == pytest.approx(
        [one.face.quality for one in replayed.releases], abs=0.05
    )


async def _replay(film: Path, file: Path) -> Run:
    recordings: list[Recording]
    recordings, loaded, _ = await record([film], load_config(file))
    return simulate(recordings[0], loaded.config)
