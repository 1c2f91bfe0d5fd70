"""The methods of the Open Inference Protocol."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from streamgate.config import ScorerConfig
from streamgate.quality.remote.messages import (
    SERVICE,
    ModelMetadataRequest,
    ModelReadyRequest,
    ModelReadyResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)
from streamgate.service.guard import PENALTY_S
from streamgate.service.requests import (
    EXTENSIONS,
    RefusedError,
    ServedModel,
    describe,
    encode_scores,
    read_call,
    require_model,
)
from streamgate.service.shared_engine import EngineState, SharedEngine
from streamgate.telemetry.scorer_metrics import ScorerMetrics
from streamgate.values.reasons import ServiceRefusal, ServiceStage
from streamgate.version import __version__

__all__ = ["InferenceService"]

_Context = grpc.aio.ServicerContext[bytes, bytes]
_UNNAMED = "unnamed"


class InferenceService:
    """Answers cameras.

    Messages are read here and not by gRPC, which answers what it cannot read with a status that
    says nothing of the cause.
    """

    def __init__(
        self,
        engine: SharedEngine,
        model: ServedModel,
        config: ScorerConfig,
        metrics: ScorerMetrics,
    ) -> None:
        self._engine = engine
        self._model = model
        self._queue = config.queue
        self._metrics = metrics

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the service for gRPC."""
        methods = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._infer,
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {name: grpc.unary_unary_rpc_method_handler(call) for name, call in methods.items()},
        )

    async def _live(self, _data: bytes, _context: _Context) -> bytes:
        live = self._engine.state is not EngineState.DEAD
        return _encoded(ServerLiveResponse(live=live))

    async def _ready(self, _data: bytes, _context: _Context) -> bytes:
        return _encoded(ServerReadyResponse(ready=self._engine.state is EngineState.SERVING))

    async def _model_ready(self, data: bytes, context: _Context) -> bytes:
        await self._require(ModelReadyRequest, data, context)
        return _encoded(ModelReadyResponse(ready=self._engine.state is EngineState.SERVING))

    async def _server_metadata(self, _data: bytes, _context: _Context) -> bytes:
        return _encoded(
            ServerMetadataResponse(name="streamgate", version=__version__, extensions=EXTENSIONS)
        )

    async def _model_metadata(self, data: bytes, context: _Context) -> bytes:
        await self._require(ModelMetadataRequest, data, context)
        return describe(self._model)

    async def _infer(self, data: bytes, context: _Context) -> bytes:
        started = time.monotonic()
        try:
            call = read_call(data, self._model)
            # A request that is refused must not hold its message during the penalty.
            data = b""
            deadline = started + self._allowed_s(call.deadline_ms, context)
            key = (_host_of(context.peer()), call.camera)
            scores = await self._engine.score(key, call.crops, deadline)
            # Within `try`, since a bug here must have a status of its own as well.
            answer = encode_scores(call, scores, self._model)
        except RefusedError as error:
            data = b""
            await self._refuse(error, context, started)
            raise
        except asyncio.CancelledError:
            self._metrics.refused.labels(ServiceRefusal.CANCELLED).inc()
            raise
        self._metrics.scored(call.camera or _UNNAMED, len(call.crops))
        self._metrics.seconds.labels(ServiceStage.TOTAL).observe(time.monotonic() - started)
        return answer

    def _allowed_s(self, deadline_ms: int | None, context: _Context) -> float:
        """How long the request may take: the least of what its two deadlines and we allow."""
        asked_s = self._queue.default_deadline_s if deadline_ms is None else deadline_ms / 1000
        left_s: float | None = context.time_remaining()
        allowed_s = min(asked_s, self._queue.max_deadline_s)
        return allowed_s if left_s is None else min(allowed_s, left_s)

    async def _require(self, kind: Any, data: bytes, context: _Context) -> None:
        started = time.monotonic()
        try:
            asked = kind.FromString(data)
            require_model(self._model, asked.name, asked.version)
        except DecodeError:
            error = RefusedError(
                grpc.StatusCode.INVALID_ARGUMENT, ServiceRefusal.MALFORMED, "wanted its message"
            )
            await self._refuse(error, context, started)
        except RefusedError as error:
            await self._refuse(error, context, started)

    async def _refuse(self, error: RefusedError, context: _Context, started: float) -> None:
        """Answer with a status, at the earliest a penalty after the request has come."""
        self._metrics.refused.labels(error.reason).inc()
        if error.reason not in (ServiceRefusal.ENGINE_DEAD, ServiceRefusal.DRAINING):
            await asyncio.sleep(max(0.0, started + PENALTY_S - time.monotonic()))
        await context.abort(error.code, str(error))


def _encoded(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded


def _host_of(peer: str) -> str:
    """The client's address without its port: `ipv4:192.0.2.1`, `unix:`."""
    return peer.rpartition(":")[0] if peer.startswith("ip") else "unix:"
