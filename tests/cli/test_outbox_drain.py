"""`streamgate outbox drain`: what a dead machine's outbox held is delivered elsewhere."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from streamgate.cli import app
from streamgate.config import SqliteOutboxSection, load_config
from streamgate.delivery.durable.outbox import SqliteOutbox
from streamgate.delivery.payload import encode_shot
from streamgate.telemetry.metrics import Metrics
from tests.delivery.parts import SystemClock
from tests.delivery.shots import best_shot

KEY = base64.b64encode(bytes(32)).decode()


def write(path: Path, name: str = "door", **sinks: str) -> Path:
    delivery = {
        "outbox": {
            "kind": "sqlite", "path": str(path.parent / f"{name}.outbox"),
            "keys": [{"id": "k1", "key": KEY}], "ttl_s": 60, "max_shots": 3,
        },
        "sinks": [
            {"kind": "directory", "name": sink, "path": folder} for sink, folder in sinks.items()
        ],
        "retry": {"initial_s": 0.05, "max_s": 0.1},
    }  # fmt: skip
    source = {"kind": "file", "path": "clip.mkv"}
    path.write_text(
        yaml.safe_dump({"camera": {"name": name}, "source": source, "delivery": delivery})
    )
    return path


def orphan(config: Path, file: Path, *, epoch: int | None = 5, shots: int = 5) -> Path:
    """An outbox that holds best shots of two tracks, more and older than the camera allows."""

    async def fill() -> None:
        section = load_config(config).config.delivery.outbox
        assert isinstance(section, SqliteOutboxSection)
        section = section.model_copy(update={"path": file, "max_shots": 1000})
        names = [sink.name for sink in load_config(config).config.delivery.sinks]
        outbox = SqliteOutbox(section, names, camera="door", metrics=Metrics(), clock=SystemClock())
        await outbox.open()
        for number in range(shots):
            shot = replace(best_shot(1 + number % 2, 1 + number // 2), epoch=epoch)
            await outbox.add(encode_shot(shot))
        await outbox.close()

    asyncio.run(fill())
    return file


def drain(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["outbox", "drain", *map(str, arguments)])


def delivered(folder: Path) -> list[dict[str, object]]:
    found = [json.loads(file.read_text()) for file in folder.rglob("*.json")]
    return sorted(found, key=lambda said: str(said["key"]))


def test_all_of_an_orphan_is_delivered_and_marked(tmp_path: Path) -> None:
    """More than max_shots and older than ttl_s: every one is delivered, by its own key, drained."""
    config = write(tmp_path / "door.yaml", shots=str(tmp_path / "shots"))
    file = orphan(config, tmp_path / "copy.outbox")
    result = drain(file, "--config", tmp_path)
    assert result.exit_code == 0, result.output
    assert "5 delivered, 0 left" in result.output
    said = delivered(tmp_path / "shots")
    kept = ("1-1", "1-2", "1-3", "2-1", "2-2")
    assert [document["key"] for document in said] == [f"door-e5-b00t-{name}" for name in kept]
    assert all(document["drained"] is True and document["epoch"] == 5 for document in said)
    assert drain(file, "--config", tmp_path).exit_code == 0, "an empty one is drained at once"


def test_one_without_a_lease_is_delivered_as_it_is(tmp_path: Path) -> None:
    """No epoch, no mark."""
    config = write(tmp_path / "door.yaml", shots=str(tmp_path / "shots"))
    orphan(config, tmp_path / "copy.outbox", epoch=None, shots=1)
    assert drain(tmp_path / "copy.outbox", "--config", config).exit_code == 0
    assert "drained" not in delivered(tmp_path / "shots")[0]


def test_what_a_sink_does_not_take_stays_for_the_next_time(tmp_path: Path) -> None:
    """A sink that is down is given up after the patience; later it gets the rest."""
    blocked = tmp_path / "shots"
    blocked.write_text("no folder")
    config = write(tmp_path / "door.yaml", shots=str(blocked))
    file = orphan(config, tmp_path / "copy.outbox")
    result = drain(file, "--config", config, "--patience", 1)
    assert result.exit_code == 1
    assert "0 delivered, 5 left" in result.output
    blocked.unlink()
    assert drain(file, "--config", config).exit_code == 0
    assert len(delivered(blocked)) == 5


def test_a_file_that_a_process_serves_is_refused(tmp_path: Path) -> None:
    """Its lock is held: nothing is touched, and the message says what to do."""
    config = write(tmp_path / "door.yaml", shots=str(tmp_path / "shots"))
    file = orphan(config, tmp_path / "copy.outbox")
    with Path(f"{file}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = drain(file, "--config", config)
    assert result.exit_code == 1
    assert "drain it once that process has ended" in result.output
    assert not (tmp_path / "shots").exists()


@pytest.mark.parametrize("what", ["another camera", "no outbox"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, what: str) -> None:
    """A camera that no configuration describes, or a file that is none."""
    config = write(tmp_path / "hall.yaml", "hall", shots=str(tmp_path / "shots"))
    file = tmp_path / "copy.outbox"
    if what == "no outbox":
        file.write_text("hello")
    else:
        orphan(write(tmp_path / "door.yml", shots=str(tmp_path / "shots")), file)
    result = drain(file, "--config", config)
    assert result.exit_code in (1, 2)
    said = "is not an outbox" if what == "no outbox" else "no file describes the camera door"
    assert said in result.output
