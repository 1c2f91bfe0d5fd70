"""A service in the test's own loop, a client that speaks its bytes, and faces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from streamgate.config import ScorerConfig
from streamgate.errors import ScoreError
from streamgate.quality.remote.messages import (
    SERVICE,
    ModelInferRequest,
    ModelInferResponse,
)
from streamgate.service.health import HealthService
from streamgate.service.inference import InferenceService
from streamgate.service.requests import ServedModel
from streamgate.service.server import Listeners
from streamgate.service.shared_engine import EngineState, SharedEngine
from streamgate.telemetry.scorer_metrics import ScorerMetrics
from streamgate.values import Scores

HASH = "ab" * 32
MODEL = ServedModel("grafiqs", HASH, "block4", "none", 8, 4, "iresnet18", "float32")


def faces(count: int = 1, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 112, 112, 3), np.uint8)


class FakeScorer:
    """Scores a crop by its first value; may be held, slow or broken.

    Attributes:
        batches: the sizes of the batches so far.
        first: the first value of each crop, in the order of scoring.
    """

    batch_size = 8
    overlaps = False

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.free = asyncio.Event()
        self.free.set()
        self.batches: list[int] = []
        self.first: list[int] = []

    async def score(self, crops: NDArray[np.uint8]) -> Scores:
        self.batches.append(len(crops))
        await self.free.wait()
        if self.broken:
            raise ScoreError("the device is gone")
        first = crops[:, 0, 0, 0]
        self.first += first.tolist()
        return Scores(
            first.astype(np.float64),
            (100.0 - first).astype(np.float64),
            np.repeat(first[:, None], 4, 1).astype(np.float32),
        )


@dataclass(frozen=True)
class Running:
    """A service that runs."""

    port: int
    engine: SharedEngine
    metrics: ScorerMetrics
    listeners: Listeners

    def refused(self, reason: str) -> float:
        return float(self.metrics.refused.labels(reason)._value.get())


@asynccontextmanager
async def running(
    scorer: FakeScorer, model: ServedModel = MODEL, **settings: Any
) -> AsyncIterator[Running]:
    """Run a service with a scorer, on a free port."""
    listen = {"port": 0, **settings.pop("listen", {})}
    config = ScorerConfig.model_validate(
        {"listen": listen, "quality": {"batch_size": 8}, **settings}
    )
    metrics = ScorerMetrics(2)
    engine = SharedEngine(scorer, config, metrics, clock=asyncio.get_running_loop().time)
    listeners = Listeners(config.listen, config.limits, metrics, batch_size=8)
    health = HealthService(lambda: engine.state is EngineState.SERVING)
    inference = InferenceService(engine, model, config, metrics)
    ports = await listeners.start(inference.handler(), health.handler())
    task = asyncio.create_task(engine.run())
    try:
        yield Running(ports.tcp or 0, engine, metrics, listeners)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await listeners.stop(0)


def request(crops: NDArray[np.uint8] | None = None, **parameters: str | int) -> Any:
    """A request that is right, to be spoilt by the test."""
    crops = faces() if crops is None else crops
    made = ModelInferRequest(model_name="grafiqs")
    made.inputs.add(name="crops", datatype="UINT8", shape=crops.shape)
    made.raw_input_contents.append(crops.tobytes())
    for name, value in parameters.items():
        if isinstance(value, str):
            made.parameters[name].string_param = value
        else:
            made.parameters[name].int64_param = value
    return made


class Client:
    """Speaks bytes to a service."""

    def __init__(
        self, target: str, token: str = "", credentials: grpc.ChannelCredentials | None = None
    ) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        self.channel = (
            grpc.aio.insecure_channel(target, options)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options)
        )
        self._metadata = [("authorization", f"Bearer {token}")] if token else []

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    async def call(
        self, method: str, data: bytes = b"", service: str = SERVICE, timeout_s: float = 20
    ) -> bytes:
        call: Any = self.channel.unary_unary(f"/{service}/{method}")
        answer: bytes = await call(data, timeout=timeout_s, metadata=self._metadata)
        return answer

    async def infer(self, made: Any, timeout_s: float = 20) -> dict[str, NDArray[np.float32]]:
        """The outputs by name."""
        data = await self.call("ModelInfer", made.SerializeToString(), timeout_s=timeout_s)
        told = ModelInferResponse.FromString(data)
        return {
            output.name: np.frombuffer(raw, "<f4").reshape(tuple(output.shape))
            for output, raw in zip(told.outputs, told.raw_output_contents, strict=True)
        }

    async def status(self, made: Any, timeout_s: float = 20) -> tuple[grpc.StatusCode, str]:
        """The status of a request, and what it says."""
        data = made if isinstance(made, bytes) else made.SerializeToString()
        try:
            await self.call("ModelInfer", data, timeout_s=timeout_s)
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details() or ""
        return grpc.StatusCode.OK, ""


async def until(holds: Any, timeout_s: float = 10.0) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110 # what holds is no event
            await asyncio.sleep(0.005)
