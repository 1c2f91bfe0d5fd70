"""A gate whose settings change while tracks live."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streamgate.config import GateSection
from streamgate.selection.gate import QualityGate
from streamgate.values import Release, ReleaseReason, TrackDecision, TrackOutcome
from tests.builders import WALL, scored


def show(gate: QualityGate, qualities: Sequence[float], *, start: float = 0.0) -> list[Release]:
    """Show faces of track 1, four a second; return what is released meanwhile."""
    released: list[Release] = []
    for number, quality in enumerate(qualities):
        at = start + number / 4
        gate.seen(1, at=at, wall=WALL + at)
        events = gate.scored(scored(1, at, quality), at=at)
        released += [event for event in events if isinstance(event, Release)]
    return released


def end(gate: QualityGate) -> tuple[list[float], TrackDecision]:
    """End track 1; return the qualities of its last releases, and its decision."""
    *released, decision = gate.end(1, ReleaseReason.TRACK_ENDED, at=60.0)
    assert isinstance(decision, TrackDecision)
    return [event.face.quality for event in released if isinstance(event, Release)], decision


def test_a_higher_threshold_drops_what_waited() -> None:
    """A face that was good enough is not released once more is wanted; the track goes on."""
    gate = QualityGate(GateSection(min_quality=30))
    show(gate, [40, 50])
    gate.adopt(GateSection(min_quality=60))
    show(gate, [55], start=1.0)
    qualities, decision = end(gate)
    assert qualities == []
    assert decision.outcome is TrackOutcome.BELOW_MIN_QUALITY
    assert decision.faces == 3


def test_a_lower_threshold_takes_up_the_best_face_so_far() -> None:
    """A face that was not good enough comes into question again, without being seen again."""
    gate = QualityGate(GateSection(min_quality=60))
    show(gate, [40, 50])
    gate.adopt(GateSection(min_quality=30))
    assert end(gate)[0] == [50]


def test_what_was_forwarded_is_not_forwarded_again() -> None:
    """A released face does not come back by a lower threshold, nor by leave to improve."""
    gate = QualityGate(GateSection(min_quality=60, release_quality=60))
    assert [release.face.quality for release in show(gate, [40, 70])] == [70]
    gate.adopt(GateSection(min_quality=10, improve_by=5))
    qualities, decision = end(gate)
    assert qualities == []
    assert decision.forwarded == 1


def test_leave_to_improve_takes_up_a_better_face_that_was_seen_since() -> None:
    """With improve_by set in mid-track, a better face that came after the release counts."""
    gate = QualityGate(GateSection(release_quality=60))
    show(gate, [40, 70])
    show(gate, [80], start=1.0)
    gate.adopt(GateSection(improve_by=5))
    assert end(gate)[0] == [80]


@pytest.mark.parametrize("top_k", [1, 2])
def test_the_number_of_releases_may_change(top_k: int) -> None:
    """As many faces as the new settings allow are released at the end, best first."""
    gate = QualityGate(GateSection(top_k=3, min_gap_s=0.25))
    show(gate, [40, 50, 45])
    gate.adopt(GateSection(top_k=top_k, min_gap_s=0.25))
    assert end(gate)[0] == [50, 45][:top_k]
