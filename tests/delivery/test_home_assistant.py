"""Home Assistant discovery beside the MQTT sink, with a real Mosquitto."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from streamgate.config import MqttSinkSection
from streamgate.delivery.sinks.mqtt import MqttSink
from streamgate.errors import DeliveryError
from tests.delivery.shots import real_shot
from tests.servers import broker as servers
from tests.servers.broker import Broker, free_port

pytestmark = pytest.mark.live

DISCOVERY = "homeassistant/device/streamgate_door/config"
BASE = "streamgate/home-assistant/door"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with servers.mosquitto(tmp_path) as running:
        yield running


@asynccontextmanager
async def sink_to(port: int, **shown: Any) -> AsyncIterator[MqttSink]:
    section = {
        "kind": "mqtt", "url": f"mqtt://127.0.0.1:{port}", "timeout_s": 2,
        "home_assistant": shown,
    }  # fmt: skip
    sink = MqttSink(MqttSinkSection.model_validate(section), "door")
    try:
        yield sink
    finally:
        await sink.close()


class Listener:
    """Notes the newest message of each topic, retained or not."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self.said: dict[str, bytes] = {}
        self.retained: set[str] = set()

    async def until(self, topic: str, payload: bytes | None = None) -> bytes:
        async with asyncio.timeout(10):
            while topic not in self.said or payload not in (None, self.said[topic]):
                message = await anext(self._client.messages)
                assert isinstance(message.payload, bytes)
                self.said[str(message.topic)] = message.payload
                if message.retain:
                    self.retained.add(str(message.topic))
        return self.said[topic]


@asynccontextmanager
async def listening(broker: Broker) -> AsyncIterator[Listener]:
    async with aiomqtt.Client(
        "127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5
    ) as client:
        await client.subscribe("#", qos=1)
        yield Listener(client)


async def test_a_device_is_there_before_anybody_comes(broker: Broker) -> None:
    """Retained, so that Home Assistant finds it at its own start; names need no care."""
    name = 'Hall "A" {{ 1 }} — Tür'
    async with sink_to(broker.port, name=name) as sink:
        await sink.tend()
        async with listening(broker) as home:
            device = json.loads(await home.until(DISCOVERY))
            assert await home.until(f"{BASE}/availability") == b"online"
            assert {DISCOVERY, f"{BASE}/availability"} <= home.retained
    assert device["device"]["name"] == name
    parts = device["components"]
    assert set(parts) == {"best_shot", "quality", "best_shots", "captured_at"}
    assert len({part["unique_id"] for part in parts.values()}) == len(parts)
    assert all(part["availability_topic"] == f"{BASE}/availability" for part in parts.values())
    assert device["origin"]["name"] == "streamgate"


async def test_best_shots_are_counted_and_told_without_their_faces(broker: Broker) -> None:
    """State is retained, the event is not; no picture unless it is asked for."""
    async with listening(broker) as home, sink_to(broker.port) as sink:
        await sink.deliver(real_shot(1))
        await sink.deliver(real_shot(2))
        while json.loads(await home.until(f"{BASE}/state"))["best_shots"] < 2:
            del home.said[f"{BASE}/state"]
        state = json.loads(home.said[f"{BASE}/state"])
        event = json.loads(await home.until(f"{BASE}/event"))
        assert f"{BASE}/picture" not in home.said
        async with listening(broker) as later:
            await later.until(f"{BASE}/state")
            await later.until(f"{BASE}/availability")
            assert f"{BASE}/event" not in later.said
    assert state["quality"] == 71.5
    assert event["event_type"] == "best_shot"
    assert event["key"] in (real_shot(1).key, real_shot(2).key)


async def test_pictures_are_sent_where_they_are_asked_for(broker: Broker) -> None:
    """And do not stay at the broker."""
    shot = real_shot()
    async with listening(broker) as home, sink_to(broker.port, pictures=True) as sink:
        await sink.deliver(shot)
        assert await home.until(f"{BASE}/picture") == shot.crop.data
        device = json.loads(await home.until(DISCOVERY))
        assert device["components"]["picture"]["image_topic"] == f"{BASE}/picture"
    async with listening(broker) as later:
        await later.until(DISCOVERY)
        await later.until(f"{BASE}/availability", b"offline")
        assert f"{BASE}/picture" not in later.said


async def test_a_camera_that_dies_is_offline_and_one_that_stops_too(broker: Broker) -> None:
    """By the broker's own word, and by ours."""
    async with listening(broker) as home:
        async with sink_to(broker.port) as sink:
            await sink.tend()
            await home.until(f"{BASE}/availability", b"online")
            client = sink._client
            assert client is not None
            socket = client._client.socket()
            assert socket is not None
            # As when the power fails: no word of farewell.
            client._client._sock_close()
            await home.until(f"{BASE}/availability", b"offline")
        async with sink_to(broker.port) as sink:
            await sink.tend()
            await home.until(f"{BASE}/availability", b"online")
        await home.until(f"{BASE}/availability", b"offline")


async def test_turned_off_the_device_is_removed(broker: Broker) -> None:
    """Its retained messages are gone for whoever comes later."""
    async with sink_to(broker.port) as sink:
        await sink.deliver(real_shot())
    async with sink_to(broker.port, enabled=False) as sink:
        await sink.tend()
        await sink.deliver(real_shot(2))
    async with listening(broker) as later:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await later.until(DISCOVERY)
    assert later.said == {}


async def test_a_broker_that_is_away_is_left_alone_for_a_while(tmp_path: Path) -> None:
    """Told, and not asked again every second."""
    async with sink_to(free_port()) as sink:
        with pytest.raises(DeliveryError):
            await sink.tend()
        await sink.tend()


async def test_what_home_assistant_may_not_be_told_delivers_all_the_same(tmp_path: Path) -> None:
    """The broker refuses the topics of discovery; the best shot is taken."""
    acl = "user cam\ntopic write streamgate/best-shots\n"
    with servers.mosquitto(tmp_path, user="cam", password="right", acl=acl) as broker:
        section = {
            "kind": "mqtt", "url": f"mqtt://127.0.0.1:{broker.port}", "timeout_s": 2,
            "username": "cam", "password": "right", "home_assistant": {},
        }  # fmt: skip
        sink = MqttSink(MqttSinkSection.model_validate(section), "door")
        await sink.deliver(real_shot())
        await sink.close()
