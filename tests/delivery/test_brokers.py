"""The broker sinks against real brokers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import jsonschema
import nats as nats_client
import pytest
from redis.asyncio import Redis

from streamgate.config import MqttSinkSection, NatsSinkSection, RedisSinkSection
from streamgate.delivery.payload import payload_schema, single_document
from streamgate.delivery.sinks.mqtt import MqttSink
from streamgate.delivery.sinks.nats import NatsSink
from streamgate.delivery.sinks.redis import RedisSink
from streamgate.errors import DeliveryError
from streamgate.ports import Sink
from tests.delivery.shots import real_shot
from tests.servers import broker as servers
from tests.servers.broker import Broker, free_port

pytestmark = pytest.mark.live

SECRET = "hunter2-never-shown"


def redis_sink(port: int, **settings: Any) -> RedisSink:
    data = {"kind": "redis", "url": f"redis://127.0.0.1:{port}/0", "timeout_s": 1, **settings}
    return RedisSink(RedisSinkSection.model_validate(data))


def nats_sink(port: int, **settings: Any) -> NatsSink:
    data = {
        "kind": "nats", "url": f"nats://127.0.0.1:{port}", "timeout_s": 1, "stream": "shots",
        "stream_max_bytes": 10_000_000, **settings,
    }  # fmt: skip
    return NatsSink(NatsSinkSection.model_validate(data))


def mqtt_sink(port: int, **settings: Any) -> MqttSink:
    data = {"kind": "mqtt", "url": f"mqtt://127.0.0.1:{port}", "timeout_s": 1, **settings}
    return MqttSink(MqttSinkSection.model_validate(data))


SINKS: dict[str, tuple[Callable[..., Broker], Callable[..., Sink]]] = {
    "redis": (servers.redis, redis_sink),
    "nats": (servers.nats, nats_sink),
    "mqtt": (servers.mosquitto, mqtt_sink),
}


@pytest.fixture(params=SINKS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def broker(kind: str, tmp_path: Path) -> Iterator[Broker]:
    with SINKS[kind][0](tmp_path) as running:
        yield running


@asynccontextmanager
async def closing(sink: Sink) -> AsyncIterator[Sink]:
    try:
        yield sink
    finally:
        await sink.close()


async def test_a_broker_that_was_away_is_used_again(kind: str, broker: Broker) -> None:
    """Down: a passing fault. Up again: the same sink delivers."""
    async with closing(SINKS[kind][1](broker.port)) as sink:
        await sink.deliver(real_shot(1))
        broker.stop(kill=True)
        for _ in range(2):
            with pytest.raises(DeliveryError) as raised:
                await sink.deliver(real_shot(2))
            assert not raised.value.permanent
            assert str(broker.port) in str(raised.value)
        broker.start()
        async with asyncio.timeout(10):
            while True:
                try:
                    await sink.deliver(real_shot(2))
                    break
                except DeliveryError:
                    await asyncio.sleep(0.05)


async def test_a_frozen_broker_does_not_hold_a_delivery_for_ever(kind: str, broker: Broker) -> None:
    """No answer within timeout_s is a passing fault."""
    async with closing(SINKS[kind][1](broker.port)) as sink:
        await sink.deliver(real_shot(1))
        broker.freeze()
        try:
            async with asyncio.timeout(8):
                with pytest.raises(DeliveryError) as raised:
                    await sink.deliver(real_shot(2))
        finally:
            broker.freeze(frozen=False)
        assert not raised.value.permanent


async def test_a_broker_that_never_was_is_a_passing_fault(kind: str) -> None:
    """Nothing listens there: a passing fault that names the place."""
    port = free_port()
    async with closing(SINKS[kind][1](port)) as sink:
        with pytest.raises(DeliveryError, match=str(port)) as raised:
            await sink.deliver(real_shot())
        assert not raised.value.permanent


@pytest.mark.parametrize("kind", ["redis", "nats", "mqtt"])
async def test_a_wrong_password_is_told_without_showing_it(kind: str, tmp_path: Path) -> None:
    """The fault is passing, since a person can mend it, and holds no secret."""
    users: dict[str, dict[str, Any]] = {
        "redis": {"password": "right"},
        "nats": {"user": "cam", "password": "right"},
        "mqtt": {"user": "cam", "password": "right"},
    }
    with SINKS[kind][0](tmp_path, **users[kind]) as broker:
        name = None if kind == "redis" else "cam"
        async with closing(SINKS[kind][1](broker.port, username=name, password=SECRET)) as sink:
            with pytest.raises(DeliveryError) as raised:
                await sink.deliver(real_shot())
            assert not raised.value.permanent
            assert SECRET not in str(raised.value)
            said = str(raised.value).lower()
            assert any(word in said for word in ("auth", "password", "user")), said
        async with closing(SINKS[kind][1](broker.port, username=name, password="right")) as sink:
            await sink.deliver(real_shot())


# Redis


async def first_fault(sink: Sink) -> DeliveryError:
    for revision in range(200):
        try:
            await sink.deliver(real_shot(1, revision + 1, context=True))
        except DeliveryError as error:
            return error
    pytest.fail("all were taken")


async def test_redis_holds_what_was_sent(tmp_path: Path) -> None:
    """The stream's entry has key, metadata and pictures, byte for byte."""
    shot = real_shot(context=True)
    with servers.redis(tmp_path) as broker:
        async with closing(redis_sink(broker.port, stream="faces")) as sink:
            await sink.deliver(shot)
        async with Redis(port=broker.port) as client:
            [(_, fields)] = await client.xrange("faces") or []
    assert shot.context is not None
    assert fields == {
        b"key": shot.key.encode(),
        b"metadata": shot.metadata,
        b"crop": shot.crop.data,
        b"crop_type": b"image/jpeg",
        b"context": shot.context.data,
        b"context_type": b"image/jpeg",
    }


async def test_a_redis_stream_is_bounded(tmp_path: Path) -> None:
    """MAXLEN keeps the stream near its limit."""
    with servers.redis(tmp_path) as broker:
        async with closing(redis_sink(broker.port, max_length=10, stream="faces")) as sink:
            for track in range(300):
                await sink.deliver(real_shot(1, track + 1))
        async with Redis(port=broker.port) as client:
            # Redis trims whole nodes, of a hundred entries or four kilobytes.
            assert await client.xlen("faces") < 200


async def test_a_full_redis_is_a_passing_fault(tmp_path: Path) -> None:
    """`maxmemory` reached: not refused for good."""
    options = ("--maxmemory", "1mb", "--maxmemory-policy", "noeviction")
    with servers.redis(tmp_path, options=options) as broker:
        async with closing(redis_sink(broker.port)) as sink:
            fault = await first_fault(sink)
    assert "memory" in str(fault)
    assert not fault.permanent


# NATS


async def test_a_stream_drops_a_repetition_by_its_key(tmp_path: Path) -> None:
    """The same best shot twice is one message, which fits the published schema."""
    shot = real_shot(context=True)
    with servers.nats(tmp_path) as broker:
        async with closing(nats_sink(broker.port)) as sink:
            await sink.deliver(shot)
            await sink.deliver(shot)
        client = await nats_client.connect(f"nats://127.0.0.1:{broker.port}")
        try:
            jetstream = client.jetstream()
            assert (await jetstream.stream_info("shots")).state.messages == 1
            message = await jetstream.get_msg("shots", 1)
        finally:
            await client.close()
    assert message.data == single_document(shot)
    assert (message.headers or {})["Nats-Msg-Id"] == shot.key
    jsonschema.validate(json.loads(message.data or b""), payload_schema())


async def test_a_subject_without_stream_is_told(tmp_path: Path) -> None:
    """No stream listens: a passing fault that says what to do."""
    with servers.nats(tmp_path) as broker:
        async with closing(nats_sink(broker.port, stream=None)) as sink:
            with pytest.raises(DeliveryError, match="no stream listens") as raised:
                await sink.deliver(real_shot())
            assert not raised.value.permanent


async def test_a_message_that_is_too_large_for_nats_is_refused_for_good(tmp_path: Path) -> None:
    """Beyond max_payload no retry helps, and smaller ones still pass."""
    with servers.nats(tmp_path, max_payload=8192) as broker:
        async with closing(nats_sink(broker.port)) as sink:
            with pytest.raises(DeliveryError, match="max_payload") as raised:
                await sink.deliver(real_shot(context=True))
            assert raised.value.permanent


# MQTT


async def test_a_subscriber_gets_the_document_and_its_properties(tmp_path: Path) -> None:
    """QoS 1, content type, and the key as a user property."""
    shot = real_shot(context=True)
    with servers.mosquitto(tmp_path) as broker:
        async with (
            asyncio.timeout(10),
            aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client,
            closing(mqtt_sink(broker.port, topic="cams/door")) as sink,
        ):
            await client.subscribe("cams/#", qos=1)
            await sink.deliver(shot)
            message = await anext(client.messages)
    assert message.payload == single_document(shot)
    assert message.qos == 1
    assert message.properties is not None
    properties = message.properties.json()  # type: ignore[no-untyped-call] # not annotated
    assert properties["ContentType"] == "application/json"
    assert ["idempotency-key", shot.key] in [list(pair) for pair in properties["UserProperty"]]


async def test_a_forbidden_topic_is_no_acknowledgement(tmp_path: Path) -> None:
    """A PUBACK that says not authorised is a fault: what was refused must not count as sent."""
    acl = "user cam\ntopic write allowed/#\n"
    with servers.mosquitto(tmp_path, user="cam", password="right", acl=acl) as broker:
        signed_in = {"username": "cam", "password": "right"}
        async with closing(mqtt_sink(broker.port, topic="forbidden", **signed_in)) as sink:
            with pytest.raises(DeliveryError, match=r"[Nn]ot authorized") as raised:
                await sink.deliver(real_shot())
            assert not raised.value.permanent
        async with closing(mqtt_sink(broker.port, topic="allowed/x", **signed_in)) as sink:
            await sink.deliver(real_shot())
