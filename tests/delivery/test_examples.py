"""The example configurations of sinks, as a user would start from them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from streamgate.config import HttpSinkSection, SqliteOutboxSection, load_config
from streamgate.daemon.delivery import build_outbox, build_sink
from streamgate.errors import ConfigError
from streamgate.telemetry.metrics import Metrics
from tests.delivery.parts import SystemClock
from tests.needs import ROOT

EXAMPLES = ("amqp", "compreface", "kafka", "mqtt", "nats", "redis", "webhook")
SECRETS = {
    "AMQP_PASSWORD": "s3cret-amqp",
    "CAMERA_PASSWORD": "s3cret-camera",
    "COMPREFACE_API_KEY": "s3cret-key",
    "KAFKA_PASSWORD": "s3cret-kafka",
    "MQTT_PASSWORD": "s3cret-mqtt",
    "NATS_PASSWORD": "s3cret-nats",
    "OUTBOX_KEY": base64.b64encode(bytes(32)).decode(),
    "REDIS_PASSWORD": "s3cret-redis",
    "WEBHOOK_TOKEN": "s3cret-token",
}


def example(name: str) -> Path:
    return ROOT / "configs" / f"{name}.yaml"


@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_example_loads_and_its_parts_can_be_built(name: str) -> None:
    """With its secrets in the environment; its best shots are kept encrypted on disk."""
    config = load_config(example(name), SECRETS).config
    outbox = build_outbox(config, Metrics("door"), SystemClock())
    assert outbox.durable
    assert isinstance(config.delivery.outbox, SqliteOutboxSection)
    assert config.delivery.outbox.keys
    for section in config.delivery.sinks:
        sink = build_sink(section)
        assert sink.name == section.name
        await sink.close()
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_without_its_secrets_says_which_are_missing(name: str) -> None:
    """Each by the name of its variable."""
    with pytest.raises(ConfigError, match="environment variable CAMERA_PASSWORD") as raised:
        load_config(example(name), {})
    assert "environment variable OUTBOX_KEY" in str(raised.value)


def test_compreface_gets_what_its_interface_wants() -> None:
    """One part named file, which shows more than the face, and the key in x-api-key."""
    config = load_config(example("compreface"), SECRETS).config
    [sink] = config.delivery.sinks
    assert isinstance(sink, HttpSinkSection)
    assert (sink.metadata_part, sink.crop_part, sink.context_part) == (None, None, "file")
    assert list(sink.headers) == ["x-api-key"]
    assert config.delivery.context
