"""Best shots to an AMQP 0-9-1 broker such as RabbitMQ; the publisher confirm acknowledges.

Messages are persistent and mandatory: one that no queue takes comes back and counts as not
delivered, although a broker confirms it. The client's own reconnecting is not used: it would hide
from the worker what is lost with a connection.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from urllib.parse import urlsplit

import structlog

from streamgate.config import AmqpSinkSection
from streamgate.delivery.cloudevents import Message, message_of
from streamgate.delivery.lease.marks import headers_of
from streamgate.delivery.payload import SCHEMA_NAME, SCHEMA_VERSION
from streamgate.delivery.sinks.secure import plain, tls_context, told
from streamgate.errors import ConfigError, DeliveryError, ProbeError, SinkFault
from streamgate.values import EncodedShot

try:
    import aio_pika
    from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
    from aio_pika.exceptions import (
        AMQPError,
        AuthenticationError,
        ChannelNotFoundEntity,
        ChannelPreconditionFailed,
        ProbableAuthenticationError,
        PublishError,
    )
    from aio_pika.exceptions import DeliveryError as NotConfirmedError
    from aiormq.exceptions import ChannelAccessRefused, ConnectionNotAllowed
except ModuleNotFoundError as error:
    raise ConfigError(
        "an amqp sink needs its client library: pip install 'streamgate[amqp]'"
    ) from error

__all__ = ["AmqpSink"]

log = structlog.get_logger(__name__)

_PORTS = {"amqp": 5672, "amqps": 5671}
_HEARTBEAT_S = 30
_CLOSE_S = 1.0
_KEPT_OUT = (
    AuthenticationError, ProbableAuthenticationError, ChannelAccessRefused, ConnectionNotAllowed,
)  # fmt: skip

for _library in ("aio_pika", "aiormq"):
    # They log what they also raise.
    logging.getLogger(_library).addHandler(logging.NullHandler())
    logging.getLogger(_library).propagate = False


class _Connection(aio_pika.Connection):
    """Tells whether the broker takes nothing because it is short of memory or disk."""

    @property
    def is_blocked(self) -> bool:
        transport = self.transport
        if transport is None:
            return False
        # The library keeps it to itself, except that `ready` waits for it.
        ready = getattr(transport.connection, "_Connection__connection_unblocked", None)
        return isinstance(ready, asyncio.Event) and not ready.is_set()


class AmqpSink:
    """Publishes the JSON document with its pictures inside, or a CloudEvent around it."""

    def __init__(self, section: AmqpSinkSection) -> None:
        self.name = section.name
        self._section = section
        self._secrets = [section.password]
        self._connection: _Connection | None = None
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None
        self._opening = asyncio.Lock()

    async def deliver(self, shot: EncodedShot) -> None:
        """Publish once.

        Raises:
            DeliveryError: the broker has not confirmed it.
        """
        section = self._section
        message = await asyncio.to_thread(message_of, shot, section)
        try:
            async with asyncio.timeout(section.timeout_s):
                exchange = await self._let_in()
                await exchange.publish(
                    _published(shot, message), section.routing_key, mandatory=True
                )
        except TimeoutError:
            raise await self._silent() from None
        except PublishError:
            raise DeliveryError(
                f"{section.url}: no queue takes {self._route} (returned as not routable)",
                fault=SinkFault.AWAY, setting="routing_key",
            ) from None  # fmt: skip
        except NotConfirmedError:
            # A full queue with overflow: reject-publish answers so, to every best shot alike.
            raise DeliveryError(
                f"{section.url} does not take it (nack): the queue behind {self._route} is full, "
                "or the broker is in trouble",
                fault=SinkFault.AWAY,
            ) from None
        except (AMQPError, OSError, RuntimeError) as error:
            # RuntimeError: the client's way to say that a connection has ended meanwhile.
            was_connected = self._connection is not None
            await self.close()
            raise self._unusable(error, was_connected=was_connected) from None

    async def probe(self, place: str) -> str:
        """Ask whether it could deliver, without delivering; see `ProbedSink`."""
        section = self._section
        try:
            await self._open(make=False)
        except ChannelNotFoundEntity as error:
            if section.queue is not None and f"'{section.queue}'" in str(error):
                return f"answers; the queue {section.queue} will be made"
            raise ProbeError(
                f"answers, but {told(error, self._secrets)}",
                f"make it, or check {place}.exchange and {place}.routing_key",
            ) from None
        except _KEPT_OUT as error:
            raise ProbeError(
                told(error, self._secrets),
                f"check {place}.username, {place}.password and {place}.virtual_host",
            ) from None
        finally:
            await self.close()
        return f"answers; {self._route} is there"

    async def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        self._channel = self._exchange = None
        if connection is not None:
            await _close(connection)

    @property
    def _route(self) -> str:
        section = self._section
        if not section.exchange:
            return f"the queue {section.routing_key}"
        return f"the exchange {section.exchange} with the routing key {section.routing_key}"

    async def _let_in(self) -> AbstractExchange:
        try:
            return await self._open(make=True)
        except DeliveryError:
            raise
        except (AMQPError, OSError, RuntimeError, ValueError) as error:
            await self.close()
            raise self._unusable(error, was_connected=False) from None

    async def _open(self, *, make: bool) -> AbstractExchange:
        """The exchange, connected.

        Args:
            make: whether the queue is made where there is none.
        """
        async with self._opening:
            lost = self._channel is None or self._channel.is_closed
            if lost or self._exchange is None:
                await self.close()
                connection = self._connection = await self._connect()
                await self._look(connection, make=make)
                self._channel = await connection.channel(on_return_raises=True)
                self._exchange = await _exchange(self._channel, self._section.exchange)
            return self._exchange

    async def _connect(self) -> _Connection:
        section = self._section
        url = urlsplit(section.url)
        tls = await asyncio.to_thread(tls_context, section) if url.scheme == "amqps" else None
        return await aio_pika.connect(
            host=url.hostname or "",
            port=url.port or _PORTS[url.scheme],
            login=section.username or "guest",
            password=plain(section.password) or "guest",
            virtualhost=section.virtual_host,
            ssl=tls is not None,
            ssl_context=tls,
            timeout=section.timeout_s,
            client_properties={"connection_name": "streamgate"},
            heartbeat=_HEARTBEAT_S,
            connection_class=_Connection,
        )

    async def _look(self, connection: AbstractConnection, *, make: bool) -> None:
        """Check that exchange and queue are there; each question that fails costs its channel."""
        section = self._section
        if section.exchange:
            async with connection.channel() as channel:
                await _exchange(channel, section.exchange, ensure=True)
        queue = section.queue or (None if section.exchange else section.routing_key)
        if queue is None:
            return
        try:
            async with connection.channel() as channel:
                await channel.declare_queue(queue, passive=True)
        except ChannelNotFoundEntity:
            if section.queue is None or not make:
                raise
            async with connection.channel() as channel:
                made = await channel.declare_queue(queue, durable=True)
                if section.exchange:
                    await made.bind(section.exchange, section.routing_key)

    async def _silent(self) -> DeliveryError:
        """What it means that nothing came in time."""
        connection, limit = self._connection, f"{self._section.timeout_s:g} s"
        blocked = connection is not None and connection.is_blocked
        was_connected = self._exchange is not None
        await self.close()
        if blocked:
            return DeliveryError(
                f"{self._section.url} takes nothing now: it is short of memory or disk (blocked)",
                fault=SinkFault.AWAY,
            )
        return DeliveryError(
            f"{self._section.url} did not answer within {limit}",
            fault=SinkFault.UNCLEAR if was_connected else SinkFault.AWAY,
        )

    def _unusable(self, error: Exception, *, was_connected: bool) -> DeliveryError:
        section, said = self._section, told(error, self._secrets)
        if isinstance(error, _KEPT_OUT):
            return DeliveryError(
                f"{section.url} does not let us in: {said}",
                fault=SinkFault.CREDENTIALS,
                setting="username" if section.username is None else "password",
            )
        if isinstance(error, ChannelNotFoundEntity):
            setting = "exchange" if section.exchange else "routing_key"
            return DeliveryError(
                f"{section.url}: {said}; make it, or name a queue to be made",
                fault=SinkFault.AWAY, setting=setting,
            )  # fmt: skip
        fault = SinkFault.UNCLEAR if was_connected else SinkFault.AWAY
        if isinstance(error, ChannelPreconditionFailed) and "size" in said:
            fault = SinkFault.REFUSED
        return DeliveryError(f"{section.url} cannot be used: {said}", fault=fault)


async def _exchange(
    channel: AbstractChannel, name: str, *, ensure: bool = False
) -> AbstractExchange:
    return await channel.get_exchange(name, ensure=ensure) if name else channel.default_exchange


def _published(shot: EncodedShot, message: Message) -> aio_pika.Message:
    return aio_pika.Message(
        message.body,
        message_id=shot.key,
        content_type=message.content_type,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        type=SCHEMA_NAME,
        app_id="streamgate",
        headers={
            "idempotency-key": shot.key,
            "schema-version": SCHEMA_VERSION,
            "camera": shot.camera,
            **{name.lower(): value for name, value in headers_of(shot).items()},
            **message.headers("ce-"),
        },
    )


async def _close(connection: AbstractConnection) -> None:
    """Close a connection in any state; a frozen broker would not answer."""
    closing = asyncio.ensure_future(connection.close())
    await asyncio.wait({closing}, timeout=_CLOSE_S)
    if not closing.done():
        closing.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(closing, return_exceptions=True)
