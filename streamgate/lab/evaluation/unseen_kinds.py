"""Kinds of damage that the ladder lacks, and how well a score judges across them.

The ladder asks whether a score notices damage of a few kinds. A gate meets others, and it compares
faces that are damaged in different ways: a score should say how much of a face's use is lost,
whatever took it away. So each kind has one strength, and the question is whether the score's order
over all kinds together is that of an independent recogniser's similarity to a clean picture.

Some kinds have a relative among those that a student is trained with (a training shifts faces and
turns them, for example); `RELATED` names them, and figures are given for the others apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from streamgate.lab.evaluation.measures import rank_correlation, separation
from streamgate.values import Image

__all__ = ["KINDS", "RELATED", "Across", "across_kinds", "damage", "damage_all"]

_SIDE = 112
_MIDDLE = _SIDE / 2
_ROWS, _COLUMNS = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)

Damage = Callable[[Image, Generator], NDArray[np.generic]]


def _sign(chance: Generator) -> float:
    return float(chance.choice((-1.0, 1.0)))


def _affine(image: Image, matrix: NDArray[np.float64]) -> NDArray[np.generic]:
    return np.asarray(
        cv2.warpAffine(image, matrix, (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE)
    )


def _about_middle(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = np.full(2, _MIDDLE)
    return np.column_stack([matrix, middle - matrix @ middle])


def _moved(image: Image, columns: NDArray[np.float32], rows: NDArray[np.float32]) -> Image:
    moved = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, dtype=np.uint8)


def _shift(image: Image, chance: Generator) -> NDArray[np.generic]:
    turn = chance.uniform(0, 2 * np.pi)
    move = 18.0 * np.array([np.cos(turn), np.sin(turn)])
    return _affine(image, np.column_stack([np.eye(2), move]))


def _turn(image: Image, chance: Generator) -> NDArray[np.generic]:
    turn = cv2.getRotationMatrix2D((_MIDDLE, _MIDDLE), 35.0 * _sign(chance), 1.0)
    return _affine(image, np.asarray(turn, dtype=np.float64))


def _near(image: Image, _chance: Generator) -> NDArray[np.generic]:
    return _affine(image, _about_middle(np.eye(2) * 1.6))


def _far(image: Image, _chance: Generator) -> NDArray[np.generic]:
    return _affine(image, _about_middle(np.eye(2) * 0.6))


def _stretch(image: Image, chance: Generator) -> NDArray[np.generic]:
    wide = 1.5 if chance.random() < 0.5 else 1 / 1.5
    return _affine(image, _about_middle(np.diag([wide, 1.0])))


def _sharpen(image: Image, _chance: Generator) -> NDArray[np.generic]:
    values = image.astype(np.float32)
    return np.asarray(values + 6.0 * (values - cv2.GaussianBlur(values, (0, 0), 1.5)))


def _half_shade(image: Image, chance: Generator) -> NDArray[np.generic]:
    along = (_COLUMNS - _MIDDLE) * _sign(chance)
    return np.asarray(image * (0.15 + 0.85 / (1 + np.exp(-along / 4.0)))[..., None])


def _contrast(image: Image, _chance: Generator) -> NDArray[np.generic]:
    return np.asarray(128 + (image.astype(np.float32) - image.mean()) * 0.2)


def _cast(image: Image, chance: Generator) -> NDArray[np.generic]:
    return np.asarray(image * chance.permutation([1.5, 0.75, 0.25]))


def _mosaic(image: Image, _chance: Generator) -> NDArray[np.generic]:
    small = cv2.resize(image, (18, 18), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (_SIDE, _SIDE), interpolation=cv2.INTER_NEAREST))


def _defocus(image: Image, _chance: Generator) -> NDArray[np.generic]:
    disc = np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (13, 13)), dtype=np.float32)
    return np.asarray(cv2.filter2D(image, -1, disc / disc.sum()))


def _eye_bar(image: Image, chance: Generator) -> NDArray[np.generic]:
    barred = image.copy()
    barred[42:62, 20:92] = chance.integers(0, 60)
    return barred


def _perspective(image: Image, chance: Generator) -> NDArray[np.generic]:
    """As seen from far aside, or from below or above: one edge is nearer than the other."""
    corners = np.array([[0, 0], [_SIDE, 0], [_SIDE, _SIDE], [0, _SIDE]], dtype=np.float32)
    seen = corners.copy()
    inset = 0.32 * _SIDE
    seen[1] += (-0.3 * inset, inset)
    seen[2] += (-0.3 * inset, -inset)
    matrix = np.asarray(cv2.getPerspectiveTransform(corners, seen))
    turns = int(chance.integers(4))
    picture = np.ascontiguousarray(np.rot90(image, turns))
    seen_so = cv2.warpPerspective(picture, matrix, (_SIDE, _SIDE), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.rot90(seen_so, -turns))


def _lens(image: Image, chance: Generator) -> NDArray[np.generic]:
    """A lens that bulges or pinches."""
    x, y = (_COLUMNS - _MIDDLE) / _MIDDLE, (_ROWS - _MIDDLE) / _MIDDLE
    factor = 1 + 0.45 * _sign(chance) * (x**2 + y**2 - 0.6)
    return _moved(
        image,
        np.asarray(_MIDDLE + x * factor * _MIDDLE, dtype=np.float32),
        np.asarray(_MIDDLE + y * factor * _MIDDLE, dtype=np.float32),
    )


def _ringing(image: Image, _chance: Generator) -> NDArray[np.generic]:
    """Detail cut off sharply in the frequency domain, which leaves waves beside every edge."""
    reach = np.hypot(np.fft.fftfreq(_SIDE)[:, None], np.fft.fftfreq(_SIDE)) <= 0.075
    waves = np.fft.fft2(image, axes=(0, 1)) * reach[..., None]
    return np.asarray(np.fft.ifft2(waves, axes=(0, 1)).real)


def _scan_lines(image: Image, _chance: Generator) -> NDArray[np.generic]:
    return np.asarray(image * np.where(_ROWS % 4 < 2, 1.0, 0.25)[..., None])


def _interlaced(image: Image, chance: Generator) -> NDArray[np.generic]:
    """Two half pictures, taken one after the other while the face moves."""
    later = np.roll(image, int(9 * _sign(chance)), axis=1)
    return np.where((_ROWS % 2 < 1)[..., None], image, later)


def _posterised(image: Image, _chance: Generator) -> NDArray[np.generic]:
    return np.asarray(np.round(image / 255.0 * 3) * 85.0)


def _ghost(image: Image, chance: Generator) -> NDArray[np.generic]:
    """A double exposure."""
    turn = chance.uniform(0, 2 * np.pi)
    move = 10.0 * np.array([np.cos(turn), np.sin(turn)])
    other = _affine(image, np.column_stack([np.eye(2), move]))
    return np.asarray((image.astype(np.float32) + other.astype(np.float32)) / 2)


def _rolling_shutter(image: Image, chance: Generator) -> NDArray[np.generic]:
    wave = 6.0 * np.sin(_ROWS / _SIDE * 2 * np.pi * 2.5 + chance.uniform(0, 2 * np.pi))
    return _moved(image, np.asarray(_COLUMNS + wave, dtype=np.float32), _ROWS)


def _mesh(image: Image, chance: Generator) -> NDArray[np.generic]:
    """A fence or a grille in front of the face."""
    first, second = chance.integers(0, 12, 2)
    bars = ((_ROWS + first) % 12 < 3) | ((_COLUMNS + second) % 12 < 3)
    return np.where(bars[..., None], 60, image)


def _spot(image: Image, chance: Generator) -> NDArray[np.generic]:
    """A lamp that lights one place and leaves the rest in the dark."""
    x, y = chance.uniform(0.3, 0.7, 2) * _SIDE
    near = np.exp(-((_COLUMNS - x) ** 2 + (_ROWS - y) ** 2) / (2 * 20.0**2))
    return np.asarray(image * (0.08 + 1.9 * near)[..., None])


def _streaks(image: Image, chance: Generator) -> NDArray[np.generic]:
    """Rain, or scratches on the glass."""
    drawn = image.copy()
    for x, y in chance.integers(-10, _SIDE, (60, 2)).tolist():
        cv2.line(drawn, (x, y), (x + 4, y + 22), (215, 215, 215), 1)
    return drawn


def _cut_off(image: Image, chance: Generator) -> NDArray[np.generic]:
    """A face at the edge of the picture: what lies outside repeats the last pixels."""
    cut, turn = 46, int(chance.integers(4))
    part = np.rot90(image, turn)
    kept = np.concatenate([part[:-cut], np.repeat(part[-cut - 1 : -cut], cut, axis=0)])
    return np.asarray(np.rot90(kept, -turn))


KINDS: Mapping[str, Damage] = {
    "shifted by 18 px": _shift,
    "turned by 35°": _turn,
    "too near": _near,
    "too far": _far,
    "low contrast": _contrast,
    "mosaic": _mosaic,
    "defocus": _defocus,
    "bar over the eyes": _eye_bar,
    "stretched": _stretch,
    "over-sharpened": _sharpen,
    "half in the shade": _half_shade,
    "colour cast": _cast,
    "perspective": _perspective,
    "bent by the lens": _lens,
    "ringing": _ringing,
    "scan lines": _scan_lines,
    "interlaced motion": _interlaced,
    "posterised": _posterised,
    "double exposure": _ghost,
    "rolling shutter": _rolling_shutter,
    "behind a mesh": _mesh,
    "in a spotlight": _spot,
    "rain": _streaks,
    "cut off": _cut_off,
}
"""None of them is in the ladder."""

RELATED = frozenset(list(KINDS)[:8])
"""Kinds with a relative in the training of a student, by another code and with other strengths."""


def damage(image: Image, kind: str, chance: Generator) -> Image:
    """Return a face, RGB uint8 [112, 112, 3], damaged in one of `KINDS`."""
    return np.asarray(np.clip(KINDS[kind](image, chance), 0, 255), dtype=np.uint8)


def damage_all(images: NDArray[np.uint8], kind: str, seed: int = 0) -> NDArray[np.uint8]:
    """Return crops [N, 112, 112, 3] damaged in one kind, the same for the same seed."""
    number = list(KINDS).index(kind)
    return np.stack(
        [
            damage(image, kind, np.random.default_rng((seed, number, place)))
            for place, image in enumerate(images)
        ]
    )


@dataclass(frozen=True, slots=True, eq=False)
class Across:
    """How well a score judges damage of different kinds.

    Attributes:
        separation: AUC by kind: how often a clean face scores better than a damaged one.
        rank_correlation: Spearman's, of the quality with the similarity, all kinds together.
        low, high: 95 % interval of it, from 500 bootstrap samples of the faces.
    """

    separation: Mapping[str, float]
    rank_correlation: float
    low: float
    high: float


def across_kinds(
    clean: NDArray[np.floating],
    damaged: Mapping[str, NDArray[np.floating]],
    similarity: Mapping[str, NDArray[np.floating]],
    *,
    seed: int = 0,
) -> Across:
    """Judge a score over some kinds of damage to the same N faces.

    Args:
        clean: qualities of the unaltered faces, higher is better, [N].
        damaged: qualities of the damaged ones by kind, [N] each.
        similarity: of each damaged face to clean pictures of its person, by kind, [N] each; NaN
            where there is none.
        seed: of the bootstrap, which draws faces with all their damaged versions.
    """
    quality = np.stack([damaged[kind] for kind in damaged])
    alike = np.stack([similarity[kind] for kind in damaged])
    known = np.flatnonzero(np.isfinite(alike).all(axis=0))

    def correlation(faces: NDArray[np.int64]) -> float:
        return rank_correlation(quality[:, faces].ravel(), alike[:, faces].ravel())

    chance = np.random.default_rng(seed)
    drawn = [correlation(chance.choice(known, len(known))) for _ in range(500)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Across(
        separation={kind: separation(values, clean) for kind, values in damaged.items()},
        rank_correlation=correlation(known),
        low=float(low),
        high=float(high),
    )
