"""A lease's record in a key-value bucket of NATS JetStream."""

from __future__ import annotations

import json

from streamgate.config import NatsLeaseSection, NatsSinkSection
from streamgate.delivery.lease.record import Record
from streamgate.delivery.sinks.nats import NatsSink
from streamgate.delivery.sinks.secure import told
from streamgate.errors import DeliveryError, LeaseError

try:
    from nats.errors import Error
    from nats.js.api import KeyValueConfig
    from nats.js.errors import (
        BucketNotFoundError,
        KeyNotFoundError,
        KeyWrongLastSequenceError,
    )
    from nats.js.kv import KeyValue
except ModuleNotFoundError as error:  # pragma: no cover - the sink's import has said so
    raise AssertionError from error

__all__ = ["NatsRegister"]


class NatsRegister:
    """A `Register`; it connects as the nats sink does."""

    def __init__(self, section: NatsLeaseSection, camera: str) -> None:
        self._section = section
        self._key = camera
        self._secrets = [section.password, section.token]
        self._link = NatsSink(
            NatsSinkSection(
                kind="nats",
                url=section.url,
                username=section.username,
                password=section.password,
                token=section.token,
                ca_file=section.ca_file,
                client_cert_file=section.client_cert_file,
                client_key_file=section.client_key_file,
                timeout_s=section.ttl_s,
            )
        )

    async def read(self) -> Record | None:
        """The record, None where there is none."""
        try:
            entry = await (await self._bucket()).get(self._key)
        except KeyNotFoundError:
            return None
        except (Error, TimeoutError, OSError) as error:
            raise self._away(error) from None
        try:
            said = json.loads(entry.value or b"")
            return Record(
                str(said["holder"]), int(said["epoch"]), float(said["ttl_s"]), str(entry.revision)
            )
        except (ValueError, LookupError, TypeError):
            raise LeaseError(
                f"{self._section.url}: {self._key} in the bucket {self._section.bucket} is no "
                "lease; name another bucket in lease.bucket"
            ) from None

    async def write(self, record: Record, before: Record | None) -> Record | None:
        """Put a record in the place of one that was read; None where that has changed since."""
        said = {"holder": record.holder, "epoch": record.epoch, "ttl_s": record.ttl_s}
        value = json.dumps(said).encode()
        try:
            bucket = await self._bucket()
            if before is None:
                revision = await bucket.create(self._key, value)
            else:
                revision = await bucket.update(self._key, value, last=int(before.version))
        except KeyWrongLastSequenceError:
            return None
        except (Error, TimeoutError, OSError) as error:
            raise self._away(error) from None
        return Record(record.holder, record.epoch, record.ttl_s, str(revision))

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()

    async def _bucket(self) -> KeyValue:
        try:
            client = await self._link._connected()
        except DeliveryError as error:
            raise LeaseError(str(error)) from None
        jetstream = client.jetstream(timeout=self._section.ttl_s)
        try:
            return await jetstream.key_value(self._section.bucket)
        except BucketNotFoundError:
            return await jetstream.create_key_value(
                KeyValueConfig(bucket=self._section.bucket, history=1)
            )

    def _away(self, error: Exception) -> LeaseError:
        return LeaseError(f"{self._section.url}: {told(error, self._secrets)}")
