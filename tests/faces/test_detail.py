"""A face that was found in a small picture is cut out of a large one."""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest

from streamgate.config import DetectorSection
from streamgate.config.stages import PrecheckSection
from streamgate.errors import StreamgateError
from streamgate.faces.detail import examine_closely
from streamgate.faces.detect import YuNetDetector
from streamgate.faces.examine import examine
from streamgate.models.registry import installed, path_of
from streamgate.values import ArrayPixels, Face, Frame, Image
from streamgate.values.reasons import DetailOutcome
from tests import needs


class Large(ArrayPixels):
    """The main stream's picture, and the `Detail` that gives it."""

    def __init__(self, image: Image, *, is_late: bool = False) -> None:
        super().__init__(image)
        self.image = image
        self.is_late = is_late
        self.outcomes: Counter[DetailOutcome] = Counter()

    def window(self, x1: int, y1: int, x2: int, y2: int) -> tuple[Image, tuple[int, int]]:
        x1, y1 = max(0, x1), max(0, y1)
        return self.image[y1:y2, x1:x2], (x1, y1)

    def picture(self) -> Large | None:
        return None if self.is_late else self

    def note(self, outcome: DetailOutcome) -> None:
        self.outcomes[outcome] += 1


@pytest.fixture(scope="module")
def photograph() -> Image:
    try:
        found = cv2.imread(str(path_of("photo-astronaut")))
    except StreamgateError as error:
        needs.missing("the photograph of an astronaut", str(error))
    assert found is not None
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)


@pytest.fixture(scope="module")
def detector() -> YuNetDetector:
    return YuNetDetector(DetectorSection(), installed("yunet"))


def seen(photograph: Image, large: Large, detector: YuNetDetector) -> tuple[Frame, Face]:
    """The frame of the substream, a quarter as wide, and the face in it."""
    small = np.asarray(cv2.resize(photograph, (128, 128), interpolation=cv2.INTER_AREA), np.uint8)
    frame = Frame(ArrayPixels(small), 0, 0, 0.0, 0.0, 0.0, detail=large)
    (face,) = detector.detect(small)
    return frame, face


def test_the_crop_is_that_of_the_large_picture_alone(
    photograph: Image, detector: YuNetDetector
) -> None:
    """As large, and aligned as if the face had been found there, to a pixel or two."""
    large = Large(photograph)
    frame, face = seen(photograph, large, detector)
    found = examine_closely(frame, face, PrecheckSection(), detector)
    (alone,) = detector.detect(photograph)
    wanted = examine(photograph, alone, PrecheckSection())
    assert found.rejection is None
    assert found.measures is not None
    assert wanted.measures is not None
    assert found.crop is not None
    assert wanted.crop is not None
    assert found.measures.size_px == pytest.approx(wanted.measures.size_px, rel=0.1)
    apart = np.abs(found.crop.image.astype(int) - wanted.crop.image.astype(int)).mean()
    assert apart < 16
    assert large.outcomes == {DetailOutcome.MAIN: 1}


@pytest.mark.parametrize("moved_px", [40, -40])
def test_a_face_that_has_moved_a_little_is_found_again(
    photograph: Image, detector: YuNetDetector, moved_px: int
) -> None:
    """By half of its width in the time between the two pictures."""
    large = Large(np.roll(photograph, moved_px, axis=1))
    frame, face = seen(photograph, large, detector)
    found = examine_closely(frame, face, PrecheckSection(), detector)
    assert found.measures is not None
    assert found.measures.size_px > 60
    assert large.outcomes == {DetailOutcome.MAIN: 1}


def test_a_face_that_is_gone_is_cut_out_of_the_small_picture(
    photograph: Image, detector: YuNetDetector
) -> None:
    """As with one stream, and counted."""
    large = Large(np.zeros_like(photograph))
    frame, face = seen(photograph, large, detector)
    settings = PrecheckSection(min_size_px=10, min_eye_distance_px=0)
    found = examine_closely(frame, face, settings, detector)
    assert found.measures is not None
    assert found.measures.size_px < 40
    assert large.outcomes == {DetailOutcome.NOT_FOUND: 1}


def test_a_late_picture_is_done_without(photograph: Image, detector: YuNetDetector) -> None:
    """The small picture is used, by the same prechecks: here it is too small."""
    large = Large(photograph, is_late=True)
    frame, face = seen(photograph, large, detector)
    found = examine_closely(frame, face, PrecheckSection(), detector)
    assert found.rejection == "too_small"


def test_a_face_that_looks_away_needs_no_large_picture(
    photograph: Image, detector: YuNetDetector
) -> None:
    """It is rejected by its geometry, and nothing is asked for."""
    large = Large(photograph)
    frame, face = seen(photograph, large, detector)
    strict = PrecheckSection(min_size_px=1000)
    found = examine_closely(frame, face, strict, detector)
    assert found.rejection == "too_small"
    assert not large.outcomes
