"""Best shots by MQTT 5 with QoS 1; the broker's PUBACK acknowledges, if its reason code says so.

The client library takes every PUBACK for a success, a refusal too. So the reason code is read here,
and one message at a time is under way, which leaves no doubt which one it belongs to.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any
from urllib.parse import urlsplit

from streamgate.config import MqttSinkSection
from streamgate.delivery.cloudevents import Message, message_of
from streamgate.delivery.payload import SCHEMA_NAME, SCHEMA_VERSION
from streamgate.delivery.sinks.secure import plain, tls_context, told
from streamgate.errors import ConfigError, DeliveryError, SinkFault
from streamgate.values import EncodedShot

try:
    import aiomqtt
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode
except ModuleNotFoundError as error:
    raise ConfigError(
        "an mqtt sink needs its client library: pip install 'streamgate[mqtt]'"
    ) from error

__all__ = ["MqttSink"]

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_KEEPALIVE_S = 30
_TOPIC_NAME_INVALID, _PACKET_TOO_LARGE, _PAYLOAD_FORMAT_INVALID = 0x90, 0x95, 0x99
_REFUSALS = frozenset({_PACKET_TOO_LARGE, _PAYLOAD_FORMAT_INVALID})
_BAD_PASSWORD, _NOT_AUTHORIZED = 0x86, 0x87
_KEEP_OUT = frozenset({_BAD_PASSWORD, _NOT_AUTHORIZED})

# The library logs what it also raises.
_silent = logging.getLogger("streamgate.mqtt.library")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class _Client(aiomqtt.Client):
    """Remembers the reason code of the last PUBACK."""

    reason: ReasonCode | None = None

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Any
    ) -> None:
        self.reason = reason_code
        super()._on_publish(client, userdata, mid, reason_code, properties)


class MqttSink:
    """Publishes the JSON document with its pictures inside."""

    def __init__(self, section: MqttSinkSection) -> None:
        self.name = section.name
        self._section = section
        self._secrets = [section.password]
        self._client: _Client | None = None
        self._one_at_a_time = asyncio.Lock()

    async def deliver(self, shot: EncodedShot) -> None:
        """Publish once.

        Raises:
            DeliveryError: the broker has not taken it.
        """
        section = self._section
        message = await asyncio.to_thread(message_of, shot, section)
        async with self._one_at_a_time:
            try:
                reason = await self._publish(message.body, _properties(shot, message))
            except aiomqtt.MqttError as error:
                was_connected = self._client is not None
                await self._abandon()
                raise self._unusable(error, was_connected=was_connected) from None
            except BaseException:
                # The answer may still come, and would be taken for that of the next message.
                await self._abandon()
                raise
        if reason is not None and reason.is_failure:
            fault = SinkFault.UNCLEAR
            if reason.value in _REFUSALS:
                fault = SinkFault.REFUSED
            elif reason.value in _KEEP_OUT:
                fault = SinkFault.CREDENTIALS
            raise DeliveryError(
                f"{section.url} refuses to publish to {section.topic}: {reason}",
                fault=fault,
                setting="username" if fault is SinkFault.CREDENTIALS else None,
            )

    async def probe(self, place: str) -> str:  # noqa: ARG002 # what is raised says enough
        """Connect, under another name than the running camera's; see `ProbedSink`."""
        async with self._made(await self._tls(), None):
            return "the broker takes the connection"

    async def close(self) -> None:
        """Disconnect."""
        async with self._one_at_a_time:
            await self._abandon()

    async def _publish(self, document: bytes, properties: Properties) -> ReasonCode | None:
        if self._client is None:
            self._client = await self._connect()
        self._client.reason = None
        await self._client.publish(
            self._section.topic, document, qos=1, properties=properties,
            timeout=self._section.timeout_s,
        )  # fmt: skip
        return self._client.reason

    async def _connect(self) -> _Client:
        client = self._made(await self._tls(), self._section.client_id)
        await client.__aenter__()
        return client

    async def _tls(self) -> ssl.SSLContext | None:
        if not self._section.url.startswith("mqtts:"):
            return None
        return await asyncio.to_thread(tls_context, self._section)

    def _made(self, tls: ssl.SSLContext | None, client_id: str | None) -> _Client:
        section = self._section
        url = urlsplit(section.url)
        return _Client(
            url.hostname or "",
            url.port or _PORTS[url.scheme],
            username=section.username,
            password=plain(section.password),
            identifier=client_id,
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            timeout=section.timeout_s,
            keepalive=_KEEPALIVE_S,
            tls_context=tls,
            logger=_silent,
        )

    async def _abandon(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        try:
            await client.__aexit__(None, None, None)
        except aiomqtt.MqttError:
            # It is gone already.
            return

    def _unusable(self, error: aiomqtt.MqttError, *, was_connected: bool) -> DeliveryError:
        said = f"{self._section.url} cannot be used: {self._said(error)}"
        code = getattr(getattr(error, "rc", None), "value", None)
        if code in _KEEP_OUT:
            return DeliveryError(said, fault=SinkFault.CREDENTIALS, setting="password")
        return DeliveryError(said, fault=SinkFault.UNCLEAR if was_connected else SinkFault.AWAY)

    def _said(self, error: Exception) -> str:
        return told(error, self._secrets)


def _properties(shot: EncodedShot, message: Message) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # not annotated
    properties.ContentType = message.content_type
    properties.UserProperty = [
        ("idempotency-key", shot.key),
        ("schema", SCHEMA_NAME),
        ("schema-version", str(SCHEMA_VERSION)),
        ("camera", shot.camera),
        # The binding takes the attributes' names as they are.
        *message.attributes.items(),
    ]
    return properties
