"""`streamgate outbox` beside an outbox that is in use."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from streamgate.cli import app
from streamgate.config import DirectorySinkSection, SqliteOutboxSection, load_config
from streamgate.delivery.durable.outbox import SqliteOutbox
from streamgate.delivery.sinks.directory import DirectorySink
from streamgate.telemetry.metrics import Metrics
from streamgate.values import EncodedShot
from tests.delivery.parts import SystemClock
from tests.delivery.shots import real_shot

KEY = base64.b64encode(bytes(32)).decode()
Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "door.yaml"
    outbox = {
        "kind": "sqlite", "path": str(tmp_path / "door.outbox"), "keys": [{"id": "k1", "key": KEY}],
        "ttl_s": 7_000_000,
    }  # fmt: skip
    sinks = [
        {"kind": "directory", "name": name, "path": str(tmp_path / name)} for name in ("one", "two")
    ]
    delivery = {"outbox": outbox, "sinks": sinks}
    source = {"kind": "file", "path": "clip.mkv"}
    path.write_text(
        yaml.safe_dump({"camera": {"name": "door"}, "source": source, "delivery": delivery})
    )
    return path


@pytest.fixture
def run(config: Path) -> Run:
    async def invoke(command: str, *arguments: str) -> Result:
        line = ["outbox", command, str(config), *arguments]
        return await asyncio.to_thread(CliRunner().invoke, app, line)

    return invoke


@asynccontextmanager
async def in_use(config: Path, *tracks: int) -> AsyncIterator[SqliteOutbox]:
    """The outbox as its camera has it open, with a best shot of each track."""
    loaded = load_config(config).config
    section = loaded.delivery.outbox
    assert isinstance(section, SqliteOutboxSection)
    names = [sink.name for sink in loaded.delivery.sinks]
    outbox = SqliteOutbox(
        section, names, camera="door", metrics=Metrics("door"), clock=SystemClock()
    )
    await outbox.open()
    try:
        for track in tracks:
            await outbox.add(real_shot(track))
        yield outbox
    finally:
        await outbox.close()


def edit(config: Path, *changes: tuple[str, str]) -> None:
    text = config.read_text()
    for old, new in changes:
        text = text.replace(old, new)
    config.write_text(text)


async def dead_letter(outbox: SqliteOutbox, sink: str, error: str = "no face") -> str:
    claim = await outbox.claim(sink)
    assert claim is not None
    await outbox.set_aside(claim, due=0.0, error=error)
    await outbox.count_failure(claim.number, sink, due=0.0)
    assert await outbox.dead_letter(claim.number, sink)
    return claim.shot.key


async def delivered(outbox: SqliteOutbox, sink: str) -> list[EncodedShot]:
    shots = []
    while (claim := await outbox.claim(sink)) is not None:
        shots.append(claim.shot)
        await outbox.acknowledge(claim)
    return shots


async def test_list_tells_how_each_sink_stands(config: Path, run: Run) -> None:
    """What waits, what a sink has refused, and what it said, without touching anything."""
    async with in_use(config, 1, 2) as outbox:
        key = await dead_letter(outbox, "one")
        listed = json.loads((await run("list", "--format", "json")).stdout)
        assert [row["key"] for row in listed] == ["door-b00t-1-1", "door-b00t-2-1"]
        assert listed[0]["sinks"]["one"] == {"state": "dead", "refusals": 1, "error": "no face"}
        assert listed[0]["sinks"]["two"]["state"] == "waits"
        assert listed[0]["key_id"] == "k1"
        table = (await run("list")).stdout
        assert key in table
        assert "dead after 1 failures: no face" in table
        assert "2 best shots, 0 of them dead letters" in table
        assert not await outbox.maintain(), "looking has changed the file"


async def test_show_prints_the_metadata(config: Path, run: Run) -> None:
    """The metadata is that of the best shot; the embedding only comes when asked for."""
    async with in_use(config, 7):
        shown = json.loads((await run("show", "door-b00t-7-1")).stdout)
        assert shown["metadata"]["track_id"] == 7
        assert "base64" not in shown["metadata"]["embedding"]
        whole = json.loads((await run("show", "door-b00t-7-1", "--embedding")).stdout)
        assert whole["metadata"] == json.loads(real_shot(7).metadata)


async def test_a_retried_dead_letter_is_offered_again_at_once(config: Path, run: Run) -> None:
    """The camera's next look finds it; the other sink's dead letter stays one."""
    async with in_use(config, 1) as outbox:
        key = await dead_letter(outbox, "one")
        await dead_letter(outbox, "two")
        assert "1 deliveries" in (await run("retry", key, "--sink", "one")).stdout
        assert await outbox.maintain()
        assert [shot.key for shot in await delivered(outbox, "one")] == [key]
        assert await delivered(outbox, "two") == []
        assert "1 deliveries" in (await run("retry", "--all")).stdout
        assert await outbox.maintain()
        assert len(await delivered(outbox, "two")) == 1


async def test_purge_deletes_only_what_was_chosen(config: Path, run: Run) -> None:
    """Dead letters of every sink go; what still waits for one stays."""
    async with in_use(config, 1, 2, 3) as outbox:
        await dead_letter(outbox, "one")
        assert await dead_letter(outbox, "two") == "door-b00t-1-1"
        await dead_letter(outbox, "two")
        assert "1 best shots deleted" in (await run("purge", "--dead", "--yes")).stdout
        await outbox.maintain()
        assert [shot.track_id for shot in await delivered(outbox, "one")] == [2, 3]


async def test_purge_asks_first(config: Path, run: Run) -> None:
    """Without --yes and without an answer nothing is deleted."""
    async with in_use(config, 1) as outbox:
        result = await run("purge", "--all")
        assert result.exit_code == 1
        assert "Delete 1 best shots for good?" in result.stderr
        await outbox.maintain()
        assert outbox.waiting("one") == 1


async def test_purge_by_key_id_frees_an_outbox_of_a_lost_key(config: Path, run: Run) -> None:
    """Once what the lost key has encrypted is purged, the camera starts with another key."""
    async with in_use(config, 1, 2):
        pass
    other = base64.b64encode(b"\1" * 32).decode()
    edit(config, (KEY, other), ("id: k1", "id: k2"))
    assert "2 best shots" in (await run("list")).stdout
    assert (await run("show", "door-b00t-1-1")).exit_code == 1
    purged = await run("purge", "--key-id", "k1", "--yes")
    assert "2 best shots deleted" in purged.stdout
    async with in_use(config, 3) as outbox:
        assert outbox.waiting("one") == 1


async def test_export_writes_what_the_directory_sink_would(
    config: Path, run: Run, tmp_path: Path
) -> None:
    """Pictures and metadata come out as they went in, and still wait afterwards."""
    async with in_use(config, 1, 2) as outbox:
        result = await run("export", str(tmp_path / "out"))
        assert "2 best shots written" in result.stdout
        assert (tmp_path / "out" / "door-b00t-2-1.jpg").read_bytes() == real_shot(2).crop.data
        assert (tmp_path / "out" / "door-b00t-2-1.json").read_bytes() == real_shot(2).metadata
        assert not await outbox.maintain()
        assert outbox.waiting("one") == 2


async def test_commands_beside_a_busy_camera_disturb_nothing(config: Path, run: Run) -> None:
    """While best shots come and go, listing and exporting fail nowhere, and all is delivered."""
    async with in_use(config) as outbox:
        seen: list[str] = []

        async def work() -> None:
            for track in range(60):
                await outbox.add(real_shot(track))
                await delivered(outbox, "two")
                seen.extend(shot.key for shot in await delivered(outbox, "one"))
                await outbox.maintain()

        async def look() -> None:
            for _ in range(5):
                for command in (("list",), ("retry", "--all"), ("purge", "--dead", "--yes")):
                    result = await run(*command)
                    assert result.exit_code == 0, result.output

        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            group.create_task(look())
        assert len(set(seen)) == len(seen) == 60


async def test_what_cannot_be_is_told(config: Path, run: Run) -> None:
    """No file, no such key, no selection: exit 1 or 2, each with what is wrong."""
    result = await run("list")
    assert result.exit_code == 1
    assert "there is no such file" in result.stderr
    async with in_use(config, 1):
        result = await run("show", "door-b00t-9-9")
        assert (result.exit_code, "nothing waits under the key" in result.stderr) == (1, True)
        assert (await run("purge")).exit_code == 2
        assert (await run("retry")).exit_code == 2
    edit(config, ("kind: sqlite", "kind: memory"))
    assert (await run("list")).exit_code == 2


SECRETS = ("CAMERA_PASSWORD", "SINK_TOKEN", "OUTBOX_KEY")


def with_secrets(config: Path) -> None:
    """The same outbox in a file that takes all its secrets from elsewhere."""
    said = yaml.safe_load(config.read_text())
    said["delivery"]["outbox"]["keys"] = [{"id": "k1", "key": "${OUTBOX_KEY}"}]
    said["source"] = {
        "kind": "rtsp", "url": "rtsp://h/s", "username": "cam", "password": "${CAMERA_PASSWORD}"
    }  # fmt: skip
    http = {"kind": "http", "url": "http://h/x", "token": "${SINK_TOKEN}", "ca_file": "/gone.pem"}
    said["delivery"]["sinks"].append(http)
    config.write_text(yaml.safe_dump(said))


@pytest.mark.parametrize("command", ["list", "retry", "purge"])
async def test_a_command_needs_no_secret_that_it_does_not_use(
    config: Path, run: Run, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the camera's, the sinks' and the outbox's own: what waits is listed and changed."""
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    async with in_use(config, 1):
        pass
    with_secrets(config)
    arguments = {"list": [], "retry": ["--all"], "purge": ["--all", "--yes"]}[command]
    done = await run(command, *arguments)
    assert done.exit_code == 0, done.output
    if command == "list":
        assert "door-b00t-1-1" in done.stdout


@pytest.mark.parametrize("command", [("show", "door-b00t-1-1"), ("export", "out")])
async def test_who_reads_faces_needs_the_outboxs_keys_only(
    config: Path,
    run: Run,
    command: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """With the keys it works; without, the variable is named."""
    monkeypatch.chdir(tmp_path)
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)
    async with in_use(config, 1):
        pass
    with_secrets(config)
    without = await run(*command)
    assert without.exit_code == 2
    assert "${OUTBOX_KEY}" in without.stderr
    assert "delivery.outbox.keys[0].key" in without.stderr
    monkeypatch.setenv("OUTBOX_KEY", KEY)
    assert (await run(*command)).exit_code == 0


async def test_list_tells_the_age_and_the_last_error(config: Path, run: Run) -> None:
    """Of one that a sink has failed on, whoever is to blame; the age counts from acceptance."""
    async with in_use(config, 1) as outbox:
        claim = await outbox.claim("one")
        assert claim is not None
        due = SystemClock().monotonic() + 300
        await outbox.set_aside(claim, due=due, error="it answered 500")
        [listed] = json.loads((await run("list", "--format", "json")).stdout)
        assert listed["sinks"]["one"] == {
            "state": "failed", "refusals": 0, "error": "it answered 500"
        }  # fmt: skip
        assert 0 <= listed["age_s"] < 60
        await outbox.count_failure(claim.number, "one", due=due)
        table = (await run("list")).stdout
        assert "failed 1 times while others passed, next in" in table
        assert "it answered 500" in table


async def test_exported_faces_are_for_their_owner_alone(
    config: Path, run: Run, tmp_path: Path
) -> None:
    """0600 in 0700."""
    async with in_use(config, 1):
        await run("export", str(tmp_path / "out"))
    modes = {file.stat().st_mode & 0o777 for file in (tmp_path / "out").iterdir()}
    assert (modes, (tmp_path / "out").stat().st_mode & 0o777) == ({0o600}, 0o700)


def without_outbox(config: Path) -> None:
    said = yaml.safe_load(config.read_text())
    del said["delivery"]["outbox"]
    config.write_text(yaml.safe_dump(said))


async def test_a_camera_without_an_outbox_on_disk_is_told(config: Path, run: Run) -> None:
    """Where nothing is said, the outbox is in memory."""
    without_outbox(config)
    for command in ("list", "export"):
        done = await run(command, *(["out"] if command == "export" else []))
        assert done.exit_code == 2
        assert "delivery.outbox is memory" in done.stderr


def holds(path: Path, needle: bytes) -> bool:
    """Whether bytes are anywhere in an outbox's files."""
    return any(needle in file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


@pytest.mark.parametrize("running", [True, False])
async def test_a_track_is_erased_with_all_its_bytes(
    config: Path, run: Run, tmp_path: Path, running: bool
) -> None:
    """Beside a camera that runs or not: rows, their bytes in file and WAL, and delivered files."""
    plain = ("keys:\n    - id: k1\n      key: " + KEY, "store_pictures_unencrypted: true")
    edit(config, plain)
    path, wanted, other = tmp_path / "door.outbox", real_shot(1), real_shot(2)
    folder = tmp_path / "one"
    delivery = DirectorySink(DirectorySinkSection(kind="directory", path=folder))
    for shot in (wanted, other):
        await delivery.deliver(shot)
    await delivery.close()
    async with in_use(config, 1, 2, 3) as outbox:
        assert holds(path, wanted.crop.data[-300:-50])
        if running:
            result = await run(
                "purge", "--track", "door/1", "--track", "door/b00t/3", "--directory", str(folder),
                "--yes",
            )  # fmt: skip
            assert result.exit_code == 0, result.output
            assert not holds(path, wanted.crop.data[-300:-50])
            assert not holds(path, wanted.key.encode())
            await outbox.maintain()
            assert [shot.key for shot in await delivered(outbox, "one")] == [other.key]
    if not running:
        result = await run("purge", "--track", "door/1", "--directory", str(folder), "--yes")
        assert result.exit_code == 0, result.output
        assert not holds(path, wanted.crop.data[-300:-50])
    assert "1 best shots deleted in" in result.output
    assert {file.name for file in folder.iterdir()} == {f"{other.key}.json", f"{other.key}.jpg"}


async def test_a_track_of_another_camera_or_run_is_left_alone(config: Path, run: Run) -> None:
    """And one that is written wrongly is told."""
    async with in_use(config, 1):
        for track in ("hall/1", "door/other/1", "door/2"):
            result = await run("purge", "--track", track, "--yes")
            assert result.output.startswith("0 best shots deleted")
        result = await run("purge", "--track", "door", "--yes")
        assert result.exit_code == 2
        assert "CAMERA/BOOT/TRACK" in result.output


async def test_what_was_delivered_is_erased_by_its_key(
    config: Path, run: Run, tmp_path: Path
) -> None:
    """It no longer waits, so only the folder has it."""
    folder = tmp_path / "one"
    delivery = DirectorySink(DirectorySinkSection(kind="directory", path=folder))
    await delivery.deliver(real_shot(4))
    await delivery.close()
    async with in_use(config, 1):
        result = await run("purge", real_shot(4).key, "--directory", str(folder), "--yes")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("0 best shots deleted\n1 best shots deleted in")
    assert list(folder.iterdir()) == []
