"""The published form of a best shot: JSON metadata and encoded pictures.

A best shot is encoded once, when it is accepted. What is stored, delivered and delivered again is
these bytes, so that a consumer may drop a repetition by its key without looking further.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Literal, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgate.values import BestShot, EncodedShot, Image, Picture

__all__ = [
    "SCHEMA_NAME",
    "SCHEMA_VERSION",
    "PictureFormat",
    "encode_picture",
    "encode_shot",
    "iso_8601",
    "payload_schema",
    "single_document",
]

SCHEMA_NAME = "streamgate.best-shot"
SCHEMA_VERSION = 1

PictureFormat = Literal["jpeg", "png"]


def _context(shot: BestShot) -> Image | None:
    return shot.face.candidate.context


def encode_shot(
    shot: BestShot,
    *,
    crop_format: PictureFormat = "jpeg",
    jpeg_quality: int = 95,
    template: bool = False,
    context_from: Callable[[BestShot], Image | None] = _context,
) -> EncodedShot:
    """Encode a best shot; the context crop is always a JPEG.

    Args:
        template: whether the track's template is part of it.
        context_from: makes the wider picture that is sent of the one that was taken.
    """
    candidate = shot.face.candidate
    crop = encode_picture(candidate.crop.image, crop_format, jpeg_quality)
    wider, context = context_from(shot), None
    if wider is not None:
        context = encode_picture(wider, "jpeg", jpeg_quality)
    metadata: dict[str, Any] = {
        "schema": SCHEMA_NAME,
        "schema_version": SCHEMA_VERSION,
        "key": shot.key,
        "camera": shot.camera,
        "boot_id": shot.boot_id,
        "track_id": shot.track_id,
        "visit": shot.visit,
        "revision": shot.revision,
        "rank": shot.rank,
        "zone": candidate.zone,
        "reason": shot.reason.value,
        "captured_at": iso_8601(candidate.captured_wall),
        "decided_at": iso_8601(shot.decided_wall),
        "monotonic_s": _monotonic_times(shot),
        "frame_index": candidate.frame_index,
        "face": _face(shot),
        "quality": float(shot.face.quality),
        "raw": float(shot.face.raw),
        "embedding": _embedding(shot.face.embedding, shot.model_hash),
        "model_hash": shot.model_hash,
        "config_hash": shot.config_hash,
        "crop": _picture(crop, candidate.crop.image),
        "context": None if context is None or wider is None else _picture(context, wider),
    }
    if shot.epoch is not None:
        metadata["epoch"] = shot.epoch
    if template and shot.template is not None:
        metadata["template"] = _embedding(shot.template, shot.model_hash)
    return EncodedShot(
        key=shot.key,
        camera=shot.camera,
        boot_id=shot.boot_id,
        track_id=shot.track_id,
        revision=shot.revision,
        quality=float(shot.face.quality),
        captured_wall=candidate.captured_wall,
        decided_wall=shot.decided_wall,
        metadata=_json(metadata),
        crop=crop,
        context=context,
    )


def encode_picture(image: Image, picture_format: PictureFormat, jpeg_quality: int) -> Picture:
    """Encode an RGB uint8 [H, W, 3] picture; png is lossless."""
    # OpenCV's encoders take BGR.
    reversed_channels = np.ascontiguousarray(image[:, :, ::-1])
    if picture_format == "jpeg":
        # Full chroma resolution: at 112 pixels, halved chroma moves the score.
        options = [
            cv2.IMWRITE_JPEG_QUALITY, jpeg_quality,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ]  # fmt: skip
        done, data = cv2.imencode(".jpg", reversed_channels, options)
    else:
        done, data = cv2.imencode(".png", reversed_channels)
    if not done:
        raise ValueError(f"a {image.shape} picture cannot be encoded as {picture_format}")
    return Picture(f"image/{picture_format}", data.tobytes())


def single_document(shot: EncodedShot) -> bytes:
    """The same JSON with the pictures inside as base64, for sinks whose messages have one part."""
    document = json.loads(shot.metadata)
    document["crop"]["base64"] = base64.b64encode(shot.crop.data).decode()
    if shot.context is not None:
        document["context"]["base64"] = base64.b64encode(shot.context.data).decode()
    return _json(document)


def payload_schema() -> dict[str, Any]:
    """The JSON Schema of the metadata and of `single_document`."""
    name = f"best-shot-v{SCHEMA_VERSION}.schema.json"
    text = resources.files("streamgate.delivery").joinpath(name).read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))


def iso_8601(unix_s: float) -> str:
    """Unix seconds as UTC date and time with microseconds, as in 2026-11-24T09:30:00.250000Z."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _monotonic_times(shot: BestShot) -> dict[str, float]:
    candidate = shot.face.candidate
    return {
        "captured": candidate.captured_at,
        "decoded": candidate.decoded_at,
        "detected": candidate.detected_at,
        "scored": shot.face.scored_at,
        "decided": shot.decided_at,
    }


def _face(shot: BestShot) -> dict[str, Any]:
    candidate = shot.face.candidate
    face, measures = candidate.tracked.face, candidate.measures
    return {
        "box": [float(value) for value in face.box],
        "landmarks": [[float(x), float(y)] for x, y in face.landmarks],
        "detector_score": float(face.detector_score),
        "size_px": float(measures.size_px),
        "eye_distance_px": float(measures.eye_distance_px),
        "yaw_deg": float(measures.yaw_deg),
        "pitch_deg": float(measures.pitch_deg),
        "roll_deg": float(measures.roll_deg),
        "sharpness": float(measures.sharpness),
        "brightness": float(measures.brightness),
        "contrast": float(measures.contrast),
        "edge_distance_px": float(measures.edge_distance_px),
    }


def _embedding(embedding: NDArray[np.float32], model_hash: str) -> dict[str, Any]:
    values = np.asarray(embedding, dtype="<f4")
    return {
        "type": "float32",
        "byte_order": "little",
        "length": int(values.size),
        "model_hash": model_hash,
        "base64": base64.b64encode(values.tobytes()).decode(),
    }


def _picture(picture: Picture, image: Image) -> dict[str, Any]:
    return {
        "media_type": picture.media_type,
        "width": int(image.shape[1]),
        "height": int(image.shape[0]),
        "bytes": len(picture.data),
        "sha256": hashlib.sha256(picture.data).hexdigest(),
    }
