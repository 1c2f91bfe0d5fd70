"""The outbox on disk."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from pydantic import ValidationError

from streamgate.config import SqliteOutboxSection
from streamgate.delivery.durable.age import Moment
from streamgate.delivery.durable.outbox import SqliteOutbox
from streamgate.delivery.outbox import Claim
from streamgate.errors import OutboxError
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Acceptance, EncodedShot
from tests.delivery.parts import HandClock
from tests.delivery.shots import CAPTURED_WALL, encoded_shot, real_shot

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = "00" * 32
CLEAR: dict[str, Any] = {"keys": [], "store_pictures_unencrypted": True}


def section(path: Path, **settings: Any) -> SqliteOutboxSection:
    data = {"kind": "sqlite", "path": path, "keys": [{"id": "k1", "key": KEY}], **settings}
    return SqliteOutboxSection.model_validate(data)


class Box:
    """An outbox with a clock that is moved by hand."""

    def __init__(self, path: Path, sinks: tuple[str, ...] = ("sink",), **settings: Any) -> None:
        self.metrics = Metrics("door")
        self.clock = HandClock(CAPTURED_WALL)
        self.outbox = SqliteOutbox(
            section(path, **settings), sinks, camera="door", metrics=self.metrics,
            clock=self.clock, moment=self.moment,
        )  # fmt: skip

    def moment(self) -> Moment:
        """Each process is a boot of its own."""
        return Moment(str(id(self)), self.clock.monotonic(), self.clock.wall())

    async def deliver_all(self, sink: str = "sink") -> list[EncodedShot]:
        shots = []
        while (claim := await self.outbox.claim(sink)) is not None:
            shots.append(claim.shot)
            await self.outbox.acknowledge(claim)
        return shots

    def metric(self, line: str) -> float:
        text = generate_latest(self.metrics.registry).decode()
        found = [row for row in text.splitlines() if row.startswith(line + " ")]
        return float(found[0].rsplit(" ", 1)[1]) if found else 0.0

    def dropped(self, reason: str, sink: str = "sink") -> float:
        return self.metric(f'streamgate_outbox_dropped_total{{reason="{reason}",sink="{sink}"}}')


@asynccontextmanager
async def opened(
    path: Path, sinks: tuple[str, ...] = ("sink",), **settings: Any
) -> AsyncIterator[Box]:
    box = Box(path, sinks, **settings)
    try:
        await box.outbox.open()
        yield box
    finally:
        await box.outbox.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "door.outbox"


async def dead_letter(outbox: SqliteOutbox, claim: Claim, error: str) -> None:
    """What makes a claimed best shot a dead letter."""
    await outbox.set_aside(claim, due=0.0, error=error)
    await outbox.count_failure(claim.number, claim.sink, due=0.0)
    assert await outbox.dead_letter(claim.number, claim.sink)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def content(path: Path) -> bytes:
    return path.read_bytes()


def overwrite(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def change(path: Path, statement: str, *values: Any) -> None:
    """What another process does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(statement, values)


# What is accepted survives


async def test_what_is_delivered_while_room_is_made_was_not_dropped(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one is delivered at once while the one that it displaces is being deleted."""
    async with opened(path, max_shots=1) as box:
        await box.outbox.add(encoded_shot(1, quality=10.0))
        give_up = box.outbox._give_up  # the moment in between has no other name

        async def and_deliver(dropped: Any) -> None:
            await give_up(dropped)
            assert [shot.track_id for shot in await box.deliver_all()] == [2]

        monkeypatch.setattr(box.outbox, "_give_up", and_deliver)
        assert await box.outbox.add(encoded_shot(2, quality=90.0)) is Acceptance.ACCEPTED


async def test_a_reader_that_stays_delays_nobody_for_long(path: Path) -> None:
    """A backup reads while the file is shortened: what it keeps from being folded stays for now."""
    async with opened(path) as box:
        for track in range(1, 31):
            await box.outbox.add(encoded_shot(track, size=100_000))
        with closing(sqlite3.connect(path, isolation_level=None)) as backup:
            backup.execute("BEGIN")
            backup.execute("SELECT COUNT(*) FROM shots").fetchone()
            await box.deliver_all()
            began_at = time.monotonic()
            await box.outbox._write_behind.call(
                lambda store: store._shorten()
            )  # else it takes a full disk
            assert time.monotonic() - began_at < 2.0
        await box.outbox._write_behind.call(lambda store: store._shorten())
    assert len(content(path)) < 200_000


async def test_what_is_accepted_survives_the_process_unchanged(path: Path) -> None:
    """A best shot that is read back equals the one that was added, bit for bit."""
    shots = [real_shot(1, context=True), real_shot(2)]
    async with opened(path) as box:
        for shot in shots:
            assert await box.outbox.add(shot) is Acceptance.ACCEPTED
    async with opened(path) as box:
        assert await box.deliver_all() == shots


async def test_what_every_sink_has_acknowledged_is_deleted(path: Path) -> None:
    """The row goes with the last acknowledgement, and not before."""
    async with opened(path, ("one", "two")) as box:
        await box.outbox.add(encoded_shot())
        await box.deliver_all("one")
        assert rows(path, "SELECT COUNT(*) FROM shots") == [(1,)]
        assert rows(path, "SELECT sink FROM standings") == [("two",)]
        await box.deliver_all("two")
        assert rows(path, "SELECT COUNT(*) FROM shots") == [(0,)]
        assert rows(path, "SELECT COUNT(*) FROM standings") == [(0,)]


async def test_an_acknowledgement_is_remembered(path: Path) -> None:
    """After a restart a sink is not given again what it has acknowledged."""
    async with opened(path, ("one", "two")) as box:
        await box.outbox.add(encoded_shot())
        await box.deliver_all("one")
    async with opened(path, ("one", "two")) as box:
        assert await box.deliver_all("one") == []
        assert await box.deliver_all("two") == [encoded_shot()]


async def test_a_track_keeps_its_order_across_a_restart(path: Path) -> None:
    """The second revision is not offered while the first is under way."""
    async with opened(path) as box:
        for revision in (1, 2, 3):
            await box.outbox.add(encoded_shot(1, revision))
    async with opened(path) as box:
        first = await box.outbox.claim("sink")
        assert first is not None
        assert first.shot.revision == 1
        assert await box.outbox.claim("sink") is None
        await box.outbox.acknowledge(first)
        assert [shot.revision for shot in await box.deliver_all()] == [2, 3]


async def test_dead_letters_and_refusals_are_remembered(path: Path) -> None:
    """A dead letter stays one after a restart; a refusal that is not the last is counted on."""
    async with opened(path) as box:
        await box.outbox.add(encoded_shot(1))
        await box.outbox.add(encoded_shot(2))
        one, two = await box.outbox.claim("sink"), await box.outbox.claim("sink")
        assert one is not None
        assert two is not None
        await dead_letter(box.outbox, one, error="no face")
        await box.outbox.set_aside(two, due=5, error="not now")
        await box.outbox.count_failure(two.number, "sink", due=5)
    async with opened(path) as box:
        assert await box.outbox.claim("sink") is None
        assert box.metric('streamgate_outbox_dead_letters{sink="sink"}') == 1
        box.clock.pass_s(6)
        again = await box.outbox.claim("sink")
        assert again is not None
        assert (again.shot.track_id, again.refusals) == (2, 1)
    errors = rows(path, "SELECT error FROM standings ORDER BY number")
    assert errors == [("no face",), ("not now",)]


async def test_the_same_key_is_taken_once(path: Path) -> None:
    """A best shot that is added twice is delivered once, after a restart too."""
    async with opened(path) as box:
        await box.outbox.add(encoded_shot())
        await box.outbox.add(encoded_shot())
    async with opened(path) as box:
        await box.outbox.add(encoded_shot())
        assert len(await box.deliver_all()) == 1


# Secrecy


async def test_the_file_shows_no_picture_and_no_embedding(path: Path) -> None:
    """While best shots wait, no file of the outbox holds a JPEG or the metadata's text."""
    shot = real_shot(context=True)
    async with opened(path) as box:
        await box.outbox.add(shot)
        for file in path.parent.iterdir():
            data = file.read_bytes()
            assert b"\xff\xd8\xff" not in data
            assert b"JFIF" not in data
            assert b"embedding" not in data
            assert shot.metadata[200:232] not in data
            assert file.stat().st_mode & 0o077 == 0


async def test_what_is_acknowledged_leaves_no_trace(path: Path) -> None:
    """Even unencrypted, deleted pictures are wiped from the file."""
    shot = real_shot()
    async with opened(path, **CLEAR) as box:
        await box.outbox.add(shot)
        await box.deliver_all()
    assert shot.crop.data[100:200] not in content(path)


def test_without_a_key_nothing_is_stored(path: Path) -> None:
    """A durable outbox without key is refused, and the message says both remedies."""
    with pytest.raises(ValidationError, match="store_pictures_unencrypted: true"):
        SqliteOutboxSection.model_validate({"kind": "sqlite", "path": path})


async def test_a_new_key_leaves_old_best_shots_readable(path: Path) -> None:
    """Rotation: the key that is added encrypts from then on, the old one still decrypts."""
    async with opened(path) as box:
        await box.outbox.add(encoded_shot(1))
    both = [{"id": "k1", "key": KEY}, {"id": "k2", "key": OTHER_KEY}]
    async with opened(path, keys=both) as box:
        await box.outbox.add(encoded_shot(2))
        assert rows(path, "SELECT key_id FROM shots ORDER BY number") == [("k1",), ("k2",)]
        assert len(await box.deliver_all()) == 2
    async with opened(path, keys=both[1:]):
        pass


async def test_a_key_that_is_missing_is_named(path: Path) -> None:
    """While best shots wait that a removed key has encrypted, the outbox says which and stops."""
    async with opened(path) as box:
        await box.outbox.add(encoded_shot())
    with pytest.raises(OutboxError, match="1 best shots are encrypted with the key k1"):
        async with opened(path, keys=[{"id": "k2", "key": OTHER_KEY}]):
            pass


async def test_another_key_under_the_same_id_is_noticed(path: Path) -> None:
    """A key that was replaced instead of added is told apart from damage."""
    async with opened(path):
        pass
    with pytest.raises(OutboxError, match="the key k1 is not the one"):
        async with opened(path, keys=[{"id": "k1", "key": OTHER_KEY}]):
            pass


async def test_one_file_serves_one_process(path: Path) -> None:
    """A second camera process is refused while the first serves the file."""
    async with opened(path):
        with pytest.raises(OutboxError, match="another process serves it"):
            async with opened(path):
                pass


async def test_one_file_serves_one_camera(path: Path) -> None:
    """A file of another camera is refused by its name."""
    async with opened(path):
        pass
    change(path, "UPDATE about SET value = 'gate' WHERE name = 'camera'")
    with pytest.raises(OutboxError, match="belongs to the camera gate"):
        async with opened(path):
            pass


# Limits


async def test_the_size_limit_counts_exactly(path: Path) -> None:
    """100 into 30 places: 70 are given up, the lowest qualities, and each is counted."""
    qualities = [float((n * 37) % 100) for n in range(100)]
    async with opened(path, max_shots=30) as box:
        for n, quality in enumerate(qualities):
            await box.outbox.add(encoded_shot(n, quality=quality))
        kept = sorted(shot.quality for shot in await box.deliver_all())
        assert box.dropped("full") == 70
    assert kept == sorted(qualities)[70:]


async def test_the_file_stays_near_its_limit(path: Path) -> None:
    """Three times what fits leaves a file of little more than max_bytes."""
    limit = 2_000_000
    async with opened(path, max_bytes=limit) as box:
        for n in range(300):
            await box.outbox.add(encoded_shot(n, quality=n % 7, size=20_000))
        size = sum(file.stat().st_size for file in path.parent.iterdir())
        waiting = box.outbox.waiting("sink")
        assert waiting + box.dropped("full") == 300
        # The WAL has about 1 MiB, the reserve 3.
        assert size < limit * 1.1 + 4_194_304 + 65_536


async def test_what_is_too_old_is_given_up(path: Path) -> None:
    """After ttl_s a best shot goes, from the file too."""
    async with opened(path, ttl_s=60) as box:
        await box.outbox.add(encoded_shot())
        box.clock.pass_s(59)
        await box.outbox.maintain()
        assert box.outbox.waiting("sink") == 1
        box.clock.pass_s(2)
        await box.outbox.maintain()
        assert box.outbox.waiting("sink") == 0
        assert box.dropped("expired") == 1
    assert rows(path, "SELECT COUNT(*) FROM shots") == [(0,)]


# Beside another process


async def test_what_another_process_purges_is_gone_here_too(path: Path) -> None:
    """A row that is deleted from outside is counted as purged."""
    async with opened(path) as box:
        await box.outbox.add(encoded_shot(1))
        await box.outbox.add(encoded_shot(2))
        change(path, "DELETE FROM shots WHERE track_id = 1")
        assert await box.outbox.maintain()
        assert box.dropped("purged") == 1
        assert [shot.track_id for shot in await box.deliver_all()] == [2]


async def test_a_dead_letter_that_is_retried_from_outside_is_offered_again(path: Path) -> None:
    """A state that is revived in the file is noticed."""
    async with opened(path) as box:
        await box.outbox.add(encoded_shot())
        claim = await box.outbox.claim("sink")
        assert claim is not None
        await dead_letter(box.outbox, claim, error="no")
        assert await box.outbox.claim("sink") is None
        change(path, "UPDATE standings SET dead = 0, refusals = 0, due = 0.0")
        assert await box.outbox.maintain()
        assert len(await box.deliver_all()) == 1


async def test_a_purge_during_a_delivery_does_no_harm(path: Path) -> None:
    """What is purged while it is under way is acknowledged without a trace."""
    async with opened(path) as box:
        await box.outbox.add(encoded_shot())
        claim = await box.outbox.claim("sink")
        assert claim is not None
        change(path, "DELETE FROM shots")
        await box.outbox.maintain()
        await box.outbox.acknowledge(claim)
        assert box.outbox.pending == 0


# Damage


async def test_a_flipped_bit_in_a_body_is_found_and_skipped(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The damaged best shot is reported by its key; the others are delivered."""
    async with opened(path) as box:
        for track in (1, 2, 3):
            await box.outbox.add(real_shot(track))
    body = bytearray(rows(path, "SELECT body FROM shots WHERE track_id = 2")[0][0])
    body[1000] ^= 4
    change(path, "UPDATE shots SET body = ? WHERE track_id = 2", bytes(body))
    async with opened(path) as box:
        assert [shot.track_id for shot in await box.deliver_all()] == [1, 3]
        assert box.dropped("damaged") == 1
    assert "door-b00t-2-1" in capsys.readouterr().out


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE shots SET quality = 99.0 WHERE track_id = 2",
        "UPDATE shots SET key = 'dope-b00t-2-1' WHERE track_id = 2",
        "UPDATE shots SET key_id = 'k7' WHERE track_id = 2",
        "UPDATE shots SET quality = 'much' WHERE track_id = 2",
        "UPDATE shots SET body = x'00' WHERE track_id = 2",
        "UPDATE shots SET body = (SELECT body FROM shots WHERE track_id = 1) WHERE track_id = 2",
    ],
)
async def test_a_changed_row_is_found_and_skipped(path: Path, statement: str, clear: bool) -> None:
    """Whatever value of a row is changed, it is not delivered and the others are."""
    settings = CLEAR if clear else {}
    async with opened(path, **settings) as box:
        for track in (1, 2, 3):
            await box.outbox.add(real_shot(track))
    change(path, statement)
    async with opened(path, **settings) as box:
        assert [shot.track_id for shot in await box.deliver_all()] == [1, 3]
        assert box.dropped("damaged") == 1


@pytest.mark.parametrize("seed", range(12))
async def test_flipped_bytes_anywhere_lose_few_and_corrupt_none(path: Path, seed: int) -> None:
    """After a byte of the file was changed, what is delivered is unharmed, and most is."""
    shots = {track: real_shot(track) for track in range(1, 31)}
    async with opened(path) as box:
        for shot in shots.values():
            await box.outbox.add(shot)
    data = bytearray(content(path))
    # Past the first pages: they hold the schema, without which it is no outbox.
    at = 4096 * 6 + (len(data) - 4096 * 6) * seed // 12 + seed * 131
    data[at] ^= 0x41
    overwrite(path, bytes(data))
    async with opened(path) as box:
        delivered = await box.deliver_all()
        await box.outbox.maintain()
        delivered += await box.deliver_all()
        assert all(shot == shots[shot.track_id] for shot in delivered)
        assert len({shot.key for shot in delivered}) == len(delivered)
        assert len(delivered) + box.dropped("damaged") >= 29
        assert len(delivered) >= 26
        assert await box.outbox.add(real_shot(99)) is Acceptance.ACCEPTED


async def test_a_file_that_is_no_database_is_put_aside(path: Path) -> None:
    """Garbage in place of the outbox: it is kept under another name and the camera goes on."""
    async with opened(path):
        pass
    overwrite(path, b"\x55" * 20_000)
    async with opened(path) as box:
        assert await box.outbox.add(encoded_shot()) is Acceptance.ACCEPTED
        assert len(await box.deliver_all()) == 1
    assert len(list(path.parent.glob("door.outbox.damaged-*"))) == 1


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A path below a file is refused with the remedy."""
    (tmp_path / "file").touch()
    with pytest.raises(OutboxError, match=r"choose another delivery\.outbox\.path"):
        async with opened(tmp_path / "file" / "door.outbox"):
            pass


async def test_nothing_blocks_the_loop(path: Path) -> None:
    """Adding and delivering makes no blocking call on the event loop."""
    from blockbuster import blockbuster_ctx  # noqa: PLC0415 - patches on import of its functions

    with blockbuster_ctx(scanned_modules=["streamgate"]):
        async with opened(path) as box:
            for track in range(10):
                await box.outbox.add(encoded_shot(track))
            await box.outbox.maintain()
            assert len(await box.deliver_all()) == 10


async def test_adds_and_acknowledgements_at_once_lose_nothing(path: Path) -> None:
    """Forty tasks that add while four deliver and others maintain: each arrives exactly once."""
    seen: list[str] = []
    async with opened(path) as box:

        async def deliver(left: Callable[[], bool]) -> None:
            while left():
                claim = await box.outbox.claim("sink")
                if claim is None:
                    await asyncio.sleep(0)
                else:
                    seen.append(claim.shot.key)
                    await box.outbox.acknowledge(claim)

        async with asyncio.TaskGroup() as group:
            for track in range(40):
                group.create_task(box.outbox.add(encoded_shot(track)))
            for _ in range(4):
                group.create_task(deliver(lambda: len(seen) < 40))
            for _ in range(5):
                await asyncio.to_thread(change, path, "UPDATE about SET value = value")
                await box.outbox.maintain()
        assert box.outbox.pending == 0
    assert len(set(seen)) == len(seen) == 40


async def test_the_file_shrinks_when_all_is_delivered(path: Path) -> None:
    """What a backlog has taken of the disk is given back."""
    async with opened(path) as box:
        for track in range(300):
            await box.outbox.add(encoded_shot(track, size=30_000))
        full = len(content(path))
        await box.deliver_all()
        for _ in range(4):
            await box.outbox.maintain()
        await asyncio.to_thread(change, path, "PRAGMA wal_checkpoint(TRUNCATE)")
        assert full > 8_000_000
        # Up to a thousand free pages are kept for what comes next.
        assert len(content(path)) < full / 2
