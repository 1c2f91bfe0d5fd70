"""The Kafka sink against a real broker of its protocol."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer  # type: ignore[import-untyped] # not annotated

from streamgate.config import KafkaSinkSection
from streamgate.delivery.payload import single_document
from streamgate.delivery.sinks.kafka import KafkaSink
from streamgate.errors import DeliveryError, SinkFault
from tests.delivery.shots import real_shot
from tests.servers import broker as servers
from tests.servers.broker import Broker, free_port
from tests.servers.tls import Authority

pytestmark = pytest.mark.live

TOPIC = "streamgate-best-shots"
SECRET = "hunter2-never-shown"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with servers.tansu(tmp_path) as running:
        yield running


@asynccontextmanager
async def sink_to(port: int, **settings: Any) -> AsyncIterator[KafkaSink]:
    data = {"kind": "kafka", "servers": [f"127.0.0.1:{port}"], "timeout_s": 2, **settings}
    sink = KafkaSink(KafkaSinkSection.model_validate(data))
    try:
        yield sink
    finally:
        await sink.close()


async def fault_of(sink: KafkaSink) -> DeliveryError:
    async with asyncio.timeout(8):
        with pytest.raises(DeliveryError) as raised:
            await sink.deliver(real_shot())
    return raised.value


async def received(port: int, count: int) -> list[Any]:
    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=f"127.0.0.1:{port}", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(15):
            return [await anext(consumer) for _ in range(count)]
    finally:
        await consumer.stop()


@pytest.mark.parametrize("idempotent", [True, False])
async def test_every_best_shot_arrives_keyed_by_its_track(broker: Broker, idempotent: bool) -> None:
    """Six of two tracks: whole, with the idempotency key, one partition a track, in order."""
    shots = [real_shot(track, revision) for revision in (1, 2, 3) for track in (1, 2)]
    async with sink_to(broker.port, idempotent=idempotent) as sink:
        for shot in shots:
            await sink.deliver(shot)
    messages = await received(broker.port, len(shots))
    for track in (1, 2):
        ours = [message for message in messages if message.key == f"door-b00t-{track}".encode()]
        assert len({message.partition for message in ours}) == 1
        assert [message.value for message in ours] == [
            single_document(shot) for shot in shots if shot.track_id == track
        ]
        assert [dict(message.headers)["idempotency-key"] for message in ours] == [
            shot.key.encode() for shot in shots if shot.track_id == track
        ]


async def test_a_refused_idempotent_producer_is_switched_off_with_one_warning(
    broker: Broker, capfd: pytest.CaptureFixture[str]
) -> None:
    """The broker knows no producer's number without a transaction: told once, also after a loss."""
    async with sink_to(broker.port) as sink:
        await sink.deliver(real_shot(1))
        await sink.close()
        await sink.deliver(real_shot(2))
    said = "".join(capfd.readouterr())
    assert said.count("kafka refuses the idempotent producer") == 1
    assert "InitProducerId" not in said, "the library's own line"


async def test_a_broker_that_was_away_is_used_again(broker: Broker) -> None:
    """Killed: a passing fault that names the place. Up again: the same sink delivers."""
    async with sink_to(broker.port) as sink:
        await sink.deliver(real_shot(1))
        broker.stop(kill=True)
        for _ in range(2):
            fault = await fault_of(sink)
            assert fault.fault in (SinkFault.AWAY, SinkFault.UNCLEAR)
            assert str(broker.port) in str(fault)
        broker.start()
        async with asyncio.timeout(20):
            while True:
                with suppress(DeliveryError):
                    await sink.deliver(real_shot(2))
                    break


async def test_a_frozen_broker_does_not_hold_a_delivery_for_ever(broker: Broker) -> None:
    """No answer within timeout_s is a passing fault."""
    async with sink_to(broker.port, timeout_s=1) as sink:
        await sink.deliver(real_shot(1))
        broker.freeze()
        try:
            assert not (await fault_of(sink)).permanent
        finally:
            broker.freeze(frozen=False)


async def test_brokers_that_never_were_are_away() -> None:
    """Nothing listens there: it is told without the library's own lines."""
    port = free_port()
    async with sink_to(port) as sink:
        fault = await fault_of(sink)
    assert fault.fault is SinkFault.AWAY
    assert str(port) in str(fault)
    assert not logging.getLogger("aiokafka").propagate


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_told_without_showing_it(tmp_path: Path, mechanism: str) -> None:
    """The sink keeps us out, and the setting that may be wrong is named."""
    with servers.tansu(tmp_path, authentication=True) as broker:
        signed_in = {"username": "cam", "password": SECRET, "mechanism": mechanism}
        async with sink_to(broker.port, **signed_in) as sink:
            fault = await fault_of(sink)
    assert (fault.fault, fault.setting) == (SinkFault.CREDENTIALS, "password")
    assert "password" in str(fault)
    assert SECRET not in str(fault)


async def test_a_message_that_is_too_large_is_refused(broker: Broker) -> None:
    """Beyond max_message_bytes no retry helps, and smaller ones still pass."""
    async with sink_to(broker.port, max_message_bytes=65_536) as sink:
        with pytest.raises(DeliveryError, match="max_message_bytes") as raised:
            await sink.deliver(_large())
        assert raised.value.fault is SinkFault.REFUSED
        await sink.deliver(real_shot())


async def test_the_broker_must_prove_who_it_is(tmp_path: Path) -> None:
    """Signed by the configured authority: delivered. By another: away, and nothing was sent."""
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    front = free_port()
    with servers.tansu(tmp_path, seen_at=front) as broker:
        async with _tls_before(broker.port, front, theirs):
            async with sink_to(front, tls=True, ca_file=theirs.ca_file) as sink:
                await sink.deliver(real_shot())
            async with sink_to(front, tls=True, ca_file=ours.ca_file) as sink:
                fault = await fault_of(sink)
    assert fault.fault is SinkFault.AWAY
    assert "certificate" in str(fault).lower()


def _large() -> Any:
    shot = real_shot(context=True)
    return type(shot)(
        **{name: getattr(shot, name) for name in shot.__slots__ if name != "crop"},
        crop=type(shot.crop)(shot.crop.media_type, shot.crop.data * 40),
    )


@asynccontextmanager
async def _tls_before(port: int, front: int, authority: Authority) -> AsyncIterator[None]:
    """Take TLS connections at `front` for a server that speaks none."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(authority.certificate("127.0.0.1"))

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, to_writer), carry(to_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", front, ssl=tls)
    async with server:
        yield
