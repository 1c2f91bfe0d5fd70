"""Photographs and faces with a known pose."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgate.errors import StreamgateError
from streamgate.models.registry import path_of
from streamgate.values import Face, Image
from tests import needs

__all__ = ["head", "photograph"]

# The landmarks of a head in units of its eye distance: x to the picture's right, y down, z to the
# viewer. Frontal, the nose's tip lies between eyes and mouth and stands out.
_HEAD = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.55, 0.45], [-0.42, 1, 0], [0.42, 1, 0]])


def photograph(name: str) -> Image:
    """Return a public-domain photograph as RGB, or skip the test."""
    try:
        path = path_of(name)
    except StreamgateError as error:
        needs.missing(f"the photograph {name}", str(error))
    picture = cv2.imread(str(path))
    assert picture is not None
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def head(
    *,
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
    roll_deg: float = 0.0,
    eyes_px: float = 50.0,
    score: float = 0.95,
    edge_distance_px: float = 60.0,
) -> Face:
    """Return the face of a head seen from afar, around (150, 150).

    Args:
        yaw_deg: how far the nose points to the picture's right.
        pitch_deg: how far it points down.
        roll_deg: how far the head is tilted clockwise in the picture.
        eyes_px: distance of the eyes of the frontal face.
        score, edge_distance_px: as the detector would tell them.
    """
    yaw, pitch, roll = (math.radians(angle) for angle in (yaw_deg, pitch_deg, roll_deg))
    turn = np.array(
        [[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]]
    )
    nod = np.array(
        [[1, 0, 0], [0, math.cos(pitch), math.sin(pitch)], [0, -math.sin(pitch), math.cos(pitch)]]
    )
    tilt = np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
    seen: NDArray[np.float64] = (_HEAD @ turn.T @ nod.T)[:, :2] @ tilt.T
    landmarks = (seen - [0, 0.5]) * eyes_px + 150
    reach = 1.1 * eyes_px
    box = np.array([150 - reach, 150 - reach, 150 + reach, 150 + reach])
    return Face(box, landmarks, score, edge_distance_px)
