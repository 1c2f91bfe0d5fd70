"""Best shots by MQTT 5 with QoS 1; the broker's PUBACK acknowledges, if its reason code says so.

The client library takes every PUBACK for a success, a refusal too. So the reason code is read here,
and one message at a time is under way, which leaves no doubt which one it belongs to.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import structlog

from streamgate.config import MqttSinkSection
from streamgate.delivery.cloudevents import Message, message_of
from streamgate.delivery.lease.marks import headers_of
from streamgate.delivery.payload import SCHEMA_NAME, SCHEMA_VERSION
from streamgate.delivery.sinks.home_assistant import HomeAssistant, Note
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

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_FAREWELL_S = 0.5
_MOST_TOPICS = 16

log = structlog.get_logger(__name__)

# The library logs what it also raises.
_silent = logging.getLogger("streamgate.mqtt.library")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class _Client(aiomqtt.Client):
    """Remembers the reason code of the last PUBACK."""

    reason: ReasonCode | None = None

    @property
    def is_lost(self) -> bool:
        """Whether the connection has ended; the library itself tells only who publishes."""
        return bool(self._disconnected.done())

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Any
    ) -> None:
        self.reason = reason_code
        super()._on_publish(client, userdata, mid, reason_code, properties)


class MqttSink:
    """Publishes the JSON document with its pictures inside.

    Args:
        camera: its name, for Home Assistant.
    """

    def __init__(self, section: MqttSinkSection, camera: str = "camera") -> None:
        self.name = section.name
        self._section = section
        self._secrets = [section.password]
        self._client: _Client | None = None
        self._one_at_a_time = asyncio.Lock()
        shown = section.home_assistant
        self._home = None if shown is None else HomeAssistant(shown, camera)
        self._refused: set[str] = set()
        self._next_try = 0.0
        self._pause_s = _FIRST_PAUSE_S

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
        if self._home is not None:
            await self._say(self._home.delivered(shot))

    async def tend(self) -> None:
        """Stay connected for Home Assistant, also while nobody comes; see `TendedSink`."""
        now = time.monotonic()
        if self._home is None or now < self._next_try or self._one_at_a_time.locked():
            return
        async with self._one_at_a_time:
            if self._client is not None and self._client.is_lost:
                await self._abandon()
            if self._client is not None:
                return
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            self._next_try = now + self._pause_s
            try:
                self._client = await self._connect()
            except aiomqtt.MqttError as error:
                raise self._unusable(error, was_connected=False) from None
            self._pause_s = _FIRST_PAUSE_S

    async def _say(self, notes: Sequence[Note]) -> None:
        """Tell Home Assistant; a best shot that was delivered stays so, whatever comes of it."""
        async with self._one_at_a_time:
            client = self._client
            if client is None:
                return
            try:
                await self._publish_notes(client, notes)
            except aiomqtt.MqttError:
                await self._abandon()
            except BaseException:
                await self._abandon()
                raise

    async def _publish_notes(self, client: _Client, notes: Sequence[Note]) -> None:
        for note in notes:
            await client.publish(
                note.topic, note.payload, qos=1, retain=note.retain,
                timeout=self._section.timeout_s,
            )  # fmt: skip
            refused = client.reason is not None and client.reason.is_failure
            if refused and note.topic not in self._refused and len(self._refused) < _MOST_TOPICS:
                self._refused.add(note.topic)
                log.warning(
                    "mqtt broker refuses what is for Home Assistant",
                    sink=self.name, topic=note.topic, reason=str(client.reason),
                )  # fmt: skip

    async def probe(self, place: str) -> str:  # noqa: ARG002 # what is raised says enough
        """Connect, under another name than the running camera's; see `ProbedSink`."""
        async with self._made(await self._tls(), None, None):
            return "the broker takes the connection"

    async def close(self) -> None:
        """Disconnect."""
        async with self._one_at_a_time:
            if self._home is not None and self._client is not None and not self._client.is_lost:
                # The broker says it for us only where a connection breaks off.
                with suppress(aiomqtt.MqttError, TimeoutError):
                    async with asyncio.timeout(_FAREWELL_S):
                        await self._publish_notes(self._client, self._home.farewells())
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
        home = self._home
        will = None if home is None else home.will
        client = self._made(await self._tls(), self._section.client_id, will)
        await client.__aenter__()
        if home is not None:
            try:
                await self._publish_notes(client, home.greetings())
            except BaseException:
                with suppress(aiomqtt.MqttError):
                    await client.__aexit__(None, None, None)
                raise
        return client

    async def _tls(self) -> ssl.SSLContext | None:
        if not self._section.url.startswith("mqtts:"):
            return None
        return await asyncio.to_thread(tls_context, self._section)

    def _made(
        self, tls: ssl.SSLContext | None, client_id: str | None, will: Note | None
    ) -> _Client:
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
            will=None
            if will is None
            else aiomqtt.Will(will.topic, will.payload, qos=1, retain=will.retain),
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
        *((name.lower(), value) for name, value in headers_of(shot).items()),
        # The binding takes the attributes' names as they are.
        *message.attributes.items(),
    ]
    return properties
