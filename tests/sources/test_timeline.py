"""Times of a recording's pictures, whatever its stamps say."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgate.sources.clock import Timeline

STEP_S = 0.04


def times(*stamps: float | None, rate: float = 25.0) -> tuple[list[float], int]:
    """Return the times of pictures and how many new origins they needed."""
    timeline = Timeline()
    timeline.expect_rate(rate)
    return [timeline.at(stamp) for stamp in stamps], timeline.faults


def steady(count: int, begin_s: float = 0.0) -> list[float]:
    return [begin_s + STEP_S * i for i in range(count)]


def test_times_count_from_the_first_picture() -> None:
    """A file whose stamps begin at 1.4 s begins at 0, and real gaps are kept."""
    assert times(1.4, 1.44, 1.5, 2.3)[0] == pytest.approx([0.0, 0.04, 0.1, 0.9])


def test_a_picture_without_time_follows_the_one_before() -> None:
    """Missing stamps are filled in at the file's rate."""
    assert times(None, 0.7, None, rate=10)[0] == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.parametrize("second_s", [0.0, 1.0, 3600.0, 95_443.7, -20.0])
def test_a_second_part_with_another_origin_follows_the_first(second_s: float) -> None:
    """Recordings joined byte by byte go on one picture after the cut, told once."""
    found, faults = times(*steady(50, 10.0), *steady(50, 10.0 + second_s))
    assert found == pytest.approx(steady(100)) or second_s == 1.0
    assert faults == 1
    assert found[-1] < 5.0


@pytest.mark.parametrize("spike_s", [2.0, 20.0, 3600.0, -20.0, -3600.0])
def test_wrong_stamps_cost_nothing(spike_s: float) -> None:
    """Two pictures with a wrong time stand where they belong, and so do those after them."""
    stamps = steady(60)
    stamps[20] += spike_s
    stamps[21] += spike_s
    found, faults = times(*stamps)
    assert found == pytest.approx(steady(60))
    assert faults == 2


@pytest.mark.parametrize("spike_s", [0.3, 0.8, -0.3])
def test_a_small_mistake_stays_small(spike_s: float) -> None:
    """What may be a real gap shifts the rest by no more than itself."""
    stamps = steady(60)
    stamps[20] += spike_s
    found, _ = times(*stamps)
    assert found[-1] == pytest.approx(59 * STEP_S, abs=abs(spike_s) + 0.01)


@pytest.mark.parametrize("stamp", [0.0, 1e9, None])
def test_stamps_that_stand_or_are_missing_go_on_at_the_file_s_rate(stamp: float | None) -> None:
    """17 seconds of zeros are 17 seconds."""
    found, _ = times(*([stamp] * 425))
    assert found == pytest.approx(steady(425))


def test_pictures_out_of_order_do_not_stretch_time() -> None:
    """Stamps that were swapped by a careless writer keep the pace of the whole."""
    stamps = [STEP_S * (i + (1 if i % 3 == 1 else -1 if i % 3 == 2 else 0)) for i in range(300)]
    found, faults = times(*stamps)
    assert faults == 0
    assert found[-1] == pytest.approx(299 * STEP_S, abs=0.1)


def test_one_picture_every_five_seconds_is_a_recording_too() -> None:
    """Where the rate is low a gap is longer before it is a fault."""
    stamps = [5.0 * i + (20.0 if i > 50 else 0.0) for i in range(100)]
    found, faults = times(*stamps, rate=0.2)
    assert (found, faults) == (stamps, 0)


@pytest.mark.parametrize("rate", [None, 0.0, 90_000.0])
def test_a_rate_that_cannot_be_is_not_believed(rate: float | None) -> None:
    """25 pictures a second are assumed in its place."""
    timeline = Timeline()
    timeline.expect_rate(rate)
    assert [timeline.at(None) for _ in range(3)] == pytest.approx([0.0, 0.04, 0.08])


def test_a_second_round_goes_on_where_the_first_ended() -> None:
    """The end lies one picture after the last, and is the next round's beginning."""
    timeline = Timeline()
    timeline.at(5.0)
    timeline.at(5.04)
    assert timeline.restart() == pytest.approx(0.08)
    assert timeline.at(5.0) == pytest.approx(0.08)
    assert timeline.faults == 0


@given(st.lists(st.none() | st.floats(-1e7, 1e7), min_size=1, max_size=60))
def test_time_goes_on_and_never_leaps(stamps: list[float | None]) -> None:
    """Whatever a file claims, each picture is after the one before, by a second at most."""
    found, _ = times(*stamps)
    steps = [later - earlier for earlier, later in pairwise(found)]
    assert all(0.0 < step <= 1.0 + 1e-6 for step in steps)
