"""Visits, on people whose embeddings are known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamgate.selection.identity import (
    Identities,
    IdentityRules,
    Joined,
    Split,
    Verdict,
    VisitEnded,
)
from streamgate.values import IdentityThresholds

SIZE = 64
RULES = IdentityRules(visit_s=60.0, same=0.5, continued=0.35, different=0.1)


def person(number: int) -> NDArray[np.float64]:
    """The direction of somebody's embeddings; no two people share one."""
    return np.asarray(np.eye(SIZE)[number])


def looking(who: NDArray[np.float64], similarity: float, seed: int = 0) -> NDArray[np.float32]:
    """A face whose cosine to a person is `similarity`."""
    noise = np.random.default_rng(seed).normal(size=SIZE)
    noise[:8] = 0.0
    noise /= np.linalg.norm(noise)
    return np.asarray(similarity * who + np.sqrt(1 - similarity**2) * noise, np.float32)


class Camera:
    """Tells the visits what a camera sees."""

    def __init__(self, rules: IdentityRules = RULES) -> None:
        self.identities = Identities(rules)
        self.events: list[object] = []

    def track(
        self,
        number: int,
        who: NDArray[np.float64],
        *,
        begins: float,
        ends: float,
        similarity: float = 0.95,
        quality: float = 60.0,
        may_continue: tuple[int, ...] = (),
        faces: int = 3,
    ) -> None:
        """Show a track from its first face to its end."""
        self.identities.began(number, may_continue, begins)
        for step, at in enumerate(np.linspace(begins, ends, faces)):
            self.identities.seen(number, float(at))
            face = looking(who, similarity, seed=number * 100 + step)
            self.events += self.identities.scored(number, face, quality, float(at))
        self.identities.ended(number)

    def visits(self, *numbers: int) -> list[int]:
        return [self.identities.visit_of(number) for number in numbers]


def test_two_tracks_of_one_person_are_one_visit() -> None:
    """It bears the number of the first, and the event says which came to it, and how alike."""
    camera = Camera()
    camera.track(1, person(0), begins=0, ends=2)
    camera.track(2, person(0), begins=10, ends=12)
    assert camera.visits(1, 2) == [1, 1]
    (joined,) = camera.events
    assert isinstance(joined, Joined)
    assert (joined.visit, joined.joined, joined.tracks) == (1, 2, (2,))
    assert joined.similarity > RULES.same
    assert not joined.continued


def test_two_people_are_two_visits() -> None:
    """However near in time and place."""
    camera = Camera()
    camera.track(1, person(0), begins=0, ends=2)
    camera.track(2, person(1), begins=2.1, ends=4, may_continue=(1,))
    assert camera.visits(1, 2) == [1, 2]
    assert camera.identities.same(1, 2) is Verdict.DIFFERENT


def test_two_faces_seen_at_one_moment_are_never_one_person() -> None:
    """Twins, or a face and its mirror image."""
    camera = Camera()
    camera.track(1, person(0), begins=0, ends=4)
    camera.track(2, person(0), begins=3, ends=6)
    assert camera.visits(1, 2) == [1, 2]
    assert camera.identities.same(1, 2) is Verdict.DIFFERENT


def test_a_track_that_continues_another_needs_less_likeness() -> None:
    """Place and time have spoken for it already."""
    for may_continue, together in (((), False), ((1,), True)):
        camera = Camera()
        camera.track(1, person(0), begins=2, ends=2, similarity=0.75, faces=1)
        camera.track(
            2, person(0), begins=2.5, ends=2.5, similarity=0.75, may_continue=may_continue, faces=1
        )
        assert (camera.visits(1, 2) == [1, 1]) is together


def test_a_poor_face_says_nothing() -> None:
    """Below `continued_quality` a track stays by itself, and nobody says that it is another's."""
    camera = Camera()
    camera.track(1, person(0), begins=0, ends=2)
    camera.track(2, person(1), begins=2.5, ends=3, quality=8.0, may_continue=(1,))
    assert camera.visits(1, 2) == [1, 2]
    assert camera.identities.same(1, 2) is Verdict.UNKNOWN


def test_a_better_face_joins_what_a_poor_one_left_open() -> None:
    """The decision is open until a face can make it."""
    camera = Camera()
    camera.track(1, person(0), begins=0, ends=2)
    camera.identities.began(2, (1,), 2.5)
    assert camera.identities.scored(2, looking(person(0), 0.1), 8.0, 2.5) == []
    assert camera.identities.wants_score(2)
    assert camera.identities.scored(2, looking(person(0), 0.95), 70.0, 2.6)
    assert camera.visits(1, 2) == [1, 1]
    assert not camera.identities.wants_score(2)


def test_who_comes_back_after_the_visit_is_another_visit() -> None:
    """Beyond `visit_s` a person is forwarded again."""
    camera = Camera()
    camera.track(1, person(0), begins=0, ends=2)
    camera.track(2, person(0), begins=63, ends=64)
    assert camera.visits(1, 2) == [1, 2]


def test_without_visits_only_what_may_continue_is_joined() -> None:
    """`visit_s: 0` leaves the tracker's tracklets to be mended."""
    camera = Camera(IdentityRules(visit_s=0.0, same=0.5, continued=0.35))
    camera.track(1, person(0), begins=0, ends=2)
    camera.track(2, person(0), begins=2.5, ends=4, may_continue=(1,))
    camera.track(3, person(0), begins=10, ends=12)
    assert camera.visits(1, 2, 3) == [1, 1, 3]


def test_a_track_is_split_where_its_faces_change() -> None:
    """The faces before stay what they were, those after are somebody else's."""
    camera = Camera()
    camera.identities.began(1, (), 0.0)
    events = []
    for step in range(8):
        who = person(0) if step < 4 else person(1)
        face = looking(who, 0.9, seed=step)
        events += camera.identities.scored(1, face, 60.0, float(step))
    splits = [event for event in events if isinstance(event, Split)]
    assert [(split.track_id, split.at) for split in splits] == [(1, 4.0)]
    assert camera.identities.visit_of(1) == splits[0].visit
    camera.identities.ended(1)
    # Both are known from now on.
    camera.track(2, person(0), begins=10, ends=12)
    camera.track(3, person(1), begins=20, ends=22)
    assert camera.visits(2, 3) == [1, splits[0].visit]


def test_one_odd_face_splits_nothing() -> None:
    """A hand before the face is no other person."""
    camera = Camera()
    camera.identities.began(1, (), 0.0)
    events = []
    for step in range(9):
        who = person(3) if step == 4 else person(0)
        events += camera.identities.scored(1, looking(who, 0.9, seed=step), 60.0, float(step))
    assert events == []


def test_a_visit_that_nobody_can_join_is_forgotten() -> None:
    """`visit_s` after its last sighting, once all its tracks have ended."""
    camera = Camera()
    camera.track(1, person(0), begins=0, ends=2)
    assert camera.identities.tick(60.0) == []
    assert camera.identities.tick(62.5) == [VisitEnded(1)]
    assert camera.identities.tick(63.0) == []


def test_what_all_faces_have_in_common_joins_nobody() -> None:
    """A camera's light makes strangers alike; it is learnt and taken away."""
    light = person(40)
    camera = Camera(IdentityRules(visit_s=60.0, same=0.3))
    for number in range(1, 30):
        who = 0.57 * light + 0.82 * person(8 + number % 29)
        camera.track(number, who / np.linalg.norm(who), begins=9 * number, ends=9 * number + 1)
        camera.identities.tick(9.0 * number + 1)
    late = [camera.identities.visit_of(number) for number in range(24, 30)]
    assert len(set(late)) == 6


def test_a_family_that_comes_and_goes_all_day_is_still_told_apart() -> None:
    """What is learnt of the camera is not the face of whoever is seen most."""
    camera = Camera()
    for number in range(1, 61):
        who = looking(person(number % 2), 0.9, seed=number).astype(np.float64)
        begins = 100.0 * number
        camera.track(3 * number, who, begins=begins, ends=begins + 2)
        camera.track(3 * number + 1, who, begins=begins + 10, ends=begins + 12)
        camera.track(3 * number + 2, person(2 + number % 3), begins=begins + 20, ends=begins + 22)
        assert camera.visits(3 * number, 3 * number + 1) == [3 * number] * 2
        assert camera.identities.visit_of(3 * number + 2) == 3 * number + 2
        camera.identities.tick(begins + 95.0)


tracks = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.floats(0, 100),
        st.floats(0.1, 8),
        st.floats(0.2, 0.99),
        st.floats(0, 100),
    ),
    min_size=1,
    max_size=12,
)


@given(tracks)
def test_no_visit_holds_two_faces_of_one_moment(
    seen: list[tuple[int, float, float, float, float]],
) -> None:
    """Whatever the faces look like; and a visit bears the number of its first track."""
    camera = Camera()
    spans: dict[int, tuple[float, float]] = {}
    for number, (who, begins, lasts, similarity, quality) in enumerate(
        sorted(seen, key=lambda one: one[1]), start=1
    ):
        spans[number] = begins, begins + lasts
        camera.track(
            number,
            person(who),
            begins=begins,
            ends=begins + lasts,
            similarity=similarity,
            quality=quality,
            may_continue=tuple(range(1, number)),
        )
    for visit in {camera.identities.visit_of(number) for number in spans}:
        members = camera.identities.tracks_of(visit)
        assert visit == min(members, key=lambda one: (spans[one][0], one))
        for one, other in combinations(members, 2):
            # The last frame of one may be the first of the other.
            assert spans[one][1] <= spans[other][0] or spans[other][1] <= spans[one][0]


@pytest.mark.parametrize("known", [False, True])
def test_a_track_that_was_none_leaves_no_trace(known: bool) -> None:
    """A ghost that was joined to a visit is taken out of it again."""
    camera = Camera()
    camera.track(1, person(0), begins=0, ends=2)
    camera.track(2, person(0 if known else 1), begins=3, ends=3.1)
    camera.identities.dismissed(2)
    assert camera.identities.tracks_of(1) == (1,)
    camera.track(3, person(1), begins=4, ends=5)
    assert camera.visits(1, 3) == [1, 3]


def test_one_shared_frame_is_no_proof_of_two_people() -> None:
    """A track may take a stranger's face in its last frame; what is surely alike is still one."""
    camera = Camera()
    camera.track(1, person(0), begins=0, ends=2)
    camera.track(2, person(0), begins=2, ends=4)
    camera.track(3, person(1), begins=4, ends=6)
    assert camera.visits(1, 2, 3) == [1, 1, 3]


def test_two_faces_are_not_one_because_the_next_frame_is_still_to_come() -> None:
    """Whoever is there while the other appears may stay."""
    camera = Camera()
    camera.track(1, person(0), begins=0, ends=2)
    camera.identities.began(2, (), 2.0)
    camera.identities.seen(2, 2.0)
    camera.events += camera.identities.scored(2, looking(person(0), 0.95, seed=9), 60.0, 2.0)
    assert camera.visits(1, 2) == [1, 2]


def test_in_one_shared_frame_place_says_nothing() -> None:
    """Then likeness must be that of two tracks anywhere."""
    for begins, together in ((2.0, False), (2.5, True)):
        camera = Camera()
        camera.track(1, person(0), begins=1, ends=1, similarity=0.75, faces=1)
        camera.identities.seen(1, 2.0)
        camera.identities.began(2, (1,), begins)
        camera.identities.seen(2, 3.0)
        face = looking(person(0), 0.75, seed=200)
        camera.identities.scored(2, face, 60.0, 3.0)
        assert (camera.visits(1, 2) == [1, 1]) is together


def test_who_may_be_a_poor_track_may_be_whom_that_one_may_be() -> None:
    """Between two good looks at somebody there may be poor ones."""
    for quality, together in ((8.0, True), (60.0, False)):
        camera = Camera()
        camera.track(1, person(0), begins=0, ends=0, similarity=0.82, faces=1)
        camera.track(2, person(1), begins=1, ends=1, quality=quality, may_continue=(1,), faces=1)
        camera.track(3, person(0), begins=2, ends=2, similarity=0.82, may_continue=(2,), faces=1)
        assert (camera.visits(1, 3) == [1, 1]) is together


def test_weights_without_thresholds_join_only_what_is_very_similar() -> None:
    """And weights that have some use them."""
    measured = IdentityThresholds(0.4, 0.3, 0.2, people=9, pairs=9)
    rules, cautious = IdentityRules.of(30.0, measured), IdentityRules.of(30.0, None)
    assert (rules.visit_s, rules.same, rules.continued, rules.different) == (30.0, 0.4, 0.3, 0.1)
    assert cautious.same > 0.55
    assert cautious.continued > 0.4
