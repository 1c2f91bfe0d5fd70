"""Chooses the server of a camera's lease; its client library is imported when it is used."""

from __future__ import annotations

import socket

from streamgate.config import (
    KubernetesLeaseSection,
    LeaseSection,
    NatsLeaseSection,
    RedisLeaseSection,
)
from streamgate.delivery.lease.keeper import LeaseKeeper
from streamgate.delivery.lease.record import RecordLease
from streamgate.ports import LeaseStore
from streamgate.telemetry.metrics import Metrics

__all__ = ["build_keeper", "build_lease_store"]


def build_keeper(
    section: LeaseSection | None, camera: str, boot_id: str, metrics: Metrics
) -> LeaseKeeper | None:
    """Make the keeper of a camera's lease, None where it needs none.

    Raises:
        ConfigError: the client library is not installed; the message says which extra brings it.
    """
    if section is None:
        return None
    # A name that people recognise, and a part that no other process has.
    holder = f"{socket.gethostname()[:60].replace(' ', '-')}/{boot_id}"
    return LeaseKeeper(build_lease_store(section, camera, holder), section.ttl_s, metrics=metrics)


def build_lease_store(section: LeaseSection, camera: str, holder: str) -> LeaseStore:
    """Make the client of a lease's server; it connects when it is first used.

    Args:
        holder: who we are, without a space, different for each process.

    Raises:
        ConfigError: the client library is not installed; the message says which extra brings it.
    """
    match section:
        case RedisLeaseSection():
            from streamgate.delivery.lease.redis import RedisLease  # noqa: PLC0415 - an extra

            return RedisLease(section, camera, holder)
        case NatsLeaseSection():
            from streamgate.delivery.lease.nats import NatsRegister  # noqa: PLC0415 - an extra

            return RecordLease(NatsRegister(section, camera), holder, section.ttl_s)
        case KubernetesLeaseSection():
            from streamgate.delivery.lease.kubernetes import KubernetesRegister  # noqa: PLC0415

            return RecordLease(KubernetesRegister(section, camera), holder, section.ttl_s)
