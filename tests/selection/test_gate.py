"""The gate's rule, on tracks written down by hand and on any that hypothesis can think of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgate.config import GateSection
from streamgate.selection.gate import GateEvent, QualityGate
from streamgate.values import Release, ReleaseReason, TrackDecision, TrackOutcome
from tests.builders import WALL, scored

# A power of two, so that times add up without rounding.
FRAME_S = 1 / 32


@dataclass(frozen=True)
class Seen:
    """A face of a track in one frame: its quality, or None where a precheck rejected it."""

    track: int
    quality: float | None


def play(
    gate: QualityGate, frames: Sequence[Sequence[Seen]], *, start: float = 0.0
) -> list[GateEvent]:
    """Show the gate a frame every 31.25 ms, then flush it; return all its events."""
    events: list[GateEvent] = []
    at = start
    for number, faces in enumerate(frames):
        at = start + number * FRAME_S
        for seen in faces:
            gate.seen(seen.track, at=at, wall=WALL + at)
            if seen.quality is None:
                gate.rejected(seen.track, "too_small")
            else:
                events += gate.scored(scored(seen.track, at, seen.quality), at=at)
        events += gate.tick(at)
    return events + gate.flush(ReleaseReason.STREAM_ENDED, at=at)


def track_of(*qualities: float | None) -> list[list[Seen]]:
    """One track with these qualities, a frame each."""
    return [[Seen(1, quality)] for quality in qualities]


def releases(events: Sequence[GateEvent]) -> list[Release]:
    return [event for event in events if isinstance(event, Release)]


def decisions(events: Sequence[GateEvent]) -> list[TrackDecision]:
    return [event for event in events if isinstance(event, TrackDecision)]


def test_best_face_goes_out_when_the_track_ends() -> None:
    """By default a track gives one face, its best, when it ends."""
    events = play(QualityGate(GateSection()), track_of(40, 50, 90, 60, 45, 44, 43, 42))
    (release,) = releases(events)
    assert release.face.quality == 90
    assert release.reason is ReleaseReason.STREAM_ENDED
    (decision,) = decisions(events)
    assert decision.outcome is TrackOutcome.FORWARDED
    assert (decision.faces, decision.scored, decision.forwarded) == (8, 8, 1)


def test_young_track_is_not_forwarded() -> None:
    """A track younger than min_age_s forwards nothing, whatever its quality."""
    events = play(QualityGate(GateSection(min_age_s=1.0)), track_of(99, 99, 99))
    assert not releases(events)
    assert decisions(events)[0].outcome is TrackOutcome.TOO_YOUNG


def test_poor_track_is_not_forwarded() -> None:
    """A track whose best face is below min_quality forwards nothing and says so."""
    events = play(QualityGate(GateSection(min_quality=60)), track_of(*[50.0] * 20))
    assert not releases(events)
    assert decisions(events)[0].outcome is TrackOutcome.BELOW_MIN_QUALITY
    assert decisions(events)[0].best_quality == 50


def test_track_without_a_fit_face_says_why() -> None:
    """A track whose faces were all rejected ends as such, with the reasons counted."""
    events = play(QualityGate(GateSection()), track_of(None, None, None))
    (decision,) = decisions(events)
    assert decision.outcome is TrackOutcome.ALL_REJECTED
    assert decision.rejected == {"too_small": 3}


def test_reached_quality_releases_at_once() -> None:
    """A face of release_quality goes out in its own frame, once the track is old enough."""
    gate = QualityGate(GateSection(release_quality=80, min_age_s=0.1))
    events = play(gate, track_of(50, 50, 50, 50, 85, 95, 95))
    (release,) = releases(events)
    assert release.reason is ReleaseReason.QUALITY_REACHED
    assert release.at == pytest.approx(4 * FRAME_S)
    assert release.face.quality == 85


def test_long_track_is_released_after_max_wait() -> None:
    """After max_wait_s the best so far goes out although the track goes on."""
    events = play(QualityGate(GateSection(max_wait_s=1.0)), track_of(*[60.0] * 10, *[50.0] * 40))
    (release,) = releases(events)
    assert release.reason is ReleaseReason.MAX_WAIT
    assert release.at == pytest.approx(1.0)
    assert release.face.quality == 60


def test_max_wait_takes_the_first_fit_face_where_none_was_there_in_time() -> None:
    """A track that had nothing fit at max_wait_s releases its first fit face at once."""
    gate = QualityGate(GateSection(max_wait_s=0.5))
    (release,) = releases(play(gate, track_of(*[10.0] * 30, 70.0, 90.0)))
    assert (release.face.quality, release.reason) == (70, ReleaseReason.MAX_WAIT)


def test_better_face_is_sent_after_the_cooldown() -> None:
    """With improve_by, a clearly better later face goes out when the cool-down is over."""
    gate = QualityGate(
        GateSection(release_quality=60, min_age_s=0.0, improve_by=10, cooldown_s=1.0)
    )
    events = play(gate, track_of(65, 70, 80, 72, *[50.0] * 40))
    first, second = releases(events)
    assert (first.face.quality, second.face.quality) == (65, 80)
    assert second.reason is ReleaseReason.IMPROVED
    assert second.at - first.at == pytest.approx(1.0, abs=FRAME_S)
    assert (first.revision, second.revision) == (1, 2)


def test_cooldown_is_waived_when_the_track_ends() -> None:
    """A better face that waits for the cool-down is not lost when the track ends first."""
    gate = QualityGate(
        GateSection(release_quality=60, min_age_s=0.0, improve_by=10, cooldown_s=60.0)
    )
    assert [r.face.quality for r in releases(play(gate, track_of(65, 70, 80)))] == [65, 80]


def test_top_k_are_apart_in_time() -> None:
    """top_k faces of one release are ranked by quality and at least min_gap_s apart."""
    gate = QualityGate(GateSection(top_k=3, min_gap_s=0.4))
    qualities = [90.0 if n in (5, 6, 7) else 70.0 if n in (30, 31) else 50.0 for n in range(60)]
    chosen = releases(play(gate, track_of(*qualities)))
    assert [r.face.quality for r in chosen] == [90, 70, 50]
    assert [r.rank for r in chosen] == [1, 2, 3]
    times = sorted(r.face.candidate.captured_at for r in chosen)
    assert all(b - a >= 0.4 for a, b in pairwise(times))


def test_one_track_does_not_delay_another() -> None:
    """The cool-down after one person's release leaves a second person alone."""
    gate = QualityGate(GateSection(release_quality=60, min_age_s=0.0, cooldown_s=100))
    events = play(gate, [[Seen(1, 70.0)], [Seen(1, 70.0), Seen(2, 75.0)]])
    assert [(r.track_id, r.at) for r in releases(events)] == [(1, 0.0), (2, FRAME_S)]


settings = st.builds(
    GateSection,
    min_quality=st.sampled_from([0, 30, 60]),
    min_age_s=st.sampled_from([0.0, 0.1, 0.5]),
    top_k=st.integers(1, 3),
    min_gap_s=st.sampled_from([0.0, 0.1, 0.5]),
    release_quality=st.one_of(st.none(), st.sampled_from([60, 75, 90])),
    max_wait_s=st.one_of(st.none(), st.sampled_from([0.2, 1.0])),
    improve_by=st.one_of(st.none(), st.sampled_from([1, 10])),
    cooldown_s=st.sampled_from([0.0, 0.3, 2.0]),
    max_per_track=st.integers(3, 5),
)
scenes = st.lists(
    st.dictionaries(st.integers(1, 3), st.one_of(st.none(), st.floats(0, 100)), max_size=3),
    max_size=40,
).map(lambda frames: [[Seen(track, quality) for track, quality in f.items()] for f in frames])


@given(settings, scenes)
def test_every_track_is_decided_exactly_once(config: GateSection, scene: list[list[Seen]]) -> None:
    """Each track that was seen has one terminal decision, after all of its releases."""
    events = play(QualityGate(config), scene)
    seen = {face.track for faces in scene for face in faces}
    assert sorted(d.track_id for d in decisions(events)) == sorted(seen)
    closed: set[int] = set()
    for event in events:
        assert event.track_id not in closed
        if isinstance(event, TrackDecision):
            closed.add(event.track_id)


@given(settings, scenes)
def test_releases_keep_the_caps(config: GateSection, scene: list[list[Seen]]) -> None:
    """No track forwards more than max_per_track, and revisions count up from one."""
    events = play(QualityGate(config), scene)
    for decision in decisions(events):
        own = [r for r in releases(events) if r.track_id == decision.track_id]
        assert [r.revision for r in own] == list(range(1, len(own) + 1))
        assert len(own) == decision.forwarded <= config.max_per_track


@given(settings, scenes)
def test_first_of_a_release_is_the_best_seen(config: GateSection, scene: list[list[Seen]]) -> None:
    """What a release gives first is the best face that the track had shown by then."""
    for release in releases(play(QualityGate(config), scene)):
        if release.rank != 1:
            continue
        shown = [
            face.quality
            for number, faces in enumerate(scene)
            for face in faces
            if face.track == release.track_id
            and face.quality is not None
            and number * FRAME_S <= release.at + 1e-9
        ]
        assert release.face.quality == max(shown) >= config.min_quality


@given(settings, scenes)
def test_nothing_due_is_lost_at_the_flush(config: GateSection, scene: list[list[Seen]]) -> None:
    """A track that is old enough and has shown a good enough face forwards one."""
    for decision in decisions(play(QualityGate(config), scene)):
        old = decision.last_seen_at - decision.first_seen_at >= config.min_age_s
        good = (decision.best_quality or 0) >= config.min_quality
        if old and good and decision.best_quality is not None:
            assert decision.outcome is TrackOutcome.FORWARDED
        else:
            assert decision.forwarded == 0


@given(settings, scenes, st.integers(0, 1 << 20))
def test_time_shift_changes_nothing(
    config: GateSection, scene: list[list[Seen]], shift: int
) -> None:
    """The same scene at another hour gives the same faces for the same reasons."""
    plain = play(QualityGate(config), scene)
    shifted = play(QualityGate(config), scene, start=float(shift))

    def told(events: Sequence[GateEvent]) -> list[tuple[object, ...]]:
        return [
            (e.track_id, e.reason, e.revision, e.face.quality)
            if isinstance(e, Release)
            else (e.track_id, e.outcome, e.faces)
            for e in events
        ]

    assert told(plain) == told(shifted)


def test_the_release_target_tells_what_a_face_must_beat() -> None:
    """The threshold at first, then the best so far, and nothing more once no face can go."""
    gate = QualityGate(GateSection(min_quality=40, max_wait_s=1.0))
    assert gate.release_target(1).to_beat == math.inf
    gate.seen(1, at=5.0, wall=WALL)
    assert (gate.release_target(1).to_beat, gate.release_target(1).deadline) == (40, 6.0)
    gate.scored(scored(1, 5.0, 30.0), at=5.0)
    assert gate.release_target(1).to_beat == 40
    gate.scored(scored(1, 5.0, 70.0), at=5.0)
    assert gate.release_target(1).to_beat == 70
    gate.seen(1, at=6.0, wall=WALL)
    assert releases(gate.tick(6.0))
    assert (gate.release_target(1).to_beat, gate.release_target(1).deadline) == (math.inf, math.inf)


def test_the_release_target_of_several_faces_is_that_of_the_last_that_goes() -> None:
    """With top_k 2 a face need not be the best, and after a release it must improve on it."""
    gate = QualityGate(GateSection(top_k=2, improve_by=10, release_quality=90, min_age_s=0))
    gate.seen(1, at=0.0, wall=WALL)
    gate.scored(scored(1, 0.0, 80.0), at=0.0)
    assert gate.release_target(1).to_beat == 30
    gate.scored(scored(1, 1.0, 60.0), at=1.0)
    assert gate.release_target(1).to_beat == 60
    gate.scored(scored(1, 2.0, 90.0), at=2.0)
    assert gate.release_target(1).to_beat == 100
