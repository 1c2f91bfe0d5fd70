"""Which class stands for which outbox and which sink; clients of brokers load when one is used."""

from __future__ import annotations

from streamgate.config import (
    CameraConfig,
    DirectorySink,
    HttpSink,
    KafkaSink,
    MemoryOutbox,
    MqttSink,
    NatsSink,
    RedisSink,
    SinkSection,
    SqliteOutbox,
)
from streamgate.delivery import outbox as outboxes
from streamgate.delivery.durable import outbox as durable
from streamgate.delivery.sinks.directory import DirectoryDelivery
from streamgate.delivery.sinks.http import HttpDelivery
from streamgate.metrics import Metrics
from streamgate.ports import Clock, Sink

__all__ = ["build_outbox", "build_sink"]


def build_outbox(config: CameraConfig, metrics: Metrics, clock: Clock) -> outboxes.Outbox:
    """Make the outbox of a camera, made for the names of its sinks; it is not open yet."""
    section, names = config.delivery.outbox, [sink.name for sink in config.delivery.sinks]
    match section:
        case MemoryOutbox():
            return outboxes.MemoryOutbox(section, names, metrics=metrics, clock=clock)
        case SqliteOutbox():
            return durable.SqliteOutbox(
                section, names, camera=config.camera.name, metrics=metrics, clock=clock
            )


def build_sink(section: SinkSection) -> Sink:
    """Make a sink; it connects when it is first used.

    Raises:
        ConfigError: its client library is not installed; the message says which extra brings it.
    """
    # Most cameras have one sink or two, and four client libraries cost time and memory at start.
    match section:
        case DirectorySink():
            return DirectoryDelivery(section)
        case HttpSink():
            return HttpDelivery(section)
        case RedisSink():
            from streamgate.delivery.sinks.redis import RedisDelivery  # noqa: PLC0415

            return RedisDelivery(section)
        case NatsSink():
            from streamgate.delivery.sinks.nats import NatsDelivery  # noqa: PLC0415

            return NatsDelivery(section)
        case MqttSink():
            from streamgate.delivery.sinks.mqtt import MqttDelivery  # noqa: PLC0415

            return MqttDelivery(section)
        case KafkaSink():
            from streamgate.delivery.sinks.kafka import KafkaDelivery  # noqa: PLC0415

            return KafkaDelivery(section)
