"""Times of a recording's pictures."""

from __future__ import annotations

import pytest

from streamgate.sources.timeline import Timeline


def test_times_count_from_the_first_picture() -> None:
    """A file whose timestamps begin at 1.4 s begins at 0."""
    timeline = Timeline()
    assert [timeline.at(s) for s in (1.4, 1.44, 1.5)] == pytest.approx([0.0, 0.04, 0.1])


def test_a_picture_without_time_follows_the_one_before() -> None:
    """Missing timestamps are filled in at the file's rate."""
    timeline = Timeline()
    timeline.picture_s = 0.1
    assert [timeline.at(s) for s in (None, 0.7, None)] == pytest.approx([0.0, 0.1, 0.2])


def test_time_does_not_run_backwards() -> None:
    """A timestamp before the last one is held at it."""
    timeline = Timeline()
    assert [timeline.at(s) for s in (0.0, 0.2, 0.1)] == pytest.approx([0.0, 0.2, 0.2])


def test_a_second_round_goes_on_where_the_first_ended() -> None:
    """The end lies one picture after the last, and is the next round's beginning."""
    timeline = Timeline()
    timeline.picture_s = 0.04
    timeline.at(5.0)
    timeline.at(5.04)
    assert timeline.restart() == pytest.approx(0.08)
    assert timeline.at(5.0) == pytest.approx(0.08)
