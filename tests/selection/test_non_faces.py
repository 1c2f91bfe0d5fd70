"""What the detector took for a face, and its embedding says is none."""

from __future__ import annotations

import numpy as np
import pytest

from streamgate.config import GateSection
from streamgate.selection.identity import IdentityRules
from streamgate.selection.non_faces import NonFaces
from streamgate.selection.selector import Selector
from streamgate.values import (
    Analysis,
    Release,
    ReleaseReason,
    Scores,
    SeenFace,
    Skipped,
    SkipReason,
    TrackBeginning,
    TrackDecision,
)
from tests.builders import candidate

GATE = GateSection(min_quality=20, min_age_s=0)
NON_FACES = NonFaces(np.array([1.0, 0.0]), 0.5)
HAND, PERSON = [0.9, 0.436], [0.2, 0.98]


def shown(selector: Selector, track: int, embedding: list[float], quality: float) -> list[object]:
    """Show one face of a track, score it, and end the track."""
    face = candidate(track, 0.0)
    selector.seen(Analysis(0, 0.0, 0.0, (SeenFace(face.tracked, face, None),), ()), 0.0)
    batch = selector.next_batch(4, 0.0)
    scores = Scores(
        np.array([1.0]), np.array([quality]), np.array([embedding], dtype=np.float32)
    ).of(batch, 0.0)
    events: list[object] = [*selector.scored(scores, 0.1)]
    return [*events, *selector.close(ReleaseReason.SHUTDOWN, 1.0)]


@pytest.mark.parametrize(("embedding", "is_one"), [(HAND, True), (PERSON, False)])
def test_the_cosine_with_the_centre_decides(embedding: list[float], *, is_one: bool) -> None:
    assert (np.array(embedding, dtype=np.float32) in NON_FACES) is is_one


def test_a_hand_is_not_forwarded_whatever_its_quality() -> None:
    """It is counted with its reason, and its track is decided."""
    selector = Selector(
        GateSection(min_quality=20, min_age_s=0), max_pending=8, non_faces=NON_FACES
    )
    events = shown(selector, 1, HAND, 90.0)
    skipped = [event.reason for event in events if isinstance(event, Skipped)]
    assert skipped == [SkipReason.NOT_A_FACE]
    assert not any(isinstance(event, Release) for event in events)
    assert sum(isinstance(event, TrackDecision) for event in events) == 1


def test_a_person_is_forwarded() -> None:
    selector = Selector(
        GateSection(min_quality=20, min_age_s=0), max_pending=8, non_faces=NON_FACES
    )
    events = shown(selector, 1, PERSON, 90.0)
    assert any(isinstance(event, Release) for event in events)


def test_without_knowledge_of_non_faces_the_quality_decides() -> None:
    selector = Selector(GATE, max_pending=8)
    events = shown(selector, 1, HAND, 90.0)
    assert any(isinstance(event, Release) for event in events)


def test_what_is_no_face_does_not_keep_the_scorer_busy() -> None:
    """A hand that stays is scored first a few times, then within the budget of any track."""
    selector = Selector(
        GateSection(), max_pending=8, share=0.1, identity=IdentityRules(), non_faces=NON_FACES
    )
    skipped = 0
    for index in range(60):
        at = index * 0.2
        face = candidate(1, at)
        began = (TrackBeginning(1, ()),) if index == 0 else ()
        confirmed = (1,) if index == 2 else ()
        seen = (SeenFace(face.tracked, face, None),)
        selector.seen(Analysis(index, at, at, seen, (), began=began, confirmed=confirmed), at)
        batch = selector.next_batch(1, at)
        scores = Scores(
            np.full(len(batch), 1.0), np.full(len(batch), 5.0),
            np.tile(np.array(HAND, dtype=np.float32), (len(batch), 1)),
        )  # fmt: skip
        events = selector.scored(scores.of(batch, at), at)
        skipped += sum(isinstance(event, Skipped) for event in events)
    assert 1 <= skipped <= 12
