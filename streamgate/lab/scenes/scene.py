"""Draw a script: frames, and the truth about every face in each of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgate.lab.evaluation.ladder import degrade
from streamgate.lab.scenes.looks import FACE_HEIGHT_PX, SIDE_PX, Look, Person
from streamgate.lab.scenes.script import Appearance, Damage, Pillar, Script
from streamgate.values import Image

__all__ = ["Scene", "SceneFrame", "TruthFace", "who_is"]

_TILE_PX = 112
_LAYERS_KEPT = 64
_GRAIN = 2.0
_LIGHT_PERIOD_S = 47.0
_NOBODY = -1
_FACE_ACROSS, _FACE_ALONG = 0.47, 0.5
_LEAST_IOU = 0.25
_AWAY_HAIR = (42, 34, 30)
_AWAY_ALONG = 0.80


@dataclass(frozen=True, slots=True, eq=False)
class TruthFace:
    """A face that is in a frame.

    Attributes:
        person: the person's name.
        walk: number of the visit.
        box: x1, y1, x2, y2 in pixels, not clamped to the frame, float64 [4].
        visible: share of the face that nothing hides and the frame shows, 0-1; 0 where the person
            turns away.
        look: number of the photograph.
        damage: what is wrong with its picture.
    """

    person: str
    walk: int
    box: NDArray[np.float64]
    visible: float
    look: int
    damage: Damage | None


@dataclass(frozen=True, slots=True, eq=False)
class SceneFrame:
    """One picture of a scene.

    Attributes:
        image: RGB uint8 [H, W, 3], of the script's size.
        at: seconds from the scene's beginning.
        faces: who is there, the farthest first.
    """

    image: Image
    at: float
    faces: tuple[TruthFace, ...]


class Scene:
    """A script with people in it.

    Args:
        script: who walks where.
        people: the script's people; each is drawn with the photographs that there are.
        seed: of the grain and of the damage.
    """

    def __init__(self, script: Script, people: Sequence[Person], *, seed: int = 0) -> None:
        self.script = script
        self.people = people
        self._seed = seed
        self._room = _room(script.size_px, script.pillars)
        self._layers: OrderedDict[tuple[object, ...], NDArray[np.float32]] = OrderedDict()

    def frames(self, rate: float) -> Iterator[SceneFrame]:
        """Yield the scene at `rate` pictures a second."""
        height, width = self._room.shape[:2]
        grain = np.random.default_rng(self._seed).normal(0.0, _GRAIN, self._room.shape)
        # Twice in each direction, so that every shift of it is a view.
        grain = np.tile(grain.astype(np.float32), (2, 2, 1))
        for index in range(int(self.script.seconds * rate)):
            at = index / rate
            canvas, faces = self._composed(at)
            # Another part of the same grain each time: drawing new noise would cost more than all.
            top, left = index * 37 % height, index * 53 % width
            if self.script.light:
                drift = np.sin(2 * np.pi * at / _LIGHT_PERIOD_S)
                canvas *= np.float32(1.0 + self.script.light * drift)
            canvas += grain[top : top + height, left : left + width]
            image = np.clip(canvas, 0, 255, out=canvas).astype(np.uint8)
            image.flags.writeable = False
            yield SceneFrame(image, at, faces)

    def truth(self, at: float) -> tuple[TruthFace, ...]:
        """Return who is in the scene at a time, the farthest first."""
        return self._composed(at)[1]

    def _composed(self, at: float) -> tuple[NDArray[np.float32], tuple[TruthFace, ...]]:
        canvas = self._room.copy()
        owner = np.full(canvas.shape[:2], _NOBODY, np.int16)
        seen = self.script.appearances(at)
        pillars = sorted(self.script.pillars, key=lambda pillar: pillar.hides_up_to_px)
        for place, appearance in enumerate(seen):
            while pillars and pillars[0].hides_up_to_px < appearance.height_px:
                self._stand(canvas, owner, pillars.pop(0))
            self._draw(canvas, owner, place, appearance)
        for pillar in pillars:
            self._stand(canvas, owner, pillar)
        return canvas, tuple(self._truth(owner, place, seen[place]) for place in range(len(seen)))

    def _stand(self, canvas: NDArray[np.float32], owner: NDArray[np.int16], pillar: Pillar) -> None:
        columns = slice(pillar.left_px, pillar.right_px)
        shade = np.sin(np.linspace(0.3, 2.6, pillar.right_px - pillar.left_px))
        canvas[:, columns] = np.outer(shade, (150.0, 148.0, 140.0))
        owner[:, columns] = _NOBODY

    def _look(self, appearance: Appearance) -> tuple[int, Look]:
        looks = self.people[appearance.person].looks
        number = appearance.span.look % len(looks)
        return number, looks[number]

    def _draw(
        self,
        canvas: NDArray[np.float32],
        owner: NDArray[np.int16],
        place: int,
        appearance: Appearance,
    ) -> None:
        scale = appearance.height_px / FACE_HEIGHT_PX
        layers = self._prepared(appearance, scale)
        reach = SIDE_PX * scale * 0.55
        (x, y), (width, height) = appearance.middle, self.script.size_px
        left, top = max(0, int(x - reach)), max(0, int(y - reach))
        right, bottom = min(width, int(x + reach)), min(height, int(y + reach))
        if right <= left or bottom <= top:
            return
        turn = np.deg2rad(appearance.span.tilt_deg)
        across = scale * appearance.span.narrow * (-1 if appearance.mirrored else 1)
        a = np.array([
            [across * np.cos(turn), -scale * np.sin(turn)],
            [across * np.sin(turn), scale * np.cos(turn)],
        ])  # fmt: skip
        shift = np.array([x - left, y - top]) - a @ np.array([SIDE_PX / 2, SIDE_PX / 2])
        drawn = cv2.warpAffine(
            layers, np.column_stack([a, shift]), (right - left, bottom - top),
            flags=cv2.INTER_LINEAR,
        )  # fmt: skip
        part = canvas[top:bottom, left:right]
        part *= 1.0 - drawn[..., 3:]
        part += drawn[..., :3]
        owner[top:bottom, left:right][drawn[..., 3] > 0.5] = place

    def _prepared(self, appearance: Appearance, scale: float) -> NDArray[np.float32]:
        """Colours times alpha, and alpha, float32 [336, 336, 4], without what would alias."""
        number, look = self._look(appearance)
        span = appearance.span
        step = round(scale * 12)
        key = (appearance.person, number, span.damage, span.away, step)
        if key in self._layers:
            self._layers.move_to_end(key)
            return self._layers[key]
        picture = look.picture
        if span.away:
            picture = _from_behind(look)
        elif span.damage is not None:
            picture = _damaged(picture, span.damage, self._seed)
        layers = np.dstack([picture.astype(np.float32) * look.alpha[..., None], look.alpha])
        sigma = max(0.0, 0.5 / max(step / 12, 0.1) - 0.5)
        if sigma > 0.05:
            layers = np.asarray(cv2.GaussianBlur(layers, (0, 0), sigma), np.float32)
        self._layers[key] = layers
        if len(self._layers) > _LAYERS_KEPT:
            self._layers.popitem(last=False)
        return layers

    def _truth(self, owner: NDArray[np.int16], place: int, appearance: Appearance) -> TruthFace:
        number, look = self._look(appearance)
        scale = appearance.height_px / FACE_HEIGHT_PX
        half = np.array(
            [look.face_width_px * scale * appearance.span.narrow, appearance.height_px]
        ) / 2  # fmt: skip
        box = np.concatenate([appearance.middle - half, appearance.middle + half])
        box.flags.writeable = False
        visible = 0.0 if appearance.span.away else _visible(owner, place, box)
        return TruthFace(
            person=self.people[appearance.person].name,
            walk=appearance.walk,
            box=box,
            visible=visible,
            look=number,
            damage=appearance.span.damage,
        )


def who_is(box: NDArray[np.float64], faces: Sequence[TruthFace]) -> TruthFace | None:
    """Return whose face a detection is, or None where it is nobody's.

    Where one face lies before another, it is that of which more can be seen.

    Args:
        box: x1, y1, x2, y2, float64 [4].
        faces: the truth about the frame.
    """
    best, found = 0.0, None
    for face in faces:
        overlap = _iou(box, face.box)
        if overlap >= _LEAST_IOU and overlap * face.visible > best:
            best, found = overlap * face.visible, face
    return found


def _iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    if (sides <= 0).any():
        return 0.0
    shared = float(sides.prod())
    return shared / (float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared)


def _visible(owner: NDArray[np.int16], place: int, box: NDArray[np.float64]) -> float:
    """Share of the face's ellipse that belongs to it."""
    x1, y1, x2, y2 = (round(float(edge)) for edge in box)
    across, down = np.meshgrid(
        np.linspace(-0.5, 0.5, max(1, x2 - x1)), np.linspace(-0.5, 0.5, max(1, y2 - y1))
    )
    ellipse = (across / _FACE_ACROSS) ** 2 + (down / _FACE_ALONG) ** 2 <= 1.0
    height, width = owner.shape
    left, right = (min(max(edge, 0), width) for edge in (x1, x2))
    top, bottom = (min(max(edge, 0), height) for edge in (y1, y2))
    inside = ellipse[top - y1 : bottom - y1, left - x1 : right - x1]
    mine = owner[top:bottom, left:right] == place
    return float((mine[: len(inside)] & inside).sum()) / max(1, int(ellipse.sum()))


def _damaged(picture: Image, damage: Damage, seed: int) -> Image:
    """Damage a look; the ladder's strengths are for 112 pixels, so it goes tile by tile."""
    damaged = picture.copy()
    for top in range(0, SIDE_PX, _TILE_PX):
        for left in range(0, SIDE_PX, _TILE_PX):
            tile = (slice(top, top + _TILE_PX), slice(left, left + _TILE_PX))
            # The same draw for each tile: a smear has one direction.
            chance = np.random.default_rng(seed)
            damaged[tile] = degrade(
                np.ascontiguousarray(picture[tile]), damage.kind, damage.level, chance
            )
    return damaged


def _from_behind(look: Look) -> Image:
    """Hair where the face was."""
    picture = look.picture.copy()
    middle = (SIDE_PX // 2, round(SIDE_PX / 2 - 0.1 * FACE_HEIGHT_PX))
    axes = (round(0.78 * look.face_width_px), round(_AWAY_ALONG * FACE_HEIGHT_PX))
    cv2.ellipse(picture, middle, axes, 0, 0, 360, _AWAY_HAIR, -1)
    return picture


def _room(size_px: tuple[int, int], pillars: Sequence[Pillar]) -> NDArray[np.float32]:
    """A wall and a floor, soft enough to hold no face."""
    width, height = size_px
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    wall = 165.0 - 40.0 * np.abs(across - 0.5) - 30.0 * down
    room = np.stack([wall * 0.97, wall, wall * 1.01], axis=-1).astype(np.float32)
    room[int(0.86 * height) :] *= 0.7
    for pillar in pillars:
        room[:, max(0, pillar.left_px - 12) : pillar.left_px] *= 0.9
    return np.asarray(cv2.GaussianBlur(room, (0, 0), 2.0), np.float32)
