"""Trouble in mid-stream: brokers that go and come, wrong passwords, full disks, slow sinks.

Each time best shots keep coming, and each one that was accepted must arrive.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nats as nats_client
import pytest
from redis.asyncio import Redis

from streamgate.delivery.sinks.mqtt import MqttSink
from streamgate.errors import DeliveryError, SinkFault
from streamgate.ports import Sink
from streamgate.values import Acceptance, EncodedShot
from tests import needs
from tests.delivery import post
from tests.delivery.daemon import until
from tests.delivery.parts import Recorder
from tests.delivery.shots import encoded_shot, real_shot
from tests.delivery.test_brokers import SINKS, mqtt_sink
from tests.servers import broker as servers
from tests.servers.broker import Broker

pytestmark = [pytest.mark.live, pytest.mark.slow]

SECRET = "hunter2-never-shown"


async def received(kind: str, broker: Broker) -> list[str]:
    """Keys of all that a broker's stream holds."""
    if kind == "redis":
        async with Redis(port=broker.port) as client:
            entries: Any = await client.xrange("streamgate:best-shots")
        return [fields[b"key"].decode() for _, fields in entries]
    connection = await nats_client.connect(f"nats://127.0.0.1:{broker.port}")
    try:
        jetstream = connection.jetstream()
        count = (await jetstream.stream_info("shots")).state.last_seq
        messages = [await jetstream.get_msg("shots", number) for number in range(1, count + 1)]
    finally:
        await connection.close()
    return [str(json.loads(message.data or b"")["key"]) for message in messages]


async def until_empty(delivery: post.Post, sink: Sink) -> None:
    await until(lambda: not delivery.outbox.waiting(sink.name), 60)


def failed_thrice(delivery: post.Post, kind: str) -> bool:
    return delivery.metric("deliveries_total", sink=kind, outcome="failed") >= 3


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


@pytest.mark.parametrize("kind", ["redis", "nats"])
@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_a_broker_that_goes_and_comes_back_gets_all(
    kind: str, kill: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Away for a third of the stream: accepting goes on, and each key is there afterwards.

    The counters agree: acknowledged once for each, failures were counted, none was given up.
    """
    with SINKS[kind][0](tmp_path) as broker:
        sink = SINKS[kind][1](broker.port)
        async with post.running(tmp_path / "door.outbox", sink) as delivery:
            for track in range(1, 31):
                if track == 11:
                    broker.stop(kill=kill)
                if track == 21:
                    await asyncio.sleep(0.3)
                    broker.start()
                shot = real_shot(track)
                assert await delivery.dispatcher.accept_encoded(shot) is Acceptance.ACCEPTED
            await until_empty(delivery, sink)
            counted = delivery.metric("deliveries_total", sink=kind, outcome="acknowledged")
            failed = delivery.metric("deliveries_total", sink=kind, outcome="failed")
            assert delivery.outbox.pending == 0
        keys = await received(kind, broker)
    assert set(keys) == {f"door-b00t-{track}-1" for track in range(1, 31)}
    assert counted == 30
    assert failed >= 1
    said = capsys.readouterr().out
    assert "best shot not delivered" in said
    assert "sink takes best shots again" in said


async def test_a_subscriber_gets_all_of_a_broken_mqtt_stream(tmp_path: Path) -> None:
    """Mosquitto, stopped and started: every key reaches a subscriber that comes back at once."""
    import aiomqtt  # noqa: PLC0415 - an extra

    seen: set[str] = set()

    async def subscribe(broker: Broker) -> None:
        while True:
            try:
                async with aiomqtt.Client(
                    "127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5,
                    identifier="reader", clean_start=False,
                ) as client:  # fmt: skip
                    await client.subscribe("#", qos=1)
                    ready.set()
                    async for message in client.messages:
                        assert isinstance(message.payload, bytes)
                        seen.add(json.loads(message.payload)["key"])
            except aiomqtt.MqttError:
                ready.clear()
                await asyncio.sleep(0.02)

    ready, started = asyncio.Event(), asyncio.Event()

    class Patient(MqttSink):
        async def deliver(self, shot: EncodedShot) -> None:
            # What the broker takes while nobody is subscribed is nobody's.
            if started.is_set() and not ready.is_set():
                raise DeliveryError("the reader is not back yet", fault=SinkFault.AWAY)
            await super().deliver(shot)

    with servers.mosquitto(tmp_path) as broker:
        sink = Patient(mqtt_sink(broker.port)._section)
        async with (
            post.running(tmp_path / "door.outbox", sink) as delivery,
            asyncio.timeout(60),
            asyncio.TaskGroup() as group,
        ):
            reading = group.create_task(subscribe(broker))
            for track in range(1, 31):
                await ready.wait()
                if track == 11:
                    # What the broker has acknowledged it has handed on: it keeps nothing on disk.
                    await until_empty(delivery, sink)
                    await until(lambda: len(seen) >= 10)
                    broker.stop()
                    ready.clear()
                    for late in range(11, 21):
                        await delivery.dispatcher.accept_encoded(real_shot(late))
                    assert delivery.outbox.waiting("mqtt") == 10
                    started.set()
                    broker.start()
                    await ready.wait()
                if not 11 <= track <= 20:
                    await delivery.dispatcher.accept_encoded(real_shot(track))
            await until_empty(delivery, sink)
            await until(lambda: len(seen) == 30)
            reading.cancel()
            assert delivery.metric("deliveries_total", sink="mqtt", outcome="acknowledged") == 30


@pytest.mark.parametrize("kind", ["redis", "nats", "mqtt"])
async def test_a_wrong_password_loses_nothing(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told, tried again and never a refusal; with the right one all that waited arrives."""
    user: dict[str, Any] = {} if kind == "redis" else {"user": "cam"}
    name = None if kind == "redis" else "cam"
    make_sink = SINKS[kind][1]
    path = tmp_path / "door.outbox"
    with SINKS[kind][0](tmp_path, password="right", **user) as broker:
        wrong = make_sink(broker.port, username=name, password=SECRET)
        async with post.running(path, wrong) as delivery:
            for track in range(1, 6):
                assert (
                    await delivery.dispatcher.accept_encoded(real_shot(track))
                    is Acceptance.ACCEPTED
                )
            await until(partial(failed_thrice, delivery, kind), 30)
            assert delivery.outbox.waiting(kind) == 5
            assert delivery.metric("deliveries_total", sink=kind, outcome="refused") == 0
        right = make_sink(broker.port, username=name, password="right")
        async with post.running(path, right) as delivery:
            await until_empty(delivery, right)
            assert delivery.metric("deliveries_total", sink=kind, outcome="acknowledged") == 5
    said = capsys.readouterr().out
    assert SECRET not in said
    assert any(word in said.lower() for word in ("password", "authoriz", "user", "wrongpass"))


# A full disk


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    if os.geteuid() != 0:
        needs.missing("root", "run the tests as root to mount a tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


async def test_a_full_disk_holds_best_shots_in_memory_and_loses_none(
    tiny_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk fills up while the sink is away: held, told once, counted; then all arrive."""
    sink = Recorder("sink")
    away = True

    def answer(_: EncodedShot) -> None:
        if away:
            raise DeliveryError("away")

    sink.answer = answer
    states: list[Acceptance] = []
    async with post.running(tiny_disk / "door.outbox", sink) as delivery:
        for track in range(1, 101):
            shot = encoded_shot(track, size=100_000)
            states.append(await delivery.dispatcher.accept_encoded(shot))
        held = delivery.metric("outbox_held_shots")
        # Some that were held may have been written meanwhile, in room that a fold has left.
        assert 0 < held <= states.count(Acceptance.HELD)
        assert states.count(Acceptance.ACCEPTED) >= 10
        assert states.count(Acceptance.DROPPED) == 0
        assert delivery.metric("outbox_faults_total", reason="full") > 0
        assert delivery.outbox.waiting("sink") == 100
        away = False
        await sink.until(lambda: len(set(sink.keys)) == 100, limit_s=60)
        await until_empty(delivery, sink)
        # What was held and written late must not come back.
        assert delivery.metric("outbox_held_shots") == 0
        again = await delivery.dispatcher.accept_encoded(encoded_shot(101, size=100_000))
        assert again is Acceptance.ACCEPTED
        await until(lambda: len(sink.keys) == 101)
    said = capsys.readouterr().out
    told = said.count("the outbox cannot be used; new best shots are held in memory")
    assert 1 <= told <= 3
    assert "the disk is full" in said
    assert said.count("the outbox can be used again") == told
    async with post.running(tiny_disk / "door.outbox", sink) as delivery:
        assert delivery.outbox.pending == 0


async def test_what_a_full_disk_has_accepted_survives_the_process(tiny_disk: Path) -> None:
    """Only those that were held in memory are gone after a crash."""
    program = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from tests.delivery import post\n"
        "from tests.delivery.shots import encoded_shot\n"
        "from tests.delivery.parts import Recorder\n"
        "async def main():\n"
        "    box = post.Post(Path(sys.argv[1]), [Recorder('sink')])\n"
        "    for track in range(1, 101):\n"
        "        shot = encoded_shot(track, size=100_000)\n"
        "        print(shot.key, await box.dispatcher.accept_encoded(shot), flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    path = tiny_disk / "door.outbox"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, str(path)],
        capture_output=True, text=True, check=False, cwd=needs.ROOT,
    )  # fmt: skip
    assert done.returncode == -9, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("door-")]
    accepted = {key for key, state in lines if state == "accepted"}
    assert len(lines) == 100
    assert 10 <= len(accepted) < 100
    taker = Recorder("sink")
    async with post.running(path, taker) as delivery:
        await until_empty(delivery, taker)
    assert accepted <= set(taker.keys)


# More than a sink can take

RATE_PER_MINUTE = 1000
SECONDS = float(os.environ.get("STREAMGATE_SLOW_SINK_SECONDS", "10"))


@pytest.mark.timeout(SECONDS + 240)
async def test_a_thousand_best_shots_a_minute_into_a_slow_sink(tmp_path: Path) -> None:
    """File and memory stay bounded, and each best shot is delivered, kept or counted as given up.

    The sink takes one every quarter of a second; what is given up is of lower quality than what is
    kept, except those that were under way.
    """
    limit = 2_000_000
    sink = Recorder("sink", takes_s=0.25)
    chance = random.Random(3)
    count = round(RATE_PER_MINUTE * SECONDS / 60)
    qualities: dict[str, float] = {}
    dropped_at_once = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with post.running(tmp_path / "door.outbox", sink, max_bytes=limit) as delivery:
        started = time.monotonic()
        for track in range(1, count + 1):
            shot = encoded_shot(track, quality=chance.uniform(0, 100), size=30_000)
            qualities[shot.key] = shot.quality
            state = await delivery.dispatcher.accept_encoded(shot)
            assert state is not Acceptance.HELD
            dropped_at_once += state is Acceptance.DROPPED
            # The WAL has about 1 MiB, the reserve 3.
            assert size_of(tmp_path) < limit * 1.1 + 4_194_304 + 65_536
            due = started + track * 60 / RATE_PER_MINUTE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        given_up = delivery.metric("outbox_dropped_total", sink="sink", reason="full")
        waiting = delivery.outbox.waiting("sink")
        delivered = len(sink.keys)
        assert delivered + waiting + given_up == count
        assert given_up >= dropped_at_once
        assert delivery.metric("outbox_shots", sink="sink") == waiting
        assert delivery.metric("outbox_bytes") <= limit
        await delivery.dispatcher.drain(0.1)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024, f"memory grew by {grown} KiB"
    if given_up:
        taker = Recorder("sink")
        async with post.running(tmp_path / "door.outbox", taker) as delivery:
            await until_empty(delivery, taker)
        kept = {*taker.keys, *sink.keys}
        lost = [quality for key, quality in qualities.items() if key not in kept]
        assert len(lost) == given_up
        assert max(lost) <= min(qualities[key] for key in taker.keys if key not in sink.keys)
