"""Motion: who comes is noticed at once, and neither light nor trees are noticed for long."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from streamgate.faces.motion import GRID, MotionDetector

WIDTH, HEIGHT = GRID
FRAME_S = 0.04

Picture = NDArray[np.uint8]


def room(seed: int, seconds: float, *, noise: float = 2.0) -> Iterator[tuple[float, Picture]]:
    """A room with edges, as a sensor with some noise gives it."""
    rng = np.random.default_rng(seed)
    scene = rng.uniform(40, 200, (HEIGHT // 10, WIDTH // 10 + 1)).repeat(10, 0).repeat(10, 1)
    for number in range(round(seconds / FRAME_S)):
        shown = scene[:HEIGHT, :WIDTH] + rng.normal(0, noise, (HEIGHT, WIDTH))
        yield number * FRAME_S, np.clip(shown, 0, 255).astype(np.uint8)


def share(moved: list[bool]) -> float:
    return sum(moved) / len(moved)


def test_an_empty_room_does_not_move() -> None:
    """Sensor noise, ten seconds of it, is no motion; the first picture is, as nothing is known."""
    detector = MotionDetector()
    first, *later = [detector.moves(picture, at) for at, picture in room(1, 10)]
    assert first
    assert not any(later)


@pytest.mark.parametrize("pixels", [3, 6, 20])
def test_who_comes_is_noticed_within_two_pictures(pixels: int) -> None:
    """A patch of a head's size and small contrast that walks in from the side."""
    detector, moved = MotionDetector(), []
    for at, picture in room(2, 8):
        shown = picture.copy()
        if at >= 6:
            left = round((at - 6) * 40)
            patch = shown[40 : 40 + pixels, left : left + pixels]
            shown[40 : 40 + pixels, left : left + pixels] = np.where(
                patch > 120, patch - 40, patch + 40
            )
        moved.append(detector.moves(shown, at))
    came = round(6 / FRAME_S)
    assert not any(moved[1:came])
    assert any(moved[came : came + 3])
    assert share(moved[came + 3 :]) > 0.8


@pytest.mark.parametrize("levels", [25, -25])
def test_light_that_changes_is_no_motion(levels: int) -> None:
    """A cloud, over two seconds, and a lamp that is switched, for all of the picture."""
    cloud, lamp = MotionDetector(), MotionDetector()
    clouded, lit = [], []
    for at, picture in room(3, 10):
        whole = picture.astype(np.int16)
        dimmed = whole + round(levels * min(1.0, max(0.0, at - 4) / 2))
        clouded.append(cloud.moves(np.clip(dimmed, 0, 255).astype(np.uint8), at))
        switched = whole + (levels if at >= 4 else 0)
        lit.append(lamp.moves(np.clip(switched, 0, 255).astype(np.uint8), at))
    assert not any(clouded[1:])
    assert not any(lit[1:])


def test_what_stays_is_part_of_the_room_soon() -> None:
    """A door that was opened, and light on a half of the room: forgotten after some seconds."""
    detector, moved = MotionDetector(), []
    for at, picture in room(4, 30):
        shown = picture.copy()
        if at >= 4:
            shown[:, : WIDTH // 3] = np.clip(shown[:, : WIDTH // 3].astype(np.int16) + 50, 0, 255)
        moved.append(detector.moves(shown, at))
    assert any(moved[round(4 / FRAME_S) :][:3])
    assert not any(moved[round(16 / FRAME_S) :])


def test_a_swaying_tree_is_not_motion_for_ever() -> None:
    """What moves back and forth all the time is usual soon, and who comes there is not."""
    detector, moved = MotionDetector(), []
    for at, picture in room(5, 90):
        shown = picture.copy()
        sway = round(4 * np.sin(2.2 * at) + 2 * np.sin(5.1 * at))
        shown[20:60, 100 + sway : 130 + sway : 6] = 30
        if at >= 80:
            left = round((at - 80) * 40)
            shown[50:90, left : left + 14] = 235
        moved.append(detector.moves(shown, at))
    assert share(moved[: round(5 / FRAME_S)]) > 0.5
    assert share(moved[round(50 / FRAME_S) : round(80 / FRAME_S)]) < 0.1
    assert any(moved[round(80 / FRAME_S) :][:5])


def test_another_size_begins_anew() -> None:
    """A camera that changes its picture's shape is looked at."""
    detector = MotionDetector()
    assert detector.moves(np.zeros((100, 178), np.uint8), 0.0)
    assert not detector.moves(np.zeros((100, 178), np.uint8), 0.04)
    assert detector.moves(np.zeros((134, 178), np.uint8), 0.08)
