"""`python -m bench.quality.expectations`: what quality to expect of which faces.

    python -m bench.quality.expectations --crops faces.tar --split val --recogniser judge.onnx

Clean crops are brought to a width in pixels of the camera's picture, as a face that is farther
away, spoiled as that camera might, and cut out again. The page of mounting shows the table.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bench.quality.judged import judge_of, parser_of
from bench.quality.probes import with_known_people
from streamgate.config import DetectorSection
from streamgate.faces.detect import YuNetDetector
from streamgate.faces.pose import pose_of
from streamgate.lab.crops import CropSet, read_crops
from streamgate.lab.recogniser import OnnxRecogniser
from streamgate.models.registry import path_of
from streamgate.quality.scorer import Scorer
from streamgate.values import Image

__all__ = ["RESULTS", "as_seen", "table"]

RESULTS = Path(__file__).parent / "expectations.json"
WIDTHS = (20, 26, 32, 40, 50, 62, 76)
"""Of the face in pixels of the camera's picture; a crop's face has 76, so more cannot be shown."""
_FACE_IN_CROP = 76
_SIDE = 112
_FALSE_MATCH_RATE = 1e-3
_FRONTAL_DEG = 15.0
_YAWS = ((0, 15), (15, 25), (25, 35), (35, 50))
_BORDER_PX = 56
_RESAMPLES = 200
_SENSOR_NOISE = 2.0
_JPEG = 80

Condition = Callable[[NDArray[np.float32], Generator], NDArray[np.float32]]


def _sharp(picture: NDArray[np.float32], _chance: Generator) -> NDArray[np.float32]:
    return picture


def _defocused(picture: NDArray[np.float32], _chance: Generator) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.5), dtype=np.float32)


def _moving(picture: NDArray[np.float32], chance: Generator) -> NDArray[np.float32]:
    line = np.zeros((7, 7), dtype=np.float32)
    line[3] = 1.0
    turn = cv2.getRotationMatrix2D((3, 3), chance.uniform(0, 180), 1.0)
    line = np.asarray(cv2.warpAffine(line, turn, (7, 7)), dtype=np.float32)
    return np.asarray(cv2.filter2D(picture, -1, line / line.sum()), dtype=np.float32)


def _dim(picture: NDArray[np.float32], chance: Generator) -> NDArray[np.float32]:
    grain = chance.standard_normal(picture.shape).astype(np.float32)
    return np.asarray(picture * 0.25 + 5 * grain, dtype=np.float32)


def _against_light(picture: NDArray[np.float32], chance: Generator) -> NDArray[np.float32]:
    """Dark and low in contrast, behind the haze of a bright background."""
    grain = chance.standard_normal(picture.shape).astype(np.float32)
    return np.asarray(picture * 0.3 + 25 + 3 * grain, dtype=np.float32)


CONDITIONS: Mapping[str, Condition] = {
    "sharp": _sharp,
    "out of focus": _defocused,
    "moving": _moving,
    "poor light": _dim,
    "against the light": _against_light,
}


def as_seen(crop: Image, width_px: float, condition: str, chance: Generator) -> Image:
    """Return a crop, RGB uint8 [112, 112, 3], as from a face `width_px` wide in the picture."""
    side = max(2, round(_SIDE * width_px / _FACE_IN_CROP))
    small = crop.astype(np.float32)
    if side < _SIDE:
        small = np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_AREA))
    seen = CONDITIONS[condition](small, chance)
    seen = seen + chance.normal(0, _SENSOR_NOISE, seen.shape)
    picture = np.clip(seen, 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    large = cv2.resize(decoded[..., ::-1], (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, dtype=np.uint8)


def _yaws(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how far each head is turned, degrees; NaN where no face is found."""
    detector = YuNetDetector(DetectorSection(min_score=0.3), path_of("yunet"))
    found = []
    for image in images:
        framed = cv2.copyMakeBorder(image, *[_BORDER_PX] * 4, cv2.BORDER_REPLICATE)
        faces = detector.detect(np.asarray(framed, dtype=np.uint8))
        best = max(faces, key=lambda face: face.detector_score, default=None)
        found.append(np.nan if best is None else abs(pose_of(best.landmarks).yaw_deg))
    return np.array(found)


def _cell(
    quality: NDArray[np.float64], matched: NDArray[np.float64], people: NDArray[np.str_]
) -> Mapping[str, Any]:
    """Quality and share of matches of some probes, with 95 % intervals over people."""
    names, owner = np.unique(people, return_inverse=True)
    places = [np.flatnonzero(owner == number) for number in range(len(names))]
    chance = np.random.default_rng(0)
    medians, shares = [], []
    for _ in range(_RESAMPLES):
        drawn = np.concatenate([places[n] for n in chance.integers(0, len(names), len(names))])
        medians.append(np.median(quality[drawn]))
        shares.append(matched[drawn].mean())
    return {
        "faces": len(quality),
        "quality": np.quantile(quality, (0.1, 0.25, 0.5, 0.75, 0.9)).tolist(),
        "median_interval": np.quantile(medians, (0.025, 0.975)).tolist(),
        "matched": float(matched.mean()),
        "matched_interval": np.quantile(shares, (0.025, 0.975)).tolist(),
    }


class _Judged:
    """The gallery, and how often a probe matches the other pictures of its person."""

    def __init__(self, crops: CropSet, judge: OnnxRecogniser) -> None:
        self._judge = judge
        self._identities = crops.identities
        self._gallery = judge(crops.images)
        same = self._identities[:, None] == self._identities[None]
        likeness = self._gallery @ self._gallery.T
        self.threshold = float(np.quantile(likeness[~same], 1 - _FALSE_MATCH_RATE))

    def matched(self, images: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the share of the other pictures of its person that each probe matches, [N]."""
        same = self._identities[places][:, None] == self._identities[None]
        same[np.arange(len(places)), places] = False
        hits = (self._judge(images) @ self._gallery.T > self.threshold) & same
        return np.asarray(hits.sum(axis=1) / same.sum(axis=1), dtype=np.float64)


def figures(crops: CropSet, scorer: Scorer, judge: OnnxRecogniser, most: int) -> dict[str, Any]:
    """Measure every width under every condition with frontal faces, and turned ones by yaw."""
    known = with_known_people(crops)
    judged = _Judged(known, judge)
    yaws = _yaws(known.images)
    people = known.identities
    chance = np.random.default_rng(0)
    frontal = np.flatnonzero(yaws <= _FRONTAL_DEG)
    frontal = np.sort(chance.permutation(frontal)[:most])

    def cell(places: NDArray[np.int64], width: float, condition: str) -> Mapping[str, Any]:
        seen = np.stack([as_seen(known.images[i], width, condition, chance) for i in places])
        quality = scorer.score(seen).quality
        return _cell(quality, judged.matched(seen, places), people[places])

    by_width = {
        condition: {str(width): cell(frontal, width, condition) for width in WIDTHS}
        for condition in CONDITIONS
    }
    by_yaw = {}
    for least, largest in _YAWS:
        turned = np.flatnonzero((yaws >= least) & (yaws < largest))
        if len(turned) >= 20:
            chosen = np.sort(chance.permutation(turned)[:most])
            by_yaw[f"{least}-{largest}"] = cell(chosen, WIDTHS[-1], "sharp")
    return {"threshold": judged.threshold, "widths": by_width, "yaws": by_yaw}


def table(results: Mapping[str, Any]) -> str:
    """Return the tables of docs/mounting.md for the results as they are in the JSON file."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "Median quality (in brackets: the middle half of the faces), and the share of comparisons "
        f"with the person's clean photographs that the recogniser {results['judge']} accepts at a "
        f"false match rate of {_FALSE_MATCH_RATE:g}. Faces look ahead, within {_FRONTAL_DEG:.0f}°."
    )
    yield ""
    yield "| width of the face | " + " | ".join(CONDITIONS) + " |"
    yield "|---" * (len(CONDITIONS) + 1) + "|"
    for width in WIDTHS:
        cells = [_text(results["widths"][name][str(width)]) for name in CONDITIONS]
        yield f"| {width} px | " + " | ".join(cells) + " |"
    yield ""
    yield "Turned heads, sharp, 76 px wide:"
    yield ""
    yield "| yaw | quality | accepted | faces |"
    yield "|---|---|---|---|"
    for yaw, found in results["yaws"].items():
        quality, accepted = _text(found).split(", ")
        yield f"| {yaw.replace('-', '° to ')}° | {quality} | {accepted} | {found['faces']} |"
    cells = [cell for kind in results["widths"].values() for cell in kind.values()]
    error = max(high - low for low, high in (cell["median_interval"] for cell in cells)) / 2
    share = max(high - low for low, high in (cell["matched_interval"] for cell in cells)) / 2
    yield ""
    yield (
        f"{results['faces']} faces a cell of {results['people']} people. The medians are exact to "
        f"±{error:.0f} points and the shares to ±{100 * share:.0f} % or better (95 %, over people)."
    )


def _text(cell: Mapping[str, Any]) -> str:
    _, low, median, high, _ = cell["quality"]
    return f"{median:.0f} ({low:.0f}-{high:.0f}), {cell['matched']:.0%}"


def main() -> None:
    """Measure, write the JSON and print the tables."""
    parser = parser_of("bench.quality.expectations", __doc__, RESULTS)
    parser.add_argument("--most", type=int, default=300, help="faces a cell")
    arguments = parser.parse_args()
    crops = read_crops(arguments.crops, split=arguments.split)
    scorer = Scorer.load(arguments.weights)
    judge = judge_of(arguments)
    found = figures(crops, scorer, judge, arguments.most)
    first = found["widths"]["sharp"][str(WIDTHS[0])]
    results = {
        "command": "python -m bench.quality.expectations " + " ".join(sys.argv[1:]),
        "date": datetime.now(UTC).date().isoformat(),
        "weights_sha256": scorer.model_hash,
        "judge": arguments.recogniser.name,
        "faces": first["faces"],
        "people": len(set(with_known_people(crops).identities.tolist())),
        **found,
    }
    arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(results))


if __name__ == "__main__":
    main()
