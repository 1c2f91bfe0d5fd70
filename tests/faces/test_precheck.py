"""Prechecks: every reason has the face that it is for."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamgate.config.stages import PrecheckSection
from streamgate.faces.align import landmark_error_px, similarity_to_template
from streamgate.faces.examine import examine
from streamgate.faces.pose import pose_of
from streamgate.faces.precheck import geometry_of, reject_geometry
from streamgate.values import Face, Image
from streamgate.values.reasons import Rejection
from tests.faces.parts import head

SETTINGS = PrecheckSection()


def textured(low: int = 40, high: int = 210) -> Image:
    """A picture with detail everywhere, its levels between the two."""
    noise = np.random.default_rng(5).integers(low, high, (75, 75, 3), np.uint8)
    return np.asarray(cv2.resize(noise, (300, 300), interpolation=cv2.INTER_CUBIC), np.uint8)


def test_a_good_face_passes() -> None:
    """A frontal, lit, sharp face is cut out, and has no reason against it."""
    found = examine(textured(), head(), SETTINGS)
    assert found.rejection is None
    assert found.crop is not None
    assert found.crop.image.shape == (112, 112, 3)
    assert found.measures is not None
    assert found.measures.eye_distance_px == pytest.approx(50)


@pytest.mark.parametrize(
    ("face", "reason"),
    [
        (head(eyes_px=14), Rejection.TOO_SMALL),
        (head(edge_distance_px=1), Rejection.AT_EDGE),
        (head(edge_distance_px=-20), Rejection.AT_EDGE),
        (head(score=0.65), Rejection.LOW_DETECTOR_SCORE),
        (head(eyes_px=16, yaw_deg=50), Rejection.EYES_TOO_CLOSE),
        (head(yaw_deg=75), Rejection.TURNED_AWAY),
        (head(yaw_deg=-75), Rejection.TURNED_AWAY),
        (head(pitch_deg=60), Rejection.NODDING),
        (head(pitch_deg=-60), Rejection.NODDING),
        (head(roll_deg=60), Rejection.TILTED),
        (head(roll_deg=-60), Rejection.TILTED),
        (head(roll_deg=180), Rejection.TILTED),
    ],
)
def test_geometry_rejects_before_pixels_are_read(face: Face, reason: Rejection) -> None:
    """Each reason that needs no pixels is told, and nothing is cut out."""
    found = examine(textured(), face, SETTINGS)
    assert found.rejection is reason
    assert found.crop is None


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (textured(0, 30), Rejection.TOO_DARK),
        (textured(236, 255), Rejection.TOO_BRIGHT),
        (np.full((300, 300, 3), 128, np.uint8), Rejection.FLAT),
        (textured(126, 131), Rejection.FLAT),
        (np.asarray(cv2.GaussianBlur(textured(0, 255), (0, 0), 9), np.uint8), Rejection.BLURRED),
        (
            np.repeat(np.linspace(40, 215, 300).astype(np.uint8)[None, :, None], 300, 0).repeat(
                3, 2
            ),
            Rejection.BLURRED,
        ),
        (np.zeros((300, 300, 3), np.uint8), Rejection.TOO_DARK),
        (np.full((300, 300, 3), 255, np.uint8), Rejection.TOO_BRIGHT),
    ],
)
def test_pixels_reject(picture: Image, reason: Rejection) -> None:
    """Too dark, too bright, flat and smeared faces are told apart."""
    assert examine(picture, head(), SETTINGS).rejection is reason


@pytest.mark.parametrize("landmarks", [np.full((5, 2), np.nan), np.full((5, 2), 100.0)])
def test_landmarks_that_say_nothing_are_a_reason(landmarks: NDArray[np.float64]) -> None:
    """A face whose points are in one place, or nowhere, is rejected whatever the settings are."""
    face = Face(np.array([50.0, 50.0, 150.0, 150.0]), landmarks, 0.95, 60.0)
    lenient = PrecheckSection(min_eye_distance_px=0, max_yaw_deg=90, max_pitch_deg=90)
    assert examine(textured(), face, lenient).rejection is Rejection.NOT_ALIGNABLE
    assert examine(textured(), face, SETTINGS).rejection is not None


def test_landmarks_as_in_no_face_are_a_reason() -> None:
    """A mouth beside the eyes, say on hair: rejected with the limit, and not without it."""
    good = head()
    landmarks = good.landmarks.copy()
    landmarks[3] += (-25.0, -25.0)
    landmarks[2] += (20.0, 10.0)
    face = Face(good.box, landmarks, 0.95, 60.0)
    assert examine(textured(), face, SETTINGS).rejection is Rejection.IMPLAUSIBLE
    lenient = PrecheckSection(max_landmark_error_px=112)
    assert examine(textured(), face, lenient).rejection is None


@pytest.mark.parametrize("yaw_deg", [-45, 0, 45])
def test_landmarks_of_a_turned_head_are_plausible(yaw_deg: float) -> None:
    """The test of plausibility does not replace that of yaw."""
    face = head(yaw_deg=yaw_deg)
    similarity = similarity_to_template(face.landmarks)
    assert similarity is not None
    assert landmark_error_px(face.landmarks, similarity) < SETTINGS.max_landmark_error_px


@given(st.floats(-50, 50), st.floats(-30, 30))
def test_pose_is_read_off_the_landmarks(yaw_deg: float, roll_deg: float) -> None:
    """Turn and tilt of a head are estimated with the right sign, to a few degrees."""
    pose = pose_of(head(yaw_deg=yaw_deg, roll_deg=roll_deg).landmarks)
    assert pose.yaw_deg == pytest.approx(yaw_deg, abs=6)
    assert pose.roll_deg == pytest.approx(roll_deg, abs=6)


@pytest.mark.parametrize("pitch_deg", [-30, 30])
def test_a_nod_has_its_sign(pitch_deg: float) -> None:
    """Down is positive."""
    assert pose_of(head(pitch_deg=pitch_deg).landmarks).pitch_deg * pitch_deg > 0


@given(
    st.lists(
        st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=10, max_size=10
    ).map(lambda values: np.array(values).reshape(5, 2))
)
def test_no_landmarks_make_a_pose_that_is_no_number(landmarks: NDArray[np.float64]) -> None:
    """Whatever a detector says, each angle is finite and within its range."""
    pose = pose_of(landmarks)
    assert abs(pose.yaw_deg) <= 90
    assert abs(pose.pitch_deg) <= 90
    assert abs(pose.roll_deg) <= 180


def test_settings_can_switch_each_check_off() -> None:
    """Zero for a least value and the widest of each range let the same faces through."""
    lenient = PrecheckSection(
        min_size_px=0, min_eye_distance_px=0, min_detector_score=0, max_yaw_deg=90,
        max_pitch_deg=90, max_roll_deg=180, min_edge_distance=0,
    )  # fmt: skip
    for face in (head(eyes_px=4), head(yaw_deg=80), head(roll_deg=180), head(score=0.01)):
        assert reject_geometry(geometry_of(face), lenient) is None
