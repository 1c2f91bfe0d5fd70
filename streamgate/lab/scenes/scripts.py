"""More scenes: people who mingle in a hall, who walk up to the camera, and who pass a poster."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from streamgate.lab.scenes.script import SIZE_PX, Pillar, Script, Span, Walk, spans_of

__all__ = ["mingling_script", "poster_script", "walking_up_script"]

_STEP_S = 0.2
_PAST_S = 1.5
# A camera of 1080 lines that hangs 0.7 m above the faces: a face of 0.22 m is 30 px high at 10 m.
_HD_PX = (1920, 1080)
_FOCAL_PX = 1364.0
_FACE_M, _BELOW_M = 0.22, 0.7
_FAR_M, _NEAR_M = 10.0, 3.0
_HORIZON = 0.3


def mingling_script(  # noqa: PLR0913 # the choices that a scene is made of
    seed: int,
    *,
    people: int = 9,
    returning: int = 5,
    seconds: float = 30.0,
    damaged: float = 0.3,
    away: float = 0.06,
) -> Script:
    """People who stroll through a hall from place to place, near and far, and stop to look around.

    Who is nearer is larger and lower in the picture and hides whoever is behind. The arguments are
    those of `crossing_script`.
    """
    chance = np.random.default_rng(seed)
    shares = (damaged, away)
    begins = np.sort(chance.uniform(0.0, 0.4 * seconds, people))
    walks = [_stroll(chance, number, float(at), shares) for number, at in enumerate(begins)]
    for number in chance.permutation(people)[: min(returning, people)]:
        again = walks[number].ends + float(chance.uniform(2.0, 0.3 * seconds))
        walks.append(_stroll(chance, int(number), again, shares))
    left = round(SIZE_PX[0] * float(chance.uniform(0.4, 0.6)))
    walks.sort(key=lambda walk: walk.begins)
    return Script(
        seconds=max(walk.ends for walk in walks) + _PAST_S,
        walks=tuple(walks),
        pillars=(Pillar(left, left + round(float(chance.uniform(60, 110))), 100.0),),
    )


def walking_up_script(seed: int, *, people: int = 7, damaged: float = 0.1) -> Script:
    """People who walk up to the camera side by side and pass it; 1080 lines, faces of 30-100 px.

    They come in two rows and change places, so that those in front hide those behind.
    """
    chance = np.random.default_rng(seed)
    walks = []
    for number in range(people):
        row, place = number % 2, (number // 2 + 0.5) / ((people + 1) // 2)
        begins = 1.0 * row + float(chance.uniform(0.0, 0.8))
        lateral = 3.0 * (place - 0.5) + float(chance.normal(0, 0.2)) + 0.2 * row
        pace = float(chance.uniform(1.1, 1.4))
        walks.append(_approach(chance, number, (begins, lateral, pace), damaged))
    walks.sort(key=lambda walk: walk.begins)
    seconds = max(walk.ends for walk in walks) + _PAST_S
    return Script(seconds=seconds, walks=tuple(walks), size_px=_HD_PX)


def poster_script(
    seed: int,
    *,
    seconds: float = 400.0,
    passers: int = 10,
    interruptions: Sequence[float] = (40.0, 200.0, 330.0, 345.0),
    size_px: tuple[int, int] = (640, 360),
) -> Script:
    """A poster on the wall, people who pass before it, light that drifts, a stream that breaks off.

    The poster is the first person.
    """
    chance = np.random.default_rng(seed)
    width, height = size_px
    always = np.array([0.0, seconds])
    poster = Walk(
        person=0,
        times=always,
        x=np.full(2, 0.5 * width),
        y=np.full(2, 0.35 * height),
        height=np.full(2, 62.0),
        mirrored=False,
        spans=(Span(0.0, 0, 1.0, 0.0, None, away=False),),
        phase=0.0,
        bob=0.0,
    )
    walks = [poster]
    for number in range(passers):
        begins = seconds * (number + float(chance.uniform(0.2, 0.8))) / (passers + 1)
        size = float(chance.uniform(70, 90))
        takes = width / size / float(chance.uniform(1.0, 2.5))
        times = np.linspace(begins, begins + takes, 2)
        x = np.array([-size, width + size])
        walks.append(
            Walk(
                person=1 + number,
                times=times,
                x=x if chance.random() < 0.5 else x[::-1],
                y=np.full(2, height * float(chance.uniform(0.36, 0.46))),
                height=np.full(2, size),
                mirrored=False,
                spans=tuple(spans_of(chance, begins, begins + takes, (0.1, 0.0))),
                phase=float(chance.uniform(0, 6)),
            )
        )
    return Script(
        seconds=seconds,
        walks=tuple(walks),
        size_px=size_px,
        interruptions=tuple(interruptions),
        light=0.1,
    )


def _stroll(chance: Generator, person: int, begins: float, shares: tuple[float, float]) -> Walk:
    """From one side to a few places, and out at either side."""
    width = SIZE_PX[0]
    near = chance.uniform(0.0, 1.0, int(chance.integers(3, 6)))
    across = np.concatenate([
        [chance.choice((-0.1, 1.1))],
        chance.uniform(0.1, 0.9, len(near) - 2),
        [chance.choice((-0.1, 1.1))],
    ])  # fmt: skip
    pace = float(chance.uniform(0.10, 0.30))
    times, places = [begins], [0]
    for number in range(1, len(near)):
        way = abs(across[number] - across[number - 1]) + 0.5 * abs(near[number] - near[number - 1])
        times.append(times[-1] + max(0.4, float(way) / pace))
        places.append(number)
        if number < len(near) - 1:
            times.append(times[-1] + float(chance.uniform(0.1, 1.5)))
            places.append(number)
    size = 60.0 + 80.0 * near[places]
    line = 0.34 + float(chance.normal(0, 0.02))
    return Walk(
        person=person,
        times=np.array(times),
        x=width * across[places],
        y=SIZE_PX[1] * (line + 0.22 * near[places]),
        height=size,
        mirrored=bool(chance.random() < 0.5),
        spans=tuple(spans_of(chance, begins, times[-1], shares)),
        phase=float(chance.uniform(0, 2 * np.pi)),
    )


def _approach(
    chance: Generator, person: int, course: tuple[float, float, float], damaged: float
) -> Walk:
    """Straight on until close to the camera, then past it on the nearer side."""
    begins, lateral, pace = course
    far = (_FAR_M - _NEAR_M) / pace
    times = np.arange(0.0, far + _PAST_S, _STEP_S)
    distance = np.maximum(_FAR_M - pace * times, _NEAR_M)
    aside = np.maximum(times - far, 0.0) * (1.0 if lateral > 0 else -1.0) * 2.5
    drift = float(chance.uniform(-0.8, 0.8)) * (1.0 - times / far)
    x, y, height = _seen(distance, lateral + np.where(times < far, drift, 0.0) + aside)
    return Walk(
        person=person,
        times=begins + times,
        x=x,
        y=y,
        height=height,
        mirrored=bool(chance.random() < 0.5),
        spans=tuple(spans_of(chance, begins, begins + float(times[-1]), (damaged, 0.0))),
        phase=float(chance.uniform(0, 2 * np.pi)),
    )


def _seen(
    distance: NDArray[np.float64], lateral: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Where a face is in the picture, and its height, pixels."""
    scale = _FOCAL_PX / distance
    width, lines = _HD_PX
    return width / 2 + scale * lateral, _HORIZON * lines + scale * _BELOW_M, scale * _FACE_M
