"""Best shots from NATS JetStream, by a durable consumer: what was named is acknowledged."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from functools import partial

import structlog

from streamgate.config.tls import certificate_fault, trusting
from streamgate.errors import ConfigError
from streamgate.recognise.consumer import Consumer
from streamgate.recognise.message import message_from_document
from streamgate.recognise.transport import PAUSES, Access, judged
from streamgate.values.backoff import pause_s

try:
    from nats.aio.client import Client
    from nats.errors import AuthorizationError, Error
    from nats.errors import TimeoutError as NothingCameError
    from nats.js.errors import NotFoundError

    from streamgate.delivery.sinks.encrypted_nats import EncryptedClient, NotEncryptedError
except ModuleNotFoundError as error:
    raise ConfigError(
        "reading from nats needs its client library: pip install 'streamgate[nats]'"
    ) from error

__all__ = ["follow"]

log = structlog.get_logger(__name__)

_AT_ONCE = 16
_WAIT_S = 2.0
_TIMEOUT_S = 10.0


async def follow(consumer: Consumer, access: Access, *, subject: str, durable: str) -> None:
    """Read until cancelled; a server that is away is tried again for ever.

    Raises:
        ConfigError: the server does not let us in.
    """
    failures = 0
    while True:
        client, faults = (_EncryptedClient if _is_encrypted(access) else _Client)(), _Faults()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await _connect(client, access, faults)
            faults.connecting = False
            failures = 0
            await _read(client, consumer, access.url, subject=subject, durable=durable)
        except AuthorizationError:
            raise ConfigError(f"{access.url} refuses our user or password") from None
        except NotEncryptedError as error:
            raise ConfigError(f"{access.url}: {error}") from None
        except (Error, OSError, TimeoutError) as error:
            if "authorization" in str(error).lower():
                raise ConfigError(f"{access.url} refuses our user or password") from None
            failures += 1
            wait_s = pause_s(failures, PAUSES, random.random())  # noqa: S311 - spreads retries
            log.warning(
                "nats cannot be used", place=access.url, retry_in_s=round(wait_s, 2),
                error=certificate_fault(error) or type(error).__name__,
            )  # fmt: skip
            await asyncio.sleep(wait_s)
        finally:
            transport = client._transport
            with suppress(Error, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await client.close()
            # After a refused password the client forgets to.
            if transport is not None:
                transport.close()  # type: ignore[no-untyped-call] # not annotated


class _Client(Client):
    """Takes messages whose headers are no text: they are not looked at, and must not end it."""

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            return await super()._process_headers(headers)
        except Exception as error:  # by anybody who may publish
            log.warning("headers of a message cannot be read", error=type(error).__name__)
            return None


class _EncryptedClient(_Client, EncryptedClient):
    """The same, where nothing may go in clear."""


def _is_encrypted(access: Access) -> bool:
    return access.url.startswith("tls://") or access.ca_file is not None


class _Faults:
    """Ends `connect` at the first fault: by itself it would try a server that is down for ever."""

    def __init__(self) -> None:
        self.connecting = True

    async def told(self, error: Exception) -> None:
        if self.connecting:
            raise error


async def _connect(client: Client, access: Access, faults: _Faults) -> None:
    tls = None
    if _is_encrypted(access):
        tls = await asyncio.to_thread(trusting, access.ca_file)
    await client.connect(
        access.url,
        name="streamgate-recognise",
        user=access.username,
        password=access.password,
        tls=tls,
        allow_reconnect=False,
        max_reconnect_attempts=0,
        error_cb=faults.told,
    )


async def _read(
    client: Client, consumer: Consumer, place: str, *, subject: str, durable: str
) -> None:
    try:
        subscription = await client.jetstream().pull_subscribe(subject, durable=durable)
    except NotFoundError:
        # It is made by the first camera that delivers, or by a person.
        log.warning("no stream listens to the subject yet", place=place, subject=subject)
        raise
    log.info("waits for best shots", place=place, subject=subject)
    while client.is_connected:
        try:
            messages = await subscription.fetch(_AT_ONCE, timeout=_WAIT_S)
        except NothingCameError:
            continue
        for message in messages:
            await judged(consumer, partial(message_from_document, message.data), "nats")
            await message.ack()
    raise ConnectionResetError
