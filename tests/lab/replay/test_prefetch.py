"""Detection ahead of the analysis: begun early, handed out in order."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from streamgate.errors import ModelError
from streamgate.lab.replay.prefetch import DetectionPrefetch
from streamgate.values import Face, Image
from tests.builders import face


def picture(number: int) -> Image:
    return np.full((4, 4, 3), number, np.uint8)


class Detector:
    """Finds one face, as far to the right as the picture is bright."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def detect(self, image: Image) -> Sequence[Face]:
        self.threads.add(threading.get_ident())
        return [face(x=float(image[0, 0, 0]))]


def test_faces_are_handed_out_picture_by_picture() -> None:
    """However the threads finish."""
    with DetectionPrefetch(Detector, 3) as prefetch:
        pictures = [picture(number) for number in range(40)]
        for one in pictures:
            prefetch.begin(one)
        found = [prefetch.detect(one)[0].box[0] for one in pictures]
    assert found == list(range(40))


def test_pictures_are_looked_at_before_they_are_asked_for() -> None:
    """As many at once as there are threads."""
    together = threading.Barrier(3, timeout=10)

    class Waiting(Detector):
        def detect(self, image: Image) -> Sequence[Face]:
            together.wait()
            return super().detect(image)

    with DetectionPrefetch(Waiting, 2) as prefetch:
        prefetch.begin(picture(1))
        prefetch.begin(picture(2))
        # Both threads are there, though nobody has asked.
        together.wait()


def test_each_thread_has_a_detector_of_its_own() -> None:
    """A detector holds buffers, and is not to be shared."""
    made: list[Detector] = []

    def make() -> Detector:
        made.append(Detector())
        return made[-1]

    with DetectionPrefetch(make, 3) as prefetch:
        pictures = [picture(number) for number in range(30)]
        for one in pictures:
            prefetch.begin(one)
        for one in pictures:
            prefetch.detect(one)
    assert 1 <= len(made) <= 3
    assert all(len(detector.threads) == 1 for detector in made)


def test_a_failure_reaches_whoever_asks_for_the_picture() -> None:
    """And not whoever asks for the one before it."""

    class Failing(Detector):
        def detect(self, image: Image) -> Sequence[Face]:
            if image[0, 0, 0] == 2:
                raise ModelError("the detector failed")
            return super().detect(image)

    pictures = [picture(1), picture(2)]
    with DetectionPrefetch(Failing, 1) as prefetch:
        for one in pictures:
            prefetch.begin(one)
        assert prefetch.detect(pictures[0])
        with pytest.raises(ModelError):
            prefetch.detect(pictures[1])
