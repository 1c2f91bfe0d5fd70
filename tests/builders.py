"""Values for tests, with only what a test is about spelt out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamgate.values import (
    ArrayPixels,
    Candidate,
    Crop,
    Face,
    FaceMeasures,
    Frame,
    ScoredFace,
    TrackedFace,
)

WALL = 1_700_000_000.0


def measures(**changed: float) -> FaceMeasures:
    """Measures of a good face."""
    values = {
        "size_px": 90.0,
        "eye_distance_px": 40.0,
        "detector_score": 0.93,
        "yaw_deg": 0.0,
        "roll_deg": 0.0,
        "sharpness": 300.0,
        "brightness": 120.0,
        "contrast": 45.0,
        "edge_distance_px": 50.0,
    }
    return FaceMeasures(**{**values, **changed})


def face(x: float = 100.0, y: float = 80.0, size: float = 90.0, score: float = 0.93) -> Face:
    """A frontal face with its box's corner at (x, y)."""
    template = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    box = np.array([x, y, x + size, y + size])
    return Face(box=box, landmarks=template * size + [x, y], detector_score=score)


def candidate(
    track: int = 1,
    at: float = 0.0,
    *,
    crop: NDArray[np.uint8] | None = None,
    index: int | None = None,
    **changed: float,
) -> Candidate:
    """A face of a track, captured at `at` seconds; frames are 25 a second unless numbered."""
    image = np.full((112, 112, 3), 127, np.uint8) if crop is None else crop
    return Candidate(
        tracked=TrackedFace(face(), track),
        measures=measures(**changed),
        crop=Crop(image),
        context=None,
        frame_index=round(at * 25) if index is None else index,
        captured_at=at,
        captured_wall=WALL + at,
        decoded_at=at,
        detected_at=at,
    )


def scored(track: int = 1, at: float = 0.0, quality: float = 50.0) -> ScoredFace:
    """A scored face of a track, captured and scored at `at` seconds."""
    embedding = np.zeros(4, np.float32)
    return ScoredFace(candidate(track, at), 100.0 - quality, quality, embedding, at)


def frame(index: int = 0, at: float = 0.0, *, image: NDArray[np.uint8] | None = None) -> Frame:
    """A frame captured at `at` seconds."""
    picture = np.zeros((36, 64, 3), np.uint8) if image is None else image
    return Frame(
        pixels=ArrayPixels(picture),
        index=index,
        connection=0,
        captured_at=at,
        captured_wall=WALL + at,
        decoded_at=at,
    )
