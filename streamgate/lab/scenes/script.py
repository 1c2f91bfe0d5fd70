"""Who walks where in a scene, and how each face can be seen: decided by a seed, before any drawing.

A script is a pure function of its seed and of time, so the same scene can be had at any rate of
pictures, and what is asked of a tracker at 5 pictures a second is what it was asked at 25.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from streamgate.lab.evaluation.ladder import KINDS, LEVELS

__all__ = [
    "BOB",
    "SIZE_PX",
    "Appearance",
    "Damage",
    "Pillar",
    "Script",
    "Span",
    "Walk",
    "crossing_script",
    "spans_of",
]

SIZE_PX = (1280, 720)
"""Width and height of a scene's pictures."""

_KINDS = tuple(kind for kind in KINDS if kind != "occlusion")
BOB = 0.03
_BOB_HZ = 1.9
_OUTSIDE = 0.9
"""A walk begins and ends so many face heights outside the picture."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One rung of the ladder of degradations."""

    kind: str
    level: int


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a walk in which a face is seen in one way.

    Attributes:
        begins: seconds.
        look: number of the person's photograph, to be taken modulo how many there are.
        narrow: the face's width as a part of its frontal width: a turned head is narrower.
        tilt_deg: how far the head is tilted, clockwise.
        damage: what is wrong with the picture of it.
        away: whether the person shows the back of the head.
    """

    begins: float
    look: int
    narrow: float
    tilt_deg: float
    damage: Damage | None
    away: bool


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """One visit of a person: along a path, from outside the picture to outside.

    Attributes:
        person: number of the person.
        times: of the path's points, seconds, rising, float64 [N].
        x, y: middle of the face at those times, pixels, float64 [N] each.
        height: height of the face's box at those times, pixels, float64 [N].
        mirrored: whether the photographs are mirrored.
        spans: how the face is seen, in the order of time; the first begins with the walk.
        phase: of the bobbing of the head, radians.
        bob: how far the head bobs, in heights of the face; 0 is a picture on the wall.
    """

    person: int
    times: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    height: NDArray[np.float64]
    mirrored: bool
    spans: tuple[Span, ...]
    phase: float
    bob: float = BOB

    @property
    def begins(self) -> float:
        """When the person comes in, seconds."""
        return float(self.times[0])

    @property
    def ends(self) -> float:
        """When the person is gone, seconds."""
        return float(self.times[-1])


@dataclass(frozen=True, slots=True)
class Pillar:
    """A pillar from floor to ceiling; faces up to a height pass behind it."""

    left_px: int
    right_px: int
    hides_up_to_px: float


@dataclass(frozen=True, slots=True)
class Appearance:
    """A person at one moment, as if nobody stood in front.

    Attributes:
        walk: number of the walk.
        person: number of the person.
        middle: of the face's box, pixels.
        height_px: of the face's box.
        mirrored: whether the photograph is mirrored.
        span: how the face is seen.
    """

    walk: int
    person: int
    middle: tuple[float, float]
    height_px: float
    mirrored: bool
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """A scene.

    Attributes:
        seconds: its length.
        walks: all visits, in the order of their beginnings.
        pillars: what people walk behind.
        size_px: width and height of its pictures.
        interruptions: when the stream is lost and found again at once, seconds, rising.
        light: how far the light drifts up and down within a minute, as a part of it.
    """

    seconds: float
    walks: tuple[Walk, ...]
    pillars: tuple[Pillar, ...] = ()
    size_px: tuple[int, int] = SIZE_PX
    interruptions: tuple[float, ...] = ()
    light: float = 0.0

    def appearances(self, at: float) -> list[Appearance]:
        """Return who is in the scene at a time, the farthest first."""
        seen = [
            _appearance(number, walk, at)
            for number, walk in enumerate(self.walks)
            if walk.begins <= at < walk.ends
        ]
        return sorted(seen, key=lambda appearance: (appearance.height_px, appearance.walk))


def crossing_script(  # noqa: PLR0913 # the choices that a scene is made of
    seed: int,
    *,
    people: int = 9,
    returning: int = 5,
    seconds: float = 30.0,
    damaged: float = 0.3,
    away: float = 0.06,
) -> Script:
    """People who cross each other behind two pillars; some leave and come again.

    Args:
        seed: of everything.
        people: how many there are.
        returning: how many of them come a second time.
        seconds: length of the scene.
        damaged: share of the spans in which the picture of a face is damaged.
        away: share of the spans in which the back of the head is seen.
    """
    chance = np.random.default_rng(seed)
    begins = np.sort(chance.uniform(0.0, 0.35 * seconds, people))
    latest = chance.permutation(people)
    walks = [_walk(chance, n, float(t), (damaged, away)) for n, t in enumerate(begins)]
    first = list(walks)
    for number in latest[: min(returning, people)]:
        again = first[number].ends + float(chance.uniform(2.0, 0.3 * seconds))
        walks.append(_walk(chance, int(number), again, (damaged, away)))
    width = SIZE_PX[0]
    pillars = []
    for middle in (0.34, 0.68):
        left = round(width * (middle + float(chance.uniform(-0.05, 0.05))))
        pillars.append(Pillar(left, left + round(float(chance.uniform(60, 130))), 115.0))
    walks.sort(key=lambda walk: walk.begins)
    return Script(max(seconds, *(walk.ends + 1.5 for walk in walks)), tuple(walks), tuple(pillars))


def _walk(chance: Generator, person: int, begins: float, shares: tuple[float, float]) -> Walk:
    """Cross the picture, perhaps with a stop or a turn, perhaps coming nearer."""
    width, height = SIZE_PX
    size = float(chance.uniform(60, 130))
    grows = float(chance.uniform(0.85, 1.25))
    speed = size * 0.8 * float(chance.uniform(1.5, 6.0))
    from_left = bool(chance.random() < 0.5)
    outside = _OUTSIDE * size
    ends_at = (-outside, width + outside) if from_left else (width + outside, -outside)
    stops = np.sort(chance.uniform(0.2, 0.8, int(chance.integers(0, 3))))
    xs = [ends_at[0], *(ends_at[0] + (ends_at[1] - ends_at[0]) * stops), ends_at[1]]
    if chance.random() < 0.2 and len(stops):
        # Turn back and leave by the side of the entrance.
        xs = [*xs[: 1 + len(stops)], ends_at[0]]
    x, times = [xs[0]], [begins]
    for before, after in pairwise(xs):
        times.append(times[-1] + abs(after - before) / speed)
        x.append(after)
        if after != xs[-1]:
            times.append(times[-1] + float(chance.uniform(0.2, 2.0)))
            x.append(after)
    share = (np.array(times) - begins) / (times[-1] - begins)
    line = height * 0.42 + float(chance.normal(0, 28))
    return Walk(
        person=person,
        times=np.array(times),
        x=np.array(x),
        y=line + float(chance.normal(0, 12)) * share,
        height=np.clip(size * (1 + (grows - 1) * share), 58, 150),
        mirrored=bool(chance.random() < 0.5),
        spans=tuple(spans_of(chance, begins, times[-1], shares)),
        phase=float(chance.uniform(0, 2 * np.pi)),
    )


def spans_of(
    chance: Generator, begins: float, ends: float, shares: tuple[float, float]
) -> Iterator[Span]:
    """Yield how a face is seen from one moment to another.

    Args:
        shares: of the spans in which it is damaged, and turned away.
    """
    at = begins
    while at < ends:
        damaged, away = chance.random() < shares[0], chance.random() < shares[1]
        damage = Damage(str(chance.choice(_KINDS)), int(chance.choice(LEVELS))) if damaged else None
        yield Span(
            begins=at,
            look=int(chance.integers(0, 1 << 16)),
            narrow=float(1.0 - 0.22 * chance.beta(1, 2)),
            tilt_deg=float(chance.normal(0, 5)),
            damage=damage,
            away=bool(away),
        )
        at += float(chance.uniform(0.6, 2.2)) * (0.6 if away else 1.0)


def _appearance(number: int, walk: Walk, at: float) -> Appearance:
    size = float(np.interp(at, walk.times, walk.height))
    bob = walk.bob * size * float(np.sin(2 * np.pi * _BOB_HZ * at + walk.phase))
    x, y = (float(np.interp(at, walk.times, values)) for values in (walk.x, walk.y))
    return Appearance(
        walk=number,
        person=walk.person,
        middle=(x, y + bob),
        height_px=size,
        mirrored=walk.mirrored,
        span=_span_at(walk.spans, at),
    )


def _span_at(spans: Sequence[Span], at: float) -> Span:
    found = spans[0]
    for span in spans:
        if span.begins > at:
            break
        found = span
    return found
