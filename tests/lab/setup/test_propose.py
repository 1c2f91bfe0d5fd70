"""What is proposed for what was seen."""

from __future__ import annotations

import numpy as np

from streamgate.lab.setup.propose import propose
from streamgate.lab.setup.watch import SeenTrack, Watched


def walker(size_px: float, quality: float | None) -> SeenTrack:
    """Somebody who crosses the picture in a few seconds."""
    boxes = [(0.1 + x, 0.2, 0.15 + x, 0.3) for x in np.linspace(0, 0.7, 8)]
    qualities = [] if quality is None else [quality - 5, quality]
    return SeenTrack(boxes, list(np.linspace(3, 6, 8)), size_px, [], qualities)


def still(at: tuple[float, float, float, float], seconds: float = 60.0) -> SeenTrack:
    boxes = [at] * 30
    return SeenTrack(boxes, list(np.linspace(0, seconds, 30)), 50.0, [], [70.0])


def watched(*tracks: SeenTrack, width: int = 1920, height: int = 1080) -> Watched:
    picture = np.zeros((height, width, 3), np.uint8)
    return Watched(picture, 60.0, 1500, 25.0, list(tracks), {})


def test_thresholds_are_what_everybody_of_a_few_reaches() -> None:
    """Nobody of five is shut out by what is proposed."""
    people = [walker(size, quality) for size, quality in
              [(40, 22), (60, 41), (70, 48), (80, 55), (90, 63)]]  # fmt: skip
    found = propose(watched(*people))
    assert found.people == 5
    assert found.min_size_px is not None
    assert 24 <= found.min_size_px < 40
    assert found.min_quality == 20
    assert found.ignore == ()


def test_one_of_many_who_falls_short_does_not_count() -> None:
    """Somebody passes far away at every camera."""
    found = propose(watched(walker(20, 11), *[walker(60, 52)] * 11))
    assert (found.min_size_px, found.min_quality) == (48, 50)


def test_few_people_are_nothing_to_go_by() -> None:
    """Two faces do not move a threshold that was chosen on many cameras."""
    found = propose(watched(walker(20, 5), walker(200, 99)))
    assert (found.people, found.min_size_px, found.min_quality) == (2, None, None)


def test_a_face_that_never_moves_is_a_place_to_ignore_and_no_person() -> None:
    """With room around it, within the picture."""
    found = propose(watched(still((0.0, 0.1, 0.1, 0.3)), *[walker(60, 50)] * 3))
    assert found.people == 3
    (place,) = found.ignore
    assert place.polygon == ((0.0, 0.06), (0.12, 0.06), (0.12, 0.34), (0.0, 0.34))


def test_somebody_who_stood_for_a_while_is_no_poster() -> None:
    """A still face counts only if it was there all the time."""
    assert propose(watched(still((0.1, 0.1, 0.2, 0.3), seconds=20))).ignore == ()


def test_small_faces_in_a_large_picture_want_a_finer_detector() -> None:
    """Where they would have less than ten pixels in the detector's picture."""
    assert propose(watched(*[walker(40, 30)] * 4, width=3840)).max_side_px == 1280
    assert propose(watched(*[walker(90, 30)] * 4, width=3840)).max_side_px is None
