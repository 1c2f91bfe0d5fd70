"""Who may use the service: a bearer token, looked at before a message is."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from streamgate.quality.remote.messages import HEALTH_SERVICE
from streamgate.telemetry.scorer_metrics import ScorerMetrics
from streamgate.values.reasons import ServiceRefusal

__all__ = ["PENALTY_S", "TokenGuard"]

PENALTY_S = 0.05
"""A refused request keeps one of its connection's places for at least so long, which bounds how
often a client can be refused."""


class TokenGuard(grpc.aio.ServerInterceptor):
    """Refuses requests without the token; health checks need none.

    Args:
        token: that every request must carry as `authorization: Bearer TOKEN`.
    """

    def __init__(self, token: str, metrics: ScorerMetrics) -> None:
        self._token = token.encode()
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the handler of a request, or one that refuses it."""
        method = handler_call_details.method
        if method.startswith(f"/{HEALTH_SERVICE}/") or self._is_let_in(handler_call_details):
            return await continuation(handler_call_details)
        return grpc.unary_unary_rpc_method_handler(self._refuse)

    def _is_let_in(self, details: grpc.HandlerCallDetails) -> bool:
        metadata: Any = details.invocation_metadata
        for key, value in metadata or ():
            if key == "authorization":
                given = value if isinstance(value, bytes) else value.encode("utf-8", "replace")
                scheme, _, token = given.partition(b" ")
                # In constant time, so that the time of an answer tells nothing of the token.
                return scheme.lower() == b"bearer" and hmac.compare_digest(
                    token.strip(), self._token
                )
        return False

    async def _refuse(self, _data: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._metrics.refused.labels(ServiceRefusal.UNAUTHENTICATED).inc()
        await asyncio.sleep(PENALTY_S)
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "a bearer token is wanted")
