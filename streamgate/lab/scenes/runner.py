"""Run the whole gate over a scene and judge it by people.

Analyser, selector and rules are the daemon's own. As in a replay no frame is dropped and a score
takes no time; only faces that the selector asks for are scored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamgate.config import CameraConfig
from streamgate.faces.analyse import FaceAnalyser
from streamgate.faces.track import FaceTracker
from streamgate.lab.scenes.evaluation import PeopleFigures, judge_people
from streamgate.lab.scenes.scene import Scene, SceneFrame, TruthFace, who_is
from streamgate.ports import FaceDetector
from streamgate.selection.identity import IdentityRules
from streamgate.selection.selector import Selector, SelectorEvent
from streamgate.values import (
    Analysis,
    ArrayPixels,
    Frame,
    IdentityThresholds,
    Release,
    ReleaseReason,
    Scores,
    TrackDecision,
    TracksJoined,
)

__all__ = ["CropScorer", "run_scene"]

_CLEARLY_VISIBLE = 0.9
_CLEARLY_S = 0.5


class CropScorer(Protocol):
    """Scores aligned crops, RGB uint8 [N, 112, 112, 3]; `streamgate.Scorer` is one."""

    @property
    def identity(self) -> IdentityThresholds | None:
        """From which cosines on faces are of one person, where that is known."""
        ...

    def score(self, crops: NDArray[np.uint8]) -> Scores:
        """Return their scores, in their order."""
        ...


class _SceneClock:
    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at

    def wall(self) -> float:
        return self.at


def run_scene(
    scene: Scene, rate: float, config: CameraConfig, detector: FaceDetector, scorer: CropScorer
) -> PeopleFigures:
    """Show the gate a scene at `rate` pictures a second, and count what it did to people."""
    return _Run(scene, rate, config, detector, scorer).run()


class _Run:
    def __init__(
        self,
        scene: Scene,
        rate: float,
        config: CameraConfig,
        detector: FaceDetector,
        scorer: CropScorer,
    ) -> None:
        self._scene, self._rate, self._scorer = scene, rate, scorer
        self._batch_size = config.quality.batch_size
        self._clock = _SceneClock()
        self._analyser = FaceAnalyser(config, detector, FaceTracker(config.tracker), self._clock)
        self._selector = Selector(
            config.gate,
            max_pending=config.quality.max_pending,
            share=config.quality.score_share,
            identity=IdentityRules.of(config.gate.visit_s, scorer.identity),
        )
        self._events: list[SelectorEvent] = []
        # Whose face it is, and which track it was of when it was seen, by frame and number.
        self._people: dict[tuple[int, int], str | None] = {}
        self._tracks: dict[tuple[int, int], int] = {}
        self._clear: dict[str, int] = {}
        self._interruptions = list(scene.script.interruptions)

    def run(self) -> PeopleFigures:
        for index, frame in enumerate(self._scene.frames(self._rate)):
            self._watch(index, frame)
        self._events += self._selector.end(ReleaseReason.STREAM_ENDED, self._clock.at)
        self._score()
        least = max(2.0, _CLEARLY_S * self._rate)
        return judge_people(
            self._seen(),
            [self._who(event) for event in self._events if isinstance(event, Release)],
            frozenset(name for name, frames in self._clear.items() if frames >= least),
        )

    def _watch(self, index: int, frame: SceneFrame) -> None:
        self._clock.at = frame.at
        while self._interruptions and self._interruptions[0] <= frame.at:
            del self._interruptions[0]
            self._analyser.flush()
            self._events += self._selector.end(ReleaseReason.STREAM_LOST, frame.at)
            self._score()
        for face in frame.faces:
            self._clear[face.person] = self._clear.get(face.person, 0) + _is_clear(face)
        picture = Frame(ArrayPixels(frame.image), index, 0, frame.at, frame.at, frame.at)
        analysis = self._analyser.analyse(picture)
        self._note(index, analysis, frame)
        self._events += self._selector.seen(analysis, frame.at)
        self._score()
        self._events += self._selector.tick(frame.at)
        self._analyser.static_tracks = self._selector.static_tracks
        for seen in analysis.faces:
            number = seen.tracked.track_id
            self._tracks[index, number] = self._selector.track_of(number)

    def _note(self, index: int, analysis: Analysis, frame: SceneFrame) -> None:
        for seen in analysis.faces:
            if seen.candidate is not None:
                owner = who_is(seen.tracked.face.box, frame.faces)
                name = None if owner is None else owner.person
                self._people[index, seen.tracked.track_id] = name

    def _score(self) -> None:
        while batch := self._selector.next_batch(self._batch_size, self._clock.at):
            scores = self._scorer.score(np.stack([face.crop.image for face in batch]))
            scored = scores.of(batch, self._clock.at)
            self._events += self._selector.scored(scored, self._clock.at)

    def _who(self, release: Release) -> str | None:
        """Who is on a face that was forwarded: its number may be the track's by now."""
        box = release.face.candidate.tracked.face.box
        at = release.face.candidate.captured_at
        return self._at(round(at * self._rate), box)

    def _at(self, index: int, box: NDArray[np.float64]) -> str | None:
        owner = who_is(box, self._scene.truth(index / self._rate))
        return None if owner is None else owner.person

    def _seen(self) -> Mapping[int, list[str | None]]:
        became = {e.join.track_id: e.track_id for e in self._events if isinstance(e, TracksJoined)}
        visits = {e.track_id: e.visit for e in self._events if isinstance(e, TrackDecision)}
        seen: dict[int, list[str | None]] = {}
        for sighting, name in self._people.items():
            track = self._tracks[sighting]
            while track in became:
                track = became[track]
            # A ghost has no decision.
            if track in visits:
                seen.setdefault(visits[track], []).append(name)
        return seen


def _is_clear(face: TruthFace) -> bool:
    return face.visible >= _CLEARLY_VISIBLE and face.damage is None
