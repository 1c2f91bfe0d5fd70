"""One scorer service as a client sees it: a connection, its calls, and what their failures mean."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from streamgate.config import QualitySection
from streamgate.config.service_address import ServiceAddress, parse_address
from streamgate.config.tls import trusting
from streamgate.errors import ModelError, ScoreError
from streamgate.quality.remote.messages import (
    SERVICE,
    ModelMetadataRequest,
    ModelReadyRequest,
    ModelReadyResponse,
)
from streamgate.quality.remote.tensors import TOO_LATE, RemoteModel, read_metadata
from streamgate.values.reasons import ServiceFault
from streamgate.values.redaction import redact

__all__ = ["Access", "Endpoint", "EndpointError"]

_MOST_ANSWER_BYTES = 8 * 1024 * 1024
_PING_EVERY_MS = 20_000
_PING_TIMEOUT_MS = 5_000
_RECONNECT_MS = 200
_CONNECT_MS = 2_000
_SLOWEST_RECONNECT_MS = 5_000
_LONGEST_TEXT = 200
_FAULTS: Mapping[grpc.StatusCode, ServiceFault] = {
    grpc.StatusCode.UNAVAILABLE: ServiceFault.UNREACHABLE,
    grpc.StatusCode.CANCELLED: ServiceFault.UNREACHABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: ServiceFault.TIMEOUT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ServiceFault.BUSY,
    grpc.StatusCode.UNAUTHENTICATED: ServiceFault.NOT_ADMITTED,
    grpc.StatusCode.PERMISSION_DENIED: ServiceFault.NOT_ADMITTED,
    grpc.StatusCode.FAILED_PRECONDITION: ServiceFault.OTHER_MODEL,
    grpc.StatusCode.NOT_FOUND: ServiceFault.OTHER_MODEL,
}


class EndpointError(ScoreError):
    """A service gave no answer that can be used.

    Attributes:
        fault: why.
    """

    def __init__(self, fault: ServiceFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Access:
    """What proves to a service that this camera may use it, and to the camera that it is right.

    Attributes:
        metadata: of every call.
        credentials: of encrypted connections; None where there are none.
    """

    metadata: tuple[tuple[str, str], ...]
    credentials: grpc.ChannelCredentials | None

    @classmethod
    def of(cls, settings: QualitySection) -> Access:
        """Read the files that the settings name; call it off the event loop.

        Raises:
            ModelError: a file cannot be used.
        """
        token = settings.service_token
        metadata = (
            () if token is None else (("authorization", f"Bearer {token.get_secret_value()}"),)
        )
        encrypted = any(parse_address(text).tls for text in settings.service)
        return cls(metadata, _credentials(settings) if encrypted else None)


def _credentials(settings: QualitySection) -> grpc.ChannelCredentials:
    authorities, chain = settings.service_ca_file, settings.service_cert_file
    key = settings.service_key_file or chain
    # gRPC says nothing of a file that it cannot use; OpenSSL does.
    trusting(authorities, chain, key)
    system = ssl.get_default_verify_paths().cafile
    if authorities is None and system is not None:
        authorities = Path(system)
    try:
        return grpc.ssl_channel_credentials(
            root_certificates=None if authorities is None else authorities.read_bytes(),
            private_key=None if key is None else key.read_bytes(),
            certificate_chain=None if chain is None else chain.read_bytes(),
        )
    except OSError as error:
        raise ModelError(f"quality.service: a TLS file cannot be read: {error.strerror}") from None


class Endpoint:
    """The service at one address; belongs to one event loop."""

    def __init__(self, address: ServiceAddress, access: Access) -> None:
        self.address = address
        self._metadata = access.metadata
        options: list[tuple[str, Any]] = [
            # A proxy of the environment is for the web, not for a service that is named here.
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", _MOST_ANSWER_BYTES),
            ("grpc.keepalive_time_ms", _PING_EVERY_MS),
            ("grpc.keepalive_timeout_ms", _PING_TIMEOUT_MS),
            ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS),
            # Which is also how long a connection may take to be made.
            ("grpc.min_reconnect_backoff_ms", _CONNECT_MS),
            ("grpc.max_reconnect_backoff_ms", _SLOWEST_RECONNECT_MS),
            # A name with several addresses, such as a headless service, is used in turn.
            ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
        ]
        if address.tls:
            assert access.credentials is not None
            self._channel = grpc.aio.secure_channel(address.target, access.credentials, options)
        else:
            self._channel = grpc.aio.insecure_channel(address.target, options)

    async def describe(self, model: str, *, timeout_s: float) -> RemoteModel:
        """Ask what the service scores with, and whether it does.

        Raises:
            EndpointError: it did not answer, or its model is of no use.
        """
        asked = ModelMetadataRequest(name=model).SerializeToString()
        told = await self._call("ModelMetadata", asked, timeout_s)
        ready = await self._call(
            "ModelReady", ModelReadyRequest(name=model).SerializeToString(), timeout_s
        )
        try:
            found = read_metadata(told)
        except ScoreError as error:
            raise EndpointError(ServiceFault.OTHER_MODEL, str(error)) from None
        if not ModelReadyResponse.FromString(ready).ready:
            raise EndpointError(ServiceFault.UNREACHABLE, "its model is not ready")
        return found

    async def infer(self, request: bytes, *, timeout_s: float) -> bytes:
        """Have crops scored.

        Raises:
            EndpointError: they were not.
        """
        return await self._call("ModelInfer", request, timeout_s)

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def _call(self, method: str, request: bytes, timeout_s: float) -> bytes:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            f"/{SERVICE}/{method}"
        )
        try:
            return await call(request, timeout=timeout_s, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise _fault_of(error) from None


def _fault_of(error: grpc.aio.AioRpcError) -> EndpointError:
    code, details = error.code(), error.details() or ""
    fault = _FAULTS.get(code, ServiceFault.FAILED)
    if fault is ServiceFault.TIMEOUT and details == TOO_LATE:
        fault = ServiceFault.BUSY
    text = " ".join(redact(details).split())[:_LONGEST_TEXT]
    return EndpointError(fault, f"{code.name}: {text}" if text else code.name)
