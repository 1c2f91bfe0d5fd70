"""The tracker, on simulated people whose boxes tremble as a detector's do."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgate.config import TrackerSection
from streamgate.faces.track import FaceTracker
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
) -> list[dict[int, int]]:
    """For each person, how often the face was given which id."""
    random, followed = np.random.default_rng(seed), tracker()
    ids: list[dict[int, int]] = [{} for _ in people]
    for at in np.arange(0.0, seconds, 1 / rate):
        visible = [number for number, person in enumerate(people) if person.seen(at)]
        faces = [_seen(people[number], at, random) for number in visible]
        for tracked in followed.update(faces, float(at)).tracked:
            (index,) = (i for i, known in enumerate(faces) if known is tracked.face)
            seen = ids[visible[index]]
            seen[tracked.track_id] = seen.get(tracked.track_id, 0) + 1
    return ids


def _seen(person: Person, at: float, random: np.random.Generator) -> Face:
    (x, y), error = person.place(at), random.normal(0.0, TREMBLE * person.size, 3)
    size = person.size + error[2]
    return face(x - size / 2 + error[0], y - size / 2 + error[1], size, person.score)


def hidden(begins: float, gap: float) -> Callable[[float], bool]:
    return lambda t: not begins <= t < begins + gap


def walk(
    speed: float, *, after: float | None = None, turns_at: float = 2.0, x: float = 100.0
) -> Callable[[float], tuple[float, float]]:
    """Walk at a speed in pixels a second, and at another from a moment on."""
    later = speed if after is None else after

    def place(t: float) -> tuple[float, float]:
        return x + speed * min(t, turns_at) + later * max(0.0, t - turns_at), 100.0

    return place


@pytest.mark.parametrize("rate", [25.0, 12.0])
@pytest.mark.parametrize("gap", [0.3, 0.9])
@pytest.mark.parametrize(
    ("speed", "after"),
    [(0, 0), (60, 60), (60, 0), (60, -60), (150, 150), (150, 0), (150, -60), (300, 300), (300, 60)],
)
def test_a_hidden_face_keeps_its_track(speed: float, after: float, gap: float, rate: float) -> None:
    """Who walks on, stops or turns back behind a pillar for up to a second comes out the same."""
    for seed in range(2):
        person = Person(walk(speed, after=after), hidden(2.0, gap))
        (ids,) = follow([person], rate=rate, seed=seed)
        assert list(ids) == [1]


def test_a_face_that_was_hidden_for_longer_is_another_track() -> None:
    """Beyond `max_gap_s` nobody knows who it is."""
    (ids,) = follow([Person(walk(0), hidden(1.0, 1.5))])
    assert list(ids) == [1, 2]


@pytest.mark.parametrize("rate", [25.0, 15.0])
@pytest.mark.parametrize("sizes", [(80.0, 95.0), (80.0, 83.0), (60.0, 110.0)])
@pytest.mark.parametrize("speeds", [(100, 100), (150, 0), (200, 120), (300, 300)])
def test_two_people_who_cross_keep_their_tracks(
    speeds: tuple[float, float], sizes: tuple[float, float], rate: float
) -> None:
    """The nearer one hides the other; neither takes the other's track, and none is split."""
    behind = Person(walk(speeds[0], x=320 - 2 * speeds[0]), size=sizes[0])
    front = Person(walk(-speeds[1], x=320 + 2 * speeds[1]), size=sizes[1])

    def seen(t: float) -> bool:
        apart = abs(behind.place(t)[0] - front.place(t)[0])
        return apart > 0.75 * sum(sizes) / 2

    for seed in range(2):
        people = [Person(behind.place, seen, sizes[0]), front]
        ids = follow(people, rate=rate, seed=seed)
        assert [len(seen_as) for seen_as in ids] == [1, 1]
        assert ids[0].keys() != ids[1].keys()


@pytest.mark.parametrize("rate", [25.0, 12.0, 8.0])
def test_a_face_that_walks_by_is_followed_at_a_low_rate(rate: float) -> None:
    """Between two of few frames a face moves its own width, and is the same all the same."""
    (ids,) = follow([Person(walk(7 * SIZE_PX))], rate=rate, seconds=1.5)
    assert len(ids) == 1
    assert sum(ids.values()) >= 1.5 * rate - 4


def test_somebody_who_appears_beside_a_lost_face_is_another() -> None:
    """A neighbour, two face widths away, does not inherit the track of one who has left."""
    left = Person(walk(0), lambda t: t < 2.0)
    right = Person(walk(0, x=100 + 2 * SIZE_PX), lambda t: t >= 2.1)
    first, second = follow([left, right])
    assert list(first) == [1]
    assert list(second) == [2]


def test_a_face_of_another_size_is_another() -> None:
    """Somebody twice as near, where a face was lost a moment ago, is not that face."""
    far = Person(walk(0), lambda t: t < 2.0, size=50)
    near = Person(walk(0), lambda t: t >= 2.3, size=110)
    first, second = follow([far, near])
    assert list(first) == [1]
    assert list(second) == [2]


def test_what_comes_and_goes_is_no_track() -> None:
    """A ghost of two frames gets no id, however often it comes again."""
    (ids,) = follow([Person(walk(0), lambda t: t % 0.5 < 0.08)])
    assert ids == {}


def test_a_weak_detection_extends_a_track_and_begins_none() -> None:
    """Below `high_score` a face keeps the track that it has; alone it never becomes one."""
    tracked = tracker(high_score=0.75)
    for step in range(50):
        strong = face(100, score=0.9 if step < 25 else 0.65)
        weak = face(400, score=0.7)
        found = tracked.update([strong, weak], step / 25).tracked
        assert all(seen.face is strong for seen in found)
    assert [seen.track_id for seen in found] == [1]


def test_ids_are_each_trackers_own() -> None:
    """Two cameras in one process both begin at 1, although the library's counter may be shared."""
    first, second = tracker(), tracker()
    for step in range(10):
        both = [one.update([face()], step / 25).tracked for one in (first, second)]
    assert [[seen.track_id for seen in found] for found in both] == [[1], [1]]


def test_flush_ends_every_track_and_uses_no_id_again() -> None:
    """After a lost stream the same face in the same place is a new track."""
    tracked = tracker()
    for step in range(10):
        tracked.update([face(100), face(300)], step / 25)
    assert tracked.flush() == [1, 2]
    assert tracked.flush() == []
    for step in range(10, 20):
        found = tracked.update([face(100)], step / 25)
    assert [seen.track_id for seen in found.tracked] == [3]
    assert found.ended == []


def test_a_track_ends_once_and_in_time() -> None:
    """It is reported as ended once, when it has been gone for `max_gap_s` and a frame."""
    tracked, ended = tracker(max_gap_s=0.5), {}
    for step in range(75):
        update = tracked.update([face()] if step < 25 else [], step / 25)
        ended.update(dict.fromkeys(update.ended, step / 25))
    assert list(ended) == [1]
    assert 0.5 <= ended[1] - 24 / 25 <= 0.65


@pytest.mark.parametrize("step_s", [0.0, -0.04, -100.0], ids=["same", "earlier", "long ago"])
def test_a_clock_that_stands_or_runs_back_does_no_harm(step_s: float) -> None:
    """Frames with one timestamp, or with earlier ones, are followed without a warning."""
    tracked = tracker()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(10):
            tracked.update([face()], step / 25)
        found = [tracked.update([face()], 9 / 25 + step_s).tracked for _ in range(5)]
        found.append(tracked.update([face()], 11 / 25).tracked)
    assert {seen.track_id for update in found for seen in update} == {1}


def test_a_pause_of_the_stream_ends_what_was_before() -> None:
    """Who stands in the same place after ten seconds without a frame may be anybody."""
    tracked = tracker()
    for step in range(10):
        tracked.update([face()], step / 25)
    assert tracked.update([face()], 10.0).ended == [1]


boxes = st.tuples(
    st.floats(0, 600), st.floats(0, 300), st.floats(1, 200), st.floats(0, 1, width=32)
)


@given(
    frames=st.lists(st.lists(boxes, max_size=5), max_size=30),
    steps=st.lists(st.floats(-0.1, 2.0), min_size=30, max_size=30),
)
def test_only_what_was_detected_comes_out(
    frames: list[list[tuple[float, float, float, float]]], steps: list[float]
) -> None:
    """Whatever is detected whenever: faces come out once, as they are; ids grow and end once."""
    tracked, at, live, ended, highest = tracker(), 0.0, set[int](), set[int](), 0
    for detections, step in zip(frames, steps, strict=False):
        at += step
        faces = [face(x, y, size, score) for x, y, size, score in detections]
        update = tracked.update(faces, at)
        places = [faces.index(seen.face) for seen in update.tracked]
        assert places == sorted(set(places))
        ids = {seen.track_id for seen in update.tracked}
        assert len(ids) == len(update.tracked)
        assert not ids & (ended | set(update.ended))
        assert set(update.ended) <= live
        new = sorted(ids - live)
        assert new == list(range(highest + 1, highest + 1 + len(new)))
        highest += len(new)
        live = (live | ids) - set(update.ended)
        ended |= set(update.ended)
    assert set(tracked.flush()) == live


def test_memory_does_not_grow_with_the_crowd() -> None:
    """of hundreds who have passed, only those of the last second are remembered."""
    tracked, random = tracker(), np.random.default_rng(0)
    for step in range(300):
        crowd = [face(x, 100, 40) for x in random.uniform(0, 4000, 8)]
        still = face(5000 + step, 100, 40)
        tracked.update([*crowd, still], step / 25)
    assert len(tracked._trails) < 300
    assert len(tracked._tracker.tracks) < 60
