"""Cheap measures of a face, and the reason why it is not worth a score.

Scoring costs a hundred times as much as these, and a blank or smeared crop can score well. The
measures of geometry need no pixels, so they come first: `geometry_of` and `reject_geometry`, then
the crop, then `measure` and `reject_reason`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from streamgate.config.stages import PrecheckSection
from streamgate.faces.pose import pose_of
from streamgate.values import Crop, Face, FaceMeasures
from streamgate.values.reasons import Rejection

__all__ = [
    "Geometry",
    "geometry_of",
    "measure",
    "reject_geometry",
    "reject_reason",
]

_FACE_ROWS = slice(24, 108)
_FACE_COLUMNS = slice(20, 92)
"""The part of a crop that shows the face; the background may be sharp and bright by itself."""
_SMOOTHING_PX = 1.0
"""Without smoothing first, the Laplacian would measure the sensor's noise: a face blurred by 3 px,
with noise of 4 grey levels, would beat 30 of 100 sharp ones; with smoothing, fewer than 1 in
1,000."""
_LEAST_VARIANCE = 25.0
"""Added to the variance of the luma, so that rounding does not make a flat crop look sharp."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """What is known about a face without its pixels; see `FaceMeasures`."""

    size_px: float
    eye_distance_px: float
    detector_score: float
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    edge_distance_px: float


def geometry_of(face: Face) -> Geometry:
    """Measure a face without its pixels."""
    pose = pose_of(face.landmarks)
    eyes = face.landmarks[1] - face.landmarks[0]
    return Geometry(
        size_px=min(face.width, face.height),
        eye_distance_px=float(np.hypot(eyes[0], eyes[1])),
        detector_score=face.detector_score,
        yaw_deg=pose.yaw_deg,
        pitch_deg=pose.pitch_deg,
        roll_deg=pose.roll_deg,
        edge_distance_px=face.edge_distance_px,
    )


def reject_geometry(
    geometry: Geometry | FaceMeasures, settings: PrecheckSection
) -> Rejection | None:
    """Return why a face is not worth cutting out, or None."""
    least_edge_distance_px = settings.min_edge_distance * geometry.size_px
    failed = {
        Rejection.TOO_SMALL: geometry.size_px < settings.min_size_px,
        Rejection.AT_EDGE: geometry.edge_distance_px < least_edge_distance_px,
        Rejection.LOW_DETECTOR_SCORE: geometry.detector_score < settings.min_detector_score,
        Rejection.TURNED_AWAY: abs(geometry.yaw_deg) > settings.max_yaw_deg,
        Rejection.NODDING: abs(geometry.pitch_deg) > settings.max_pitch_deg,
        Rejection.TILTED: abs(geometry.roll_deg) > settings.max_roll_deg,
        Rejection.EYES_TOO_CLOSE: geometry.eye_distance_px < settings.min_eye_distance_px,
    }
    return _first(failed)


def measure(geometry: Geometry, crop: Crop) -> FaceMeasures:
    """Add the measures of the aligned crop's pixels; every value is finite on every crop."""
    luma = cv2.cvtColor(crop.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(luma, (0, 0), _SMOOTHING_PX)
    detail = cv2.Laplacian(smooth, cv2.CV_32F)[_FACE_ROWS, _FACE_COLUMNS]
    face = luma[_FACE_ROWS, _FACE_COLUMNS]
    variance = float(face.var(dtype=np.float64))
    return FaceMeasures(
        size_px=geometry.size_px,
        eye_distance_px=geometry.eye_distance_px,
        detector_score=geometry.detector_score,
        yaw_deg=geometry.yaw_deg,
        pitch_deg=geometry.pitch_deg,
        roll_deg=geometry.roll_deg,
        sharpness=1000 * float(detail.var(dtype=np.float64)) / (variance + _LEAST_VARIANCE),
        brightness=float(face.mean(dtype=np.float64)),
        contrast=float(np.sqrt(variance)),
        edge_distance_px=geometry.edge_distance_px,
    )


def reject_reason(measures: FaceMeasures, settings: PrecheckSection) -> Rejection | None:
    """Return why a face is not worth a score, or None.

    Brightness is tested before sharpness: a black crop is blurred too, but black is the reason.
    """
    failed = {
        Rejection.TOO_DARK: measures.brightness < settings.min_brightness,
        Rejection.TOO_BRIGHT: measures.brightness > settings.max_brightness,
        Rejection.FLAT: measures.contrast < settings.min_contrast,
        Rejection.BLURRED: measures.sharpness < settings.min_sharpness,
    }
    return reject_geometry(measures, settings) or _first(failed)


def _first(failed: dict[Rejection, bool]) -> Rejection | None:
    return next((rejection for rejection, has_failed in failed.items() if has_failed), None)
