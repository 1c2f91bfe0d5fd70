"""Can anybody but the wanted person be recognised in a context picture?

    python -m bench.bystanders --photos PHOTOS --crops CROPS --recogniser NET.onnx --height 1080

Composes crowds of photographs, cuts the context of every face that the detector finds, and compares
each bystander in it, cut out by the landmarks that are known from the composition, with photographs
of the same person. A match is a similarity above the recogniser's threshold at FMR 1e-2.

PHOTOS holds NAME/*.jpg; CROPS holds aligned faces and `index.csv` with the columns file, identity
and split; the recogniser takes RGB 0-255 float32 [1, 3, 112, 112].
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from streamgate.config import DetectorSection
from streamgate.faces.align import align, similarity_to_template
from streamgate.faces.bystanders import context_of, hidden
from streamgate.faces.detect import YuNetDetector
from streamgate.models.registry import installed
from streamgate.values import Face, Image

__all__ = ["main"]

_FMR = 1e-2
_FACES = 30
_WIDTHS_PX = (24, 32, 48, 64, 96, 140, 200)
"""Of faces in a frame of 1080 lines; in proportion in others."""
_MARGINS = (1.0, 3.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """Somebody in a composed crowd."""

    name: str
    box: NDArray[np.float64]
    landmarks: NDArray[np.float64]


class _Recogniser:
    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options)
        self._input = self._session.get_inputs()[0].name

    def embed(self, crop: Image) -> NDArray[np.float32]:
        picture = crop.transpose(2, 0, 1)[None].astype(np.float32)
        found: NDArray[np.float32] = self._session.run(None, {self._input: picture})[0][0]
        return found / np.linalg.norm(found)

    def threshold(self, crops: Path, most: int) -> float:
        """The similarity that one in a hundred pairs of different people exceeds."""
        with (crops / "index.csv").open(encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["identity"]]
        rows = [row for row in rows if row["split"] == "val"][:most]
        embeddings = np.stack([self.embed(_read(crops / row["file"])) for row in rows])
        names = np.array([row["identity"] for row in rows])
        different = np.triu(names[:, None] != names[None], 1)
        return float(np.quantile((embeddings @ embeddings.T)[different], 1 - _FMR))


def _read(path: Path) -> Image:
    picture = cv2.imread(str(path))
    if picture is None:
        raise SystemExit(f"{path} cannot be read")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _crop(image: Image, landmarks: NDArray[np.float64]) -> Image | None:
    similarity = similarity_to_template(landmarks)
    return None if similarity is None else align(image, similarity).image


class _Crowds:
    """Composes crowds; the photographs' faces are known."""

    def __init__(self, photos: Path, detector: YuNetDetector, seed: int) -> None:
        self.people: dict[str, list[tuple[Image, Face]]] = {}
        self._random = random.Random(seed)  # noqa: S311 # it guards nothing
        for path in sorted(photos.glob("*/*.jpg")):
            image = _read(path)
            faces = detector.detect(image)
            if faces:
                face = max(faces, key=lambda one: one.area)
                self.people.setdefault(path.parent.name, []).append((image, face))

    def compose(self, height: int) -> tuple[Image, list[_Placed]]:
        width, pick = height * 16 // 9, self._random
        scene, placed = np.full((height, width, 3), 110, np.uint8), list[_Placed]()
        for _ in range(_FACES):
            name = pick.choice(sorted(self.people))
            image, face = pick.choice(self.people[name])
            scale = pick.choice(_WIDTHS_PX) * height / 1080 / float(face.box[2] - face.box[0])
            how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            part = cv2.resize(image, None, fx=scale, fy=scale, interpolation=how)
            tall, wide = part.shape[:2]
            y = pick.randrange(-tall // 4, height - tall * 3 // 4)
            x = pick.randrange(-wide // 4, width - wide * 3 // 4)
            top, left = max(y, 0), max(x, 0)
            bottom, right = min(y + tall, height), min(x + wide, width)
            scene[top:bottom, left:right] = part[top - y : bottom - y, left - x : right - x]
            over = np.array([left, top, right, bottom], np.float64)
            placed = [one for one in placed if _covered(one.box, over) < 0.5]
            shift = np.array([x, y], np.float64)
            placed.append(
                _Placed(name, face.box * scale + np.tile(shift, 2), face.landmarks * scale + shift)
            )
        return scene, placed


def _covered(box: NDArray[np.float64], over: NDArray[np.float64]) -> float:
    sides = np.minimum(box[2:], over[2:]) - np.maximum(box[:2], over[:2])
    return float(sides.clip(0).prod() / (box[2:] - box[:2]).prod())


def _bystanders(
    placed: Sequence[_Placed], wanted: Face, origin: NDArray[np.float64], shape: tuple[int, ...]
) -> list[_Placed]:
    """Those whose face's middle the context shows, except the wanted one and what it hides."""
    found, mine = [], (wanted.box[:2] + wanted.box[2:]) / 2
    own = [one for one in placed if (one.box[:2] < mine).all() and (mine < one.box[2:]).all()]
    names = {one.name for one in own}
    for one in placed:
        middle = (one.box[:2] + one.box[2:]) / 2
        inside = (origin < middle).all() and (middle < origin + np.array(shape[1::-1])).all()
        behind = (((middle - mine) / (wanted.box[2:] - wanted.box[:2])) ** 2).sum() < 0.36
        if inside and not behind and one.name not in names:
            found.append(one)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m bench.bystanders")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--recogniser", type=Path, required=True)
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    recogniser = _Recogniser(given.recogniser)
    threshold = recogniser.threshold(given.crops, 900)
    model = installed("yunet")
    camera = YuNetDetector(DetectorSection(), model)
    second = YuNetDetector(DetectorSection(max_side_px=1280), model)
    crowds = _Crowds(given.photos, camera, given.seed)
    gallery = {
        name: np.stack([recogniser.embed(crop) for image, face in shown
                        if (crop := _crop(image, face.landmarks)) is not None])
        for name, shown in crowds.people.items()
    }  # fmt: skip
    shares: dict[str, list[float]] = {"shown": [], "in_frame": [], "hidden": []}
    for _ in range(given.scenes):
        scene, placed = crowds.compose(given.height)
        faces, everywhere = camera.detect_all(scene)
        for face in faces:
            for margin in _MARGINS:
                shown, at = context_of(scene, face, margin, None)
                frame, _ = context_of(scene, face, margin, everywhere)
                origin = np.array(at, np.float64)
                _, again = second.detect_all(frame)
                wanted = face.box - np.tile(origin, 2)
                last = hidden(frame, wanted, [one.box for one in again])
                for one in _bystanders(placed, face, origin, shown.shape):
                    for kind, context in zip(shares, (shown, frame, last), strict=True):
                        crop = _crop(context, one.landmarks - origin)
                        if crop is not None:
                            match = gallery[one.name] @ recogniser.embed(crop) > threshold
                            shares[kind].append(float(match.mean()))
    result: dict[str, Any] = {
        "height": given.height, "seed": given.seed, "scenes": given.scenes,
        "threshold": round(threshold, 4), "faces": len(shares["shown"]),
        **{kind: round(float(np.mean(share)), 4) for kind, share in shares.items()},
    }  # fmt: skip
    print(json.dumps(result))  # noqa: T201 # the result


if __name__ == "__main__":
    main()
