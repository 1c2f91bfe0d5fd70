"""Figures of an evaluation, by tables that can be reckoned by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streamgate.lab.replay.evaluation import SHARES, Evaluator, PolicyEvaluation, trade
from streamgate.lab.replay.policies import Choices, choose
from streamgate.lab.replay.recording import Recording, SeenScored
from tests.lab.replay.tables import FRAME_S, config, recording

SETTINGS = config(gate={"min_quality": 50, "min_age_s": 0.5})
NOBODY: dict[tuple[str, int], str] = {}


def evaluated(table: Recording, policy: str = "first") -> PolicyEvaluation:
    choices = choose(policy, table, SETTINGS)
    return Evaluator([table], SETTINGS, NOBODY).evaluation(policy, [choices])


def ramp(last: float, frames: int = 33) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Qualities from 30 upwards; 33 frames last a second."""
    return np.linspace(30.0, last, frames)


def test_regret_is_what_the_best_face_was_better_by() -> None:
    """The first face of 30 where one of 80 came is 50 points worse; the oracle has none."""
    table = recording({1: ramp(80.0)})
    assert evaluated(table).regret_quality_mean == pytest.approx(50)
    best = evaluated(table, "oracle")
    assert (best.regret_quality_mean, best.regret_quality_p95) == (0, 0)
    assert best.per_track[0].frame_index == 32


def test_means_and_percentiles_are_over_the_tracks_that_count() -> None:
    """One regret of 50 and one of 30; the track below the threshold is left out."""
    table = recording({1: ramp(80.0), 2: ramp(60.0), 3: ramp(49.0)})
    found = evaluated(table)
    assert (found.tracks, found.missed) == (2, 0)
    assert found.regret_quality_mean == pytest.approx(40)
    assert found.regret_quality_p95 == pytest.approx(30 + 0.95 * 20)
    assert [track.counts for track in found.per_track] == [True, True, False]


def test_a_face_of_a_track_that_does_not_count_is_needless() -> None:
    """Too poor, or there for too short a time."""
    found = evaluated(recording({1: ramp(80.0), 2: ramp(49.0), 3: ramp(90.0, frames=10)}))
    assert (found.tracks, found.needless) == (1, 2)


def test_a_missed_track_costs_all_there_was() -> None:
    """Both in quality and in similarity; it waits for nothing."""
    table = recording({1: ramp(80.0)})
    evaluator = Evaluator([table], SETTINGS, NOBODY)
    found = evaluator.evaluation("none", [Choices({}, 0)])
    (track,) = found.per_track
    assert (found.missed, found.forwarded_per_track, found.emitted_after_p95_s) == (1, 0, 0)
    assert track.regret_quality == 80
    assert track.regret_similarity_track == pytest.approx(max(_similarities(table)))
    assert (track.quality, track.frame_index, track.emitted_after_s) == (None, None, None)


def _similarities(table: Recording) -> list[float]:
    faces = [seen.face.embedding for seen in table.tracks[1] if seen.face is not None]
    mean = np.sum(faces, axis=0, dtype=np.float64)
    mean /= np.linalg.norm(mean)
    return [float(face @ mean) for face in faces]


def test_the_wait_begins_with_the_first_sight_even_of_an_unfit_face() -> None:
    """Eight frames were rejected before the first that could be forwarded."""
    table = recording({1: np.concatenate([np.full(8, np.nan), ramp(80.0)])})
    found = evaluated(table)
    assert found.emitted_after_median_s == 8 * FRAME_S
    assert evaluated(table, "last").emitted_after_median_s == 40 * FRAME_S


def test_the_share_scored_is_of_the_fit_faces_of_all_recordings() -> None:
    """Rejected ones could not be scored anyway."""
    tables = [recording({1: ramp(80.0)}), recording({1: np.full(11, np.nan), 2: ramp(70.0, 11)})]
    evaluator = Evaluator(tables, SETTINGS, NOBODY)
    assert evaluator.fit_faces == 44
    found = evaluator.evaluation("x", [Choices({}, 10), Choices({}, 12)])
    assert found.share_scored == pytest.approx(0.5)


def test_equal_track_numbers_of_two_recordings_are_two_tracks() -> None:
    """They are numbered anew in each."""
    tables = [recording({1: ramp(80.0)}, name="a.mkv"), recording({1: ramp(60.0)}, name="b.mkv")]
    evaluator = Evaluator(tables, SETTINGS, NOBODY)
    choices = [choose("oracle", table, SETTINGS) for table in tables]
    found = evaluator.evaluation("oracle", choices)
    assert [(t.video, t.quality) for t in found.per_track] == [("a.mkv", 80), ("b.mkv", 60)]


def test_an_independent_recogniser_is_asked_where_there_is_one() -> None:
    """Its embeddings, not the scoring network's, say how alike a face is to its person."""
    table = recording({1: np.full(33, 80.0)})
    towards = np.eye(33, dtype=np.float32)
    # The last face is what the sum of all looks most like.
    towards[32] = 1 / np.sqrt(33)
    moments = tuple(
        replace(moment, seen=(replace(moment.seen[0], embedding=towards[i]),))
        for i, moment in enumerate(table.moments)
    )
    found = evaluated(replace(table, moments=moments), "last")
    assert found.regret_similarity_track == pytest.approx(0, abs=1e-6)
    assert evaluated(replace(table, moments=moments)).regret_similarity_track > 0.5


def test_nothing_recorded_is_nothing_told() -> None:
    """An empty video, and one of faces that are all unfit."""
    for table in (
        Recording(Path("empty.mkv"), ()),
        recording({1: np.full(5, np.nan)}),
    ):
        found = evaluated(table)
        assert (found.tracks, found.share_scored, found.per_track) == (0, 0, ())


def test_the_curve_has_a_point_for_each_share() -> None:
    """Scored as far as was allowed, a track's first face apart."""
    table = recording({1: np.tile([30.0, 80.0, 55.0], 40)})
    points = trade([table], SETTINGS, Evaluator([table], SETTINGS, NOBODY))
    assert tuple(point.share_allowed for point in points) == SHARES
    assert all(p.share_scored <= p.share_allowed + 0.02 for p in points)


def test_a_face_knows_its_track() -> None:
    """The table's faces are grouped by it, in the order of time."""
    table = recording({1: ramp(80.0, 3), 2: ramp(60.0, 3)}, starts={2: 1})
    tracks = table.tracks
    assert {track: len(seen) for track, seen in tracks.items()} == {1: 3, 2: 3}

    def frames(seen: list[SeenScored]) -> list[int]:
        return [one.face.candidate.frame_index for one in seen if one.face is not None]

    assert (frames(tracks[1]), frames(tracks[2])) == ([0, 1, 2], [1, 2, 3])
