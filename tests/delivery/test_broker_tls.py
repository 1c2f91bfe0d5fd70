"""Brokers over TLS: the configured authority is believed, and no other."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from streamgate.config import MqttSinkSection, NatsSinkSection, RedisSinkSection
from streamgate.delivery.sinks.mqtt import MqttSink
from streamgate.delivery.sinks.nats import NatsSink
from streamgate.delivery.sinks.redis import RedisSink
from streamgate.errors import DeliveryError
from streamgate.ports import Sink
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
