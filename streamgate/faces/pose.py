"""How a head is turned, estimated from five landmarks.

The head is a rigid set of five points seen from afar: eyes half an eye distance to either side,
the nose tip between eyes and mouth and in front of them. In a picture that is turned upright, with
the line from between the eyes to between the mouth's corners as the unit,

    nose's offset from that line = depth · sin(yaw),   widths = frontal widths · cos(yaw),

so their quotient gives the yaw, whatever the distance and the nod; and the nose's place along that
line gives the nod. The numbers of the head were fitted to 8,354 detections by YuNet, from frontal
to profile: widths are the medians of frontal faces, and the depth is the one with which offsets
and widths of turned faces agree.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pose", "pose_of"]

_FRONTAL_WIDTHS = 1.01 + 0.85
"""Distance of the eyes plus distance of the mouth's corners on a frontal face."""
_NOSE_DEPTH = 0.44
"""How far the tip of the nose protrudes."""
_NOSE_PLACE = 0.557
"""Where the tip of the nose lies on the line from eyes to mouth, on a level face."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Estimated pose of a head, in degrees.

    Attributes:
        yaw_deg: 0 frontal, positive when the nose points to the picture's right, -90 to 90.
        pitch_deg: 0 level, positive downwards, -90 to 90.
        roll_deg: 0 upright, positive clockwise in the picture, -180 to 180.
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


def pose_of(landmarks: NDArray[np.float64]) -> Pose:
    """Estimate the pose; never a NaN, whatever the landmarks.

    Args:
        landmarks: float64 [5, 2], in the order of `Face.landmarks`.
    """
    left_eye, right_eye, nose, left_mouth, right_mouth = (
        complex(x, y) if math.isfinite(x) and math.isfinite(y) else 0j for x, y in landmarks
    )
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    down = mouth - eyes
    # Both directions, across and along the face, show its tilt; in profile only the second does.
    across = right_eye - left_eye + right_mouth - left_mouth - 1j * down
    height = abs(down)
    if height == 0 or across == 0:
        return Pose(0.0, 0.0, 0.0)
    upright = (1j * height) / (down * height)
    nose_offset = (nose - eyes) * upright
    widths = ((right_eye - left_eye + right_mouth - left_mouth) * upright).real
    yaw = math.atan2(nose_offset.real / _NOSE_DEPTH, max(0.0, widths) / _FRONTAL_WIDTHS)
    pitch = math.atan((nose_offset.imag - _NOSE_PLACE) / _NOSE_DEPTH)
    return Pose(math.degrees(yaw), math.degrees(pitch), math.degrees(cmath.phase(across)))
