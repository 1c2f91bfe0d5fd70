"""What each rule picks of a table, and when."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamgate.errors import ConfigError
from streamgate.lab.replay.policies import POLICIES, Choice, choose, ends_of
from streamgate.lab.replay.recording import Recording, SeenScored
from streamgate.lab.replay.simulation import simulate
from tests.builders import face
from tests.lab.replay.tables import FRAME_S, config, recording, walk

QUALITIES = np.array([40.0, 70.0, 20.0, 60.0])


def varied() -> Recording:
    """One track of four faces, each best by another measure than quality."""
    table = recording({1: QUALITIES})
    measures = (
        {"detector_score": 0.99, "sharpness": 10.0, "size": 60.0},
        {"detector_score": 0.90, "sharpness": 20.0, "size": 70.0},
        {"detector_score": 0.91, "sharpness": 90.0, "size": 80.0},
        {"detector_score": 0.92, "sharpness": 30.0, "size": 120.0},
    )
    moments = []
    for moment, known in zip(table.moments, measures, strict=True):
        (seen,) = moment.seen
        moments.append(replace(moment, seen=(_with(seen, **known),)))
    return replace(table, moments=tuple(moments))


def _with(seen: SeenScored, *, size: float, **known: float) -> SeenScored:
    assert seen.face is not None
    old = seen.face.candidate
    candidate = replace(
        old,
        measures=replace(old.measures, **known),
        tracked=replace(old.tracked, face=face(size=size)),
    )
    return replace(seen, face=replace(seen.face, candidate=candidate))


def picked(policy: str, table: Recording) -> Choice:
    (choice,) = choose(policy, table, config()).by_track[1]
    return choice


@pytest.mark.parametrize(
    ("policy", "place"),
    [("first", 0), ("last", 3), ("largest", 3), ("detector", 0), ("sharpest", 2), ("oracle", 1)],
)
def test_each_rule_picks_by_its_own_measure(policy: str, place: int) -> None:
    """Of the same four faces."""
    assert picked(policy, varied()).face.candidate.frame_index == place


def test_only_the_first_face_goes_at_once() -> None:
    """Every other rule has to wait for the track's end, which the next frame tells."""
    table = recording({1: QUALITIES, 2: np.full(8, 50.0)})
    assert picked("first", table).at == 0.0
    assert picked("last", table).at == 4 * FRAME_S


def test_a_track_that_is_there_to_the_end_ends_with_the_recording() -> None:
    """Nobody tells its end."""
    table = recording({1: QUALITIES})
    assert ends_of(table) == {1: 3 * FRAME_S}
    assert ends_of(Recording(table.path, ())) == {}


def test_only_the_gate_and_the_oracle_have_faces_scored() -> None:
    """The oracle all of them, rejected ones excepted."""
    table = recording({1: np.array([40.0, np.nan, 70.0])})
    costs = {policy: choose(policy, table, config()).scored for policy in POLICIES}
    assert costs.pop("oracle") == 2
    assert 0 < costs.pop("gate") <= 2
    assert set(costs.values()) == {0}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_track_without_a_fit_face_is_passed_over(policy: str) -> None:
    """No rule chooses what the prechecks refuse."""
    table = recording({1: np.full(20, np.nan), 2: np.full(20, 80.0)})
    assert set(choose(policy, table, config()).by_track) == {2}


def test_a_draw_depends_on_nothing_but_its_own_track_and_seed() -> None:
    """Another track beside it changes nothing; another seed does."""
    table = recording({1: walk(1)})
    beside = recording({1: walk(1), 2: walk(2)})

    def drawn(table: Recording, seed: int) -> int:
        (choice,) = choose("random", table, config(), seed=seed).by_track[1]
        return choice.face.candidate.frame_index

    assert [drawn(table, seed) for seed in range(5)] == [drawn(beside, seed) for seed in range(5)]
    assert len({drawn(table, seed) for seed in range(5)}) > 1


def test_the_gates_choices_are_its_releases() -> None:
    """All of them, in their order, with its own run beside them."""
    settings = config(gate={"top_k": 3, "min_gap_s": 0.25})
    table = recording({1: walk(3), 2: walk(4)})
    choices, run = choose("gate", table, settings), simulate(table, settings)
    assert choices.run is not None
    assert {track: [c.at for c in chosen] for track, chosen in choices.by_track.items()} == {
        track: [r.at for r in run.releases if r.track_id == track] for track in (1, 2)
    }
    assert choices.scored == len(run.scored)


def test_an_unknown_rule_is_refused_with_those_that_exist() -> None:
    """By name."""
    with pytest.raises(ConfigError, match="no policy 'best'; there are: gate, first, last"):
        choose("best", recording({1: QUALITIES}), config())
