"""Drift: what is noticed, how soon, and how seldom without a cause."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamgate.config import DriftSection
from streamgate.telemetry.drift import QualityDrift, decline_of, psi_of
from streamgate.values import ReleaseReason, TrackDecision, TrackOutcome

ALERT = 0.3
"""Of the rule StreamgateQualityDrift."""
MINUTE = 60.0


def decision(
    track_id: int,
    at: float,
    outcome: TrackOutcome = TrackOutcome.FORWARDED,
    rejected: dict[str, int] | None = None,
) -> TrackDecision:
    return TrackDecision(
        track_id=track_id, outcome=outcome, reason=ReleaseReason.TRACK_ENDED,
        first_seen_at=at - 1, last_seen_at=at, first_seen_wall=at, last_seen_wall=at,
        decided_at=at, faces=5, scored=0, skipped=0, best_quality=None, best_raw=None,
        forwarded=0, visit=track_id, rejected=rejected or {},
    )  # fmt: skip


class Door:
    """People who come by, one every `every_s`, and what is made of their qualities."""

    def __init__(self, *, every_s: float = 20.0, calibrated: bool = True) -> None:
        self.drift = QualityDrift(DriftSection(), calibrated=calibrated, seed=1)
        self.every_s = every_s
        self.at = 1000.0
        self.people = 0

    def pass_by(self, *qualities: float) -> float:
        """Let somebody pass; return the decline then."""
        self.at += self.every_s
        self.people += 1
        for quality in qualities:
            self.drift.scored(self.people, quality)
        self.drift.decided(decision(self.people, self.at))
        return self.drift.now(self.at).decline

    def rejected(self, reason: str) -> float:
        self.at += self.every_s
        self.people += 1
        outcome = TrackOutcome.ALL_REJECTED
        self.drift.decided(decision(self.people, self.at, outcome, {reason: 5}))
        return self.drift.now(self.at).decline


def reference(count: int, seed: int = 0) -> NDArray[np.float64]:
    """Qualities as the calibration's reference has them."""
    return np.random.default_rng(seed).uniform(0, 100, count)


def until_noticed(door: Door, qualities: NDArray[np.float64]) -> int:
    """How many people pass by before a fault is noticed."""
    for number, quality in enumerate(qualities, 1):
        if door.pass_by(quality) > ALERT:
            return number
    raise AssertionError("it was not noticed")


def test_a_busy_camera_out_of_focus_is_noticed_within_60_tracks() -> None:
    """After hours of good faces, with three people a minute, for any of 20 courses."""
    for seed in range(20):
        door = Door()
        for quality in reference(400, seed):
            door.pass_by(quality)
        worse = np.random.default_rng(seed).uniform(0, 8, 200)
        assert until_noticed(door, worse) <= 60


def test_a_quiet_door_is_noticed_within_20_tracks() -> None:
    """Eight people an hour fill no window of an hour; those of the day before do."""
    for seed in range(20):
        door = Door(every_s=450.0)
        for quality in reference(100, seed):
            door.pass_by(quality)
        assert until_noticed(door, np.full(100, 3.0)) <= 20


def test_faces_like_the_reference_raise_nothing() -> None:
    """Of 4,000 windows of the fewest tracks, fewer than 1 in 500 exceed the rule's bound."""
    least = DriftSection().least_tracks
    declines = [decline_of(reference(least, seed)) for seed in range(4000)]
    assert np.mean(np.array(declines) > ALERT) < 1 / 500


def test_better_faces_are_no_decline_but_a_difference() -> None:
    """A camera that does well is not complained of; its calibration may still not fit."""
    door = Door()
    for quality in 60 + 0.4 * reference(150):
        door.pass_by(quality)
    drift = door.drift.now(door.at)
    assert drift.decline < 0.05
    assert drift.psi > 0.25


def test_a_good_window_follows_a_mended_camera() -> None:
    """Once 150 good tracks have passed, nothing of the fault is left."""
    door = Door()
    for quality in (*reference(100), *np.full(150, 2.0)):
        door.pass_by(quality)
    assert door.drift.now(door.at).decline > 0.9
    for quality in reference(150, seed=2):
        door.pass_by(quality)
    assert door.drift.now(door.at).decline < ALERT


def test_who_stays_for_long_counts_once() -> None:
    """A thousand faces of one person do not outweigh a hundred other people."""
    door = Door()
    for quality in reference(100):
        door.pass_by(quality)
    before = door.drift.now(door.at).decline
    door.pass_by(*np.full(1000, 1.0))
    assert door.drift.now(door.at).decline == pytest.approx(before, abs=0.02)


def test_the_face_of_a_track_is_drawn_fairly() -> None:
    """Tracks whose faces are spread as the reference is are no better than it."""
    door = Door()
    for seed in range(150):
        door.pass_by(*reference(10, seed))
    assert door.drift.now(door.at).decline < 0.15
    assert door.drift.now(door.at).psi < 0.25


@pytest.mark.parametrize("reason", ["blurred", "too_dark", "too_bright", "flat"])
def test_tracks_too_poor_to_be_scored_count_as_the_worst(reason: str) -> None:
    """Otherwise a camera that is wholly out of focus would leave nothing to compare."""
    door = Door()
    for quality in reference(150):
        door.pass_by(quality)
    for _ in range(60):
        decline = door.rejected(reason)
    assert decline > ALERT


@pytest.mark.parametrize("reason", ["turned_away", "too_small", "at_edge"])
def test_people_who_look_elsewhere_say_nothing_of_the_picture(reason: str) -> None:
    """They were rejected for where they are, not for how they can be seen."""
    door = Door()
    for quality in reference(60):
        door.pass_by(quality)
    before = door.drift.now(door.at)
    for _ in range(60):
        door.rejected(reason)
    assert door.drift.now(door.at) == before


def test_too_few_tracks_say_nothing() -> None:
    """And neither do tracks of the day before yesterday, or a quality that only ranks."""
    door = Door()
    for quality in reference(39):
        assert math.isnan(door.pass_by(quality))
    assert door.drift.now(door.at).tracks == 39
    door.pass_by(50.0)
    assert not math.isnan(door.drift.now(door.at).psi)
    assert math.isnan(door.drift.now(door.at + 2 * 86_400).psi)
    unranked = Door(calibrated=False)
    for quality in reference(100):
        assert math.isnan(unranked.pass_by(quality))


def test_an_hour_and_150_tracks_are_the_bounds() -> None:
    """Of a crowd the newest 150 count, of few people all of the last hour and at least 40."""
    crowd, few = Door(every_s=1.0), Door(every_s=MINUTE)
    for quality in reference(500):
        crowd.pass_by(quality)
        few.pass_by(quality)
    assert crowd.drift.now(crowd.at).tracks == 150
    assert few.drift.now(few.at).tracks == 61
    assert few.drift.now(few.at + 3000).tracks == 40


def test_memory_is_bounded() -> None:
    """Tracks that are never decided do not gather."""
    drift = QualityDrift(DriftSection(), calibrated=True)
    for track in range(5000):
        drift.scored(track, 50.0)
    assert len(drift._live) <= 1024


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60))
def test_decline_is_the_largest_surplus_below_any_quality(qualities: list[float]) -> None:
    """As the definition says, tried at every quality that matters."""
    values = np.array(qualities)
    surplus = [np.mean(values <= q) - q / 100 for q in values]
    assert decline_of(values) == pytest.approx(max(0.0, *surplus))
    assert 0 <= decline_of(values) <= 1
    assert psi_of(values) >= 0
