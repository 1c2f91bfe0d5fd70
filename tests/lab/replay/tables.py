"""Tables of made-up people: known qualities over time, and measures that tell part of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgate.config import CameraConfig
from streamgate.lab.replay.recording import Moment, Recording, SeenScored
from streamgate.values import ScoredFace
from tests.builders import candidate

__all__ = ["FRAME_S", "config", "recording", "walk"]

# A power of two, so that times add up without rounding.
FRAME_S = 1 / 32
_JPEG = cv2.imencode(".jpg", np.full((112, 112, 3), 90, np.uint8))[1].tobytes()


def config(**sections: object) -> CameraConfig:
    """A camera's settings, defaults but for these sections; every track is a visit of its own."""
    sections["gate"] = {"visit_s": 0, **dict(sections.get("gate") or {})}  # type: ignore[call-overload] # a section is a mapping
    return CameraConfig.model_validate(
        {"camera": {"name": "hall"}, "source": {"kind": "file", "path": "hall.mkv"}, **sections}
    )


def walk(seed: int, frames: int = 200) -> NDArray[np.float64]:
    """Qualities of somebody who comes, is well seen for a moment, and goes; 0-100 [frames]."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames) * FRAME_S
    course = 25 + rng.uniform(15, 45) * np.exp(
        -(((time - rng.uniform(0.2, 0.8) * time[-1]) / rng.uniform(0.4, 1.2)) ** 2)
    )
    drift = np.zeros(frames)
    for i in range(1, frames):
        drift[i] = 0.92 * drift[i - 1] + rng.normal(0, 2.0)
    return np.asarray(np.clip(course + drift + rng.normal(0, 1.5, frames), 0, 100))


def recording(
    tracks: Mapping[int, NDArray[np.float64]],
    *,
    starts: Mapping[int, int] | None = None,
    name: str = "hall.mkv",
    seed: int = 0,
) -> Recording:
    """A table in which each track's faces have these qualities, NaN where a precheck fails.

    Sharpness and brightness follow the quality loosely; the box's size and the detector's score do
    not follow it at all. Embeddings lie the further from the person's own, the worse the face is.
    """
    rng = np.random.default_rng(seed)
    starts = starts or {}
    last = max(starts.get(track, 0) + len(qualities) for track, qualities in tracks.items())
    people = {track: rng.normal(size=16) for track in tracks}
    moments = []
    for index in range(last):
        ended = tuple(t for t, q in tracks.items() if index == starts.get(t, 0) + len(q))
        seen = []
        for track, qualities in tracks.items():
            place = index - starts.get(track, 0)
            if 0 <= place < len(qualities):
                seen.append(_seen(track, index, float(qualities[place]), people[track], rng))
        moments.append(Moment(index, index * FRAME_S, ended, tuple(seen)))
    return Recording(Path(name), tuple(moments))


def _seen(
    track: int, index: int, quality: float, person: NDArray[np.float64], rng: np.random.Generator
) -> SeenScored:
    if np.isnan(quality):
        return SeenScored(candidate(track).tracked, "blurred")
    found = candidate(
        track,
        index * FRAME_S,
        sharpness=float(np.exp(rng.normal(1.5 + quality / 50, 0.4))),
        brightness=float(np.clip(rng.normal(60 + 0.6 * quality, 12), 0, 255)),
        detector_score=float(rng.uniform(0.85, 0.95)),
    )
    # The builder counts 25 frames a second; here each of 32 has an index of its own.
    found = type(found)(
        tracked=found.tracked, measures=found.measures, crop=found.crop, context=None,
        frame_index=index, captured_at=found.captured_at, captured_wall=found.captured_at,
        decoded_at=found.captured_at, detected_at=found.captured_at,
    )  # fmt: skip
    vector = person + rng.normal(size=16) * (1.2 - quality / 100)
    embedding = (vector / np.linalg.norm(vector)).astype(np.float32)
    face = ScoredFace(found, 100.0 - quality, quality, embedding, found.captured_at)
    return SeenScored(found.tracked, None, face, _JPEG)
