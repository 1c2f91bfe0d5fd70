"""Rules that pick one face of each track, to be compared with the gate.

All of them choose among the same faces: those that were tracked and passed the prechecks. Only the
gate and the oracle know scores.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streamgate.config import CameraConfig
from streamgate.errors import ConfigError
from streamgate.lab.replay.recording import Recording
from streamgate.lab.replay.simulation import Run, simulate
from streamgate.values import ScoredFace

__all__ = ["POLICIES", "Choice", "Choices", "choose", "ends_of"]

_FRIGATE_SCORE = 0.05
_FRIGATE_AREA = 1.1
_AT_EDGE_PX = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A face that a policy forwards, and when."""

    face: ScoredFace
    at: float


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """What a policy did with a recording.

    Attributes:
        by_track: its faces, in the order of their release; tracks of which it forwards nothing are
            absent.
        scored: how many faces had to be scored for it.
        run: the gate's own events, if the policy is the gate.
    """

    by_track: Mapping[int, tuple[Choice, ...]]
    scored: int
    run: Run | None = None


Rule = Callable[[Sequence[ScoredFace], int], ScoredFace]
"""Picks one of a track's faces, in the order of time; the number is a seed."""


def choose(
    policy: str, recording: Recording, config: CameraConfig, *, seed: int = 0
) -> Choices:  # fmt: skip
    """Run a policy over a recording.

    Raises:
        ConfigError: there is no such policy.
    """
    if policy == "gate":
        return _gate(recording, config)
    if policy not in _RULES:
        raise ConfigError(f"no policy {policy!r}; there are: {', '.join(POLICIES)}")
    rule, ends, chosen = _RULES[policy], ends_of(recording), {}
    scored = 0
    for track_id, seen in recording.tracks.items():
        faces = [face.face for face in seen if face.face is not None]
        if not faces:
            continue
        scored += len(faces) if policy == "oracle" else 0
        # One seed per track, so that its random choice does not depend on other tracks.
        face = rule(faces, zlib.crc32(f"{recording.path.name}/{track_id}/{seed}".encode()))
        at = face.candidate.captured_at if policy == "first" else ends[track_id]
        chosen[track_id] = (Choice(face, at),)
    return Choices(chosen, scored)


def ends_of(recording: Recording) -> dict[int, float]:
    """When each track was known to have ended."""
    at = recording.moments[-1].at if recording.moments else 0.0
    ends = dict.fromkeys(recording.tracks, at)
    visits: dict[int, int] = {}
    for moment in recording.moments:
        for tracklet in moment.ended:
            if tracklet in visits:
                ends[visits[tracklet]] = moment.at
        for seen in moment.seen:
            visit = recording.visit_of(moment, seen)
            if visit is not None:
                visits[seen.track_id] = visit
                ends[visit] = at
    return ends


def _gate(recording: Recording, config: CameraConfig) -> Choices:
    run = simulate(recording, config)
    chosen: dict[int, tuple[Choice, ...]] = {}
    faces = {
        (moment.index, id(seen.face.candidate.tracked.face)): recording.visit_of(moment, seen)
        for moment in recording.moments
        for seen in moment.seen
        if seen.face is not None
    }
    for release in run.releases:
        candidate = release.face.candidate
        visit = faces[candidate.frame_index, id(candidate.tracked.face)]
        if visit is not None:
            chosen[visit] = (*chosen.get(visit, ()), Choice(release.face, release.at))
    return Choices(chosen, len(run.scored), run)


def _first(faces: Sequence[ScoredFace], _seed: int) -> ScoredFace:
    return faces[0]


def _last(faces: Sequence[ScoredFace], _seed: int) -> ScoredFace:
    return faces[-1]


def _largest(faces: Sequence[ScoredFace], _seed: int) -> ScoredFace:
    return max(faces, key=_area)


def _surest(faces: Sequence[ScoredFace], _seed: int) -> ScoredFace:
    return max(faces, key=_detector_score)


def _sharpest(faces: Sequence[ScoredFace], _seed: int) -> ScoredFace:
    return max(faces, key=lambda face: face.candidate.measures.sharpness)


def _frigate(faces: Sequence[ScoredFace], _seed: int) -> ScoredFace:
    """Frigate's rule for its best picture, as its documentation describes it.

    A face replaces the current one if the current one is at the edge of the picture and the new
    one is not, if its score is higher by 0.05, or if its area is larger by a tenth. A face at the
    edge never replaces one that is not.
    """
    best = faces[0]
    for face in faces[1:]:
        if _at_edge(face) and not _at_edge(best):
            continue
        if (
            (_at_edge(best) and not _at_edge(face))
            or _detector_score(face) > _detector_score(best) + _FRIGATE_SCORE
            or _area(face) > _area(best) * _FRIGATE_AREA
        ):
            best = face
    return best


def _random(faces: Sequence[ScoredFace], seed: int) -> ScoredFace:
    return faces[int(np.random.default_rng(seed).integers(len(faces)))]


def _oracle(faces: Sequence[ScoredFace], _seed: int) -> ScoredFace:
    return max(faces, key=lambda face: face.quality)


def _area(face: ScoredFace) -> float:
    return face.candidate.tracked.face.area


def _detector_score(face: ScoredFace) -> float:
    return face.candidate.measures.detector_score


def _at_edge(face: ScoredFace) -> bool:
    return face.candidate.measures.edge_distance_px <= _AT_EDGE_PX


_RULES: dict[str, Rule] = {
    "first": _first,
    "last": _last,
    "largest": _largest,
    "detector": _surest,
    "sharpest": _sharpest,
    "frigate": _frigate,
    "random": _random,
    "oracle": _oracle,
}

POLICIES = ("gate", *_RULES)
"""Names of all policies, the configured gate first."""
