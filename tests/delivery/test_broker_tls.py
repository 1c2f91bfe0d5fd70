"""Brokers over TLS: the configured authority is believed, and no other."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from streamgate.config import MqttSinkSection, NatsSinkSection, RedisSinkSection, SinkSection
from streamgate.delivery.sinks.mqtt import MqttSink
from streamgate.delivery.sinks.nats import NatsSink
from streamgate.delivery.sinks.redis import RedisSink
from streamgate.errors import ConfigError, DeliveryError
from streamgate.ports import Sink
from streamgate.recognise import nats as from_nats
from streamgate.recognise.transport import Access
from tests import needs
from tests.delivery.shots import real_shot
from tests.servers.broker import Broker, free_port
from tests.servers.tls import Authority

pytestmark = pytest.mark.live


def redis_server(folder: Path, pem: Path) -> Broker:
    port = free_port()
    return Broker(
        [
            needs.program("redis-server"), "--port", "0", "--tls-port", str(port),
            "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
            "--tls-cert-file", str(pem), "--tls-key-file", str(pem), "--tls-auth-clients", "no",
        ],
        port,
        folder,
    )  # fmt: skip


def nats_server(folder: Path, pem: Path) -> Broker:
    port = free_port()
    config = folder / "nats.conf"
    config.write_text(
        f'listen: "127.0.0.1:{port}"\njetstream {{ store_dir: "{folder}/data" }}\n'
        f'tls {{ cert_file: "{pem}", key_file: "{pem}" }}\n'
    )
    return Broker([needs.program("nats-server"), "-c", str(config)], port, folder)


def mosquitto_server(folder: Path, pem: Path) -> Broker:
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\npersistence false\nuser root\nallow_anonymous true\n"
        f"certfile {pem}\nkeyfile {pem}\n"
    )
    return Broker([needs.program("mosquitto"), "-c", str(config)], port, folder)


def redis_sink(port: int, **settings: Any) -> Sink:
    url = f"rediss://127.0.0.1:{port}/0"
    return RedisSink(RedisSinkSection(kind="redis", url=url, timeout_s=5, **settings))


def nats_sink(port: int, **settings: Any) -> Sink:
    url, size = f"tls://127.0.0.1:{port}", 10_000_000
    return NatsSink(
        NatsSinkSection(
            kind="nats", url=url, timeout_s=5, stream="s", stream_max_bytes=size, **settings
        )
    )  # fmt: skip


def mqtt_sink(port: int, **settings: Any) -> Sink:
    url = f"mqtts://127.0.0.1:{port}"
    return MqttSink(MqttSinkSection(kind="mqtt", url=url, timeout_s=5, **settings))


PAIRS: dict[str, tuple[Callable[[Path, Path], Broker], Callable[..., Sink]]] = {
    "redis": (redis_server, redis_sink),
    "nats": (nats_server, nats_sink),
    "mqtt": (mosquitto_server, mqtt_sink),
}


class Closing:
    """A sink for `aclosing`."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    async def aclose(self) -> None:
        await self.sink.close()


# paho leaves the socket of a failed handshake to the garbage collector, which closes it at once.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.parametrize("kind", PAIRS)
async def test_a_broker_must_prove_who_it_is(kind: str, tmp_path: Path) -> None:
    """By our authority: delivered. By another, or for another host: a passing fault."""
    await _prove(kind, tmp_path)
    # Not before what it held is gone; a later test would be blamed.
    gc.collect()


async def _prove(kind: str, tmp_path: Path) -> None:
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    make_broker, make_sink = PAIRS[kind]
    with make_broker(tmp_path, ours.certificate("127.0.0.1")) as broker:
        async with aclosing(Closing(make_sink(broker.port, ca_file=ours.ca_file))) as right:
            await right.sink.deliver(real_shot())
        async with aclosing(Closing(make_sink(broker.port, ca_file=other.ca_file))) as wrong:
            with pytest.raises(DeliveryError) as raised:
                await wrong.sink.deliver(real_shot())
        assert not raised.value.permanent
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    with make_broker(folder, ours.certificate("elsewhere.example")) as broker:
        async with aclosing(Closing(make_sink(broker.port, ca_file=ours.ca_file))) as wrong:
            with pytest.raises(DeliveryError):
                await wrong.sink.deliver(real_shot())


class Eavesdropper:
    """A NATS server without TLS that notes every byte it is sent."""

    def __init__(self, **info: object) -> None:
        self.heard = b""
        self._info = {"server_id": "x", "version": "2.10.0", "max_payload": 1 << 20, **info}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"INFO " + json.dumps(self._info).encode() + b"\r\n")
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(3):
                while data := await reader.read(4096):
                    self.heard += data
        writer.close()


@pytest.mark.parametrize("offer", [{}, {"tls_available": True}, {"tls_required": True}])
@pytest.mark.parametrize("by", ["scheme", "authority"])
async def test_nats_sends_nothing_in_clear_that_was_to_be_encrypted(
    offer: dict[str, object], by: str, tmp_path: Path
) -> None:
    """Whatever the server's INFO says, neither password nor face goes out before TLS is there."""
    server = Eavesdropper(**offer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    settings = {
        "kind": "nats", "url": f"tls://127.0.0.1:{port}", "username": "cam", "password": "hunter2",
        "timeout_s": 2,
    }  # fmt: skip
    if by == "authority":
        settings |= {
            "url": f"nats://127.0.0.1:{port}", "ca_file": Authority(tmp_path / "ca").ca_file,
        }  # fmt: skip
    sink = NatsSink(NatsSinkSection.model_validate(settings))
    async with listening:
        with pytest.raises(DeliveryError) as raised:
            await sink.deliver(real_shot())
        await sink.close()
        access = Access(str(settings["url"]), "cam", "hunter2", settings.get("ca_file"))  # type: ignore[arg-type] # a path or nothing
        if not offer:
            with pytest.raises(ConfigError, match="offers no TLS"):
                await from_nats.follow(None, access, subject="s", durable="d")  # type: ignore[arg-type] # not reached
            assert "offers no TLS" in str(raised.value)
    assert b"CONNECT" not in server.heard
    assert b"hunter2" not in server.heard


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"kind": "redis", "url": "redis://h"}, "rediss://"),
        ({"kind": "mqtt", "url": "mqtt://h"}, "mqtts://"),
        ({"kind": "http", "url": "http://h/x"}, "https://"),
        ({"kind": "kafka"}, "tls: true"),
    ],
)
def test_an_authority_without_encryption_is_refused(
    settings: dict[str, Any], wanted: str, tmp_path: Path
) -> None:
    """Whoever names an authority means TLS; a sink that would not speak it is no sink."""
    ca_file = Authority(tmp_path / "ca").ca_file
    with pytest.raises(ValidationError, match=wanted):
        TypeAdapter(SinkSection).validate_python({**settings, "ca_file": ca_file})
