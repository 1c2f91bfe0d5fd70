"""Best shots into a Kafka topic; the acknowledgement of all replicas in sync acknowledges."""

from __future__ import annotations

import asyncio

from streamgate.config import KafkaSinkSection
from streamgate.delivery.payload import single_document
from streamgate.delivery.sinks.secure import plain, tls_context, told
from streamgate.errors import ConfigError, DeliveryError
from streamgate.values import EncodedShot

try:
    from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped] # not annotated
    from aiokafka.errors import (  # type: ignore[import-untyped] # not annotated
        InvalidMessageError,
        KafkaError,
        MessageSizeTooLargeError,
        RecordListTooLargeError,
    )
except ModuleNotFoundError as error:
    raise ConfigError(
        "a kafka sink needs its client library: pip install 'streamgate[kafka]'"
    ) from error

__all__ = ["KafkaSink"]

_REFUSALS = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidMessageError)


class KafkaSink:
    """Sends the JSON document with its pictures inside; a track's messages share a partition."""

    def __init__(self, section: KafkaSinkSection) -> None:
        self.name = section.name
        self._section = section
        self._secrets = [section.password]
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()
        self._place = ", ".join(section.servers)

    async def deliver(self, shot: EncodedShot) -> None:
        """Send once.

        Raises:
            DeliveryError: the brokers have not taken it.
        """
        section = self._section
        document = await asyncio.to_thread(single_document, shot)
        partition_by = f"{shot.camera}-{shot.boot_id}-{shot.track_id}".encode()
        try:
            async with asyncio.timeout(section.timeout_s):
                producer = await self._connected()
                await producer.send_and_wait(
                    section.topic,
                    document,
                    key=partition_by,
                    headers=[("idempotency-key", shot.key.encode())],
                )
        except TimeoutError:
            await self.close()
            limit = f"{section.timeout_s:g} s"
            raise DeliveryError(f"{self._place} did not answer within {limit}") from None
        except _REFUSALS as error:
            raise DeliveryError(
                f"{self._place} refuses {len(document)} bytes: {self._said(error)}", permanent=True
            ) from None
        except (KafkaError, OSError) as error:
            await self.close()
            raise DeliveryError(f"{self._place} cannot be used: {self._said(error)}") from None

    async def close(self) -> None:
        """Disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def _connected(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                producer = await self._made()
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def _made(self) -> AIOKafkaProducer:
        section = self._section
        tls = await asyncio.to_thread(tls_context, section) if section.tls else None
        signed_in = section.username is not None
        protocol = ("SASL_" if signed_in else "") + ("SSL" if section.tls else "PLAINTEXT")
        return AIOKafkaProducer(
            bootstrap_servers=list(section.servers),
            client_id="streamgate",
            acks="all",
            enable_idempotence=True,
            max_request_size=section.max_message_bytes,
            request_timeout_ms=round(section.timeout_s * 1000),
            security_protocol=protocol,
            ssl_context=tls,
            sasl_mechanism=section.mechanism if signed_in else "PLAIN",
            sasl_plain_username=section.username,
            sasl_plain_password=plain(section.password),
        )

    def _said(self, error: Exception) -> str:
        return told(error, self._secrets)
