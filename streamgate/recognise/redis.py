"""Best shots from a Redis stream, by a consumer group: what was named is acknowledged.

What this consumer was given and did not acknowledge, because it was stopped, it is given first when
it comes back. Several recognisers of one group share the work if each has a name of its own.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Any

import structlog

from streamgate.config.tls import certificate_fault, trusting
from streamgate.errors import ConfigError
from streamgate.recognise.consumer import Consumer
from streamgate.recognise.message import Message, message_from_parts
from streamgate.recognise.transport import PAUSES, Access, judged
from streamgate.values.backoff import pause_s

try:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import AuthenticationError, RedisError, ResponseError

    from streamgate.delivery.sinks.redis import trust
except ModuleNotFoundError as error:
    raise ConfigError(
        "reading from redis needs its client library: pip install 'streamgate[redis]'"
    ) from error

__all__ = ["follow"]

log = structlog.get_logger(__name__)

_AT_ONCE = 16
_BLOCK_MS = 2000
_TIMEOUT_S = 10.0

Fields = dict[bytes, bytes]


async def follow(consumer: Consumer, access: Access, *, stream: str, group: str, name: str) -> None:
    """Read until cancelled; a server that is away is tried again for ever.

    Raises:
        ConfigError: the server does not let us in.
    """
    failures = 0
    while True:
        client = await _client(access)
        try:
            await _make_group(client, stream, group)
            log.info("waits for best shots", place=access.url, stream=stream)
            failures = 0
            await _read(client, consumer, stream=stream, group=group, name=name)
        except AuthenticationError:
            raise ConfigError(f"{access.url} refuses our user or password") from None
        except (RedisError, OSError) as error:
            failures += 1
            wait_s = pause_s(failures, PAUSES, random.random())  # noqa: S311 - spreads retries
            log.warning(
                "redis cannot be used", place=access.url, retry_in_s=round(wait_s, 2),
                error=certificate_fault(error) or type(error).__name__,
            )  # fmt: skip
            await asyncio.sleep(wait_s)
        finally:
            await client.aclose()


async def _client(access: Access) -> Redis:
    client: Redis = Redis.from_url(
        access.url,
        username=access.username,
        password=access.password,
        # Longer than the server may keep us waiting for news.
        socket_timeout=_TIMEOUT_S,
        socket_connect_timeout=_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    if access.url.startswith("rediss://"):
        trust(client, await asyncio.to_thread(trusting, access.ca_file))
    return client


async def _make_group(client: Redis, stream: str, group: str) -> None:
    try:
        # From the beginning: what came before we were there has waited for us.
        await client.xgroup_create(stream, group, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise


async def _read(client: Redis, consumer: Consumer, *, stream: str, group: str, name: str) -> None:
    # "0" asks for what we were given and have not acknowledged, ">" for what nobody was given.
    since = "0"
    while True:
        answer: Any = await client.xreadgroup(
            group, name, {stream: since}, count=_AT_ONCE, block=_BLOCK_MS
        )
        entries: list[tuple[bytes, Fields]] = answer[0][1] if answer else []
        if since == "0" and not entries:
            since = ">"
        for number, fields in entries:
            # The stream's limit may have deleted an entry that we have not read.
            if fields:
                await judged(consumer, partial(_message, fields), "redis")
            await client.xack(stream, group, number)


def _message(fields: Fields) -> Message:
    return message_from_parts(fields.get(b"metadata", b""), fields.get(b"crop", b""))
