"""What may be said about zones, and what is answered to the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamgate.config.load import parse_config
from streamgate.config.zones import zone_faults
from streamgate.errors import ConfigError

HEAD = "camera: {name: door}\nsource: {kind: file, path: a.mkv}\nzones:\n"
LEFT = "[[0, 0], [0.4, 0], [0.4, 1], [0, 1]]"
RIGHT = "[[0.4, 0], [1, 0], [1, 1], [0.4, 1]]"


def fault(*zones: str) -> str:
    """What `check` says about some zones, each on a line of its own from line 4 on."""
    text = HEAD + "".join(f"  - {{{zone}}}\n" for zone in zones)
    try:
        parse_config(text, Path("door.yaml"), {})
    except ConfigError as error:
        return str(error).removeprefix("door.yaml:")
    return ""


def test_zones_beside_each_other_are_right() -> None:
    """Neighbours may share an edge, and what is ignored may lie over a part of what is watched."""
    assert not fault(
        f"name: hall, kind: watch, points: {LEFT}, min_quality: 40, min_size_px: 60",
        f"name: door, kind: watch, points: {RIGHT}",
        "name: clock, kind: ignore, points: [[0.3, 0.3], [0.5, 0.3], [0.4, 0.5]]",
    )


@pytest.mark.parametrize(
    ("zones", "told"),
    [
        (
            ["name: a, kind: ignore, points: [[0, 0], [1, 1], [1, 0], [0, 1]]"],
            "4: zones[0].points: got an outline that crosses itself (the edge from point 1 to "
            "point 2 and the edge from point 3 to point 4); wanted the points in the order in "
            "which one walks around the zone, each once",
        ),
        (
            ["name: a, kind: ignore, points: [[0, 0], [1.5, 1], [1, 0]]"],
            "4: zones[0].points[1][0]: got 1.5; wanted less than or equal to 1",
        ),
        (
            ["name: a, kind: ignore, points: [[0, 0], [1, 1]]"],
            "4: zones[0].points: got 2 points; wanted 3 to 32",
        ),
        (
            ["name: a, kind: ignore, points: [[0, 0], [0.001, 0], [0, 0.001]]"],
            "4: zones[0].points: got a zone without an area; wanted points that are apart",
        ),
        (
            [f"name: a, kind: ignore, points: {LEFT}", f"name: a, kind: watch, points: {RIGHT}"],
            "5: zones[1].name: got 'a', the name of zones[0]; wanted another name for each zone",
        ),
        (
            [
                f"name: a, kind: watch, points: {LEFT}",
                "name: b, kind: watch, points: [[0.3, 0], [1, 0], [1, 1], [0.3, 1]]",
            ],
            "5: zones[1].points: got a watch zone that overlaps 'a' by 10 % of the picture; "
            "wanted watch zones beside each other, because a face is in one of them only",
        ),
        (
            [
                "name: a, kind: watch, points: [[0.1, 0.1], [0.2, 0.1], [0.2, 0.2]]",
                f"name: b, kind: ignore, points: {LEFT}",
            ],
            "4: zones[0].points: got a watch zone that lies in the ignore zone 'b'; wanted a part "
            "of it that is not ignored",
        ),
        (
            [f"name: a, kind: ignore, points: {LEFT}, min_quality: 40"],
            "4: zones[0].min_quality: got a threshold for faces that are ignored; wanted it in a "
            "watch zone only",
        ),
        (
            [f"name: a, kind: look, points: {LEFT}"],
            "4: zones[0].kind: got 'look'; wanted 'ignore' or 'watch'",
        ),
    ],
)  # fmt: skip
def test_faults_name_the_place_and_the_remedy(zones: list[str], told: str) -> None:
    """With the line in the file, whatever is wrong with a zone."""
    assert fault(*zones) == told


def test_there_are_not_more_zones_than_labels() -> None:
    """The number of series in the metrics is bounded."""
    corner = "[[0, 0], [0.1, 0], [0, 0.1]]"
    many = [f"name: a{i}, kind: ignore, points: {corner}" for i in range(17)]
    assert fault(*many) == "3: zones: got 17 zones; wanted at most 16"


@pytest.mark.parametrize("data", [None, 3, "x", [None], [{}], {"a": 1}, [{"points": [[0]]}]])
def test_what_a_page_sends_is_told_in_words(data: Any) -> None:
    """Whatever arrives is judged, and each fault names its place."""
    zones, faults = zone_faults(data)
    assert zones == ()
    assert faults
    assert all(one.key.startswith("zones") for one in faults)
