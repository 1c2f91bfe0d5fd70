"""The directory sink."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from streamgate.config import DirectorySinkSection
from streamgate.delivery.sinks.directory import DirectorySink, file_stem
from streamgate.errors import DeliveryError, SinkFault
from tests.delivery.shots import real_shot


def sink_into(folder: Path) -> DirectorySink:
    return DirectorySink(DirectorySinkSection(kind="directory", path=folder))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


async def test_the_files_hold_what_was_delivered(tmp_path: Path) -> None:
    """Metadata and both pictures; delivered again they are the same, and no part is left."""
    shot = real_shot(context=True)
    sink = sink_into(tmp_path / "new" / "folder")
    await sink.deliver(shot)
    await sink.deliver(shot)
    assert shot.context is not None
    assert content(tmp_path / "new" / "folder") == {
        f"{shot.key}.json": shot.metadata,
        f"{shot.key}.jpg": shot.crop.data,
        f"{shot.key}.context.jpg": shot.context.data,
    }


async def test_each_file_is_on_disk_before_its_name_and_the_json_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """write, fsync, rename for each; the pictures' names are forced to disk before the JSON's."""
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        calls.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def noted_replace(path: Path, target: Path) -> Path:
        calls.append(f"rename {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    shot = real_shot()
    await sink_into(tmp_path / "out").deliver(shot)
    picture, said = f"{shot.key}.jpg", f"{shot.key}.json"
    assert calls == [
        f"fsync .{picture}.part", f"rename {picture}", "fsync out",
        f"fsync .{said}.part", f"rename {said}", "fsync out",
    ]  # fmt: skip


async def test_a_folder_that_cannot_be_written_is_a_passing_fault(tmp_path: Path) -> None:
    """It names the folder, and works when the folder can be made."""
    (tmp_path / "file").touch()
    sink = sink_into(tmp_path / "file" / "out")
    with pytest.raises(DeliveryError, match="cannot write into") as raised:
        await sink.deliver(real_shot())
    assert not raised.value.permanent
    (tmp_path / "file").unlink()
    await sink.deliver(real_shot())


def test_every_key_has_a_name_of_its_own() -> None:
    """Keys with signs that a file system minds do not collide and stay in the folder."""
    keys = ["a/b", "a_b", "../a", "..", "a" * 300, "a" * 301, "ä", "A", "a"]
    stems = [file_stem(key) for key in keys]
    assert len({stem.lower() for stem in stems if stem not in {"A", "a"}}) == len(keys) - 2
    assert all("/" not in stem and not stem.startswith(".") and len(stem) <= 200 for stem in stems)


@pytest.mark.parametrize(("group", "file", "folder"), [(False, 0o600, 0o700), (True, 0o640, 0o750)])
async def test_faces_are_for_their_owner_alone(
    tmp_path: Path, group: bool, file: int, folder: int
) -> None:
    """Whatever the umask; the group may read where that is asked for."""
    section = DirectorySinkSection(kind="directory", path=tmp_path / "out", group_readable=group)
    before = os.umask(0o077 if group else 0)
    try:
        await DirectorySink(section).deliver(real_shot(context=True))
    finally:
        os.umask(before)
    assert modes(tmp_path) == {"out": folder}
    assert set(modes(tmp_path / "out").values()) == {file}


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_a_disk_that_hangs_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After timeout_s it is told, further attempts do not add to what hangs, and it recovers."""
    go, hung = threading.Event(), 0
    fsync = os.fsync

    def hanging(descriptor: int) -> None:
        nonlocal hung
        hung += 1
        go.wait(20)
        fsync(descriptor)

    sink = DirectorySink(
        DirectorySinkSection(kind="directory", path=tmp_path / "out", timeout_s=0.2)
    )
    monkeypatch.setattr(os, "fsync", hanging)
    for _ in range(3):
        with pytest.raises(DeliveryError, match="disk did not answer within") as raised:
            await sink.deliver(real_shot())
        assert raised.value.fault is SinkFault.AWAY
    assert hung == 1
    monkeypatch.setattr(os, "fsync", fsync)
    go.set()
    async with asyncio.timeout(10):
        while True:
            with suppress(DeliveryError):
                await sink.deliver(real_shot())
                break
            await asyncio.sleep(0.01)
    await sink.close()
