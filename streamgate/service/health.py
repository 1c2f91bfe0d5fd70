"""gRPC's own health checking: `Check` and `Watch`, whose answer follows the engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import grpc
from google.protobuf.message import DecodeError

from streamgate.quality.remote.messages import (
    HEALTH_SERVICE,
    SERVICE,
    HealthCheckRequest,
    HealthCheckResponse,
)

__all__ = ["SERVING", "HealthService"]

SERVING = 1
_NOT_SERVING = 2
_UNKNOWN_SERVICE = 3
_KNOWN = ("", SERVICE)
_LOOK_EVERY_S = 0.5


class HealthService:
    """Answers health checks; they need no token, and tell nothing but whether requests are taken.

    Args:
        is_serving: whether they are.
    """

    def __init__(self, is_serving: Callable[[], bool]) -> None:
        self._is_serving = is_serving

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the service for gRPC."""
        return grpc.method_handlers_generic_handler(
            HEALTH_SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
            },
        )

    async def _check(self, data: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        status = await self._status(data, context)
        if status == _UNKNOWN_SERVICE:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return _encoded(status)

    async def _watch(
        self, data: bytes, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        told = None
        # Until the client goes, which its connection's greatest age bounds.
        while True:
            status = await self._status(data, context)
            if status != told:
                told = status
                yield _encoded(status)
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _status(self, data: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> int:
        try:
            service = HealthCheckRequest.FromString(data).service
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "wanted a HealthCheckRequest")
        if service not in _KNOWN:
            return _UNKNOWN_SERVICE
        return SERVING if self._is_serving() else _NOT_SERVING


def _encoded(status: int) -> bytes:
    encoded: bytes = HealthCheckResponse(status=status).SerializeToString()
    return encoded
