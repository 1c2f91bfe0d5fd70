"""How long the directory sink keeps what it wrote, and that it deletes nothing else."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from streamgate.config import DeliverySection, DirectorySinkSection, MemoryOutboxSection
from streamgate.delivery.dispatcher import Dispatcher
from streamgate.delivery.outbox import MemoryOutbox
from streamgate.delivery.sinks.directory import DirectorySink
from streamgate.delivery.sinks.directory_files import sweep
from streamgate.telemetry.metrics import Metrics
from tests.delivery.daemon import until
from tests.delivery.parts import SystemClock
from tests.delivery.shots import real_shot

DAY_S = 86_400.0


def sink_into(folder: Path, keep_days: int | None = 30) -> DirectorySink:
    section = {"kind": "directory", "path": folder, "keep_days": keep_days}
    return DirectorySink(DirectorySinkSection.model_validate(section))


def aged(folder: Path, days: float, *names: str) -> None:
    then = time.time() - days * DAY_S
    for path in folder.iterdir():
        if not names or path.name in names:
            os.utime(path, (then, then), follow_symlinks=False)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_old_best_shots_are_deleted_while_nobody_comes(tmp_path: Path) -> None:
    """Without a delivery; all three files of those that are too old, and none of the others."""
    sink = sink_into(tmp_path)
    old, young = real_shot(1, context=True), real_shot(2, context=True)
    await sink.deliver(old)
    aged(tmp_path, 31)
    await sink.deliver(young)
    outbox = MemoryOutbox(
        MemoryOutboxSection(), [sink.name], metrics=Metrics("door"), clock=SystemClock()
    )
    dispatcher = Dispatcher(
        DeliverySection(), outbox=outbox, sinks=[sink], metrics=Metrics("door"), clock=SystemClock()
    )
    import asyncio  # noqa: PLC0415

    async with asyncio.TaskGroup() as group:
        group.create_task(dispatcher.run())
        await until(lambda: len(names_in(tmp_path)) == 3)
        await dispatcher.drain(5)
    assert all(name.startswith(young.key) for name in names_in(tmp_path))


async def test_without_the_setting_nothing_is_deleted(tmp_path: Path) -> None:
    """However old."""
    sink = sink_into(tmp_path, None)
    await sink.deliver(real_shot())
    aged(tmp_path, 4000)
    await sink.tend()
    assert len(names_in(tmp_path)) == 2
    await sink.close()


async def test_what_is_somebody_else_s_is_left_alone(tmp_path: Path) -> None:
    """Other files, other JSON, a renamed manifest, a link and a folder."""
    sink = sink_into(tmp_path)
    await sink.deliver(real_shot(1))
    mine = names_in(tmp_path)
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.mkdir()
    (elsewhere / "door-b00t-7-1.json").write_bytes(real_shot(7).metadata)
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    (tmp_path / "notes.json").write_text('{"schema":"other"}')
    (tmp_path / "copy-of-it.json").write_bytes(real_shot(1).metadata)
    (tmp_path / "door-b00t-7-1.json").symlink_to(elsewhere / "door-b00t-7-1.json")
    (tmp_path / "door-b00t-7-1.jpg").write_bytes(b"without a manifest of its own")
    (tmp_path / "door-b00t-8-1.json").mkdir()
    (tmp_path / ".hidden.part").write_bytes(b"not ours")
    others = names_in(tmp_path) - mine
    aged(tmp_path, 400)
    await sink.tend()
    assert names_in(tmp_path) == others
    assert (elsewhere / "door-b00t-7-1.json").exists()
    await sink.close()


async def test_a_sweep_is_bounded_and_finishes_what_a_crash_left(tmp_path: Path) -> None:
    """So many at a time; one that was put aside, and a part that was never renamed, go too."""
    sink = sink_into(tmp_path)
    for track in range(1, 6):
        await sink.deliver(real_shot(track))
    aside = real_shot(1)
    (tmp_path / f"{aside.key}.json").rename(tmp_path / f".{aside.key}.json.gone")
    (tmp_path / ".door-b00t-9-1.jpg.part").write_bytes(b"half")
    aged(tmp_path, 31)
    before = time.time() - 30 * DAY_S
    done = sweep(tmp_path, before, 3)
    assert (done.shots, done.complete) == (3, False)
    done = sweep(tmp_path, before, 3)
    assert (done.shots, done.complete) == (2, True)
    assert names_in(tmp_path) == set()
    await sink.close()


@pytest.mark.parametrize("keep_days", [0, -1, 5000])
def test_a_retention_that_makes_no_sense_is_refused(keep_days: int, tmp_path: Path) -> None:
    """Least a day, at most ten years."""
    with pytest.raises(ValueError, match="keep_days"):
        sink_into(tmp_path, keep_days)


def test_a_manifest_is_what_says_that_files_are_ours() -> None:
    """Its schema and key are in the metadata that is written."""
    metadata = json.loads(real_shot().metadata)
    assert (metadata["schema"], metadata["key"]) == ("streamgate.best-shot", real_shot().key)
