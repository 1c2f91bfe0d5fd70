"""Whatever is seen, scored or broken off: every face is accounted for, every track decided once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamgate.config import GateSection
from streamgate.selection.identity import IdentityRules
from streamgate.selection.selector import Selector, SelectorEvent
from streamgate.values import (
    Analysis,
    Candidate,
    Release,
    ReleaseReason,
    Scores,
    SeenFace,
    Skipped,
    SkipReason,
    TrackDecision,
)
from tests.builders import candidate

FRAME_S = 0.25


def seen(index: int, tracks: Sequence[int], ended: Sequence[int] = ()) -> Analysis:
    at = index * FRAME_S
    faces = tuple(candidate(track, at) for track in tracks)
    shown = tuple(SeenFace(face.tracked, face, None) for face in faces)
    return Analysis(index, at, at, shown, tuple(ended))


def scores(batch: Sequence[Candidate], quality: float) -> Scores:
    count = len(batch)
    return Scores(
        np.full(count, 100 - quality), np.full(count, quality), np.zeros((count, 4), np.float32)
    )


def only(kind: type, events: Sequence[SelectorEvent]) -> list[SelectorEvent]:
    return [event for event in events if isinstance(event, kind)]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.sets(st.integers(1, 5), max_size=4)),
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.tuples(st.just("score"), st.floats(0, 100)),
        st.tuples(st.just("fail"), st.none()),
        st.tuples(st.just("lose"), st.none()),
    ),
    max_size=60,
)


@given(STEPS, st.sampled_from([0.05, 0.3, 1.0]), st.integers(1, 12))
def test_every_face_is_accounted_for(
    steps: list[tuple[str, object]], share: float, room: int
) -> None:
    """Each candidate is scored or skipped, each track has one decision, and nothing else waits."""
    selector = Selector(GateSection(max_wait_s=1.0, improve_by=5), max_pending=room, share=share)
    events: list[SelectorEvent] = []
    offered: Counter[int] = Counter()
    scored: Counter[int] = Counter()
    flight: list[list[Candidate]] = []
    live: set[int] = set()
    # A track that has ended never comes back: its number is used once.
    numbers: dict[int, int] = {}
    index = 0
    for step, value in steps:
        now = index * FRAME_S
        if step == "frame":
            index += 1
            assert isinstance(value, set)
            shown = {numbers.setdefault(person, len(numbers) + 1) for person in value}
            gone = live - shown
            for person in [p for p, number in numbers.items() if number in gone]:
                numbers[person] = 100 * index + person
            events += selector.seen(seen(index, sorted(shown), sorted(gone)), index * FRAME_S)
            offered.update(shown)
            live = shown
        elif step == "take" and isinstance(value, int):
            batch = selector.next_batch(value, now)
            flight += [batch] if batch else []
        elif step == "score" and flight and isinstance(value, float):
            batch = flight.pop(0)
            scored.update(face.track_id for face in batch)
            events += selector.scored(scores(batch, value).of(batch, now), now)
        elif step == "fail" and flight:
            events += selector.failed(flight.pop(0), SkipReason.SCORER_FAILED, now)
        elif step == "lose":
            events += selector.end(ReleaseReason.STREAM_LOST, now)
            for person in [p for p, number in numbers.items() if number in live]:
                numbers[person] = 100 * index + 50 + person
            live = set()
        assert selector.waiting <= room
    for batch in flight:
        events += selector.failed(batch, SkipReason.SHUTDOWN, index * FRAME_S)
    events += selector.close(ReleaseReason.SHUTDOWN, index * FRAME_S)

    skipped = Counter(e.candidate.track_id for e in events if isinstance(e, Skipped))
    decisions = [e for e in events if isinstance(e, TrackDecision)]
    assert scored + skipped == offered
    assert sorted(d.track_id for d in decisions) == sorted(offered)
    assert selector.live_tracks == ()
    assert selector.waiting == 0
    for decision in decisions:
        track = decision.track_id
        assert (decision.faces, decision.scored) == (offered[track], scored[track])
        assert decision.skipped == skipped[track]
        released = [e for e in events if isinstance(e, Release) and e.track_id == track]
        assert decision.forwarded == len(released)


def test_a_track_waits_for_what_is_under_way() -> None:
    """A track that ends while its face is with the scorer is decided when the score comes."""
    selector = Selector(GateSection(min_age_s=0.1), max_pending=8)
    for index in range(3):
        selector.seen(seen(index, [1]), index * FRAME_S)
    batch = selector.next_batch(8, 0.5)
    assert len(batch) == 3
    assert selector.seen(seen(3, [], ended=[1]), 0.75) == []
    assert selector.live_tracks == (1,)
    events = selector.scored(scores(batch, 70).of(batch, 0.9), 0.9)
    (release,), (decision,) = only(Release, events), only(TrackDecision, events)
    assert isinstance(release, Release)
    assert release.reason is ReleaseReason.TRACK_ENDED
    assert isinstance(decision, TrackDecision)
    # It was decided as of its end, however long the scorer took.
    assert decision.decided_at == 0.75


def test_an_ending_track_is_decided_when_others_take_its_places() -> None:
    """Faces that lose their place to a live track's keep no ended track waiting."""
    selector = Selector(GateSection(min_age_s=0.0), max_pending=1)
    selector.seen(seen(0, [1]), 0.0)
    assert selector.next_batch(0, 0.0) == []
    events = selector.seen(seen(1, [2], ended=[1]), FRAME_S)
    events += selector.seen(seen(2, [2]), 2 * FRAME_S)
    events += selector.seen(seen(3, [2]), 3 * FRAME_S)
    decided = [e.track_id for e in events if isinstance(e, TrackDecision)]
    assert len(selector.live_tracks) + len(decided) == 2
    assert selector.waiting == 1


def test_a_failed_batch_is_skipped_with_its_reason() -> None:
    """Faces whose batch failed are told as such, and their track goes on."""
    selector = Selector(GateSection(), max_pending=8)
    selector.seen(seen(0, [1, 2]), 0.0)
    batch = selector.next_batch(8, 0.0)
    events = selector.failed(batch, SkipReason.SCORER_FAILED, 0.1)
    assert [e.reason for e in events if isinstance(e, Skipped)] == [SkipReason.SCORER_FAILED] * 2
    assert selector.live_tracks == (1, 2)


def test_another_visit_time_is_taken_up() -> None:
    """On a reload the time within which tracks are one visit changes, too."""
    selector = Selector(GateSection(), max_pending=8, identity=IdentityRules(visit_s=60))
    selector.adopt(GateSection(visit_s=5), max_pending=8, share=1.0)
    identities = selector._identities
    assert identities is not None
    assert identities.rules.visit_s == 5


def test_a_poster_is_forwarded_once() -> None:
    """Whatever reconnections there are, an hour apart; who stands before it is another matter."""
    selector = Selector(GateSection(visit_s=10), max_pending=8, identity=IdentityRules(visit_s=10))
    poster, person = np.eye(8, dtype=np.float32)[:2]
    events: list[SelectorEvent] = []

    def show(track: int, start: float, seconds: int, looks: NDArray[np.float32]) -> None:
        for second in range(seconds):
            now = start + second
            found = candidate(track, now)
            shown = (SeenFace(found.tracked, found, None),)
            events.extend(selector.seen(Analysis(0, now, now, shown, ()), now))
            batch = selector.next_batch(8, now)
            scored = Scores(
                np.full(len(batch), 30.0), np.full(len(batch), 70.0),
                np.tile(looks, (len(batch), 1)),
            )  # fmt: skip
            events.extend(selector.scored(scored.of(batch, now), now))
        events.extend(selector.end(ReleaseReason.STREAM_LOST, start + seconds))
        events.extend(selector.tick(start + seconds + 100))

    show(1, 0.0, 400, poster)
    show(2, 4000.0, 30, poster)
    show(3, 8000.0, 30, person)
    show(4, 12000.0, 30, poster)
    assert [e.track_id for e in events if isinstance(e, Release)] == [1, 3]
    outcomes = [e.outcome.value for e in events if isinstance(e, TrackDecision)]
    assert outcomes == ["forwarded", "static", "forwarded", "static"]
