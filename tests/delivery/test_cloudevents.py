"""CloudEvents from real servers, read by the official SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aio_pika
import aiomqtt
import jsonschema
import nats as nats_client
import pytest
from aiohttp import web
from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped] # not annotated
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings import http, kafka, rabbitmq
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from pydantic import TypeAdapter

from streamgate.config import SinkSection
from streamgate.daemon.delivery import build_sink
from streamgate.delivery.cloudevents import EVENT_TYPE
from streamgate.delivery.payload import payload_schema, single_document
from streamgate.recognise.message import message_from_document
from streamgate.values import EncodedShot
from tests.delivery.shots import real_shot
from tests.servers import broker as servers
from tests.servers.rabbitmq import PASSWORD, USER, RabbitMq

pytestmark = pytest.mark.live

MODES = ("structured", "binary")


async def deliver(shot: EncodedShot, mode: str, **settings: Any) -> None:
    section: SinkSection = TypeAdapter(SinkSection).validate_python(
        {"timeout_s": 5, "envelope": "cloudevents", "mode": mode, **settings}
    )
    sink = build_sink(section)
    async with aclosing(_Closing(sink.close)):
        await sink.deliver(shot)


class _Closing:
    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self.aclose = close


def expect(event: BaseCloudEvent, shot: EncodedShot) -> None:
    """The SDK has validated it; these are our values, and the document is whole."""
    assert event.get_id() == shot.key
    assert event.get_source() == "urn:streamgate:camera:door"
    assert event.get_type() == EVENT_TYPE == "streamgate.best_shot.v1"
    assert event.get_subject() == "b00t/1"
    assert event.get_datacontenttype() == "application/json"
    assert event.get_dataschema() == payload_schema()["$id"]
    time = event.get_time()
    assert time is not None
    assert time.timestamp() == pytest.approx(shot.decided_wall, abs=1e-5)
    data = event.get_data()
    document = json.loads(data) if isinstance(data, str | bytes) else data
    assert document == json.loads(single_document(shot))
    jsonschema.validate(document, payload_schema())


def by_http(headers: Mapping[str, str], body: bytes) -> BaseCloudEvent:
    return http.from_http_event(http.HTTPMessage(dict(headers), body))


@pytest.mark.parametrize("mode", MODES)
async def test_http(mode: str) -> None:
    """The body and the `ce-` headers of the HTTP binding."""
    shot, seen = real_shot(context=True), list[tuple[dict[str, str], bytes]]()

    async def take(request: web.Request) -> web.Response:
        seen.append((dict(request.headers), await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await deliver(shot, mode, kind="http", url=f"http://127.0.0.1:{runner.addresses[0][1]}/")
    finally:
        await runner.cleanup()
    [(headers, body)] = seen
    expect(by_http(headers, body), shot)
    assert headers["Idempotency-Key"] == shot.key
    assert message_from_document(body).key == shot.key


@pytest.mark.parametrize("mode", MODES)
async def test_nats(mode: str, tmp_path: Path) -> None:
    """The NATS binding has the HTTP binding's headers."""
    shot = real_shot(context=True)
    with servers.nats(tmp_path) as broker:
        url = f"nats://127.0.0.1:{broker.port}"
        await deliver(shot, mode, kind="nats", url=url, stream="shots", stream_max_bytes=10_000_000)
        client = await nats_client.connect(url)
        try:
            message = await client.jetstream().get_msg("shots", 1)
        finally:
            await client.close()
    headers, body = dict(message.headers or {}), message.data or b""
    assert headers["Nats-Msg-Id"] == shot.key
    expect(by_http(headers, body), shot)


@pytest.mark.parametrize("mode", MODES)
async def test_mqtt(mode: str, tmp_path: Path) -> None:
    """The MQTT 5 binding: content type, and user properties without a prefix."""
    shot = real_shot(context=True)
    with servers.mosquitto(tmp_path) as broker:
        async with (
            asyncio.timeout(10),
            aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client,
        ):
            await client.subscribe("cams/#", qos=1)
            await deliver(
                shot, mode, kind="mqtt", url=f"mqtt://127.0.0.1:{broker.port}", topic="cams/door"
            )
            message = await anext(client.messages)
    assert isinstance(message.payload, bytes)
    assert message.properties is not None
    properties = message.properties.json()  # type: ignore[no-untyped-call] # not annotated
    if mode == "structured":
        assert properties["ContentType"] == "application/cloudevents+json"
        event: BaseCloudEvent = JSONFormat().read(CloudEvent, message.payload)
    else:
        own = {"idempotency-key", "schema", "schema-version", "camera"}
        attributes = {k: v for k, v in properties["UserProperty"] if k not in own}
        # The SDK has no binding for MQTT; with the prefix of HTTP it reads the same attributes.
        headers = {f"ce-{name}": value for name, value in attributes.items()}
        event = by_http({**headers, "Content-Type": properties["ContentType"]}, message.payload)
    expect(event, shot)


@pytest.mark.parametrize("mode", MODES)
async def test_kafka(mode: str, tmp_path: Path) -> None:
    """`ce_` headers and content-type; the record's key still names the track."""
    shot = real_shot(context=True)
    with servers.tansu(tmp_path) as broker:
        place = f"127.0.0.1:{broker.port}"
        await deliver(shot, mode, kind="kafka", servers=[place], topic="shots", idempotent=False)
        consumer = AIOKafkaConsumer("shots", bootstrap_servers=place, auto_offset_reset="earliest")
        await consumer.start()
        try:
            async with asyncio.timeout(15):
                message = await anext(consumer)
        finally:
            await consumer.stop()
    assert message.key == b"door-b00t-1"
    headers = dict(message.headers)
    event = kafka.from_kafka_event(kafka.KafkaMessage(headers, message.key, message.value))
    expect(event, shot)


@pytest.mark.parametrize("mode", MODES)
async def test_amqp(mode: str, rabbit: RabbitMq) -> None:
    """As RabbitMQ's binding has it: `ce-` headers and the content type."""
    shot, queue = real_shot(context=True), f"events-{mode}"
    await deliver(
        shot, mode, kind="amqp", url=f"amqp://127.0.0.1:{rabbit.port}", username=USER,
        password=PASSWORD, routing_key=queue, queue=queue,
    )  # fmt: skip
    connection = await aio_pika.connect(
        host="127.0.0.1", port=rabbit.port, login=USER, password=PASSWORD
    )
    async with connection:
        channel = await connection.channel()
        message = await (await channel.get_queue(queue)).get(no_ack=True)
    headers = {name: str(value) for name, value in message.headers.items()}
    event = rabbitmq.from_rabbitmq_event(
        rabbitmq.RabbitMQMessage(headers, message.content_type, message.body)
    )
    expect(event, shot)
