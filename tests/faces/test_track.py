"""Tracklets, on simulated people whose boxes tremble as a detector's do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgate.config import TrackerSection
from streamgate.faces.track import FaceTracker, TrackerUpdate, assign
from streamgate.values import Face
from tests.builders import face

SIZE_PX = 80.0
TREMBLE = 0.02


@dataclass(frozen=True)
class Person:
    """Somebody whose face is at `place(t)`, and can be seen while `seen(t)`."""

    place: Callable[[float], tuple[float, float]]
    seen: Callable[[float], bool] = lambda _: True
    size: float = SIZE_PX
    score: float = 0.9


def tracker(**settings: float) -> FaceTracker:
    return FaceTracker(TrackerSection.model_validate(settings))


def follow(
    people: Sequence[Person], *, rate: float = 25.0, seconds: float = 4.0, seed: int = 0
) -> tuple[list[dict[int, int]], list[TrackerUpdate]]:
    """For each person how often the face was given which id, and all updates."""
    random, followed = np.random.default_rng(seed), tracker()
    ids: list[dict[int, int]] = [{} for _ in people]
    updates = []
    for at in np.arange(0.0, seconds, 1 / rate):
        visible = [number for number, person in enumerate(people) if person.seen(at)]
        faces = [_seen(people[number], at, random) for number in visible]
        updates.append(followed.update(faces, float(at)))
        for tracked in updates[-1].tracked:
            (index,) = (i for i, known in enumerate(faces) if known is tracked.face)
            seen = ids[visible[index]]
            seen[tracked.track_id] = seen.get(tracked.track_id, 0) + 1
    return ids, updates


def _seen(person: Person, at: float, random: np.random.Generator) -> Face:
    (x, y), error = person.place(at), random.normal(0.0, TREMBLE * person.size, 3)
    size = person.size + error[2]
    return face(x - size / 2 + error[0], y - size / 2 + error[1], size, person.score)


def walk(
    speed: float, *, after: float | None = None, turns_at: float = 2.0, x: float = 100.0
) -> Callable[[float], tuple[float, float]]:
    """Walk at a speed in pixels a second, and at another from a moment on."""
    later = speed if after is None else after

    def place(t: float) -> tuple[float, float]:
        return x + speed * min(t, turns_at) + later * max(0.0, t - turns_at), 100.0

    return place


def hidden(begins: float, gap: float) -> Callable[[float], bool]:
    return lambda t: not begins <= t < begins + gap


@pytest.mark.parametrize("rate", [25.0, 12.0, 5.0, 2.0, 1.0])
def test_who_stands_is_one_tracklet_at_any_rate(rate: float) -> None:
    """Even at one picture a second."""
    (ids,), _ = follow([Person(walk(0))], rate=rate, seconds=8.0)
    assert list(ids) == [1]


@pytest.mark.parametrize("rate", [25.0, 12.0, 8.0, 5.0])
@pytest.mark.parametrize("speed", [2.0, 5.0, 7.0])
def test_who_walks_by_alone_is_one_tracklet(speed: float, rate: float) -> None:
    """Between two of few frames a face moves more than its own width, and is the same."""
    (ids,), _ = follow([Person(walk(speed * SIZE_PX))], rate=rate, seconds=2.0)
    assert list(ids) == [1]


@pytest.mark.parametrize("rate", [25.0, 12.0, 5.0])
@pytest.mark.parametrize("gap", [0.5, 0.9])
def test_who_was_hidden_is_another_tracklet_that_may_continue_the_first(
    gap: float, rate: float
) -> None:
    """Motion cannot tell who comes out from behind a pillar; it tells who may."""
    (ids,), updates = follow([Person(walk(150), hidden(2.0, gap))], rate=rate)
    assert list(ids) == [1, 2]
    began = [one for update in updates for one in update.began]
    assert [one.may_continue for one in began] == [(), (1,)]


def test_somebody_two_sizes_away_continues_nobody() -> None:
    """A neighbour is not taken for one who has just been lost."""
    left = Person(walk(0), lambda t: t < 2.0)
    right = Person(walk(0, x=100 + 3 * SIZE_PX), lambda t: t >= 2.1)
    _, updates = follow([left, right])
    assert [one.may_continue for update in updates for one in update.began] == [(), ()]


def test_a_face_twice_as_near_continues_nobody() -> None:
    """Somebody of another size, where a face was lost a moment ago, is not that face."""
    far = Person(walk(0), lambda t: t < 2.0, size=50)
    near = Person(walk(0), lambda t: t >= 2.3, size=110)
    _, updates = follow([far, near])
    assert [one.may_continue for update in updates for one in update.began] == [(), ()]


@pytest.mark.parametrize("rate", [25.0, 12.0, 5.0])
@pytest.mark.parametrize("seed", range(12))
def test_no_tracklet_holds_two_people_who_cross(seed: int, rate: float) -> None:
    """Whoever hides whom, whatever the speeds: pieces, but pieces of one person."""
    chance = np.random.default_rng(seed)
    sizes = chance.uniform(60, 120, 4)
    places = []
    for number in range(4):
        speed = float(chance.uniform(60, 320) * (-1) ** number)
        places.append(walk(speed, x=320 - 2 * speed + float(chance.uniform(-60, 60))))

    def seen(number: int) -> Callable[[float], bool]:
        """Hidden while a nearer face is before it."""

        def tell(t: float) -> bool:
            return all(
                abs(places[number](t)[0] - places[other](t)[0]) > 0.45 * (sizes[number] + size)
                for other, size in enumerate(sizes)
                if size > sizes[number]
            )

        return tell

    people = [Person(places[n], seen(n), float(sizes[n])) for n in range(4)]
    ids, _ = follow(people, rate=rate, seed=seed)
    owners: dict[int, int] = {}
    for seen_as in ids:
        for number in seen_as:
            owners[number] = owners.get(number, 0) + 1
    assert set(owners.values()) == {1}


def test_a_face_that_two_may_be_is_neither() -> None:
    """Two merge and one is seen: it begins anew, and says whom it may continue."""
    one, other = Person(walk(100, x=0)), Person(walk(-100, x=400), lambda t: t < 1.95)
    (first, _), updates = follow([one, other], seconds=3.0)
    assert len(first) >= 1
    later = [began for update in updates for began in update.began if began.track_id > 2]
    assert all(set(began.may_continue) <= {1, 2} for began in later)


def test_what_comes_and_goes_is_dismissed() -> None:
    """A ghost of two frames is never confirmed, and is said to be gone."""
    _, updates = follow([Person(walk(0), lambda t: t % 0.5 < 0.06)], seconds=4.4)
    assert not any(update.confirmed or update.ended for update in updates)
    began = [one.track_id for update in updates for one in update.began]
    assert [number for update in updates for number in update.dismissed] == began


@pytest.mark.parametrize("rate", [1.0, 5.0, 25.0])
def test_the_first_sighting_counts(rate: float) -> None:
    """Two sightings a tenth of a second apart are enough, and the first bears the number."""
    followed = tracker()
    first = followed.update([face()], 0.0)
    assert [seen.track_id for seen in first.tracked] == [1]
    confirmed_at = next(
        step / rate
        for step in range(1, 10)
        if followed.update([face()], step / rate).confirmed == [1]
    )
    assert confirmed_at == pytest.approx(max(1 / rate, 0.12), abs=0.01)


def test_a_weak_detection_extends_a_tracklet_and_begins_none() -> None:
    """Below `high_score` a face keeps the tracklet that it has; alone it never becomes one."""
    followed = tracker(high_score=0.75)
    for step in range(50):
        strong = face(100, score=0.9 if step < 25 else 0.65)
        found = followed.update([strong, face(400, score=0.7)], step / 25).tracked
        assert [seen.face is strong for seen in found] == [True]
    assert [seen.track_id for seen in found] == [1]


def test_flush_forgets_everything_and_uses_no_number_again() -> None:
    """After a lost stream the same face in the same place is new, and continues nobody."""
    followed = tracker()
    for step in range(10):
        followed.update([face(100), face(300)], step / 25)
    followed.flush()
    update = followed.update([face(100)], 0.5)
    assert [(one.track_id, one.may_continue) for one in update.began] == [(3, ())]
    assert not update.ended
    assert not update.dismissed


def test_a_tracklet_ends_once_and_in_time() -> None:
    """It is reported as ended once, when it has been gone for `max_gap_s` and a frame."""
    followed, ended = tracker(max_gap_s=0.5), {}
    for step in range(75):
        update = followed.update([face()] if step < 25 else [], step / 25)
        ended.update(dict.fromkeys(update.ended, step / 25))
    assert list(ended) == [1]
    assert 0.5 <= ended[1] - 24 / 25 <= 0.65


@pytest.mark.parametrize("step_s", [0.0, -0.04, -100.0], ids=["same", "earlier", "long ago"])
def test_a_clock_that_stands_or_runs_back_does_no_harm(step_s: float) -> None:
    """Frames with one timestamp, or with earlier ones, are followed all the same."""
    followed = tracker()
    for step in range(10):
        followed.update([face()], step / 25)
    found = [followed.update([face()], 9 / 25 + step_s).tracked for _ in range(5)]
    found.append(followed.update([face()], 11 / 25).tracked)
    assert {seen.track_id for update in found for seen in update} == {1}


boxes = st.tuples(
    st.floats(0, 600), st.floats(0, 300), st.floats(1, 200), st.floats(0, 1, width=32)
)


@given(
    frames=st.lists(
        st.tuples(st.floats(0.0, 2.0), st.lists(boxes, max_size=6)), min_size=1, max_size=25
    )
)
def test_every_tracklet_begins_once_and_is_given_up_once(
    frames: list[tuple[float, list[tuple[float, float, float, float]]]],
) -> None:
    """Whatever is detected: ids rise, a face has one, and all that began is ended or dismissed."""
    followed, at = tracker(), 0.0
    began: list[int] = []
    gone: list[int] = []
    for step_s, seen in frames:
        at += step_s
        faces = [face(*box) for box in seen]
        update = followed.update(faces, at)
        began += [one.track_id for one in update.began]
        gone += [*update.ended, *update.dismissed]
        numbers = [tracked.track_id for tracked in update.tracked]
        assert len(numbers) == len(set(numbers))
        assert not set(numbers) & set(gone)
        assert all(set(one.may_continue) < set(began) for one in update.began)
    update = followed.update([], at + 60.0)
    assert began == sorted(set(began))
    assert sorted([*gone, *update.ended, *update.dismissed]) == began


@given(
    costs=st.integers(1, 4).flatmap(
        lambda columns: st.lists(
            st.lists(
                st.one_of(st.just(np.inf), st.floats(0, 1)), min_size=columns, max_size=columns
            ),
            min_size=1,
            max_size=4,
        )
    )
)
def test_the_assignment_is_the_cheapest_there_is(costs: list[list[float]]) -> None:
    """Compared with all assignments there are."""
    table = np.array(costs)
    rows, columns = table.shape
    padded = np.hstack([table, np.full((rows, rows), 1.0)])
    best = min(
        float(sum(padded[row, column] for row, column in enumerate(order)))
        for order in permutations(range(columns + rows), rows)
    )
    pairs, total = assign(table, 1.0)
    assert total == pytest.approx(best)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
