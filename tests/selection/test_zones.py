"""Tracks count from the moment when their face is in a watch zone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streamgate.config import GateSection, ZoneSection
from streamgate.selection.selector import Selector, SelectorEvent
from streamgate.values import (
    Analysis,
    Release,
    ReleaseReason,
    SeenFace,
    Skipped,
    SkipReason,
    TrackBeginning,
    TrackDecision,
    TrackOutcome,
)
from tests.builders import candidate
from tests.selection.test_selector import only, scores

STEP_S = 0.25


def zone(name: str, **more: Any) -> ZoneSection:
    points = ((0, 0), (1, 0), (1, 1))
    return ZoneSection.model_validate({"name": name, "kind": "watch", "points": points, **more})


def sighting(index: int, *places: str | None, ended: Sequence[int] = ()) -> Analysis:
    """A frame with a face of tracks 1, 2, ..., each in a zone."""
    at = index * STEP_S
    faces = [replace(candidate(track, at), zone=where) for track, where in enumerate(places, 1)]
    seen = tuple(SeenFace(face.tracked, face, None, face.zone) for face in faces)
    return Analysis(index, at, at, seen, tuple(ended))


class Watched:
    """A selector with watch zones; each face gets the quality that the test says."""

    def __init__(self, *zones: ZoneSection, **gate: Any) -> None:
        self.selector = Selector(GateSection(**gate), max_pending=8, zones=zones)
        self.scored: list[int] = []
        self.events: list[SelectorEvent] = []
        self.at = 0.0

    def see(self, analysis: Analysis, quality: float = 50.0) -> None:
        self.at = analysis.captured_at
        self.events += self.selector.seen(analysis, self.at)
        self.score(quality)
        self.events += self.selector.tick(self.at)

    def score(self, quality: float) -> None:
        while batch := self.selector.next_batch(8, self.at):
            self.scored += [face.frame_index for face in batch]
            self.events += self.selector.scored(scores(batch, quality).of(batch, self.at), self.at)

    def end(self) -> None:
        self.events += self.selector.end(ReleaseReason.SHUTDOWN, self.at)
        self.score(50.0)

    @property
    def decisions(self) -> list[tuple[TrackOutcome, tuple[str, ...]]]:
        return [(one.outcome, one.zones) for one in self.events if isinstance(one, TrackDecision)]

    @property
    def releases(self) -> list[Release]:
        return [one for one in self.events if isinstance(one, Release)]


@given(st.lists(st.sampled_from([None, "door", "hall"]), min_size=1, max_size=12))
def test_nothing_is_scored_before_a_track_enters(path: list[str | None]) -> None:
    """Faces before are skipped with their reason; who never enters has an outcome of its own."""
    watched = Watched(zone("door"), zone("hall"), min_age_s=0)
    for index, place in enumerate(path):
        watched.see(sighting(index, place))
    watched.end()
    entered = next((i for i, place in enumerate(path) if place), None)
    before = path[:entered] if entered is not None else path
    skipped = [one for one in watched.events if isinstance(one, Skipped)]
    reasons = [one.reason for one in skipped if one.reason is SkipReason.OUTSIDE_ZONES]
    assert len(reasons) == len(before)
    ((outcome, zones),) = watched.decisions
    if entered is None:
        assert watched.scored == []
        assert (outcome, zones) == (TrackOutcome.OUTSIDE_ZONES, ())
        return
    assert min(watched.scored) == round(entered * STEP_S * 25)
    assert outcome is TrackOutcome.FORWARDED
    assert set(zones) == {place for place in path if place}
    (release,) = watched.releases
    at = round(release.face.candidate.captured_at / STEP_S)
    assert release.face.candidate.zone == [place for place in path[: at + 1] if place][-1]


def test_without_watch_zones_the_whole_picture_counts() -> None:
    """An ignore zone alone changes nothing for those who are seen."""
    ignored = ZoneSection.model_validate(
        {"name": "clock", "kind": "ignore", "points": ((0, 0), (1, 0), (1, 1))}
    )
    watched = Watched(ignored, min_age_s=0)
    watched.see(sighting(0, None))
    watched.end()
    assert watched.decisions == [(TrackOutcome.FORWARDED, ())]


def test_each_zone_has_its_own_threshold() -> None:
    """A quality of 35 is enough in the hall (30), and not at the door (40)."""
    watched = Watched(zone("door", min_quality=40), zone("hall"), min_age_s=0, min_quality=30)
    for index in range(4):
        watched.see(sighting(index, "door", "hall"), quality=35)
    watched.end()
    assert watched.decisions == [
        (TrackOutcome.BELOW_MIN_QUALITY, ("door",)),
        (TrackOutcome.FORWARDED, ("hall",)),
    ]


def test_the_wait_begins_at_the_door() -> None:
    """Somebody who stood outside for long is not forwarded the moment that he enters."""
    watched = Watched(zone("door"), min_age_s=0, max_wait_s=1.0)
    for index in range(13):
        watched.see(sighting(index, "door" if index >= 8 else None))
        assert bool(watched.releases) == (index >= 12), index
    assert watched.releases[0].reason is ReleaseReason.MAX_WAIT


def test_a_reload_leaves_tracks_that_count_alone() -> None:
    """New zones bind who comes later; where the last one goes, everybody counts from then on."""
    watched = Watched(min_age_s=0)
    watched.see(sighting(0, None))
    settings = watched.selector.settings
    watched.selector.adopt(settings, max_pending=8, share=1.0, zones=[zone("door")])
    watched.see(sighting(1, None, None))
    watched.selector.adopt(settings, max_pending=8, share=1.0)
    assert watched.selector.may_count(1)
    assert not watched.selector.may_count(2)
    watched.see(sighting(2, None, None))
    assert watched.selector.may_count(2)
    watched.end()
    assert [outcome for outcome, _ in watched.decisions] == [TrackOutcome.FORWARDED] * 2


def test_a_sighting_before_the_track_is_sure_counts_if_it_was_inside() -> None:
    """A track that is confirmed later is judged from its first face on."""
    watched = Watched(zone("door"), min_age_s=0)
    first = replace(sighting(0, "door"), began=(TrackBeginning(1),))
    watched.see(first)
    assert watched.selector.may_count(1)
    watched.see(replace(sighting(1, None), confirmed=(1,)))
    watched.end()
    assert watched.decisions == [(TrackOutcome.FORWARDED, ("door",))]
    assert len(only(Skipped, watched.events)) + len(watched.scored) == 2
