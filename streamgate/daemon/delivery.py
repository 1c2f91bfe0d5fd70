"""Chooses the classes of outbox and sinks; the client of a broker is imported when it is used."""

from __future__ import annotations

from streamgate.config import (
    AmqpSinkSection,
    CameraConfig,
    DirectorySinkSection,
    HttpSinkSection,
    KafkaSinkSection,
    MemoryOutboxSection,
    MqttSinkSection,
    NatsSinkSection,
    RedisSinkSection,
    SinkSection,
    SqliteOutboxSection,
)
from streamgate.delivery import outbox as outboxes
from streamgate.delivery.durable import outbox as durable
from streamgate.delivery.sinks.directory import DirectorySink
from streamgate.delivery.sinks.http import HttpSink
from streamgate.ports import Clock, ProbedSink
from streamgate.telemetry.metrics import Metrics

__all__ = ["build_outbox", "build_sink"]


def build_outbox(config: CameraConfig, metrics: Metrics, clock: Clock) -> outboxes.Outbox:
    """Make the outbox of a camera, made for the names of its sinks; it is not open yet."""
    section, names = config.delivery.outbox, [sink.name for sink in config.delivery.sinks]
    match section:
        case MemoryOutboxSection():
            return outboxes.MemoryOutbox(section, names, metrics=metrics, clock=clock)
        case SqliteOutboxSection():
            return durable.SqliteOutbox(
                section, names, camera=config.camera.name, metrics=metrics, clock=clock
            )


def build_sink(  # noqa: PLR0911 # one for each kind
    section: SinkSection,
    camera: str = "camera",
) -> ProbedSink:
    """Make a sink; it connects when it is first used.

    Args:
        camera: name of the camera, for sinks that show it before there is a best shot.

    Raises:
        ConfigError: its client library is not installed; the message says which extra brings it.
    """
    # Most cameras have one sink or two, and four client libraries cost time and memory at start.
    match section:
        case DirectorySinkSection():
            return DirectorySink(section)
        case HttpSinkSection():
            return HttpSink(section)
        case RedisSinkSection():
            from streamgate.delivery.sinks.redis import RedisSink  # noqa: PLC0415

            return RedisSink(section)
        case NatsSinkSection():
            from streamgate.delivery.sinks.nats import NatsSink  # noqa: PLC0415

            return NatsSink(section)
        case MqttSinkSection():
            from streamgate.delivery.sinks.mqtt import MqttSink  # noqa: PLC0415

            return MqttSink(section, camera)
        case KafkaSinkSection():
            from streamgate.delivery.sinks.kafka import KafkaSink  # noqa: PLC0415

            return KafkaSink(section)
        case AmqpSinkSection():
            from streamgate.delivery.sinks.amqp import AmqpSink  # noqa: PLC0415

            return AmqpSink(section)
