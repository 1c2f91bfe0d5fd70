"""`streamgate recognise`: from the sinks to the names, over real HTTP, Redis and NATS."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import ClientSession, web
from click.testing import CliRunner
from redis.asyncio import Redis

from streamgate.cli import app
from streamgate.config import DetectorSection, HttpSinkSection, NatsSinkSection, RedisSinkSection
from streamgate.delivery.sinks.http import HttpSink
from streamgate.delivery.sinks.nats import NatsSink
from streamgate.delivery.sinks.redis import RedisSink
from streamgate.errors import ConfigError, DataError, DeliveryError
from streamgate.faces.detect import YuNetDetector
from streamgate.models.registry import path_of
from streamgate.ports import Sink
from streamgate.quality import Scorer
from streamgate.recognise import (
    Consumer,
    Gallery,
    Visitor,
    enrol,
    message_from_document,
    message_from_parts,
    photographs_in,
)
from streamgate.recognise import nats as from_nats
from streamgate.recognise import redis as from_redis
from streamgate.recognise.http import application
from streamgate.recognise.transport import Access, cancelled
from streamgate.values import EncodedShot
from tests.delivery.daemon import make_clip, running, until, write_config
from tests.delivery.shots import best_shot, real_shot
from tests.servers import broker as servers
from tests.servers.broker import Broker, free_port

pytestmark = [pytest.mark.live, pytest.mark.slow]

MODEL = "a" * 64


def embedding_of(track: int) -> Any:
    return best_shot(track).face.embedding


def gallery() -> Gallery:
    """Ada is who comes in track 1, Bob in track 2."""
    return Gallery(("Ada", "Bob"), np.stack([embedding_of(1), embedding_of(2)]), MODEL)


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Consumer, list[Visitor]]]:
    visitors: list[Visitor] = []
    with ThreadPoolExecutor(1) as thread:
        yield Consumer(gallery(), no_network, thread, tell=visitors.append), visitors


def no_network(_: Any) -> Any:
    raise AssertionError("the embedding that was sent should have been used")


@asynccontextmanager
async def following(work: Any) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        yield
        await cancelled(task)


def changed(shot: EncodedShot, **values: Any) -> EncodedShot:
    return replace(shot, metadata=json.dumps({**json.loads(shot.metadata), **values}).encode())


# What every way in does


async def test_names_are_told_once_for_each_key() -> None:
    """Ada, Bob and a stranger; a repetition of a key is dropped and counted."""
    async with receiving() as (consumer, visitors):
        for track in (1, 2, 3, 1):
            shot = real_shot(track)
            await consumer.take(message_from_parts(shot.metadata, shot.crop.data))
        assert [visitor.match.name for visitor in visitors] == ["Ada", "Bob", None]
        assert visitors[0].match.similarity == pytest.approx(1, abs=1e-5)
        assert consumer.repetitions == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "other"}, "not that of"),
        ({"schema_version": 2}, "schema_version is 2"),
        ({"track_id": None}, "has it wrong"),
        ({"embedding": {"type": "float64"}}, "has it wrong"),
        (
            {"embedding": {
                "type": "float32", "byte_order": "little", "length": 9, "base64": "AAAA",
                "model_hash": MODEL,
            }},
            "another length",
        ),
    ],
)  # fmt: skip
def test_what_is_no_best_shot_is_told(change: dict[str, Any], said: str) -> None:
    """Each fault by its own words."""
    shot = changed(real_shot(), **change)
    with pytest.raises(DataError, match=said):
        message_from_parts(shot.metadata, shot.crop.data)


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"{", b"\xff\xfe", b'{"schema":1}'])
def test_garbage_is_told(text: bytes) -> None:
    """Never another exception."""
    with pytest.raises(DataError):
        message_from_document(text)


POISON = [
    b'{"schema": "streamgate.best-shot", "schema_version": ' + b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b"\xff" * 100,
    b'{"schema": "streamgate.best-shot", "schema_version": "' + b"9" * 9000 + b'"}',
]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("track_id", "1e400"), ("track_id", "-1e400"), ("track_id", "NaN"), ("revision", "1e400"),
        ("quality", "1e400"), ("quality", "NaN"), ("quality", "[]"), ("quality", '"1e9"'),
        ("track_id", "9" * 9000), ("camera", '"\\ud800"'), ("key", '"\\u001b[2J"'), ("key", "{}"),
        ("key", '"' + "k" * 5000 + '"'), ("embedding", "[]"), ("embedding", "1e400"),
        ("crop", "null"), ("crop", "[[[]]]"), ("captured_at", "1e400"),
    ],
)  # fmt: skip
def test_values_beyond_reason_are_told(key: str, value: str) -> None:
    """Whatever JSON can say in place of a value, it is a fault of the message."""
    said = json.loads(real_shot().metadata)
    said[key] = "HERE"
    text = json.dumps(said).replace('"HERE"', value).encode()
    with pytest.raises(DataError) as raised:
        message_from_parts(text, b"")
    assert len(str(raised.value)) < 200
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("text", POISON, ids=range(len(POISON)))
def test_messages_beyond_reason_are_told(text: bytes) -> None:
    """Nesting, digits and bytes that no parser likes."""
    with pytest.raises(DataError):
        message_from_document(text)


def test_a_damaged_crop_is_told() -> None:
    """Its hash is in the metadata."""
    shot = real_shot()
    with pytest.raises(DataError, match="sha256 differs"):
        message_from_parts(shot.metadata, shot.crop.data[:-1] + b"\0")


async def test_a_crop_stands_in_for_a_strange_embedding() -> None:
    """Embeddings of different networks are not compared: the crop is embedded instead."""
    shot = real_shot(1)
    said = json.loads(shot.metadata)
    said["embedding"]["model_hash"] = "f" * 64
    sizes: list[Any] = []

    def embed(crop: Any) -> Any:
        sizes.append(crop.shape)
        return embedding_of(2)

    with ThreadPoolExecutor(1) as thread:
        consumer = Consumer(gallery(), embed, thread, tell=lambda _visitor: None)
        message = message_from_parts(json.dumps(said).encode(), shot.crop.data)
        visitor = await consumer.take(message)
    assert visitor is not None
    assert visitor.match.name == "Bob"
    assert sizes == [(112, 112, 3)]


# By HTTP


@asynccontextmanager
async def serving(consumer: Consumer, token: str | None = None) -> AsyncIterator[str]:
    runner = web.AppRunner(application(consumer, token))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/best-shots"
    finally:
        await runner.cleanup()


async def test_the_http_sink_is_understood() -> None:
    """What the sink posts is named and acknowledged; posted again, it is dropped."""
    async with receiving() as (consumer, visitors), serving(consumer) as url:
        sink = HttpSink(HttpSinkSection(kind="http", url=url))
        try:
            for track in (1, 2, 1):
                await sink.deliver(real_shot(track, context=True))
            with pytest.raises(DeliveryError, match="400") as raised:
                await sink.deliver(changed(real_shot(5), schema="other"))
            assert raised.value.permanent
        finally:
            await sink.close()
    assert [visitor.match.name for visitor in visitors] == ["Ada", "Bob"]


async def test_http_wants_its_token() -> None:
    """Without it, or with another: 401, and nobody came."""
    async with receiving() as (consumer, visitors), serving(consumer, "t0ken") as url:
        async with ClientSession() as client:
            for headers in ({}, {"Authorization": "Bearer other"}):
                async with client.post(url, json={}, headers=headers) as answer:
                    assert answer.status == 401
        sink = HttpSink(
            HttpSinkSection.model_validate({"kind": "http", "url": url, "token": "t0ken"})
        )
        await sink.deliver(real_shot(1))
        await sink.close()
    assert len(visitors) == 1


# From brokers


Pair = tuple[Sink, Callable[[Consumer], Coroutine[Any, Any, None]]]


def redis_pair(port: int) -> Pair:
    url = f"redis://127.0.0.1:{port}/0"
    return RedisSink(RedisSinkSection(kind="redis", url=url)), lambda consumer: from_redis.follow(
        consumer, Access(url), stream="streamgate:best-shots", group="g", name="c"
    )


def nats_pair(port: int) -> Pair:
    url = f"nats://127.0.0.1:{port}"
    section = NatsSinkSection(kind="nats", url=url, stream="shots", stream_max_bytes=10_000_000)
    return NatsSink(section), lambda consumer: from_nats.follow(
        consumer, Access(url), subject="streamgate.best-shots", durable="g"
    )


PAIRS: dict[str, tuple[Callable[..., Broker], Callable[[int], Pair]]] = {
    "redis": (servers.redis, redis_pair),
    "nats": (servers.nats, nats_pair),
}


@pytest.mark.parametrize("kind", PAIRS)
async def test_a_brokers_stream_is_read_once_across_restarts(kind: str, tmp_path: Path) -> None:
    """What came before the recogniser is read, what it has acknowledged is not read again.

    It outlives the broker's restart, and leaves out what it cannot understand.
    """
    make_broker, make_pair = PAIRS[kind]
    with make_broker(tmp_path) as broker:
        sink, follow = make_pair(broker.port)
        await sink.deliver(real_shot(1))
        async with receiving() as (consumer, visitors):
            async with following(follow(consumer)):
                await until(lambda: len(visitors) == 1, 30)
                await sink.deliver(changed(real_shot(8), schema="other"))
                await sink.deliver(real_shot(2))
                await until(lambda: len(visitors) == 2, 30)
            await sink.deliver(real_shot(3))
            async with following(follow(consumer)):
                await until(lambda: len(visitors) == 3, 30)
                broker.stop()
                broker.start()
                await delivered_at_last(sink, real_shot(4))
                await until(lambda: len(visitors) == 4, 40)
        await sink.close()
    assert [visitor.match.name for visitor in visitors] == ["Ada", "Bob", None, None]
    assert consumer.repetitions == 0


async def delivered_at_last(sink: Sink, shot: EncodedShot) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await sink.deliver(shot)
            except DeliveryError:
                await asyncio.sleep(0.05)
            else:
                return


FOLLOW_WRONGLY: dict[str, Callable[[Consumer, int], Awaitable[None]]] = {
    "redis": lambda consumer, port: from_redis.follow(
        consumer, Access(f"redis://127.0.0.1:{port}", None, "wrong"),
        stream="s", group="g", name="c",
    ),
    "nats": lambda consumer, port: from_nats.follow(
        consumer, Access(f"nats://127.0.0.1:{port}", "cam", "wrong"), subject="s", durable="g"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PAIRS)
async def test_a_broker_that_refuses_us_is_told(kind: str, tmp_path: Path) -> None:
    """A wrong password ends the command: no waiting mends it."""
    user: dict[str, Any] = {"redis": {}, "nats": {"user": "cam"}}[kind]
    with PAIRS[kind][0](tmp_path, password="right", **user) as broker:
        async with receiving() as (consumer, _), asyncio.timeout(20):
            with pytest.raises(ConfigError, match="refuses our user or password"):
                await FOLLOW_WRONGLY[kind](consumer, broker.port)


async def test_poison_from_redis_is_left_out_and_counted(tmp_path: Path) -> None:
    """Each is acknowledged, and the face behind them is named."""
    with servers.redis(tmp_path) as broker:
        sink, follow = redis_pair(broker.port)
        async with Redis(port=broker.port) as client:
            for text in POISON:
                await client.xadd("streamgate:best-shots", {b"metadata": text, b"\xff": b"\xff"})
        await sink.deliver(real_shot(1))
        async with receiving() as (consumer, visitors), following(follow(consumer)):
            await until(lambda: len(visitors) == 1, 30)
        assert consumer.left_out == len(POISON)
        await sink.close()


async def test_poison_from_nats_is_left_out_and_counted(tmp_path: Path) -> None:
    """A header that is no text does not end the reading, nor does any document."""
    with servers.nats(tmp_path) as broker:
        sink, follow = nats_pair(broker.port)
        await sink.deliver(real_shot(1))
        header = b"NATS/1.0\r\nX-\xff\xfe: \xff\xff\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        await reader.readline()
        writer.write(b'CONNECT {"headers": true, "verbose": false}\r\n')
        for text in POISON:
            sizes = f"{len(header)} {len(header) + len(text)}"
            writer.write(f"HPUB streamgate.best-shots {sizes}\r\n".encode() + header + text)
            writer.write(b"\r\n")
        writer.write(b"PING\r\n")
        assert await reader.readline() == b"PONG\r\n"
        writer.close()
        await sink.deliver(real_shot(2))
        async with receiving() as (consumer, visitors), following(follow(consumer)):
            await until(lambda: len(visitors) == 2, 30)
        assert consumer.left_out == len(POISON)
        await sink.close()


async def test_poison_by_http_is_answered_and_counted() -> None:
    """400 for each, never 500, also where the form or the header is nonsense."""
    async with receiving() as (consumer, visitors), serving(consumer, "t0ken") as url:
        signed = {"Authorization": "Bearer t0ken"}
        json_type, form = {"Content-Type": "application/json"}, "multipart/form-data"
        bodies: list[tuple[dict[str, str], bytes]] = [(json_type, text) for text in POISON]
        bodies += [
            ({"Content-Type": form}, b"x"),
            ({"Content-Type": f"{form}; boundary=b"}, b"--b\r\n\r\nx"),
            ({"Content-Type": "application/x-www-form-urlencoded; charset=x-no"}, b"metadata=%ff"),
        ]
        async with ClientSession() as client:
            for headers, body in bodies:
                async with client.post(url, data=body, headers={**signed, **headers}) as answer:
                    assert answer.status == 400, (headers, answer.status)
            async with client.post(url, headers={"Authorization": "Bearer \udcff"}) as answer:
                assert answer.status in (400, 401)
        assert consumer.left_out == len(bodies)
        assert visitors == []


# The gallery


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of two people, one in a folder of his own."""
    folder = tmp_path_factory.mktemp("gallery")
    (folder / "astronaut.png").write_bytes(path_of("photo-astronaut").read_bytes())
    (folder / "hopper").mkdir()
    (folder / "hopper" / "1.jpg").write_bytes(path_of("photo-hopper").read_bytes())
    (folder / "hopper" / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not a photograph")
    return folder


def test_photographs_are_enrolled_by_name(photographs: Path) -> None:
    """Each person by folder or by file; what cannot be used is told and left out."""
    told: list[str] = []
    detector = YuNetDetector(DetectorSection(), path_of("yunet"))
    people = enrol(photographs_in(photographs), detector, Scorer.load(), tell=told.append)
    assert people.people == ("astronaut", "hopper")
    assert len(told) == 1
    assert "broken.jpg: left out, it is no picture" in told[0]
    for name, embedding in zip(people.names, people.embeddings, strict=True):
        assert people.match(embedding).name == name
    assert people.embeddings[0] @ people.embeddings[1] < people.threshold


def test_an_empty_gallery_is_told(tmp_path: Path) -> None:
    """With what it should hold."""
    with pytest.raises(DataError, match=r"wanted NAME/\*\.jpg"):
        photographs_in(tmp_path)


def test_bad_usage_is_told(photographs: Path) -> None:
    """Exit 2: credentials in the address, an open door without a token, an unknown scheme."""
    for arguments, said in (
        (["--from", "redis", "--url", "redis://u:pass@127.0.0.1/0"], "holds credentials"),
        (["--from", "nats", "--url", "http://127.0.0.1"], "wanted nats or tls"),
        (["--from", "http", "--host", "0.0.0.0"], "give --token-file"),
    ):
        line = ["recognise", "--gallery", str(photographs), *arguments]
        result = CliRunner().invoke(app, line)
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
        assert "pass@" not in result.stderr


# The whole chain


@pytest.mark.timeout(400)
async def test_camera_gate_outbox_and_recogniser_name_who_is_in_the_clip(
    photographs: Path, tmp_path: Path
) -> None:
    """Both commands as a user starts them: the astronaut comes, and nobody else."""
    port = free_port()
    outbox = {
        "kind": "sqlite", "path": str(tmp_path / "door.outbox"),
        "keys": [{"id": "k1", "key": base64.b64encode(os.urandom(32)).decode()}],
    }  # fmt: skip
    config = write_config(
        tmp_path / "door.yaml", make_clip(tmp_path / "clip.mkv", 3.0), outbox=outbox,
        sinks=[{"kind": "http", "url": f"http://127.0.0.1:{port}/best-shots"}],
    )  # fmt: skip
    command = [
        sys.executable, "-m", "streamgate", "recognise", "--gallery", str(photographs),
        "--from", "http", "--port", str(port), "--format", "json",
    ]  # fmt: skip
    recogniser = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert recogniser.stdout is not None
    try:
        async with running(config), asyncio.timeout(200):
            lines = [json.loads(await recogniser.stdout.readline()) for _ in range(3)]
        recogniser.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(recogniser.wait(), 60) == 0
    finally:
        if recogniser.returncode is None:
            recogniser.kill()
            await recogniser.wait()
    assert [line["name"] for line in lines] == ["astronaut"] * 3
    assert len({line["key"] for line in lines}) == 3
