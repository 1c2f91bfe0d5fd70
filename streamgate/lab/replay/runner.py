"""Build what a replay needs, and turn video files into tables."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from streamgate.config import LoadedConfig
from streamgate.faces.analyse import FaceAnalyser
from streamgate.faces.detect import YuNetDetector
from streamgate.faces.track import FaceTracker
from streamgate.lab.replay.prefetch import DetectionPrefetch
from streamgate.lab.replay.recording import Embedder, Recorder, Recording, VideoClock
from streamgate.lab.replay.simulation import Run, simulate
from streamgate.models.registry import path_of
from streamgate.pipeline import SystemClock
from streamgate.quality import GrafiqsScorer
from streamgate.quality.non_faces import load_non_faces
from streamgate.quality.threshold import with_threshold
from streamgate.selection.decision_record import (
    DecidedUnder,
    decision_line,
    decision_record,
    forwarded_shot,
)
from streamgate.values import BestShot

__all__ = ["decision_lines", "record"]

_THREADS = 2
"""Threads that detect; with the scorer they keep a machine of two cores busy."""


async def record(
    videos: Sequence[Path],
    loaded: LoadedConfig,
    *,
    embedder: Embedder | None = None,
    on_frame: Callable[[Path, float], None] = lambda _path, _at: None,
) -> tuple[list[Recording], LoadedConfig, str]:
    """Score every face that passes the prechecks once, in each video.

    Returns:
        The tables, the settings with the threshold as a quality, and the sha256 of the weights.

    Raises:
        StreamgateError: a video, a model or the device cannot be used.
    """
    config = loaded.config
    detector_path = await asyncio.to_thread(path_of, config.detector.model)
    recordings = []
    async with await GrafiqsScorer.start(config.quality) as scorer:
        gate = with_threshold(config.gate, scorer.calibration)
        barred = replace(loaded, config=config.model_copy(update={"gate": gate}))
        # Models are loaded first, so that a fault in them shows before any video is read.
        await asyncio.to_thread(YuNetDetector, config.detector, detector_path)
        non_faces = load_non_faces(
            config.quality.weights, scorer.model_hash, config.quality.max_non_face_similarity
        )
        with (
            ThreadPoolExecutor(1, thread_name_prefix="analysis") as detection,
            DetectionPrefetch(
                lambda: YuNetDetector(config.detector, detector_path), _THREADS
            ) as prefetch,
        ):
            for video in videos:
                clock = VideoClock()
                recorder = Recorder(
                    FaceAnalyser(
                        config, prefetch, FaceTracker(config.tracker), clock, every_frame=True
                    ),
                    prefetch,
                    detection,
                    scorer,
                    clock=clock,
                    embedder=embedder,
                    on_frame=lambda at, video=video: on_frame(video, at),  # type: ignore[misc] # mypy cannot infer a lambda with a default
                )
                table = await recorder.record(video, SystemClock())
                table = replace(table, identity=scorer.identity, non_faces=non_faces)
                visits = simulate(table, barred.config).visits
                recordings.append(replace(table, visits=visits))
        return recordings, barred, scorer.model_hash


def decision_lines(
    recording: Recording, run: Run, loaded: LoadedConfig, model_hash: str
) -> list[bytes]:
    """The decision log of the gate on one video.

    The id of the boot is random for a daemon. Here it is derived from the video, the configuration
    and the weights, so that equal replays give equal lines.
    """
    config = loaded.config
    with recording.path.open("rb") as file:
        video_hash = hashlib.file_digest(file, "sha256").hexdigest()
    identity = f"{video_hash}{loaded.config_hash}{model_hash}"
    boot_id = hashlib.sha256(identity.encode()).hexdigest()[:12]
    under = DecidedUnder(
        camera=config.camera.name,
        boot_id=boot_id,
        model_hash=model_hash,
        config_hash=loaded.config_hash,
        gate=config.gate,
        precheck=config.precheck,
        zones=config.zones,
        outbox=None,
    )
    shots: dict[int, list[BestShot]] = {}
    for release in run.releases:
        shot = BestShot(
            camera=under.camera,
            boot_id=boot_id,
            revision=release.revision,
            rank=release.rank,
            reason=release.reason,
            face=release.face,
            decided_at=release.at,
            decided_wall=release.at,
            model_hash=model_hash,
            config_hash=loaded.config_hash,
            visit=release.visit,
        )
        shots.setdefault(release.track_id, []).append(shot)
    return [
        decision_line(
            decision_record(
                decision,
                [forwarded_shot(shot, "replayed") for shot in shots.get(decision.track_id, ())],
                under,
            )
        )
        for decision in run.decisions
    ]
