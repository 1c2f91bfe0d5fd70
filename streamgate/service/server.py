"""The gRPC listeners of the service: Unix socket, TCP, and one for probes; all bounded."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import structlog

from streamgate.config.scorer import LimitsSection, ListenSection
from streamgate.errors import StreamgateError
from streamgate.service.guard import TokenGuard
from streamgate.service.requests import CROP_BYTES
from streamgate.telemetry.scorer_metrics import ScorerMetrics

__all__ = ["Listeners", "Ports"]

log = structlog.get_logger(__name__)

_ENVELOPE_BYTES = 64 * 1024
_METADATA_BYTES = 8 * 1024
_HANDSHAKE_S = 10
_PING_EVERY_S = 20
_PING_TIMEOUT_S = 10
_AGE_GRACE_S = 30
_PROBE_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the service can be reached; None where it does not listen."""

    tcp: int | None
    health: int | None
    unix: Path | None


class Listeners:
    """Listens from `start` to `stop`.

    Args:
        batch_size: the most crops of a request, which bounds a message.
    """

    def __init__(
        self,
        listen: ListenSection,
        limits: LimitsSection,
        metrics: ScorerMetrics,
        *,
        batch_size: int,
    ) -> None:
        self._listen = listen
        guards = (
            () if listen.token is None else (TokenGuard(listen.token.get_secret_value(), metrics),)
        )
        most = batch_size * CROP_BYTES + _ENVELOPE_BYTES
        self._server = grpc.aio.server(
            interceptors=guards, options=_options(limits, most, limits.max_connections)
        )
        self._probed = grpc.aio.server(
            options=_options(limits, _ENVELOPE_BYTES, _PROBE_CONNECTIONS)
        )

    async def start(self, service: grpc.GenericRpcHandler, health: grpc.GenericRpcHandler) -> Ports:
        """Listen.

        Raises:
            StreamgateError: an address, a socket or a certificate cannot be used.
        """
        listen = self._listen
        self._server.add_generic_rpc_handlers((service, health))
        self._probed.add_generic_rpc_handlers((health,))
        tcp = None if listen.port is None else await self._add_tcp(listen.port)
        probed = None
        if listen.health_port is not None:
            probed = _add(self._probed, listen.host, listen.health_port, None, "health_port")
        if listen.unix is not None:
            await asyncio.to_thread(_clear_stale, listen.unix)
            self._add_unix(listen.unix, int(listen.unix_mode, 8))
        await self._server.start()
        if probed is not None:
            await self._probed.start()
        ports = Ports(tcp, probed, listen.unix)
        log.info("scorer service listens", host=listen.host, port=tcp, health_port=probed,
                 unix=None if listen.unix is None else str(listen.unix))  # fmt: skip
        return ports

    async def stop(self, grace_s: float) -> None:
        """Close the listeners now and every connection once it has its answers, or at the end."""
        await asyncio.gather(self._server.stop(grace_s), self._probed.stop(grace_s))
        if self._listen.unix is not None:
            with suppress(OSError):
                await asyncio.to_thread(self._listen.unix.unlink)

    async def _add_tcp(self, port: int) -> int:
        listen = self._listen
        credentials = None
        if listen.cert_file is not None and listen.key_file is not None:
            files = (listen.cert_file, listen.key_file, listen.client_ca_file)
            chain, key, authorities = await asyncio.to_thread(_read, files)
            assert chain is not None
            assert key is not None
            credentials = grpc.ssl_server_credentials(
                [(key, chain)], authorities, require_client_auth=authorities is not None
            )
        return _add(self._server, listen.host, port, credentials, "port")

    def _add_unix(self, path: Path, mode: int) -> None:
        # The socket must not exist for a moment with more rights than it shall have.
        before = os.umask(0o777 & ~mode)
        try:
            self._server.add_insecure_port(f"unix:{path}")
        except RuntimeError:
            raise StreamgateError(
                f"listen.unix: cannot listen on {path}; wanted a path in a folder that exists and "
                "that this user may write into"
            ) from None
        finally:
            os.umask(before)


def _add(
    server: grpc.aio.Server,
    host: str,
    port: int,
    credentials: grpc.ServerCredentials | None,
    key: str,
) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError:
        wanted = f"a free listen.{key}, or 0 for any"
        if credentials is not None:
            wanted += ", and a certificate with its key"
        raise StreamgateError(f"listen: cannot listen on {address}; wanted {wanted}") from None


def _options(limits: LimitsSection, most: int, connections: int) -> list[tuple[str, Any]]:
    return [
        # Another process on the same port would take a share of the cameras unnoticed.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", most),
        ("grpc.max_metadata_size", _METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", 2 * _METADATA_BYTES),
        ("grpc.max_concurrent_streams", limits.max_requests_per_connection),
        ("grpc.max_allowed_incoming_connections", connections),
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_S * 1000),
        ("grpc.max_connection_idle_ms", round(limits.idle_s * 1000)),
        ("grpc.max_connection_age_ms", round(limits.max_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", _AGE_GRACE_S * 1000),
        # Half-open connections are found by pings that nobody answers.
        ("grpc.keepalive_time_ms", _PING_EVERY_S * 1000),
        ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_S * 1000),
        # Ours ping as often; who does so more often is sent away.
        ("grpc.http2.min_ping_interval_without_data_ms", _PING_EVERY_S * 500),
    ]


def _read(paths: Sequence[Path | None]) -> list[bytes | None]:
    found: list[bytes | None] = []
    for path in paths:
        try:
            found.append(None if path is None else path.read_bytes())
        except OSError as error:
            raise StreamgateError(f"listen: {path} cannot be read: {error.strerror}") from None
    return found


def _clear_stale(path: Path) -> None:
    """Remove a socket that a killed process has left.

    Raises:
        StreamgateError: somebody listens there, or something else lies there.
    """
    try:
        kind = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(kind):
        raise StreamgateError(f"listen.unix: {path} is no socket; wanted a path that is free")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1.0)
        try:
            asking.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            with suppress(OSError):
                path.unlink()
            return
        except OSError as error:
            raise StreamgateError(f"listen.unix: {path}: {error.strerror or error}") from None
    raise StreamgateError(f"listen.unix: another process listens on {path}; wanted another path")
