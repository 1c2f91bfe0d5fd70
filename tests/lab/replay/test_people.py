"""A replay judged by people, on tables in which it is known who is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamgate.errors import DataError
from streamgate.lab.replay.people import (
    Labels,
    PeopleEvaluator,
    Place,
    read_labels,
    track_identities,
)
from streamgate.lab.replay.policies import choose
from tests.lab.replay.tables import FRAME_S, config, recording, walk

SETTINGS = config(gate={"min_quality": 30}, quality={"score_share": 1.0})


def test_a_person_in_two_tracks_is_forwarded_once_too_often() -> None:
    """Each of the others once, and nobody is missed."""
    table = recording({1: walk(1), 2: walk(2), 3: walk(3)}, starts={2: 220, 3: 440})
    labels = Labels({("hall.mkv", 1): "ann", ("hall.mkv", 2): "bob", ("hall.mkv", 3): "ann"})
    judged = PeopleEvaluator([table], SETTINGS, labels)
    one = judged.evaluation("gate", [choose("gate", table, SETTINGS)])
    assert (one.people, one.names, one.missed, one.surplus) == (2, 2, 0, 1)
    assert (one.tracks, one.false_joins, one.false_splits, one.purity) == (3, 0, 1, 1.0)


def test_the_oracle_has_no_regret_and_chance_has() -> None:
    """Regret is against the best face that there is of the person."""
    table = recording({1: walk(1), 2: walk(2)}, starts={2: 220})
    labels = Labels({("hall.mkv", 1): "ann", ("hall.mkv", 2): "bob"})
    judged = PeopleEvaluator([table], SETTINGS, labels)
    best, any_face = (
        judged.evaluation(name, [choose(name, table, SETTINGS)]) for name in ("oracle", "random")
    )
    assert best.regret_quality.value == 0
    assert any_face.regret_quality.value > 3
    assert any_face.regret_quality.low <= any_face.regret_quality.value


def test_two_people_in_one_track_are_a_false_join() -> None:
    """Places in time tell them apart, whatever the track's number is."""
    table = recording({1: np.linspace(50.0, 60.0, 200)})
    half = 100 * FRAME_S
    labels = Labels(
        {},
        (
            Place("hall.mkv", 0.0, half, -1e3, 1e4, "ann"),
            Place("hall.mkv", half, 60.0, -1e3, 1e4, "bob"),
        ),
    )
    one = PeopleEvaluator([table], SETTINGS, labels).evaluation(
        "gate", [choose("gate", table, SETTINGS)]
    )
    assert (one.people, one.missed, one.false_joins) == (2, 1, 1)
    assert one.purity == pytest.approx(0.5)
    assert set(track_identities([table], labels)) == {("hall.mkv", 1)}


def test_faces_of_which_nothing_is_told_count_for_nothing() -> None:
    """They are neither surplus nor missed."""
    table = recording({1: walk(1), 2: walk(2)}, starts={2: 220})
    labels = Labels({("hall.mkv", 1): "ann"})
    one = PeopleEvaluator([table], SETTINGS, labels).evaluation(
        "first", [choose("first", table, SETTINGS)]
    )
    assert (one.people, one.missed, one.surplus, one.unknown, one.tracks) == (1, 0, 0, 1, 1)


def test_both_tables_are_read_and_another_one_is_refused(tmp_path: Path) -> None:
    """With the columns that are wanted."""
    file = tmp_path / "who.csv"
    file.write_text("video,track,identity\na/hall.mkv,3,ann\n")
    assert read_labels(file).who("hall.mkv", 3, 0.0, 5.0) == "ann"
    file.write_text("video,begin_s,end_s,left_px,right_px,identity\nhall.mkv,1,2,0,320,ann\n")
    labels = read_labels(file)
    assert labels.who("hall.mkv", 9, 1.5, 100.0) == "ann"
    assert labels.who("hall.mkv", 9, 2.0, 100.0) is None
    assert labels.who("hall.mkv", 9, 1.5, 320.0) is None
    file.write_text("video,who\nhall.mkv,ann\n")
    with pytest.raises(DataError, match="left_px"):
        read_labels(file)


def test_the_labels_of_the_project_s_recordings_name_each_place_once() -> None:
    """No face may be two people."""
    labels = read_labels(Path("bench/quality/recordings.csv"))
    assert len({place.video for place in labels.places}) == 13
    rng = np.random.default_rng(0)
    for place in labels.places:
        at = float(rng.uniform(place.begin_s, place.end_s))
        middle = float(rng.uniform(place.left_px, place.right_px))
        assert labels.who(place.video, 1, at, middle) == place.identity
