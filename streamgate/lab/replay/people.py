"""Judge a replay by people: who was missed, who was forwarded twice, who was taken for another.

Who is seen is told by hand, as a table: a row names the person of a track, or of the faces in a
part of the picture for a while. Rows of the second kind stay right when settings, and with them the
numbers of tracks, change. Faces of which nothing is told count for nothing.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamgate.config import CameraConfig
from streamgate.errors import DataError
from streamgate.lab.evaluation.identification import Interval, bootstrap
from streamgate.lab.replay.evaluation import Identities
from streamgate.lab.replay.policies import Choices
from streamgate.lab.replay.recording import Moment, Recording, SeenScored
from streamgate.lab.scenes.evaluation import PeopleFigures, judge_people

__all__ = [
    "Labels",
    "PeopleEvaluation",
    "PeopleEvaluator",
    "Place",
    "read_labels",
    "track_identities",
]

_TRACKS = ("video", "track", "identity")
_PLACES = ("video", "begin_s", "end_s", "left_px", "right_px", "identity")


@dataclass(frozen=True, slots=True)
class Place:
    """A part of the picture in which one person is for a while.

    Attributes:
        video: the file's name.
        begin_s, end_s: seconds since the video's first picture; the end is not included.
        left_px, right_px: between which columns the middle of the face is.
        identity: who it is.
    """

    video: str
    begin_s: float
    end_s: float
    left_px: float
    right_px: float
    identity: str


@dataclass(frozen=True, slots=True)
class Labels:
    """Who is seen: by the video and the track, and by the place."""

    tracks: Identities
    places: tuple[Place, ...] = ()

    def who(self, video: str, track: int, at: float, middle_px: float) -> str | None:
        """Return who is on a face; None where nothing is told of it."""
        for place in self.places:
            if (
                place.video == video
                and place.begin_s <= at < place.end_s
                and place.left_px <= middle_px < place.right_px
            ):
                return place.identity or None
        return self.tracks.get((video, track)) or None


@dataclass(frozen=True, slots=True)
class PeopleEvaluation:
    """One policy, by people; a person in two videos counts in each of them.

    Attributes:
        policy: its name.
        people: who should have been forwarded, since one of their faces was good enough.
        missed: how many of them were not.
        surplus: faces forwarded of somebody who had been before in the same video.
        unknown: faces forwarded of which nothing is told.
        purity: share of the faces that are of the person who owns their track.
        tracks: tracks of labelled faces.
        false_joins: tracks that hold two people.
        false_splits: tracks more than people have.
        regret_quality: by how many points the forwarded face is worse than the person's best one.
        loss_similarity: how much less it resembles the person than the most similar face does.
        names: how many different people there are; the intervals are bootstrapped over them.
    """

    policy: str
    people: int
    missed: int
    surplus: int
    unknown: int
    purity: float
    tracks: int
    false_joins: int
    false_splits: int
    regret_quality: Interval
    loss_similarity: Interval
    names: int


@dataclass(frozen=True, slots=True, eq=False)
class _Face:
    quality: float
    embedding: NDArray[np.float32]
    counts: bool


class PeopleEvaluator:
    """Judges choices by who is seen.

    Args:
        recordings: the tables of scores.
        config: whose gate says which faces are good enough.
        labels: who is seen.
    """

    def __init__(
        self, recordings: Sequence[Recording], config: CameraConfig, labels: Labels
    ) -> None:
        self._recordings, self._gate, self._labels = recordings, config.gate, labels
        # The faces of each person in each video, by their detection.
        self._faces: list[dict[str, dict[int, _Face]]] = []
        self._seen: list[dict[int, list[str | None]]] = []
        for recording in recordings:
            self._study(recording)
        self._templates = self._means()

    def evaluation(self, policy: str, choices: Sequence[Choices]) -> PeopleEvaluation:
        """Judge what a policy chose in each recording."""
        total, unknown = PeopleFigures(), 0
        names: list[str] = []
        regrets: list[float] = []
        losses: list[float] = []
        for number, chosen in enumerate(choices):
            shots = self._shots(number, chosen)
            unknown += sum(name is None for name, _ in shots)
            due = self._due(number)
            known = [name for name, _ in shots if name is not None]
            total += judge_people(self._seen[number], known, due)
            for name in sorted(due):
                faces = self._faces[number][name]
                first = next((place for who, place in shots if who == name), None)
                names.append(name)
                quality = {place: face.quality for place, face in faces.items()}
                likeness = {p: float(f.embedding @ self._templates[name]) for p, f in faces.items()}
                regrets.append(_short(quality, first))
                losses.append(_short(likeness, first))
        return PeopleEvaluation(
            policy=policy,
            people=total.people,
            missed=total.missed,
            surplus=total.surplus,
            unknown=unknown,
            purity=total.purity,
            tracks=total.visits,
            false_joins=total.false_joins,
            false_splits=total.false_splits,
            regret_quality=_interval(names, regrets),
            loss_similarity=_interval(names, losses),
            names=len(set(names)),
        )

    def _study(self, recording: Recording) -> None:
        faces: dict[str, dict[int, _Face]] = {}
        seen: dict[int, list[str | None]] = {}
        spans = {
            track: (sightings[0], sightings[-1])
            for track, sightings in _times(recording).items()
        }  # fmt: skip
        for moment in recording.moments:
            for one in moment.seen:
                track, name = self._who(recording, moment, one)
                if track is None or one.face is None:
                    continue
                seen.setdefault(track, []).append(name)
                if name is not None:
                    first, last = spans[track]
                    embedding = one.embedding if len(one.embedding) else one.face.embedding
                    faces.setdefault(name, {})[id(one.face.candidate.tracked.face)] = _Face(
                        one.face.quality, embedding, last - first >= self._gate.min_age_s
                    )
        self._faces.append(faces)
        self._seen.append(seen)

    def _who(
        self, recording: Recording, moment: Moment, one: SeenScored
    ) -> tuple[int | None, str | None]:
        track = recording.visit_of(moment, one)
        if track is None:
            return None, None
        video = recording.path.name
        return track, self._labels.who(video, track, moment.at, _middle(one))

    def _due(self, number: int) -> frozenset[str]:
        return frozenset(
            name
            for name, faces in self._faces[number].items()
            if any(f.counts and f.quality >= self._gate.min_quality for f in faces.values())
        )

    def _shots(self, number: int, choices: Choices) -> list[tuple[str | None, int]]:
        """Who is on each face that was forwarded, in the order of time, and which face it is."""
        people = {place: name for name, faces in self._faces[number].items() for place in faces}
        shots = sorted(
            (choice for chosen in choices.by_track.values() for choice in chosen),
            key=lambda choice: choice.at,
        )
        found = []
        for choice in shots:
            place = id(choice.face.candidate.tracked.face)
            found.append((people.get(place), place))
        return found

    def _means(self) -> dict[str, NDArray[np.float64]]:
        """Each person's mean embedding; every video weighs the same, however long it is."""
        sums: dict[str, NDArray[np.float64]] = {}
        for people in self._faces:
            for name, faces in people.items():
                mean = np.mean([face.embedding for face in faces.values()], axis=0, dtype=float)
                sums[name] = sums.get(name, np.zeros_like(mean)) + _direction(mean)
        return {name: _direction(total) for name, total in sums.items()}


def read_labels(path: Path) -> Labels:
    """Read who is seen: a CSV file with the columns of a track, or with those of a place.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        if rows and "track" not in rows[0]:
            return Labels({}, tuple(_place(row) for row in rows))
        return Labels(
            {(Path(row["video"]).name, int(row["track"])): row["identity"] for row in rows}
        )
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path}: expected a CSV with the columns {', '.join(_TRACKS)}, or with "
            f"{', '.join(_PLACES)} ({error!r})"
        ) from None


def track_identities(recordings: Sequence[Recording], labels: Labels) -> Identities:
    """Return who most of the faces of each track show."""
    found: dict[tuple[str, int], str] = dict(labels.tracks)
    for recording in recordings:
        votes: dict[int, Counter[str]] = {}
        for moment in recording.moments:
            for one in moment.seen:
                track = recording.visit_of(moment, one)
                if track is None:
                    continue
                name = labels.who(recording.path.name, track, moment.at, _middle(one))
                if name is not None:
                    votes.setdefault(track, Counter())[name] += 1
        for track, counts in votes.items():
            found[recording.path.name, track] = counts.most_common(1)[0][0]
    return found


def _place(row: Mapping[str, str]) -> Place:
    begin_s, end_s, left_px, right_px = (float(row[name]) for name in _PLACES[1:-1])
    return Place(Path(row["video"]).name, begin_s, end_s, left_px, right_px, row["identity"])


def _times(recording: Recording) -> dict[int, list[float]]:
    times: dict[int, list[float]] = {}
    for moment in recording.moments:
        for one in moment.seen:
            track = recording.visit_of(moment, one)
            if track is not None:
                times.setdefault(track, []).append(moment.at)
    return times


def _middle(one: SeenScored) -> float:
    box = one.tracked.face.box
    return float(box[0] + box[2]) / 2


def _direction(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))


def _short(figures: Mapping[int, float], first: int | None) -> float:
    """How far the face that was forwarded falls short of the best; nothing counts as zero."""
    return max(figures.values()) - (0.0 if first is None else figures[first])


def _interval(names: Sequence[str], values: Sequence[float]) -> Interval:
    if not values:
        return Interval(math.nan, math.nan, math.nan)
    of = np.array(values)
    return bootstrap(list(names), lambda rows: float(of[rows].mean()))
