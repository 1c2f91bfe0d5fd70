"""`python -m bench looking VIDEO…`: what it costs not to look at every frame.

The daemon's own analyser and selector see each recording and each scene twice: every frame, and as
a camera looks. Both see the same detections, so they differ by what was looked at alone. A track of
the first run is what the second must not miss: the same place in the same frame is the same person.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from bench.machine import describe
from streamgate import Scorer
from streamgate.config import CameraConfig, DetectorSection
from streamgate.faces.analyse import FaceAnalyser
from streamgate.faces.detect import YuNetDetector
from streamgate.faces.track import FaceTracker
from streamgate.lab.scenes.looks import Person, load_people
from streamgate.lab.scenes.scene import Scene
from streamgate.lab.scenes.script import SIZE_PX, Script, Span, Walk
from streamgate.models.registry import installed
from streamgate.selection.identity import IdentityRules
from streamgate.selection.selector import Selector, SelectorEvent
from streamgate.sources.convert import RgbConverter, VideoPixels
from streamgate.values import (
    ArrayPixels,
    Candidate,
    Face,
    Frame,
    Image,
    LookReason,
    Pixels,
    Release,
    ReleaseReason,
)

__all__ = ["RESULTS", "brief_script", "main", "table"]

RESULTS = Path(__file__).parent / "looking.json"
_RATE = 25
_SAME_IOU = 0.3
_PHASES = 3
"""Which frames are looked at is chance; the camera begins at one of so many frames."""
_SIGHTINGS = 3
"""A track of fewer is a false detection, or nobody could be chosen from it."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How somebody passes: the face's height, and for how long; or as through an open door."""

    height_px: tuple[float, float]
    takes_s: tuple[float, float]
    crosses: bool = True


_KINDS = (
    _Kind((44.0, 56.0), (3.0, 3.0)),
    _Kind((70.0, 120.0), (0.9, 1.4)),
    _Kind((60.0, 110.0), (0.5, 0.5), crosses=False),
)
"""Small, fast, and briefly seen."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What one recording or scene lost.

    Attributes:
        name: of it.
        looked_at: share of its frames.
        tracks: with a forwarded face where every frame is looked at.
        missed: of these, how many forwarded nothing, in all phases together.
        regret_every, regret: by how much the forwarded face is worse than the best of its track,
            points, for each track forwarded in both.
        delays_s: how much later each track was first seen.
    """

    name: str
    looked_at: float
    tracks: int
    missed: int
    regret_every: tuple[float, ...]
    regret: tuple[float, ...]
    delays_s: tuple[float, ...]


@dataclass(slots=True)
class _Sight:
    """What one run saw and forwarded.

    Attributes:
        seen: boxes by frame and tracklet, of every face that was followed.
        candidates: faces that may be scored, by tracklet.
        released: forwarded faces.
    """

    seen: dict[int, dict[int, NDArray[np.float64]]] = field(default_factory=dict)
    candidates: dict[int, list[Candidate]] = field(default_factory=dict)
    released: list[Release] = field(default_factory=list)
    looked: int = 0
    frames: int = 0


class _Remembered:
    """A detector that is asked once about each picture."""

    def __init__(self, detector: YuNetDetector) -> None:
        self._detector = detector
        self._found: dict[int, list[Face]] = {}
        self.index = 0

    def detect(self, image: Image) -> list[Face]:
        if self.index not in self._found:
            self._found[self.index] = self._detector.detect(image)
        return self._found[self.index]


class _Clock:
    at = 0.0

    def monotonic(self) -> float:
        return self.at

    def wall(self) -> float:
        return self.at


class _Run:
    """One way of looking at one recording."""

    def __init__(self, detector: _Remembered, scorer: Scorer, *, every_frame: bool) -> None:
        self._config = CameraConfig.model_validate({
            "camera": {"name": "bench"}, "source": {"kind": "file", "path": "bench"},
        })  # fmt: skip
        self._detector, self._scorer, self._clock = detector, scorer, _Clock()
        self._analyser = FaceAnalyser(
            self._config, detector, FaceTracker(self._config.tracker), self._clock,
            every_frame=every_frame,
        )  # fmt: skip
        gate, quality = self._config.gate, self._config.quality
        self._selector = Selector(
            gate,
            max_pending=quality.max_pending,
            share=quality.score_share,
            identity=IdentityRules(visit_s=gate.visit_s),
        )
        self.sight = _Sight()

    def watch(self, frame: Frame) -> None:
        """Do with a frame what a camera does."""
        at, sight = frame.captured_at, self.sight
        self._clock.at = at
        self._detector.index = frame.index
        sight.frames += 1
        pause = self._analyser.pause
        if pause is None or not pause.covers(at):
            analysis = self._analyser.analyse(frame)
            sight.looked += isinstance(analysis.look, LookReason)
            for face in analysis.faces:
                number = face.tracked.track_id
                sight.seen.setdefault(frame.index, {})[number] = face.tracked.face.box
                if face.candidate is not None:
                    sight.candidates.setdefault(number, []).append(face.candidate)
            self._take(self._selector.seen(analysis, at))
        self._score()
        self._take(self._selector.tick(at))
        self._analyser.static_tracks = self._selector.static_tracks

    def end(self) -> _Sight:
        """Decide what is live."""
        self._take(self._selector.end(ReleaseReason.STREAM_ENDED, self._clock.at))
        self._score()
        self._take(self._selector.close(ReleaseReason.STREAM_ENDED, self._clock.at))
        return self.sight

    def _take(self, events: Sequence[SelectorEvent]) -> None:
        self.sight.released += [event for event in events if isinstance(event, Release)]

    def _score(self) -> None:
        while batch := self._selector.next_batch(8, self._clock.at):
            scores = self._scorer.score(np.stack([one.crop.image for one in batch]))
            self._take(self._selector.scored(scores.of(batch, self._clock.at), self._clock.at))


def compare(name: str, frames: Iterator[Frame], detector: YuNetDetector, scorer: Scorer) -> Loss:
    """Look at a recording in both ways."""
    remembered = _Remembered(detector)
    every = _Run(remembered, scorer, every_frame=True)
    few = [_Run(remembered, scorer, every_frame=False) for _ in range(_PHASES)]
    times: dict[int, float] = {}
    for frame in frames:
        times[frame.index] = frame.captured_at
        every.watch(frame)
        for phase, run in enumerate(few):
            if frame.index >= phase:
                run.watch(frame)
    reference, seen = every.end(), [run.end() for run in few]
    delays, regrets, missed, tracks = [], [], 0, 0
    for number, boxes in _tracks(reference).items():
        if len(boxes) < _SIGHTINGS:
            continue
        first = _first(boxes, seen[0])
        if first is not None:
            delays.append(round(times[first] - times[min(boxes)], 3))
        chosen = _chosen(boxes, reference)
        if chosen is None:
            continue
        tracks += 1
        candidates = reference.candidates[number]
        best = max(scorer.score(np.stack([one.crop.image for one in candidates])).quality)
        others = [_chosen(boxes, sight) for sight in seen]
        missed += sum(other is None for other in others)
        regrets += [(best - chosen, best - other) for other in others if other is not None]
    return Loss(
        name,
        seen[0].looked / max(1, seen[0].frames),
        tracks,
        missed,
        tuple(round(float(one), 3) for one, _ in regrets),
        tuple(round(float(one), 3) for _, one in regrets),
        tuple(delays),
    )


def _tracks(sight: _Sight) -> dict[int, dict[int, NDArray[np.float64]]]:
    """Boxes by tracklet and frame."""
    found: dict[int, dict[int, NDArray[np.float64]]] = {}
    for index, faces in sight.seen.items():
        for number, box in faces.items():
            found.setdefault(number, {})[index] = box
    return found


def _first(boxes: Mapping[int, NDArray[np.float64]], sight: _Sight) -> int | None:
    """The first frame in which somebody was seen at one of these places."""
    for index in sorted(boxes):
        if any(_iou(boxes[index], box) > _SAME_IOU for box in sight.seen.get(index, {}).values()):
            return index
    return None


def _chosen(boxes: Mapping[int, NDArray[np.float64]], sight: _Sight) -> float | None:
    """The best quality that was forwarded of one of these places."""
    found = [
        release.face.quality
        for release in sight.released
        if (box := boxes.get(release.face.candidate.frame_index)) is not None
        and _iou(box, release.face.candidate.tracked.face.box) > _SAME_IOU
    ]
    return max(found, default=None)


def _iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    shared = float(sides.prod())
    areas = [float((box[2:] - box[:2]).prod()) for box in (one, other)]
    return shared / (sum(areas) - shared)


def brief_script(seed: int, people: int, seconds: float = 16.0) -> Script:
    """Small faces, fast ones, and some that are seen for half a second, in a room empty at first.

    Everybody enters the empty picture alone, so that each has to be noticed anew.
    """
    chance, walks, at = np.random.default_rng(seed), [], 4.0
    width, height = SIZE_PX
    for person in range(people):
        kind = _KINDS[person % len(_KINDS)]
        size = float(chance.uniform(*kind.height_px))
        takes = float(chance.uniform(*kind.takes_s))
        x = np.array([-0.9 * size, width + 0.9 * size])
        if not kind.crosses:
            left = float(chance.uniform(0.2, 0.7)) * width
            x = np.array([left, left + 0.8 * size])
        look, tilt_deg = int(chance.integers(0, 1 << 16)), float(chance.normal(0, 4))
        walk = Walk(
            person=person,
            times=np.array([at, at + takes]),
            x=x,
            y=np.full(2, height * float(chance.uniform(0.3, 0.6))),
            height=np.full(2, size),
            mirrored=bool(chance.random() < 0.5),
            spans=(Span(at, look, 1.0, tilt_deg, None, away=False),),
            phase=0.0,
        )
        walks.append(walk)
        at += takes + float(chance.uniform(2.6, 3.4))
    return Script(max(seconds, at), tuple(walks), ())


def _recorded(path: Path) -> Iterator[Frame]:
    converter = RgbConverter()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for index, picture in enumerate(container.decode(stream)):
            at = float(picture.time or 0.0)
            yield _frame(VideoPixels(picture, converter), index, at)


def _scene(seed: int, people: Sequence[Person]) -> Iterator[Frame]:
    for index, frame in enumerate(Scene(brief_script(seed, len(people)), people).frames(_RATE)):
        yield _frame(ArrayPixels(frame.image), index, frame.at)


def _frame(pixels: Pixels, index: int, at: float) -> Frame:
    return Frame(pixels, index, 0, at, at, at)


def table(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    groups = results["recordings"], results["scenes"]

    def total(key: str) -> list[str]:
        return [str(sum(loss[key] for loss in group)) for group in groups]

    def every(key: str) -> list[list[float]]:
        return [[value for loss in group for value in loss[key]] for group in groups]

    rows = {
        "tracks of which a face is forwarded if every frame is looked at": total("tracks"),
        f"of these missed, in {_PHASES} runs": total("missed"),
        "regret if every frame is looked at, points": [
            f"{np.mean(values):.2f}" for values in every("regret_every")
        ],
        "regret as cameras look, points": [f"{np.mean(values):.2f}" for values in every("regret")],
        "seen later, median": [f"{np.median(values):.2f} s" for values in every("delays_s")],
        "seen later, at most": [f"{max(values):.2f} s" for values in every("delays_s")],
        "frames looked at": [
            f"{np.mean([loss['looked_at'] for loss in group]):.0%}" for group in groups
        ],
    }
    names = f"{len(groups[0])} recordings", f"{len(groups[1])} scenes"
    lines = [f"| | {' | '.join(names)} |", "|---|---|---|"]
    lines += [f"| {name} | {' | '.join(values)} |" for name, values in rows.items()]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write the JSON and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench looking", description=__doc__)
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--photos", type=Path, required=True, help="a folder of each person's")
    parser.add_argument("--scenes", type=int, default=3)
    given = parser.parse_args(arguments)
    detector = YuNetDetector(DetectorSection(), installed("yunet"))
    scorer = Scorer.load(threads=1)
    recordings = []
    for path in given.videos:
        recordings.append(compare(path.name, _recorded(path), detector, scorer))
        sys.stderr.write(f"{recordings[-1]}\n")
    photographs = {one.name: sorted(one.iterdir())[:1] for one in sorted(given.photos.iterdir())}
    people = load_people(photographs, detector.detect)
    scenes = []
    for seed in range(given.scenes):
        shown = people[seed % 3 :][:6]
        scenes.append(compare(f"scene {seed}", _scene(seed, shown), detector, scorer))
        sys.stderr.write(f"{scenes[-1]}\n")
    results = {
        "command": "python -m bench looking VIDEO… --photos DIR",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe("cpu"),
        "recordings": [asdict(one) for one in recordings],
        "scenes": [asdict(one) for one in scenes],
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(results))
