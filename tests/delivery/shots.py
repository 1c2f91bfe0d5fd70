"""Best shots made by hand."""

from __future__ import annotations

import numpy as np

from streamgate.delivery.payload import encode_shot
from streamgate.values import (
    BestShot,
    Candidate,
    Crop,
    EncodedShot,
    Face,
    FaceMeasures,
    Image,
    Picture,
    ReleaseReason,
    ScoredFace,
    TrackedFace,
)

CAPTURED_WALL = 1_790_000_000.25


def picture(height: int = 112, width: int = 112, seed: int = 0) -> Image:
    """A smooth coloured picture: noise would not survive JPEG, and faces are smooth."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [127 + 120 * np.sin((x * (c + 1) + y * (3 - c)) / 40 + seed) for c in range(3)]
    image = np.stack(channels, axis=-1).astype(np.uint8)
    image.flags.writeable = False
    return image


def best_shot(
    track_id: int = 1,
    revision: int = 1,
    *,
    quality: float = 71.5,
    boot_id: str = "b00t",
    context: bool = False,
    captured_wall: float = CAPTURED_WALL,
) -> BestShot:
    embedding = np.random.default_rng(track_id).normal(size=512).astype(np.float32)
    embedding /= np.linalg.norm(embedding)
    face = Face(
        box=np.array([10.0, 20.0, 74.0, 100.0]),
        landmarks=np.array([[25.0, 45], [55, 46], [40, 60], [28, 80], [52, 81]]),
        detector_score=0.93,
    )
    candidate = Candidate(
        tracked=TrackedFace(face, track_id),
        measures=FaceMeasures(64.0, 30.0, 0.93, -4.0, 1.9, 120.0, 110.0, 50.0, 10.0),
        crop=Crop(picture(seed=track_id)),
        context=picture(240, 200, seed=track_id) if context else None,
        frame_index=17,
        captured_at=100.0,
        captured_wall=captured_wall,
        decoded_at=100.01,
        detected_at=100.02,
    )
    return BestShot(
        camera="door",
        boot_id=boot_id,
        revision=revision,
        rank=1,
        reason=ReleaseReason.TRACK_ENDED,
        face=ScoredFace(candidate, 0.034, quality, embedding, 100.05),
        decided_at=101.5,
        decided_wall=captured_wall + 1.5,
        model_hash="a" * 64,
        config_hash="b" * 64,
        visit=track_id,
    )


def encoded_shot(
    track_id: int = 1,
    revision: int = 1,
    *,
    quality: float = 71.5,
    boot_id: str = "b00t",
    decided_wall: float = CAPTURED_WALL,
    size: int = 100,
) -> EncodedShot:
    """A small one whose bytes mean nothing."""
    return EncodedShot(
        key=f"door-{boot_id}-{track_id}-{revision}",
        camera="door",
        boot_id=boot_id,
        track_id=track_id,
        revision=revision,
        quality=quality,
        captured_wall=decided_wall - 1,
        decided_wall=decided_wall,
        metadata=b"{}",
        crop=Picture("image/jpeg", bytes([track_id % 256]) * (size - 2)),
        context=None,
    )


def real_shot(track_id: int = 1, revision: int = 1, *, context: bool = False) -> EncodedShot:
    """One whose bytes are what a sink's reader would get."""
    return encode_shot(best_shot(track_id, revision, context=context))
