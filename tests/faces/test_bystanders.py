"""Bystanders in context pictures: nobody but the wanted person can be recognised."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamgate.config import CameraConfig, DeliverySection, DetectorSection, MemoryOutboxSection
from streamgate.delivery.dispatcher import Dispatcher
from streamgate.delivery.outbox import MemoryOutbox
from streamgate.errors import DetectorError
from streamgate.faces.align import align, similarity_to_template
from streamgate.faces.analyse import FaceAnalyser
from streamgate.faces.bystanders import BystanderHider, context_of, hidden
from streamgate.faces.detect import YuNetDetector
from streamgate.faces.track import FaceTracker
from streamgate.models.registry import installed
from streamgate.pipeline import SystemClock
from streamgate.quality import Scorer
from streamgate.telemetry.metrics import Metrics
from streamgate.values import BestShot, Candidate, Face, Image
from tests import builders
from tests.delivery.shots import best_shot
from tests.faces.parts import photograph

SAME_PERSON = 0.32
"""FMR 1e-2 of the included network among 600 faces."""
GREY = 110


@cache
def scorer() -> Scorer:
    return Scorer.load("default")


@cache
def detector() -> YuNetDetector:
    return YuNetDetector(DetectorSection(), installed("yunet"))


def embedding(image: Image, landmarks: NDArray[np.float64]) -> NDArray[np.float32]:
    similarity = similarity_to_template(landmarks)
    assert similarity is not None
    found: NDArray[np.float32] = scorer().score(align(image, similarity).image[None]).embedding[0]
    return found


def place(scene: Image, name: str, face_px: float, at: tuple[int, int]) -> Face:
    """Put a photograph into a scene, its face's width and left upper corner as told."""
    picture = photograph(name)
    face = detector().detect(picture)[0]
    scale = face_px / float(face.box[2] - face.box[0])
    x1, y1, x2, y2 = (face.box + np.array([-20, -40, 20, 30])).clip(0).astype(int)
    part = cv2.resize(picture[y1:y2, x1:x2], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    x, y = at
    scene[y : y + part.shape[0], x : x + part.shape[1]] = part
    shift = np.array([x - x1 * scale, y - y1 * scale])
    return Face(face.box * scale + np.tile(shift, 2), face.landmarks * scale + shift, 0.9)


@cache
def crowd() -> tuple[Image, Face, tuple[Face, ...]]:
    """A 4K frame: an astronaut, around her the same officer, near and so far that a frame which is
    scaled down to 640 pixels hardly shows him."""
    scene = np.full((2160, 3840, 3), GREY, np.uint8)
    wanted = place(scene, "photo-astronaut", 240, (1700, 900))
    places = [(1470, 900, 100), (2060, 940, 90), (1500, 1250, 60), (2060, 1250, 48)]
    others = tuple(place(scene, "photo-hopper", px, (x, y)) for x, y, px in places)
    return scene, wanted, others


def moved(face: Face, at: tuple[int, int]) -> NDArray[np.float64]:
    return face.landmarks - np.array(at, np.float64)


def shot_of(context: Image, face: Face, at: tuple[int, int]) -> BestShot:
    shot = best_shot()
    tracked = builders.candidate(1).tracked
    candidate = Candidate(
        type(tracked)(face, 1), shot.face.candidate.measures, shot.face.candidate.crop, context,
        17, 100.0, 1_790_000_000.0, 100.01, 100.02, context_at=at,
    )  # fmt: skip
    scored = type(shot.face)(candidate, 0.03, 70.0, shot.face.embedding, 100.05)
    return BestShot(
        camera="door", boot_id="b00t", revision=1, rank=1, reason=shot.reason, face=scored,
        decided_at=101.0, decided_wall=1_790_000_001.0, model_hash="a" * 64, config_hash="b" * 64,
        visit=1,
    )  # fmt: skip


def test_nobody_else_is_recognised_in_a_context_picture() -> None:
    """Shown, all four are matched; hidden, none is, and the wanted face stays as it is."""
    scene, wanted, others = crowd()
    _, everywhere = detector().detect_all(scene)
    known = embedding(scene, others[0].landmarks)
    shown, at = context_of(scene, wanted, 1.0, None)
    for other in others:
        assert embedding(shown, moved(other, at)) @ known > 1.5 * SAME_PERSON
    context, at = context_of(scene, wanted, 1.0, everywhere)
    final = BystanderHider(detector())(shot_of(context, wanted, at))
    assert final is not None
    for other in others:
        assert embedding(final, moved(other, at)) @ known < SAME_PERSON
    assert embedding(final, moved(wanted, at)) @ embedding(scene, wanted.landmarks) > 0.98
    assert [round(float(face.box[0])) for face in detector().detect(final)] == pytest.approx(
        [wanted.box[0] - at[0]], abs=20
    )


def test_a_face_that_the_picture_cuts_in_two_is_covered() -> None:
    """It is whole in the frame, where it was found."""
    scene = np.full((720, 1280, 3), GREY, np.uint8)
    wanted = place(scene, "photo-astronaut", 120, (500, 250))
    other = place(scene, "photo-hopper", 120, (300, 250))
    _, everywhere = detector().detect_all(scene)
    middle = float(other.box[0] + other.box[2]) / 2
    margin = (float(wanted.box[0]) - middle) / float(wanted.box[2] - wanted.box[0])
    context, _ = context_of(scene, wanted, margin, everywhere)
    covered = context[:, : int(other.box[2] - middle)]
    face_rows = slice(context.shape[0] // 3, context.shape[0] // 2)
    assert covered[face_rows].reshape(-1, 3).std(axis=0).max() < 1.0


def test_the_wanted_face_is_kept_where_another_overlaps_it() -> None:
    """What lies behind it is covered up to its edge."""
    image = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    wanted, other = np.array([50.0, 50, 110, 130]), np.array([90.0, 40, 150, 120])
    covered = hidden(image, wanted, [wanted, other])
    assert (covered[60:120, 60:100] == image[60:120, 60:100]).all()
    assert len(np.unique(covered[40:120, 125:150].reshape(-1, 3), axis=0)) == 1


def test_what_is_sure_is_what_a_usual_look_finds() -> None:
    """The doubts change nothing of which faces are followed."""
    scene, _, _ = crowd()
    sure, everywhere = detector().detect_all(scene)
    assert [face.box.tolist() for face in sure] == [
        face.box.tolist() for face in detector().detect(scene)
    ]
    assert len(everywhere) >= len(sure)


@pytest.mark.parametrize(("bystanders", "covered"), [("hide", True), ("show", False)])
def test_the_setting_decides(bystanders: str, covered: bool) -> None:
    """Through the analyser, as a camera does it; to hide is the default."""
    scene = np.full((720, 1280, 3), GREY, np.uint8)
    place(scene, "photo-astronaut", 120, (500, 250))
    other = place(scene, "photo-hopper", 60, (680, 260))
    config = CameraConfig.model_validate(
        {
            "camera": {"name": "hall"},
            "source": {"kind": "file", "path": "hall.mkv"},
            "delivery": {"context": True, "bystanders": bystanders},
        }
    )
    looks = FaceAnalyser(
        config, detector(), FaceTracker(config.tracker), SystemClock(), every_frame=True
    )
    seen = looks.analyse(builders.frame(0, image=scene)).faces
    [candidate] = [
        face.candidate for face in seen
        if face.candidate is not None and face.candidate.tracked.face.box[0] < 600
    ]  # fmt: skip
    assert candidate.context is not None
    x1, y1, x2, y2 = (other.box - np.tile(candidate.context_at, 2)).astype(int)
    shown = candidate.context[y1:y2, x1:x2]
    assert (len(np.unique(shown.reshape(-1, 3), axis=0)) == 1) == covered
    assert DeliverySection().bystanders == "hide"


async def test_a_context_that_cannot_be_looked_at_is_not_sent() -> None:
    """The best shot goes without it."""

    def fails(_: BestShot) -> Image | None:
        raise DetectorError("no model")

    outbox = MemoryOutbox(
        MemoryOutboxSection(), ["sink"], metrics=Metrics("door"), clock=SystemClock()
    )
    dispatcher = Dispatcher(
        DeliverySection(), outbox=outbox, sinks=[], metrics=Metrics("door"), clock=SystemClock(),
        hide_bystanders=fails,
    )  # fmt: skip
    await dispatcher.accept(best_shot(context=True))
    claim = await outbox.claim("sink")
    assert claim is not None
    assert claim.shot.context is None
