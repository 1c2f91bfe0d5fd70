"""A damaged, deleted or replaced outbox loses nothing that can be read, whenever it is killed."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from streamgate.delivery.durable.age import moment_now
from streamgate.delivery.durable.cipher import Cipher
from streamgate.delivery.durable.faults import StoreFaultError
from streamgate.delivery.durable.owner import StoreOwner
from streamgate.delivery.durable.store import Store
from streamgate.errors import OutboxError
from streamgate.values import Acceptance
from tests.delivery.daemon import Receiver, make_clip, running, until, write_config
from tests.delivery.disk import failing_disk, run_on
from tests.delivery.shots import encoded_shot
from tests.delivery.test_durable_outbox import content, opened, section
from tests.servers.broker import free_port

pytestmark = pytest.mark.live

SHOTS = 2
# Each attempt is a process of its own, which is not imported anew.
KILLED_ANYWHERE = """
import ctypes, os, shutil, sys
from pathlib import Path
from tests.delivery.test_recovery import {act} as act, left_in
made, folder = Path(sys.argv[1]), Path(sys.argv[2])
arm = ctypes.CDLL(None).arm

def forked(work, n=0):
    child = os.fork()
    if child == 0:
        code = 99
        try:
            arm(n)
            code = work(folder)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

first, n = 77, 0
while first == 77:
    n += 1
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, folder)
    first = forked(act, n)
    print(n, first, forked(left_in), flush=True)
"""


def recovered(folder: Path) -> int:
    """What happens when a damaged page is met; return how many best shots there are."""
    return asyncio.run(_counted(folder))


def left_in(folder: Path) -> int:
    """Start anew after a kill; return how many best shots there are."""
    return asyncio.run(_counted(folder))


def rewritten(folder: Path) -> int:
    """What happens when the file is deleted while it is open."""
    return asyncio.run(_rewritten(folder))


def owner_of(folder: Path) -> StoreOwner:
    path = folder / "door.outbox"
    return StoreOwner(path, Cipher(section(path).keys), "door", moment_now)


def readable(store: Store) -> int:
    return sum(store.read(row.number) is not None for row in store.rows())


async def _counted(folder: Path) -> int:
    owner = owner_of(folder)
    count = await owner.call(readable)
    # Put aside is what was recovered.
    if not await asyncio.to_thread(lambda: list(folder.glob("door.outbox.damaged-*"))):
        await owner.recover()
        count = await owner.call(readable)
    await owner.close()
    return count


async def _rewritten(folder: Path) -> int:
    owner = owner_of(folder)
    await owner.call(readable)
    (folder / "door.outbox").rename(folder / "moved-away")
    await owner.replace_missing()
    count = await owner.call(readable)
    await owner.close()
    return count


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A folder with an outbox whose index of keys is damaged; all can be read."""
    folder = tmp_path / "made"
    path = folder / "door.outbox"

    async def fill() -> None:
        async with opened(path) as box:
            for track in range(SHOTS):
                await box.outbox.add(encoded_shot(track))

    asyncio.run(fill())
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_shots_1'"
        [page] = connection.execute(query).fetchone()
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : (page - 1) * 4096 + 64] = b"\xff" * 64
    path.write_bytes(bytes(data))
    return folder


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_a_recovery_may_be_killed_between_any_two_calls(made: Path, tmp_path: Path) -> None:
    """Whichever of its changes to the disk is the last, the next start has all."""
    folder = tmp_path / "disk"
    program = KILLED_ANYWHERE.format(act="recovered")
    done = run_on(failing_disk(folder, tmp_path), program, str(made), str(folder))
    assert done.returncode == 0, done.stderr[-2000:]
    rounds = [tuple(int(word) for word in line.split()) for line in done.stdout.splitlines()]
    assert len(rounds) > 30, "hardly anything was written"
    assert [found for found in rounds if found[2] != SHOTS] == []
    assert rounds[-1][1] == SHOTS


async def test_a_full_disk_in_a_recovery_costs_nothing(made: Path) -> None:
    """It fails at the second: the damaged file stays, and the next attempt has all."""
    calls = 0
    apply = Store.apply

    def full_at_two(store: Store, changes: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(28, "No space left on device")
        apply(store, changes)  # type: ignore[arg-type] # handed on as it came

    owner = owner_of(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "apply", full_at_two)
        with pytest.raises(StoreFaultError, match="No space"):
            await owner.recover()
    await owner.recover()
    assert await owner.call(readable) == SHOTS
    await owner.close()


# Deleted, replaced, somebody else's


@pytest.mark.parametrize("what", ["file", "all its files", "folder"])
async def test_an_outbox_that_is_deleted_is_written_anew(
    tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is noticed within a second, told, and everything that waited is in the new file."""
    path = tmp_path / "state" / "door.outbox"
    async with opened(path) as box:
        for track in range(SHOTS):
            await box.outbox.add(encoded_shot(track))
        if what == "folder":
            shutil.rmtree(path.parent)
        else:
            for file in path.parent.glob("door.outbox*" if what != "file" else "door.outbox"):
                file.unlink()
        assert await box.outbox.add(encoded_shot(SHOTS)) is Acceptance.HELD
        await box.outbox.maintain()
        assert await box.outbox.add(encoded_shot(SHOTS + 1)) is Acceptance.ACCEPTED
        assert box.metric('streamgate_outbox_faults_total{reason="moved"}') >= 1
        await box.outbox.maintain()
        assert box.outbox.perishable == 0
    assert "the outbox's file was deleted or replaced" in capsys.readouterr().out
    async with opened(path) as box:
        assert len(await box.deliver_all()) == SHOTS + 2


async def test_what_another_outbox_holds_that_takes_its_place_is_kept_too(tmp_path: Path) -> None:
    """A backup that is put back under the camera: both are delivered."""
    path, backup = tmp_path / "door.outbox", tmp_path / "backup"
    async with opened(backup) as box:
        await box.outbox.add(encoded_shot(1))
    async with opened(path) as box:
        await box.outbox.add(encoded_shot(2))
        await asyncio.to_thread(backup.rename, path)
        await box.outbox.maintain()
        assert {shot.track_id for shot in await box.deliver_all()} == {1, 2}


async def test_what_is_somebody_elses_and_takes_its_place_is_left_alone(tmp_path: Path) -> None:
    """Best shots are held in memory and delivered; the other's file is as it was."""
    path = tmp_path / "door.outbox"
    other = tmp_path / "notes.db"
    _make_foreign(other)
    before = content(other)
    async with opened(path) as box:
        await box.outbox.add(encoded_shot(1))
        await asyncio.to_thread(other.rename, path)
        await box.outbox.maintain()
        assert await box.outbox.add(encoded_shot(2)) is Acceptance.HELD
        assert len(await box.deliver_all()) == 2
    assert content(path) == before


def _make_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE notes(text TEXT)")
        connection.execute("INSERT INTO notes VALUES('mine')")


def _make_stranger(kind: str, path: Path) -> None:
    if kind == "picture":
        path.write_bytes(b"\xff\xd8\xff" + bytes(9000))
    elif kind == "database":
        _make_foreign(path)
    else:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA user_version = 7")
    path.chmod(0o644)


@pytest.mark.parametrize("kind", ["database", "marked database", "picture"])
async def test_a_path_to_somebody_elses_file_is_refused(tmp_path: Path, kind: str) -> None:
    """Nothing is changed in it, not even its mode, and nothing is put aside."""
    path = tmp_path / "notes.db"
    _make_stranger(kind, path)
    before = content(path)
    with pytest.raises(OutboxError, match=r"file of another kind.*delivery\.outbox\.path"):
        async with opened(path):
            pass
    assert content(path) == before
    assert modes(tmp_path)["notes.db"] == 0o644
    assert not [name for name in modes(tmp_path) if "damaged" in name]


def modes(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}


async def test_a_file_that_others_could_read_is_tightened(tmp_path: Path) -> None:
    """0666 becomes 0600, and the folder that is made is for its owner alone."""
    path = tmp_path / "state" / "door.outbox"
    async with opened(path) as box:
        await box.outbox.add(encoded_shot())
    assert modes(tmp_path) == {"state": 0o700}
    await asyncio.to_thread(path.chmod, 0o666)
    async with opened(path) as box:
        await box.outbox.add(encoded_shot(2))
        assert set(modes(path.parent).values()) == {0o600}


# A disk that hangs

HANGING = """
import asyncio, sys, time
from pathlib import Path
from streamgate.errors import OutboxError
from tests.delivery import post
from tests.delivery.parts import Recorder
from tests.delivery.shots import encoded_shot
path, hangs = Path(sys.argv[1]), Path(sys.argv[2])

async def main():
    sink = Recorder("sink")
    box = post.Post(path, [sink])
    await box.dispatcher.open()
    running = asyncio.create_task(box.dispatcher.run())
    await box.dispatcher.accept_encoded(encoded_shot(1))
    await sink.until(lambda: len(sink.taken) == 1)
    hangs.touch()
    started = time.monotonic()
    states = [await box.dispatcher.accept_encoded(encoded_shot(n)) for n in range(2, 6)]
    print(*states, time.monotonic() - started)
    await sink.until(lambda: len(sink.taken) == 5)
    print(box.metric("outbox_faults_total", reason="stuck"))
    if len(sys.argv) > 3:
        hangs.unlink()
        await asyncio.sleep(2.5)
        print(await box.dispatcher.accept_encoded(encoded_shot(9)))
    started = time.monotonic()
    await box.dispatcher.drain(3.0)
    try:
        await running
    except* OutboxError as failures:
        print(failures.exceptions[0])
    print(time.monotonic() - started)

asyncio.run(main())
print("ended")
"""


async def test_a_disk_that_hangs_holds_up_neither_camera_nor_end(tmp_path: Path) -> None:
    """Held in memory, counted, delivered; the end comes within its bounds and says why."""
    folder = tmp_path / "disk"
    disk = failing_disk(folder, tmp_path)
    arguments = [HANGING, str(folder / "door.outbox"), str(tmp_path / "hangs")]
    done = await asyncio.to_thread(run_on, disk, *arguments, timeout_s=60)
    lines = [line for line in done.stdout.splitlines() if "[" not in line]
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    *states, accept_s = lines[0].split()
    assert states == ["held"] * 4
    assert float(accept_s) < 6
    assert float(lines[1]) > 0
    assert "the disk does not answer" in lines[2]
    assert float(lines[3]) < 4
    assert lines[4] == "ended"


async def test_a_disk_that_answers_again_is_used_again(tmp_path: Path) -> None:
    """What was held is written, and what comes is accepted as before."""
    folder = tmp_path / "disk"
    disk = failing_disk(folder, tmp_path)
    arguments = [HANGING, str(folder / "door.outbox"), str(tmp_path / "hangs"), "heals"]
    done = await asyncio.to_thread(run_on, disk, *arguments, timeout_s=60)
    lines = [line for line in done.stdout.splitlines() if "[" not in line]
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert lines[2] == "accepted"
    assert lines[-1] == "ended"


@pytest.mark.parametrize("when", ["running", "starting"])
async def test_a_camera_on_a_disk_that_hangs_ends_when_it_is_told(
    tmp_path: Path, when: str
) -> None:
    """Its faces arrive all the same; SIGTERM ends it within five seconds, with exit code 1."""
    folder = tmp_path / "disk"
    disk = failing_disk(folder, tmp_path)
    receiver = Receiver(free_port())
    await receiver.up()
    config = write_config(
        tmp_path / "door.yaml", make_clip(tmp_path / "clip.mkv"),
        sinks=[{"kind": "http", "url": receiver.url}],
        outbox={
            "kind": "sqlite", "path": str(folder / "door.outbox"),
            "keys": [{"id": "k", "key": "00" * 32}],
        },
        decision_log={"path": str(folder / "decisions.jsonl")},
    )  # fmt: skip
    hangs = tmp_path / "hangs"
    if when == "starting":
        hangs.touch()
    async with running(config, **disk) as daemon:
        await daemon.runs()
        await asyncio.to_thread(hangs.touch)
        before = len(receiver.keys)
        await until(lambda: len(receiver.keys) > before + 8, 60)
        started = time.monotonic()
        assert await daemon.stop() == 1
        assert time.monotonic() - started < 5
        assert "the disk does not answer" in daemon.text
    await receiver.down()
