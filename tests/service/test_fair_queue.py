"""Whose faces are scored next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgate.service.fair_queue import FairQueue, FullError, Work


def queue(**limits: int) -> FairQueue[str]:
    usual = {"max_faces": 100, "max_faces_per_camera": 50, "max_cameras": 10}
    return FairQueue(**{**usual, **limits})


def put(waiting: FairQueue[str], camera: str, faces: int = 1, deadline: float = 10.0) -> Work[str]:
    work = Work(camera, faces, deadline, f"{camera}@{deadline:g}")
    waiting.put(work)
    return work


def test_cameras_take_turns_one_face_each() -> None:
    """Of a camera with twenty faces and one with two, the second is done after four."""
    waiting = queue()
    put(waiting, "busy", 20)
    put(waiting, "quiet", 2)
    order = [work.camera for work, _ in waiting.take(6)]
    assert order == ["busy", "quiet", "busy", "quiet", "busy", "busy"]


def test_within_a_camera_the_earliest_deadline_comes_first() -> None:
    """It need not have come first."""
    waiting = queue()
    put(waiting, "door", deadline=9.0)
    put(waiting, "door", deadline=3.0)
    assert [work.deadline for work, _ in waiting.take(2)] == [3.0, 9.0]


def test_a_camera_has_places_of_its_own() -> None:
    """Whoever has filled them is refused, and the others are not."""
    waiting = queue(max_faces_per_camera=2)
    put(waiting, "flood", 2)
    with pytest.raises(FullError) as refused:
        put(waiting, "flood")
    assert refused.value.of_camera
    put(waiting, "door")


@pytest.mark.parametrize("limits", [{"max_faces": 2}, {"max_cameras": 1}])
def test_all_have_a_bound_together(limits: dict[str, int]) -> None:
    """Of faces, and of cameras."""
    waiting = queue(**limits)
    put(waiting, "door", 2)
    with pytest.raises(FullError) as refused:
        put(waiting, "gate")
    assert not refused.value.of_camera


def test_late_work_is_dropped_and_told() -> None:
    """What has expired is returned once, and never taken."""
    waiting = queue()
    late = put(waiting, "door", 3, deadline=1.0)
    put(waiting, "door", 1, deadline=5.0)
    assert waiting.expired(2.0) == [late]
    assert waiting.expired(2.0) == []
    assert [work.deadline for work, _ in waiting.take(9)] == [5.0]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 4), st.integers(1, 6), st.floats(0, 9)),
            st.tuples(st.just("take"), st.integers(1, 8)),
            st.tuples(st.just("drop"), st.integers(0, 30)),
            st.tuples(st.just("expire"), st.floats(0, 9)),
        ),
        max_size=60,
    )
)
def test_every_face_leaves_once_and_no_bound_is_passed(steps: list[tuple[object, ...]]) -> None:
    """Whatever happens, a face is taken, dropped or waits; the counts agree."""
    waiting = queue(max_faces=20, max_faces_per_camera=8, max_cameras=3)
    works: list[Work[str]] = []
    taken = 0
    for name, *arguments in steps:
        if name == "put":
            camera, faces, deadline = arguments
            work = Work(camera, int(str(faces)), float(str(deadline)), "")
            try:
                waiting.put(work)
            except FullError:
                continue
            works.append(work)
        elif name == "take":
            taken += len(waiting.take(int(str(arguments[0]))))
        elif name == "drop" and works:
            waiting.drop(works[int(str(arguments[0])) % len(works)])
        elif name == "expire":
            waiting.expired(float(str(arguments[0])))
        left = sum(work.faces - work.taken for work in works if not work.dropped)
        assert len(waiting) == left <= 20
        assert taken == sum(work.taken for work in works)
    waiting.take(1000)
    assert len(waiting) == 0
