"""The gate's decision log of a recording: the daemon's lines, and always the same ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamgate.config import LoadedConfig, load_config
from streamgate.lab.replay.recording import Recording
from streamgate.lab.replay.runner import decision_lines
from streamgate.lab.replay.simulation import simulate
from tests.lab.replay.tables import recording, walk

MODEL = "a" * 64


@pytest.fixture
def table(tmp_path: Path) -> Recording:
    path = tmp_path / "hall.mkv"
    path.write_bytes(b"a video, whose hash is all that is read of it")
    return replace(recording({1: walk(1), 2: walk(2)}), path=path)


@pytest.fixture
def loaded(table: Recording) -> LoadedConfig:
    path = table.path.with_suffix(".yaml")
    path.write_text(
        f"camera: {{name: hall}}\nsource: {{kind: file, path: {table.path}}}\n"
        "gate: {min_quality: 0, top_k: 2, min_gap_s: 0.25}\n"
    )
    return load_config(path)


def told(table: Recording, loaded: LoadedConfig, model: str = MODEL) -> list[dict[str, Any]]:
    run = simulate(table, loaded.config)
    return [json.loads(line) for line in decision_lines(table, run, loaded, model)]


def test_each_track_is_one_line_with_its_shots(table: Recording, loaded: LoadedConfig) -> None:
    """As the run released them, marked as replayed."""
    run = simulate(table, loaded.config)
    lines = told(table, loaded)
    assert sorted(line["track_id"] for line in lines) == [1, 2]
    for line in lines:
        releases = [r for r in run.releases if r.track_id == line["track_id"]]
        assert line["forwarded"] == len(line["shots"]) == len(releases) == 2
        assert {shot["state"] for shot in line["shots"]} == {"replayed"}
        assert line["camera"] == "hall"


def test_the_boot_is_named_by_what_decides(table: Recording, loaded: LoadedConfig) -> None:
    """The same video, settings and weights have the same name; any other has another."""

    def name(table: Recording, loaded: LoadedConfig, model: str = MODEL) -> str:
        (found,) = {line["boot_id"] for line in told(table, loaded, model)}
        return str(found)

    first = name(table, loaded)
    assert name(table, loaded) == first
    assert name(table, loaded, "b" * 64) != first
    assert name(table, replace(loaded, config_hash="c" * 64)) != first
    table.path.write_bytes(b"another video")
    assert name(table, loaded) != first
