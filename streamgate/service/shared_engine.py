"""One device for many cameras: batches of what waits when it is free, in fair order.

All of it belongs to the event loop, so nothing takes a lock. A batch is composed at the moment at
which the device can take it, and never waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import grpc
import numpy as np
import structlog
from numpy.typing import NDArray

from streamgate.config import ScorerConfig
from streamgate.quality.raw_scores import RING_SIZE
from streamgate.quality.remote.tensors import TOO_LATE
from streamgate.service.fair_queue import FairQueue, FullError, Work
from streamgate.service.requests import RefusedError
from streamgate.telemetry.scorer_metrics import ScorerMetrics
from streamgate.values import Scores
from streamgate.values.reasons import ServiceRefusal, ServiceStage

__all__ = ["BatchScorer", "EngineState", "SharedEngine"]

log = structlog.get_logger(__name__)


class BatchScorer(Protocol):
    """What scores a batch."""

    @property
    def batch_size(self) -> int:
        """The most crops of a batch."""
        ...

    @property
    def overlaps(self) -> bool:
        """Whether several batches under way are faster than one at a time."""
        ...

    async def score(self, crops: NDArray[np.uint8]) -> Scores:
        """Score RGB uint8 crops [N, 112, 112, 3]."""
        ...


class EngineState(StrEnum):
    """Whether requests are taken."""

    SERVING = "serving"
    DRAINING = "draining"
    DEAD = "dead"


@dataclass(slots=True, eq=False)
class _Request:
    """A request under way, and the scores that it has so far."""

    crops: NDArray[np.uint8]
    since: float
    done: asyncio.Future[Scores]
    scores: list[tuple[float, float, NDArray[np.float32]] | None]
    left: int
    started: bool = False


@dataclass(slots=True)
class _Busy:
    """For how long the device has had work."""

    batches: int = 0
    since: float = 0.0


@dataclass(slots=True)
class _Trouble:
    """How often the engine has failed in a row."""

    failures: int = 0
    error: str = ""
    dead: asyncio.Event = field(default_factory=asyncio.Event)


class SharedEngine:
    """Scores the faces of many cameras with one scorer.

    Args:
        clock: monotonic seconds, those of the event loop.
    """

    def __init__(
        self,
        scorer: BatchScorer,
        config: ScorerConfig,
        metrics: ScorerMetrics,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._scorer = scorer
        self._settings = config.engine
        self._metrics = metrics
        self._clock = clock
        self._queue: FairQueue[_Request] = FairQueue(
            max_faces=config.queue.max_faces,
            max_faces_per_camera=config.queue.max_faces_per_camera,
            max_cameras=config.queue.max_cameras,
        )
        self._places = asyncio.Semaphore(RING_SIZE if scorer.overlaps else 1)
        self._waiting = asyncio.Event()
        self._busy = _Busy()
        self._trouble = _Trouble()
        self._open = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.state = EngineState.SERVING
        self.on_state: Callable[[EngineState], None] = lambda _state: None
        metrics.waiting.set_function(lambda: len(self._queue))
        metrics.requests.set_function(lambda: self._open)
        metrics.serving.set_function(lambda: float(self.state is EngineState.SERVING))

    @property
    def fault(self) -> str | None:
        """Why the engine is dead, or None."""
        return f"the engine is dead: {self._trouble.error}" if self._trouble.dead.is_set() else None

    async def died(self) -> None:
        """Wait until the engine is dead."""
        await self._trouble.dead.wait()

    async def score(self, key: Hashable, crops: NDArray[np.uint8], deadline: float) -> Scores:
        """Score crops by a deadline.

        Args:
            key: whose turn they take.
            crops: RGB uint8 [N, 112, 112, 3], N ≤ batch_size.
            deadline: by the clock.

        Raises:
            RefusedError: they were not scored.
        """
        self._require_serving()
        now = self._clock()
        if deadline <= now:
            raise _expired()
        done: asyncio.Future[Scores] = asyncio.get_running_loop().create_future()
        request = _Request(crops, now, done, [None] * len(crops), len(crops))
        work = Work(key, len(crops), deadline, request)
        try:
            self._queue.put(work)
        except FullError as error:
            reason = ServiceRefusal.CAMERA_FULL if error.of_camera else ServiceRefusal.FULL
            raise RefusedError(grpc.StatusCode.RESOURCE_EXHAUSTED, reason, str(error)) from None
        self._waiting.set()
        self._open += 1
        self._idle.clear()
        try:
            async with asyncio.timeout(deadline - now):
                return await done
        except TimeoutError:
            raise _expired() from None
        finally:
            self._queue.drop(work)
            self._open -= 1
            if not self._open:
                self._idle.set()

    async def run(self) -> None:
        """Score what waits, until the task is cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._waiting.wait()
                await self._places.acquire()
                batch = self._take()
                if batch:
                    group.create_task(self._score(batch))
                else:
                    self._places.release()
                    self._waiting.clear()

    async def drain(self) -> None:
        """Take no more requests, and wait until none is left."""
        if self.state is EngineState.SERVING:
            self._enter(EngineState.DRAINING)
        await self._idle.wait()

    def _require_serving(self) -> None:
        if self.state is EngineState.DEAD:
            raise _dead()
        if self.state is EngineState.DRAINING:
            raise RefusedError(
                grpc.StatusCode.UNAVAILABLE, ServiceRefusal.DRAINING, "the service is stopping"
            )

    def _take(self) -> list[tuple[Work[_Request], int]]:
        now = self._clock()
        for late in self._queue.expired(now):
            _fail(late.content, _expired())
        batch = self._queue.take(self._scorer.batch_size)
        for work, _ in batch:
            if not work.content.started:
                work.content.started = True
                waited = self._metrics.seconds.labels(ServiceStage.QUEUE)
                waited.observe(now - work.content.since)
        return batch

    async def _score(self, batch: list[tuple[Work[_Request], int]]) -> None:
        crops = np.stack([work.content.crops[number] for work, number in batch])
        self._metrics.batch.observe(len(batch))
        started = self._began()
        try:
            async with asyncio.timeout(self._settings.end_after_stall_s):
                scores = await self._scorer.score(crops)
        except TimeoutError:
            limit = self._settings.end_after_stall_s
            self._failed(batch, f"a batch has taken more than {limit:g} s", fatal=True)
        except Exception as error:  # whatever an engine raises, the others must be served
            self._failed(batch, str(error) or type(error).__name__)
        else:
            self._trouble.failures = 0
            for index, (work, number) in enumerate(batch):
                _settle(work.content, number, scores, index)
        finally:
            self._ended(started)
            self._places.release()

    def _failed(
        self, batch: list[tuple[Work[_Request], int]], error: str, *, fatal: bool = False
    ) -> None:
        self._trouble.failures += 1
        self._trouble.error = error
        log.error("batch not scored", error=error, faces=len(batch), row=self._trouble.failures)
        if fatal or self._trouble.failures >= self._settings.end_after_failures:
            self._die([work for work, _ in batch])
            return
        failed = RefusedError(
            grpc.StatusCode.INTERNAL, ServiceRefusal.ENGINE_FAILED, "the engine failed"
        )
        for work, _ in batch:
            self._queue.drop(work)
            _fail(work.content, failed)

    def _die(self, batch: list[Work[_Request]]) -> None:
        """Tell everybody who waits, and take no more."""
        self._enter(EngineState.DEAD)
        for work in (*batch, *self._queue.clear()):
            _fail(work.content, _dead())
        self._trouble.dead.set()

    def _enter(self, state: EngineState) -> None:
        self.state = state
        self.on_state(state)

    def _began(self) -> float:
        now = self._clock()
        if not self._busy.batches:
            self._busy.since = now
        self._busy.batches += 1
        return now

    def _ended(self, started: float) -> None:
        now = self._clock()
        self._metrics.seconds.labels(ServiceStage.SCORE).observe(now - started)
        self._metrics.busy.inc(now - self._busy.since)
        self._busy.since = now
        self._busy.batches -= 1


def _settle(request: _Request, number: int, scores: Scores, index: int) -> None:
    """Give a request the score of one of its faces."""
    request.scores[number] = (
        float(scores.raw[index]), float(scores.quality[index]), scores.embedding[index],
    )  # fmt: skip
    request.left -= 1
    if request.left or request.done.done():
        return
    rows = [row for row in request.scores if row is not None]
    request.done.set_result(
        Scores(
            raw=np.array([raw for raw, _, _ in rows]),
            quality=np.array([quality for _, quality, _ in rows]),
            embedding=np.stack([embedding for _, _, embedding in rows]),
            calibrated=scores.calibrated,
        )
    )


def _fail(request: _Request, error: RefusedError) -> None:
    if not request.done.done():
        request.done.set_exception(error)


def _expired() -> RefusedError:
    return RefusedError(grpc.StatusCode.DEADLINE_EXCEEDED, ServiceRefusal.EXPIRED, TOO_LATE)


def _dead() -> RefusedError:
    return RefusedError(
        grpc.StatusCode.UNAVAILABLE, ServiceRefusal.ENGINE_DEAD, "the engine is dead"
    )
