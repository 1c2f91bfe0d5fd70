"""Best shots into a Redis stream; the entry's id in the answer acknowledges."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from streamgate.config import RedisSinkSection
from streamgate.delivery.lease.marks import headers_of
from streamgate.delivery.sinks.secure import plain, tls_context, told
from streamgate.errors import ConfigError, DeliveryError, ProbeError, SinkFault
from streamgate.values import EncodedShot

try:
    from redis.asyncio import Redis, SSLConnection
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
except ModuleNotFoundError as error:
    raise ConfigError(
        "a redis sink needs its client library: pip install 'streamgate[redis]'"
    ) from error

__all__ = ["RedisSink", "trust"]

# What the server says of this one entry; everything else it says is about its own state.
_REFUSALS = ("Protocol error", "wrong number of arguments", "Invalid stream ID")


def trust(client: Redis, tls: ssl.SSLContext) -> None:
    """Let a client connect with our context; its own would trust the system's authorities too."""
    # The URL decides the class, whatever is asked for beside it.
    client.connection_pool.connection_class = _Connection
    client.connection_pool.connection_kwargs["tls"] = tls


class _Connection(SSLConnection):
    def __init__(self, *, tls: ssl.SSLContext, **settings: Any) -> None:
        super().__init__(**settings)
        self.ssl_context.context = tls


class RedisSink:
    """Adds an entry with the fields key, metadata, crop, crop_type, context and context_type."""

    def __init__(self, section: RedisSinkSection) -> None:
        self.name = section.name
        self._section = section
        self._secrets = [section.password]
        self._client: Redis | None = None
        self._opening = asyncio.Lock()

    async def deliver(self, shot: EncodedShot) -> None:
        """Add once.

        Raises:
            DeliveryError: the server has not taken it.
        """
        section = self._section
        try:
            client = await self._connected()
            await client.xadd(
                section.stream, _fields(shot), maxlen=section.max_length, approximate=True
            )
        except (AuthenticationError, NoPermissionError) as error:
            raise DeliveryError(
                f"{section.url} refuses our user: {self._said(error)}",
                fault=SinkFault.CREDENTIALS,
                setting="password",
            ) from None
        except ResponseError as error:
            said = self._said(error)
            refused = any(text in said for text in _REFUSALS)
            raise DeliveryError(
                f"{section.url} refuses to add to {section.stream}: {said}",
                fault=SinkFault.REFUSED if refused else SinkFault.UNCLEAR,
            ) from None
        except (RedisError, OSError) as error:
            said = self._said(error)
            raise DeliveryError(
                f"{section.url} cannot be used: {said}",
                fault=SinkFault.AWAY if "connecting to" in said else SinkFault.UNCLEAR,
            ) from None

    async def probe(self, place: str) -> str:
        """Ask what the stream's key holds; see `ProbedSink`."""
        stream = self._section.stream
        try:
            kind = await (await self._connected()).type(stream)
        except (AuthenticationError, ResponseError) as error:
            raise ProbeError(
                self._said(error), f"check {place}.username and {place}.password"
            ) from None
        if kind not in (b"none", b"stream"):
            raise ProbeError(
                f"the key {stream} holds something else", f"choose another {place}.stream"
            )
        return f"answers; the stream {stream} " + (
            "is there" if kind == b"stream" else "will be made"
        )

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _connected(self) -> Redis:
        async with self._opening:
            if self._client is None:
                self._client = await self._made()
            return self._client

    async def _made(self) -> Redis:
        section = self._section
        client: Redis = Redis.from_url(
            section.url,
            username=section.username,
            password=plain(section.password),
            socket_timeout=section.timeout_s,
            socket_connect_timeout=section.timeout_s,
            # The worker retries, with pauses that its config sets.
            retry=Retry(NoBackoff(), 0),
            # Not bounded here: a reload may raise how many are under way.
        )
        if section.url.startswith("rediss://"):
            trust(client, await asyncio.to_thread(tls_context, section))
        return client

    def _said(self, error: Exception) -> str:
        return told(error, self._secrets)


def _fields(shot: EncodedShot) -> dict[Any, Any]:
    fields: dict[Any, Any] = {
        "key": shot.key,
        "metadata": shot.metadata,
        "crop": shot.crop.data,
        "crop_type": shot.crop.media_type,
    }
    # By the names of the headers, in the style of the other fields: epoch, drained.
    fields |= {name.rpartition("-")[2].lower(): value for name, value in headers_of(shot).items()}
    if shot.context is not None:
        fields["context"] = shot.context.data
        fields["context_type"] = shot.context.media_type
    return fields
