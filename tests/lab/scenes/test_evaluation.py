"""Figures by people, on cases that can be counted by hand."""

from __future__ import annotations

from streamgate.lab.scenes.evaluation import PeopleFigures, judge_people


def test_one_shot_of_each_is_no_fault() -> None:
    """And all figures say so."""
    figures = judge_people(
        {1: ["ann"] * 5, 2: ["bob"] * 4}, ["ann", "bob"], frozenset({"ann", "bob"})
    )
    assert figures == PeopleFigures(people=2, faces=9, at_home=9, visits=2)
    assert figures.purity == 1.0


def test_a_mixed_visit_loses_a_person() -> None:
    """It is a false join; the second person is missed, and the purity says how much is mixed."""
    figures = judge_people({1: ["ann"] * 6 + ["bob"] * 4}, ["ann"], frozenset({"ann", "bob"}))
    assert (figures.missed, figures.false_joins, figures.purity) == (1, 1, 0.6)


def test_a_broken_visit_gives_a_shot_too_many() -> None:
    """It is a false split and a surplus shot; a shot of nobody is surplus, too."""
    figures = judge_people(
        {1: ["ann"] * 5, 2: ["ann"] * 3, 3: [None]}, ["ann", "ann", None], frozenset({"ann"})
    )
    assert (figures.missed, figures.surplus, figures.false_splits) == (0, 2, 1)


def test_scenes_add_up() -> None:
    """Count by count."""
    one = judge_people({1: ["ann"] * 5}, ["ann"], frozenset({"ann"}))
    two = judge_people({1: ["bob"] * 5}, [], frozenset({"bob"}))
    assert one + two == PeopleFigures(people=2, missed=1, faces=10, at_home=10, visits=2)
