"""The real pipeline of a camera while its scorer takes ten times as long as it should.

Short by default; `STREAMGATE_SOAK_S` makes each run as long as is asked for.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from streamgate.config import load_config
from streamgate.daemon.compose import Camera, compose
from streamgate.values import Scores
from tests.daemon.films import film_visit

SOAK_S = float(os.environ.get("STREAMGATE_SOAK_S", "12"))
SLOWER = 10
# What allocators and caches take once, when they have been warmed up.
SLACK_BYTES = 40e6

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(SOAK_S + 180)]


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def slow_down(camera: Camera, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each batch take ten times as long as it does."""
    scorer = camera.pipeline.parts.scorer
    score = scorer.score

    async def slowly(crops: NDArray[np.uint8]) -> Scores:
        began_at = time.monotonic()
        scores = await score(crops)
        await asyncio.sleep((SLOWER - 1) * (time.monotonic() - began_at))
        return scores

    monkeypatch.setattr(scorer, "score", slowly)


def counted(camera: Camera, name: str, **labels: str) -> float:
    return camera.metrics.registry.get_sample_value(f"streamgate_{name}", labels) or 0.0


async def watch(camera: Camera, seconds: float) -> list[int]:
    """Run the camera, and return the memory in use each second from half its time on."""
    memory: list[int] = []
    await camera.dispatcher.open()
    async with asyncio.TaskGroup() as group:
        delivering = group.create_task(camera.dispatcher.run())
        watching = group.create_task(camera.pipeline.run(camera.slot.frames()))
        reading = group.create_task(camera.source.run(camera.slot))
        ends_at = time.monotonic() + seconds
        while (left_s := ends_at - time.monotonic()) > 0:
            await asyncio.sleep(min(1.0, left_s))
            if left_s < seconds / 2:
                memory.append(resident_bytes())
        camera.slot.close()
        reading.cancel()
        camera.pipeline.limit_drain(1.0)
        await watching
        await camera.dispatcher.drain(1.0)
        await delivering
    return memory


def settings(folder: Path, source: str) -> Path:
    file = folder / "camera.yaml"
    file.write_text(
        f"camera: {{name: door}}\nsource: {source}\n"
        "gate: {min_quality: 0}\nquality: {score_share: 1.0}\n"
    )
    return file


async def test_frames_stay_young_and_memory_flat_with_a_slow_scorer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """99 of 100 frames are looked at within a second of their capture, and nothing piles up."""
    film = film_visit(tmp_path / "visits.mkv", stays_s=3, away_s=1.5)
    file = settings(tmp_path, f"{{kind: file, path: {film}, loop: true}}")
    async with AsyncExitStack() as stack:
        camera = await compose(load_config(file), "boot", stack, None)
        slow_down(camera, monkeypatch)
        memory = await watch(camera, SOAK_S)
    ages = counted(camera, "frame_age_seconds_count")
    young = counted(camera, "frame_age_seconds_bucket", le="1.0")
    assert ages > SOAK_S
    # On an idle machine even a tenth of the default's speed keeps up with one visitor.
    assert 0 < counted(camera, "faces_scored_total") <= counted(camera, "faces_detected_total")
    assert young >= 0.99 * ages
    assert max(memory) - memory[0] < SLACK_BYTES


async def test_memory_is_flat_with_a_dead_camera(tmp_path: Path) -> None:
    """Hundreds of refused connections leave nothing behind."""
    source = (
        "{kind: rtsp, url: 'rtsp://127.0.0.1:9/camera', reconnect: {initial_s: 0.1, max_s: 0.1}}"
    )
    async with AsyncExitStack() as stack:
        camera = await compose(load_config(settings(tmp_path, source)), "boot", stack, None)
        memory = await watch(camera, SOAK_S / 2)
    assert counted(camera, "source_faults_total", reason="refused") > SOAK_S / 4
    assert max(memory) - memory[0] < SLACK_BYTES
