"""How good the choices of each policy were.

A track counts if a rule that knew every score would forward a face of it: it is old enough, and its
best face reaches the threshold. Regret is how far a choice falls short of the best face. A track
that counts and of which nothing was forwarded is *missed*; its regret is the whole quality of its
best face.

Quality is the score's own measure, so a recogniser measures similarity too: how much a face
resembles its person, that is, the mean embedding of all faces of the person. With a recogniser that
had no part in the score this is an independent evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgate.config import CameraConfig
from streamgate.lab.replay.policies import Choices, choose
from streamgate.lab.replay.recording import Recording, SeenScored
from streamgate.values import ScoredFace

__all__ = ["Evaluator", "Identities", "PolicyEvaluation", "TrackEvaluation", "TradePoint", "trade"]

SHARES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.5, 0.7, 1.0)
"""Shares of the faces that may be scored, for the curve of regret over work."""

Identities = Mapping[tuple[str, int], str]
"""Who is seen, by the video's file name and the track."""


@dataclass(frozen=True, slots=True)
class TrackEvaluation:
    """One policy on one track; see `PolicyEvaluation` for the figures."""

    video: str
    track_id: int
    counts: bool
    frame_index: int | None
    quality: float | None
    regret_quality: float
    regret_similarity_track: float
    regret_similarity_identity: float
    emitted_after_s: float | None
    forwarded: int


@dataclass(frozen=True, slots=True)
class PolicyEvaluation:
    """One policy on all recordings; means are over the tracks that count.

    Attributes:
        policy: its name.
        tracks: how many count.
        missed: of how many of these it forwarded nothing.
        needless: faces that it forwarded from tracks that do not count.
        forwarded_per_track: faces forwarded for each track of which any was.
        regret_quality_mean: points of quality below the track's best face, mean.
        regret_quality_p95: the same, 95th percentile.
        regret_similarity_track: by how much the cosine to the track's mean embedding is below that
            of the track's most similar face, mean.
        regret_similarity_identity: the same with all tracks of the person.
        emitted_after_median_s: from the track's first sight to the release.
        emitted_after_p95_s: the same, 95th percentile.
        share_scored: share of the faces that passed the prechecks and were scored.
    """

    policy: str
    tracks: int
    missed: int
    needless: int
    forwarded_per_track: float
    regret_quality_mean: float
    regret_quality_p95: float
    regret_similarity_track: float
    regret_similarity_identity: float
    emitted_after_median_s: float
    emitted_after_p95_s: float
    share_scored: float
    per_track: tuple[TrackEvaluation, ...]


@dataclass(frozen=True, slots=True)
class TradePoint:
    """The gate within one budget."""

    share_allowed: float
    share_scored: float
    regret_quality_mean: float
    regret_quality_p95: float
    missed: int


@dataclass(frozen=True, slots=True, eq=False)
class _Track:
    video: str
    track_id: int
    first_seen_at: float
    counts: bool
    faces: dict[int, SeenScored]
    best_quality: float
    similarity_track: dict[int, float]
    similarity_identity: dict[int, float]


class Evaluator:
    """Judges choices by the scores of all faces of each track.

    Args:
        recordings: the tables of scores.
        config: whose gate says which tracks count.
        identities: who is seen in a track; a track without one is a person of its own.
    """

    def __init__(
        self, recordings: Sequence[Recording], config: CameraConfig, identities: Identities
    ) -> None:
        self._gate = config.gate
        self._least = {
            zone.name: zone.min_quality for zone in config.zones if zone.min_quality is not None
        }
        self._tracks: dict[tuple[int, int], _Track] = {}
        for number, recording in enumerate(recordings):
            spans = _spans(recording)
            for track_id, seen in recording.tracks.items():
                faces = [face for face in seen if face.face is not None]
                if faces:
                    track = self._study(recording.path.name, track_id, faces, spans[track_id])
                    self._tracks[number, track_id] = track
        self.fit_faces = sum(len(track.faces) for track in self._tracks.values())
        self._compare_identities(identities)

    def evaluation(self, policy: str, choices: Sequence[Choices]) -> PolicyEvaluation:
        """Judge what a policy chose in each recording."""
        per_track = tuple(
            self._judge(track, choices[number]) for (number, _), track in self._tracks.items()
        )
        counting = [track for track in per_track if track.counts]
        regrets = [track.regret_quality for track in counting]
        waits = [t.emitted_after_s for t in counting if t.emitted_after_s is not None]
        served = [track for track in per_track if track.forwarded]
        return PolicyEvaluation(
            policy=policy,
            tracks=len(counting),
            missed=sum(not track.forwarded for track in counting),
            needless=sum(track.forwarded for track in per_track if not track.counts),
            forwarded_per_track=_mean([float(track.forwarded) for track in served]),
            regret_quality_mean=_mean(regrets),
            regret_quality_p95=_quantile(regrets, 0.95),
            regret_similarity_track=_mean([t.regret_similarity_track for t in counting]),
            regret_similarity_identity=_mean([t.regret_similarity_identity for t in counting]),
            emitted_after_median_s=_quantile(waits, 0.5),
            emitted_after_p95_s=_quantile(waits, 0.95),
            share_scored=sum(c.scored for c in choices) / max(1, self.fit_faces),
            per_track=per_track,
        )

    def _study(
        self, video: str, track_id: int, seen: Sequence[SeenScored], span: tuple[float, float]
    ) -> _Track:
        faces = {face.face.candidate.frame_index: face for face in seen if face.face is not None}
        best = max(face.face.quality for face in seen if face.face is not None)
        similarity = _similarity(faces, _template(seen))
        is_good = any(self._is_good(face.face) for face in seen if face.face is not None)
        worthy = is_good and span[1] - span[0] >= self._gate.min_age_s
        return _Track(
            video=video,
            track_id=track_id,
            first_seen_at=span[0],
            counts=worthy,
            faces=faces,
            best_quality=best,
            similarity_track=similarity,
            similarity_identity=dict(similarity),
        )

    def _is_good(self, face: ScoredFace) -> bool:
        zone = face.candidate.zone
        least = self._gate.min_quality if zone is None else self._least.get(zone)
        return face.quality >= (self._gate.min_quality if least is None else least)

    def _compare_identities(self, identities: Identities) -> None:
        people: dict[str, list[_Track]] = {}
        for track in self._tracks.values():
            name = identities.get((track.video, track.track_id))
            if name:
                people.setdefault(name, []).append(track)
        for tracks in people.values():
            # Each track weighs the same, however long it is.
            templates = [_template(list(track.faces.values())) for track in tracks]
            template = _normalised(np.sum(templates, axis=0))
            for track in tracks:
                track.similarity_identity.update(_similarity(track.faces, template))

    def _judge(self, track: _Track, choices: Choices) -> TrackEvaluation:
        chosen = choices.by_track.get(track.track_id, ())
        best = max(chosen, key=lambda choice: choice.face.quality, default=None)
        frame = None if best is None else best.face.candidate.frame_index
        return TrackEvaluation(
            video=track.video,
            track_id=track.track_id,
            counts=track.counts,
            frame_index=frame,
            quality=None if best is None else best.face.quality,
            regret_quality=track.best_quality - (0.0 if best is None else best.face.quality),
            regret_similarity_track=_regret(track.similarity_track, frame),
            regret_similarity_identity=_regret(track.similarity_identity, frame),
            emitted_after_s=None if not chosen else chosen[0].at - track.first_seen_at,
            forwarded=len(chosen),
        )


def trade(
    recordings: Sequence[Recording], config: CameraConfig, evaluator: Evaluator
) -> tuple[TradePoint, ...]:
    """Run the gate within each budget of `SHARES`."""
    points = []
    for share in SHARES:
        quality = config.quality.model_copy(update={"score_share": share})
        within = config.model_copy(update={"quality": quality})
        choices = [choose("gate", recording, within) for recording in recordings]
        evaluation = evaluator.evaluation("gate", choices)
        points.append(
            TradePoint(
                share_allowed=share,
                share_scored=evaluation.share_scored,
                regret_quality_mean=evaluation.regret_quality_mean,
                regret_quality_p95=evaluation.regret_quality_p95,
                missed=evaluation.missed,
            )
        )
    return tuple(points)


def _spans(recording: Recording) -> dict[int, tuple[float, float]]:
    """When each track was first and last seen."""
    spans: dict[int, tuple[float, float]] = {}
    for moment in recording.moments:
        for seen in moment.seen:
            visit = recording.visit_of(moment, seen)
            if visit is not None:
                first, _ = spans.get(visit, (moment.at, moment.at))
                spans[visit] = first, moment.at
    return spans


def _embedding(seen: SeenScored) -> NDArray[np.float32]:
    if len(seen.embedding) or seen.face is None:
        return seen.embedding
    return seen.face.embedding


def _template(faces: Sequence[SeenScored]) -> NDArray[np.float64]:
    return _normalised(np.sum([_embedding(face) for face in faces], axis=0, dtype=np.float64))


def _normalised(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))


def _similarity(faces: Mapping[int, SeenScored], template: NDArray[np.float64]) -> dict[int, float]:
    return {frame: float(_embedding(face) @ template) for frame, face in faces.items()}


def _regret(similarity: Mapping[int, float], frame: int | None) -> float:
    best = max(similarity.values())
    return best - (0.0 if frame is None else similarity[frame])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share)) if values else 0.0
