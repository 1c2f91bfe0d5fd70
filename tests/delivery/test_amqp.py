"""The AMQP sink against a real RabbitMQ."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import jsonschema
import pytest
from aio_pika.abc import AbstractIncomingMessage

from streamgate.config import AmqpSinkSection, DeliverySection, MemoryOutboxSection
from streamgate.delivery.dispatcher import Dispatcher
from streamgate.delivery.outbox import MemoryOutbox
from streamgate.delivery.payload import payload_schema, single_document
from streamgate.delivery.sinks.amqp import AmqpSink
from streamgate.errors import DeliveryError, ProbeError, SinkFault
from streamgate.telemetry.metrics import Metrics
from streamgate.values import EncodedShot, Picture
from tests.delivery.daemon import until
from tests.delivery.parts import SystemClock
from tests.delivery.shots import encoded_shot, real_shot
from tests.servers.broker import free_port
from tests.servers.rabbitmq import PASSWORD, USER, RabbitMq
from tests.servers.tls import Authority

pytestmark = pytest.mark.live

SECRET = "hunter2-never-shown"
_numbers = itertools.count()


@pytest.fixture
def queue() -> str:
    return f"shots-{next(_numbers)}"


def section(port: int, queue: str, /, **settings: Any) -> AmqpSinkSection:
    data = {
        "kind": "amqp", "url": f"amqp://127.0.0.1:{port}", "username": USER, "password": PASSWORD,
        "routing_key": queue, "queue": queue, "timeout_s": 3, **settings,
    }  # fmt: skip
    return AmqpSinkSection.model_validate(data)


@asynccontextmanager
async def sink_to(port: int, queue: str, /, **settings: Any) -> AsyncIterator[AmqpSink]:
    sink = AmqpSink(section(port, queue, **settings))
    try:
        yield sink
    finally:
        await sink.close()


async def fault_of(sink: AmqpSink, shot: EncodedShot | None = None) -> DeliveryError:
    async with asyncio.timeout(10):
        with pytest.raises(DeliveryError) as raised:
            await sink.deliver(shot or real_shot())
    return raised.value


@asynccontextmanager
async def channel_of(rabbit: RabbitMq) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    connection = await aio_pika.connect(
        port=rabbit.port, host="127.0.0.1", login=USER, password=PASSWORD
    )
    async with connection:
        yield await connection.channel()


async def received(rabbit: RabbitMq, queue: str, count: int) -> list[AbstractIncomingMessage]:
    """Take messages out of a queue, which must hold exactly so many."""
    async with channel_of(rabbit) as channel:
        source = await channel.get_queue(queue)
        found = [await source.get(no_ack=True, timeout=5) for _ in range(count)]
        assert await source.get(no_ack=True, fail=False) is None
    return found


async def test_a_message_holds_the_document_and_survives_the_broker(
    rabbit: RabbitMq, queue: str
) -> None:
    """Persistent, in a queue that was made durable, with the key as message id and header."""
    shot = real_shot(context=True)
    async with sink_to(rabbit.port, queue) as sink:
        await sink.deliver(shot)
    [message] = await received(rabbit, queue, 1)
    assert message.body == single_document(shot)
    jsonschema.validate(json.loads(message.body), payload_schema())
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert (message.message_id, message.content_type) == (shot.key, "application/json")
    assert message.headers["idempotency-key"] == shot.key
    async with channel_of(rabbit) as channel:
        # Asked for otherwise, an existing queue would refuse.
        await channel.declare_queue(queue, durable=True)


async def test_an_exchange_routes_by_the_key(rabbit: RabbitMq, queue: str) -> None:
    """A queue is bound to it where one is named; an exchange that is missing is told."""
    async with sink_to(rabbit.port, "door.best", exchange="faces-x", queue=queue) as sink:
        fault = await fault_of(sink)
        assert (fault.fault, fault.setting) == (SinkFault.AWAY, "exchange")
        async with channel_of(rabbit) as channel:
            await channel.declare_exchange("faces-x", "topic", durable=True)
        await sink.deliver(real_shot())
    assert len(await received(rabbit, queue, 1)) == 1


async def test_what_no_queue_takes_is_not_delivered(rabbit: RabbitMq) -> None:
    """The broker confirms what it returns; the sink does not."""
    async with channel_of(rabbit) as channel:
        await channel.declare_exchange("empty-x", "direct", durable=True)
    async with sink_to(rabbit.port, "nobody", exchange="empty-x", queue=None) as sink:
        fault = await fault_of(sink)
    assert fault.fault is SinkFault.AWAY
    assert "no queue takes" in str(fault)


async def test_a_missing_queue_is_told(rabbit: RabbitMq) -> None:
    """It names the setting, and the sink works once the queue is there."""
    async with sink_to(rabbit.port, "made-later", queue=None) as sink:
        fault = await fault_of(sink)
        assert (fault.fault, fault.setting) == (SinkFault.AWAY, "routing_key")
        async with channel_of(rabbit) as channel:
            await channel.declare_queue("made-later", durable=True)
        await sink.deliver(real_shot())


@asynccontextmanager
async def dispatching(sink: AmqpSink, shots: list[EncodedShot]) -> AsyncIterator[Dispatcher]:
    outbox = MemoryOutbox(
        MemoryOutboxSection(), [sink.name], metrics=Metrics("door"), clock=SystemClock()
    )
    delivery = DeliverySection.model_validate({"retry": {"initial_s": 0.05, "max_s": 0.2}})
    dispatcher = Dispatcher(
        delivery, outbox=outbox, sinks=[sink], metrics=Metrics("door"), clock=SystemClock()
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(dispatcher.run())
        for shot in shots:
            await dispatcher.accept_encoded(shot)
        yield dispatcher
        await dispatcher.drain(20)


def in_order(messages: list[AbstractIncomingMessage], shots: list[EncodedShot]) -> bool:
    """Whether all have come, those of each track in order; repetitions do not count."""
    keys = list(dict.fromkeys(str(message.message_id) for message in messages))
    tracks = {shot.track_id for shot in shots}
    return len(keys) == len(shots) and all(
        [key for key in keys if f"-{track}-" in key]
        == [shot.key for shot in shots if shot.track_id == track]
        for track in tracks
    )


async def drained(rabbit: RabbitMq, queue: str) -> list[AbstractIncomingMessage]:
    found: list[AbstractIncomingMessage] = []
    async with channel_of(rabbit) as channel:
        source = await channel.get_queue(queue)
        while (message := await source.get(no_ack=True, fail=False)) is not None:
            found.append(message)
    return found


async def test_a_broker_that_stops_and_starts_loses_nothing(rabbit: RabbitMq, queue: str) -> None:
    """Accepted before, during and after: all come, each track's in order."""
    shots = [real_shot(track, revision) for revision in (1, 2, 3) for track in (1, 2)]
    async with sink_to(rabbit.port, queue) as sink, dispatching(sink, shots[:2]) as dispatcher:
        await until(lambda: dispatcher.pending() == 0)
        await asyncio.to_thread(rabbit.control, "stop_app")
        try:
            for shot in shots[2:4]:
                await dispatcher.accept_encoded(shot)
            assert (await fault_of(sink)).fault is SinkFault.AWAY
        finally:
            await asyncio.to_thread(rabbit.control, "start_app")
        for shot in shots[4:]:
            await dispatcher.accept_encoded(shot)
        await until(lambda: dispatcher.pending() == 0)
    assert in_order(await drained(rabbit, queue), shots)


async def test_a_full_queue_loses_nothing(rabbit: RabbitMq, queue: str) -> None:
    """Reject-publish answers with a nack: kept, in order, and delivered when there is room."""
    limits: dict[str, Any] = {"x-max-length": 2, "x-overflow": "reject-publish"}
    async with channel_of(rabbit) as channel:
        await channel.declare_queue(queue, durable=True, arguments=limits)
    shots = [real_shot(1, revision) for revision in range(1, 7)]
    taken: list[AbstractIncomingMessage] = []
    async with sink_to(rabbit.port, queue) as sink, dispatching(sink, shots) as dispatcher:
        await until(lambda: dispatcher.pending() <= 4)
        fault = await fault_of(sink)
        assert fault.fault is SinkFault.AWAY
        assert "full" in str(fault)
        async with asyncio.timeout(20):
            while len(taken) < len(shots):
                taken += await drained(rabbit, queue)
    assert in_order(taken, shots)


async def test_a_broker_without_memory_is_told_and_used_again(rabbit: RabbitMq, queue: str) -> None:
    """It blocks connections and confirms nothing: a passing fault that names the reason."""
    async with sink_to(rabbit.port, queue, timeout_s=1) as sink:
        await sink.deliver(real_shot(1))
        await asyncio.to_thread(rabbit.control, "set_vm_memory_high_watermark", "absolute", "1MB")
        try:
            fault = await fault_of(sink, real_shot(2))
        finally:
            await asyncio.to_thread(rabbit.control, "set_vm_memory_high_watermark", "0.6")
        assert fault.fault is SinkFault.AWAY
        assert "memory or disk" in str(fault)
        async with asyncio.timeout(10):
            while True:
                try:
                    await sink.deliver(real_shot(2))
                    break
                except DeliveryError:
                    await asyncio.sleep(0.05)
    keys = {message.message_id for message in await drained(rabbit, queue)}
    assert keys == {real_shot(1).key, real_shot(2).key}


async def test_a_frozen_broker_does_not_hold_a_delivery_for_ever(
    rabbit: RabbitMq, queue: str
) -> None:
    """No answer within timeout_s is a passing fault; afterwards it delivers."""
    async with sink_to(rabbit.port, queue, timeout_s=0.5) as sink:
        await sink.deliver(real_shot(1))
        rabbit.freeze()
        try:
            fault = await fault_of(sink, real_shot(2))
        finally:
            rabbit.freeze(frozen=False)
        assert not fault.permanent
        assert "within 0.5 s" in str(fault)
    async with sink_to(rabbit.port, queue) as sink:
        await sink.deliver(real_shot(2))


async def test_a_message_beyond_the_broker_s_limit_is_refused(rabbit: RabbitMq, queue: str) -> None:
    """And smaller ones still pass."""
    large = encoded_shot(9)
    metadata = b'{"crop":{},"context":null}'
    large = EncodedShot(
        large.key, "door", "b00t", 9, 1, 50.0, 1.0, 2.0, metadata,
        Picture("image/jpeg", bytes(300_000)), None,
    )  # fmt: skip
    async with sink_to(rabbit.port, queue) as sink:
        fault = await fault_of(sink, large)
        assert fault.fault is SinkFault.REFUSED
        await sink.deliver(real_shot())


async def test_a_wrong_password_is_told_without_showing_it(rabbit: RabbitMq, queue: str) -> None:
    """It is the credentials' fault."""
    async with sink_to(rabbit.port, queue, password=SECRET) as sink:
        fault = await fault_of(sink)
    assert (fault.fault, fault.setting) == (SinkFault.CREDENTIALS, "password")
    assert SECRET not in str(fault)


async def test_only_the_configured_authority_is_believed(
    rabbit: RabbitMq, queue: str, authority: Authority
) -> None:
    """With it messages go over TLS; without it nothing is sent."""
    url = f"amqps://127.0.0.1:{rabbit.tls_port}"
    async with sink_to(rabbit.port, queue, url=url, ca_file=authority.ca_file) as sink:
        await sink.deliver(real_shot())
    async with sink_to(rabbit.port, queue, url=url) as sink:
        fault = await fault_of(sink)
    assert fault.fault is SinkFault.AWAY
    assert "not trusted" in str(fault)
    assert len(await received(rabbit, queue, 1)) == 1


async def test_a_broker_that_never_was_is_a_passing_fault(queue: str) -> None:
    """Nothing listens there: it names the place."""
    port = free_port()
    async with sink_to(port, queue) as sink:
        fault = await fault_of(sink)
    assert fault.fault is SinkFault.AWAY
    assert str(port) in str(fault)


async def test_a_probe_makes_nothing_and_says_what_is_missing(rabbit: RabbitMq, queue: str) -> None:
    """A queue that would be made, one that nobody makes, and a wrong password."""
    async with sink_to(rabbit.port, queue) as sink:
        assert "will be made" in await sink.probe("delivery.sinks[0]")
    async with sink_to(rabbit.port, queue, queue=None) as sink:
        with pytest.raises(ProbeError, match="no queue") as raised:
            await sink.probe("delivery.sinks[0]")
        assert "delivery.sinks[0].routing_key" in raised.value.remedy
    async with sink_to(rabbit.port, queue, password=SECRET) as sink:
        with pytest.raises(ProbeError) as raised:
            await sink.probe("delivery.sinks[0]")
        assert SECRET not in str(raised.value)
    async with sink_to(rabbit.port, queue) as sink:
        await sink.deliver(real_shot())
        assert "is there" in await sink.probe("delivery.sinks[0]")
