"""Zones on a film whose people are known: each is tracked, and counts, where it was said."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from streamgate.config import load_config
from streamgate.demo.scene import FRAMES_PER_SECOND, Scene, load_portraits
from streamgate.errors import StreamgateError
from streamgate.lab.replay.runner import decision_lines, record
from streamgate.lab.replay.simulation import simulate
from streamgate.lab.replay.zone_map import zones_part
from streamgate.models.registry import path_of
from streamgate.sources.record import write_video
from streamgate.values import TrackOutcome
from tests import needs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SECONDS = 6.0
LEFT = "[[0, 0], [0.5, 0], [0.5, 1], [0, 1]]"
RIGHT = "[[0.5, 0], [1, 0], [1, 1], [0.5, 1]]"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two people of the demo: one stays in the left half, one in the right."""
    try:
        photographs = {name: path_of(f"photo-{name}") for name in ("astronaut", "hopper")}
    except StreamgateError as error:
        needs.missing("the photographs of the demo", str(error))
    path = tmp_path_factory.mktemp("films") / "scene.mkv"
    scene = Scene(load_portraits(photographs), SECONDS)
    frames = [
        frame for number, frame in enumerate(scene.frames()) if number < 0.5 * scene.frame_count
    ]
    write_video(path, iter(frames), FRAMES_PER_SECOND)
    return path


def replay(film: Path, folder: Path, zones: str) -> tuple[Any, Any, Any]:
    path = folder / "camera.yaml"
    path.write_text(
        "camera: {name: hall}\nsource: {kind: file, path: a.mkv}\n"
        f"gate: {{min_quality: 5, visit_s: 0}}\nzones:\n{zones}"
    )
    (table,), loaded, model = asyncio.run(record([film], load_config(path)))
    run = simulate(table, loaded.config)
    assert decision_lines(table, run, loaded, model) == decision_lines(table, run, loaded, model)
    return table, run, loaded


def sides(table: Any) -> Counter[str]:
    """Whether tracked faces are in the left or in the right half."""
    width = table.size[0]
    middles = [
        sum(seen.tracked.face.box[[0, 2]]) / 2 / width
        for moment in table.moments
        for seen in moment.seen
    ]
    return Counter("left" if middle < 0.5 else "right" for middle in middles)


def test_nobody_of_an_ignore_zone_is_tracked(film: Path, tmp_path: Path) -> None:
    """Of two people one is left; the faces of the other are counted."""
    table, run, _ = replay(film, tmp_path, f"  - {{name: street, kind: ignore, points: {RIGHT}}}\n")
    assert sides(table)["left"] > 20
    assert sides(table)["right"] == 0
    assert sum(moment.ignored.get("street", 0) for moment in table.moments) > 5
    assert {decision.outcome for decision in run.decisions} == {TrackOutcome.FORWARDED}


def test_a_watch_zone_has_exactly_its_people(film: Path, tmp_path: Path) -> None:
    """Both are tracked; of one faces are scored and forwarded, and the report says so."""
    table, run, loaded = replay(
        film, tmp_path, f"  - {{name: door, kind: watch, points: {LEFT}}}\n"
    )
    assert min(sides(table).values()) > 5
    outcomes = Counter(decision.outcome for decision in run.decisions)
    assert outcomes[TrackOutcome.FORWARDED] >= 1
    assert outcomes[TrackOutcome.OUTSIDE_ZONES] >= 1
    width = table.size[0]
    for release in run.releases:
        box = release.face.candidate.tracked.face.box
        assert (box[0] + box[2]) / 2 < 0.5 * width
        assert release.face.candidate.zone == "door"
    assert {seen.zone for faces in table.tracks.values() for seen in faces} == {"door"}
    for decision in run.decisions:
        is_outside = decision.outcome is TrackOutcome.OUTSIDE_ZONES
        assert decision.zones == (() if is_outside else ("door",))
        assert not (is_outside and decision.scored)
    page = zones_part(loaded.config.zones, [table], [run])
    assert "tracks were in no watch zone" in page
    assert page.count("<circle") > 20
