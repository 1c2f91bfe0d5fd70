"""The detector on photographs with a face in a known place."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from streamgate.config.stages import DetectorSection
from streamgate.errors import DetectorError, StreamgateError
from streamgate.faces.detect import YuNetDetector, distinct
from streamgate.faces.yunet import YuNet
from streamgate.models.registry import path_of
from streamgate.values import Face, Image
from tests import builders, needs
from tests.faces.parts import photograph


@pytest.fixture(scope="module")
def detector() -> YuNetDetector:
    try:
        model = path_of("yunet")
    except StreamgateError as error:
        needs.missing("the face detector", str(error))
    return YuNetDetector(DetectorSection(), model)


@pytest.fixture(scope="module")
def astronaut() -> Image:
    """Her face lies at about (225, 115) of 512×512 and is about 90 pixels wide."""
    return photograph("photo-astronaut")


def inside(faces: list[Face], image: Image) -> bool:
    height, width = image.shape[:2]
    return all(
        0 <= f.box[0] < f.box[2] <= width and 0 <= f.box[1] < f.box[3] <= height for f in faces
    )


def test_a_face_is_found_where_it_is(detector: YuNetDetector, astronaut: Image) -> None:
    """Box and landmarks are the face's, in the order right eye of the person, left, nose, mouth."""
    (face,) = detector.detect(astronaut)
    assert (face.box[:2] + face.box[2:]) / 2 == pytest.approx([225, 115], abs=25)
    assert face.detector_score > 0.8
    right_eye, left_eye, nose, right_mouth, left_mouth = face.landmarks
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_mouth[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_boxes_are_in_pixels_of_the_frame(
    detector: YuNetDetector, astronaut: Image, factor: float
) -> None:
    """However the detector scales a picture, the face is told where it is in the original."""
    (face,) = detector.detect(astronaut)
    scaled = np.asarray(cv2.resize(astronaut, None, fx=factor, fy=factor), np.uint8)
    (found,) = detector.detect(scaled)
    assert found.box / factor == pytest.approx(face.box, abs=12)
    assert found.landmarks / factor == pytest.approx(face.landmarks, abs=6)


def test_each_of_two_people_is_found_once(detector: YuNetDetector, astronaut: Image) -> None:
    """Two faces in a picture are two, best first."""
    hopper = cv2.resize(photograph("photo-hopper"), (400, 512))
    both = np.ascontiguousarray(np.hstack([astronaut[:, :400], hopper]))
    faces = detector.detect(both)
    assert len(faces) == 2
    assert sorted(face.box[0] > 400 for face in faces) == [False, True]
    assert faces[0].detector_score >= faces[1].detector_score


@pytest.mark.parametrize("cut", [210, 225, 240])
def test_a_face_cut_by_the_edge_is_clamped_and_told(
    detector: YuNetDetector, astronaut: Image, cut: int
) -> None:
    """No box leaves the picture, and that the face was cut is kept in its edge distance."""
    picture = np.ascontiguousarray(astronaut[:, cut:])
    faces = detector.detect(picture)
    assert inside(faces, picture)
    assert all(face.edge_distance_px < 8 for face in faces if face.box[1] < 150)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 700), (700, 1), (2, 3), (31, 33), (97, 641), (0, 5), (5, 0), (479, 853)]
)
def test_pictures_of_any_size_are_taken(detector: YuNetDetector, size: tuple[int, int]) -> None:
    """Odd, tiny, long and empty pictures have no face in them, and break nothing."""
    noise = np.random.default_rng(3).integers(0, 255, (*size, 3), np.uint8)
    assert inside(detector.detect(noise), noise)
    assert detector.detect(np.zeros((*size, 3), np.uint8)) == []


def test_an_odd_size_does_not_hide_a_face(detector: YuNetDetector, astronaut: Image) -> None:
    """Sizes that no encoder likes, one after the other, find the same face."""
    for height, width in ((301, 333), (511, 509), (257, 401)):
        picture = np.ascontiguousarray(astronaut[:height, :width])
        assert len(detector.detect(picture)) == 1


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((64, 64, 3), np.float32),
    ],
)
def test_what_is_no_frame_is_refused(detector: YuNetDetector, image: Image) -> None:
    """A picture of another shape or type is told as such."""
    with pytest.raises(DetectorError, match="RGB uint8"):
        detector.detect(image)


def test_one_head_is_one_face() -> None:
    """Boxes that overlap, lie inside one another, or in the hair above: the better one stays."""
    best = builders.face(100, 100, 90, 0.95)
    shifted = builders.face(110, 105, 90, 0.9)
    inner = builders.face(120, 120, 40, 0.85)
    outer = builders.face(70, 60, 160, 0.8)
    hair = builders.face(120, 60, 45, 0.7)
    neighbour = builders.face(190, 100, 90, 0.75)
    assert distinct([best, shifted, inner, outer, neighbour, hair], 0.4) == [best, neighbour]


@pytest.mark.parametrize("content", [None, b"", b"not a network"])
def test_an_unusable_model_is_named(tmp_path: Path, content: bytes | None) -> None:
    """A model that is missing or damaged is named with the command that mends it."""
    model = tmp_path / "yunet.onnx"
    if content is not None:
        model.write_bytes(content)
    with pytest.raises(DetectorError, match="streamgate models") as caught:
        YuNetDetector(DetectorSection(), model)
    assert str(model) in str(caught.value)


def scenes() -> dict[str, Image]:
    """Return BGR pictures by name: crowds, small faces, odd sizes, and nobody."""
    astronaut = cv2.cvtColor(photograph("photo-astronaut"), cv2.COLOR_RGB2BGR)
    hopper = cv2.cvtColor(photograph("photo-hopper"), cv2.COLOR_RGB2BGR)
    heads = (astronaut[40:240, 130:330], hopper[60:330, 150:400])
    rng = np.random.default_rng(0)
    crowd = np.full((480, 853, 3), 90, np.uint8)
    for i in range(60):
        side = int(rng.integers(16, 90))
        top, left = int(rng.integers(0, 480 - side)), int(rng.integers(0, 853 - side))
        head = cv2.resize(heads[i % 2], (side, side), interpolation=cv2.INTER_AREA)
        crowd[top : top + side, left : left + side] = head
    small = {
        f"small {factor}": cv2.resize(astronaut, None, fx=factor, fy=factor)
        for factor in (0.1, 0.15, 0.3, 0.77)
    }
    pictures = small | {
        "one": astronaut,
        "tiles": np.tile(heads[0], (3, 3, 1)),
        "crowd": crowd,
        "odd crowd": crowd[:301, :643],
        "empty": np.zeros((360, 640, 3), np.uint8),
        "noise": rng.integers(0, 255, (97, 641, 3), np.uint8),
        "pixel": np.zeros((1, 1, 3), np.uint8),
    }
    return {
        name: np.ascontiguousarray(picture, dtype=np.uint8) for name, picture in pictures.items()
    }


@pytest.mark.parametrize(("min_score", "duplicate_iou"), [(0.6, 0.4), (0.1, 0.3), (0.3, 0.7)])
def test_boxes_points_and_scores_are_those_of_opencvs_detector(
    detector: YuNetDetector, min_score: float, duplicate_iou: float
) -> None:
    """To a thousandth of a pixel, as many of them and in the same order."""
    del detector  # it is there, so the model is
    network = YuNet(path_of("yunet"))
    reference = cv2.FaceDetectorYN.create(
        str(path_of("yunet")), "", (64, 64), min_score, duplicate_iou, 1000
    )
    found_at_all = 0
    for name, picture in scenes().items():
        height, width = picture.shape[:2]
        reference.setInputSize((width, height))
        _, rows = reference.detect(picture)
        expected = np.empty((0, 15)) if rows is None else rows
        (found,) = network.detect([picture], min_score=min_score, duplicate_iou=duplicate_iou)
        assert found.shape == expected.shape, name
        assert np.abs(found - expected).max(initial=0.0) < 1e-3, name
        found_at_all += len(found)
    assert found_at_all > 40


def test_windows_in_one_pass_are_those_of_passes_of_their_own(detector: YuNetDetector) -> None:
    """Pictures of one size do not see each other."""
    del detector  # as above
    network = YuNet(path_of("yunet"))
    crowd = scenes()["crowd"]
    windows = [crowd[top : top + 150, left : left + 160] for top, left in ((0, 0), (90, 300))]
    together = network.detect(windows, min_score=0.1, duplicate_iou=0.4)
    for window, found in zip(windows, together, strict=True):
        (alone,) = network.detect([window], min_score=0.1, duplicate_iou=0.4)
        assert len(alone) > 0
        assert found == pytest.approx(alone, abs=1e-3)
