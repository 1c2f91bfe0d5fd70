"""Best shots into a Kafka topic; the acknowledgement of all replicas in sync acknowledges."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import structlog

from streamgate.config import KafkaSinkSection
from streamgate.delivery.cloudevents import Message, message_of
from streamgate.delivery.lease.marks import headers_of
from streamgate.delivery.sinks.secure import clean, plain, tls_context, told
from streamgate.errors import ConfigError, DeliveryError, ProbeError, SinkFault
from streamgate.values import EncodedShot

try:
    from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped] # not annotated
    from aiokafka.errors import (  # type: ignore[import-untyped] # not annotated
        AuthenticationFailedError,
        ClusterAuthorizationFailedError,
        InvalidMessageError,
        KafkaConnectionError,
        KafkaError,
        MessageSizeTooLargeError,
        RecordListTooLargeError,
        SaslAuthenticationFailed,
        TopicAuthorizationFailedError,
        UnknownTopicOrPartitionError,
        UnsupportedSaslMechanismError,
    )
except ModuleNotFoundError as error:
    raise ConfigError(
        "a kafka sink needs its client library: pip install 'streamgate[kafka]'"
    ) from error

__all__ = ["KafkaSink"]

log = structlog.get_logger(__name__)

_REFUSALS = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidMessageError)
_KEPT_OUT = (
    AuthenticationFailedError, SaslAuthenticationFailed, UnsupportedSaslMechanismError,
    TopicAuthorizationFailedError, ClusterAuthorizationFailedError,
)  # fmt: skip
_CLOSE_S = 1.0

_told: ContextVar[list[str] | None] = ContextVar("kafka_told", default=None)


class _Listener(logging.Handler):
    """Hears what the library says of a connection: it raises less than it logs.

    Its lines would reach the log raw, and once for each attempt; what counts is in our own.
    """

    def emit(self, record: logging.LogRecord) -> None:
        said = _told.get()
        if said is not None:
            said.append(record.getMessage())


_library = logging.getLogger("aiokafka")
_library.handlers = [_Listener(logging.WARNING)]
_library.propagate = False


class KafkaSink:
    """Sends the JSON document with its pictures inside; a track's messages share a partition."""

    def __init__(self, section: KafkaSinkSection) -> None:
        self.name = section.name
        self._section = section
        self._secrets = [section.password]
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()
        self._place = ", ".join(section.servers)
        self._is_idempotent = section.idempotent

    async def deliver(self, shot: EncodedShot) -> None:
        """Send once.

        Raises:
            DeliveryError: the brokers have not taken it.
        """
        section = self._section
        message = await asyncio.to_thread(message_of, shot, section)
        document = message.body
        if len(document) > section.max_message_bytes:
            raise self._too_large(document, "more than max_message_bytes allows")
        partition_by = f"{shot.camera}-{shot.boot_id}-{shot.track_id}".encode()
        try:
            async with asyncio.timeout(section.timeout_s):
                producer = await self._let_in()
                await producer.send_and_wait(
                    section.topic,
                    document,
                    key=partition_by,
                    headers=_headers(shot, message),
                )
        except TimeoutError:
            was_connected = self._producer is not None
            await self.close()
            limit = f"{section.timeout_s:g} s"
            raise DeliveryError(
                f"{self._place} did not answer within {limit}",
                fault=SinkFault.UNCLEAR if was_connected else SinkFault.AWAY,
            ) from None
        except _REFUSALS as error:
            raise self._too_large(document, self._said(error)) from None
        except (KafkaError, OSError) as error:
            await self.close()
            raise self._unusable(error) from None

    async def probe(self, place: str) -> str:
        """Ask whether the topic is there; see `ProbedSink`."""
        from aiokafka.admin import (  # type: ignore[import-untyped] # noqa: PLC0415 # rarely asked
            AIOKafkaAdminClient,
        )

        topic = self._section.topic
        admin = AIOKafkaAdminClient(client_id="streamgate-check", **await self._access())
        try:
            await admin.start()
            topics: list[str] = await admin.list_topics()
        finally:
            # It may not have begun.
            with suppress(Exception):
                await admin.close()
        if topic not in topics:
            raise ProbeError(
                f"answers, but there is no topic {topic}",
                f"make it, or check {place}.topic; a broker that makes topics by itself needs "
                "nothing",
            )
        return f"answers; the topic {topic} is there"

    async def close(self) -> None:
        """Disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer)

    async def _let_in(self) -> AIOKafkaProducer:
        """The producer, connected.

        Raises:
            DeliveryError, TimeoutError: it cannot be.
        """
        said: list[str] = []
        token = _told.set(said)
        try:
            return await self._connected()
        except (KafkaError, OSError) as error:
            raise self._not_let_in(error, said) from None
        except (KeyError, ValueError):
            # So the library takes it that a server ends the exchange of proofs early.
            raise self._kept_out("it does not take our password") from None
        finally:
            _told.reset(token)

    async def _connected(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                self._producer = await self._started()
            return self._producer

    async def _started(self) -> AIOKafkaProducer:
        if not self._is_idempotent:
            return await self._start(idempotent=False)
        try:
            return await self._start(idempotent=True)
        except (KafkaConnectionError, *_KEPT_OUT) as error:
            if not isinstance(error, ClusterAuthorizationFailedError):
                raise
        except KafkaError:
            pass
        # The connection stands: what was refused is the idempotent producer's number. Kafka wants
        # a right of its own for it (IdempotentWrite), and not every broker knows it.
        producer = await self._start(idempotent=False)
        self._is_idempotent = False
        log.warning(
            "kafka refuses the idempotent producer, which is switched off; consumers tell "
            "repetitions by the idempotency key",
            sink=self.name, place=self._place, remedy="allow IdempotentWrite, or set idempotent: "
            "false",
        )  # fmt: skip
        return producer

    async def _start(self, *, idempotent: bool) -> AIOKafkaProducer:
        producer = await self._made(idempotent=idempotent)
        try:
            await producer.start()
        except BaseException:
            await _stop(producer)
            raise
        return producer

    async def _made(self, *, idempotent: bool) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            client_id="streamgate",
            acks="all",
            enable_idempotence=idempotent,
            max_request_size=self._section.max_message_bytes,
            **await self._access(),
        )

    async def _access(self) -> dict[str, Any]:
        """How any client of the library reaches the brokers."""
        section = self._section
        tls = await asyncio.to_thread(tls_context, section) if section.tls else None
        signed_in = section.username is not None
        return {
            "bootstrap_servers": list(section.servers),
            "request_timeout_ms": round(section.timeout_s * 1000),
            "security_protocol": ("SASL_" if signed_in else "")
            + ("SSL" if section.tls else "PLAINTEXT"),
            "ssl_context": tls,
            "sasl_mechanism": section.mechanism if signed_in else "PLAIN",
            "sasl_plain_username": section.username,
            "sasl_plain_password": plain(section.password),
        }

    def _too_large(self, document: bytes, said: str) -> DeliveryError:
        return DeliveryError(
            f"{self._place} refuses {len(document)} bytes: {said}", fault=SinkFault.REFUSED
        )

    def _not_let_in(self, error: Exception, said: list[str]) -> DeliveryError:
        # Why a server was not used is only logged.
        told = clean(said[-1], self._secrets) if said else self._said(error)
        words = ("auth", "sasl", "credential", "password")
        if isinstance(error, _KEPT_OUT) or any(word in told.lower() for word in words):
            return self._kept_out(told)
        # Some servers only hang up on a wrong password.
        may_be_ours = self._section.username is not None and "closed" in told
        return DeliveryError(
            f"{self._place} cannot be used: {told}",
            fault=SinkFault.AWAY,
            setting="password" if may_be_ours else None,
        )

    def _kept_out(self, told: str) -> DeliveryError:
        return DeliveryError(
            f"{self._place} does not let us in: {told}",
            fault=SinkFault.CREDENTIALS,
            setting="username" if self._section.username is None else "password",
        )

    def _unusable(self, error: Exception) -> DeliveryError:
        said = f"{self._place} cannot be used: {self._said(error)}"
        if isinstance(error, _KEPT_OUT):
            return DeliveryError(said, fault=SinkFault.CREDENTIALS, setting="username")
        if isinstance(error, UnknownTopicOrPartitionError):
            said += f"; make the topic {self._section.topic}"
            return DeliveryError(said, fault=SinkFault.AWAY, setting="topic")
        away = isinstance(error, KafkaConnectionError)
        return DeliveryError(said, fault=SinkFault.AWAY if away else SinkFault.UNCLEAR)

    def _said(self, error: Exception) -> str:
        return told(error, self._secrets)


def _headers(shot: EncodedShot, message: Message) -> list[tuple[str, bytes]]:
    marks = {name.lower(): value for name, value in headers_of(shot).items()}
    named = {"idempotency-key": shot.key, **marks, **message.headers("ce_")}
    if message.content_type != "application/json" or message.attributes:
        named["content-type"] = message.content_type
    return [(name, value.encode()) for name, value in named.items()]


async def _stop(producer: AIOKafkaProducer) -> None:
    """Stop a producer in any state; one whose broker is frozen could not flush what it holds."""
    stopping = asyncio.ensure_future(producer.stop())
    await asyncio.wait({stopping}, timeout=_CLOSE_S)
    if not stopping.done():
        stopping.cancel()
    # It raises what its own failed task has raised before.
    await asyncio.gather(stopping, return_exceptions=True)
