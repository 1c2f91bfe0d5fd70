"""What is made of a frame: looked at or passed over, a crowd cut short, a first sighting kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamgate.config import CameraConfig
from streamgate.faces.analyse import FaceAnalyser
from streamgate.faces.track import FaceTracker
from streamgate.pipeline import SystemClock
from streamgate.selection.selector import Selector
from streamgate.values import Face, Image, LookReason, PassReason, Release, ReleaseReason
from tests import builders


class Detector:
    """Finds what the test says, and counts how often it was asked."""

    def __init__(self, faces: Sequence[Face] = ()) -> None:
        self.faces = faces
        self.asked = 0

    def detect(self, image: Image) -> Sequence[Face]:  # noqa: ARG002 # it sees what it is told
        self.asked += 1
        return self.faces


def analyser(detector: Detector, *, every_frame: bool = False, **settings: object) -> FaceAnalyser:
    config = CameraConfig.model_validate(
        {
            "camera": {"name": "hall"},
            "source": {"kind": "file", "path": "hall.mkv"},
            "detector": settings,
        }
    )
    tracker = FaceTracker(config.tracker)
    return FaceAnalyser(config, detector, tracker, SystemClock(), every_frame=every_frame)


def picture(seed: int) -> Image:
    return np.random.default_rng(seed).integers(60, 180, (360, 640, 3)).astype(np.uint8)


def test_faces_beyond_the_most_are_left_alone_and_counted() -> None:
    """The best are looked at; the others are no secret."""
    crowd = [builders.face(100 * i + 20, 60, 80, 0.95 - 0.02 * i) for i in range(5)]
    seen = analyser(Detector(crowd), max_faces=2).analyse(builders.frame(0, image=picture(1)))
    assert len(seen.faces) == 2
    assert seen.surplus == 3


def test_a_still_picture_is_looked_at_once_a_second() -> None:
    """Of five seconds at 25 a second, five pictures; the reasons are told."""
    detector = Detector()
    looks = analyser(detector)
    still = picture(2)
    told = [
        looks.analyse(builders.frame(number, number * 0.04, image=still)).look
        for number in range(125)
    ]
    # Whether anybody stands there already is not known at first.
    assert told.count(PassReason.NOTHING_MOVES) >= 80
    assert 5 <= detector.asked <= 22


def test_recordings_are_looked_at_whole() -> None:
    """Whatever the settings say, where every frame counts."""
    detector = Detector()
    looks = analyser(detector, every_frame=True)
    still = picture(3)
    told = {
        looks.analyse(builders.frame(number, number * 0.04, image=still)).look
        for number in range(25)
    }
    assert told == {LookReason.EVERY_FRAME}
    assert detector.asked == 25


def test_a_person_who_is_seen_twice_is_old_enough() -> None:
    """At one picture a second: the age counts from the first sighting, whose face may win."""
    looks = analyser(Detector([builders.face(200, 100, 90, 0.95)]), every_frame=True)
    selector = Selector(CameraConfig.model_validate(
        {"camera": {"name": "hall"}, "source": {"kind": "file", "path": "hall.mkv"}}
    ).gate, max_pending=8)  # fmt: skip
    first = looks.analyse(builders.frame(0, 0.0, image=picture(4)))
    second = looks.analyse(builders.frame(1, 1.0, image=picture(5)))
    selector.seen(first, 0.0)
    selector.seen(second, 1.0)
    batch = selector.next_batch(8, 1.0)
    assert [candidate.captured_at for candidate in batch] == [0.0, 1.0]
    faces = [builders.scored(batch[0].track_id, 0.0, 70.0), builders.scored(1, 1.0, 60.0)]
    events = selector.scored(faces, 1.1) + selector.end(ReleaseReason.STREAM_ENDED, 1.2)
    (release,) = [event for event in events if isinstance(event, Release)]
    assert release.face.candidate.captured_at == 0.0
