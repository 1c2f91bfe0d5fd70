"""The scorer for an event loop: one thread owns device, stream and model.

Everything that touches the device happens in this thread, so that the loop never waits for a
kernel and no two threads ever share a stream. Crops go in through a bounded inbox and numpy arrays
come back; while one batch is computed, the next is staged.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from streamgate.config import NetworkSection
from streamgate.errors import ScoreError
from streamgate.quality.calibration import Calibration
from streamgate.quality.raw_scores import RING_SIZE
from streamgate.quality.scorer import Explanation, PendingScores, Scorer, check_crops
from streamgate.values import IdentityThresholds, Image, Scores

__all__ = ["GrafiqsScorer"]

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    crops: NDArray[np.uint8]
    future: asyncio.Future[Scores]


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    crop: Image
    future: asyncio.Future[Explanation]


class GrafiqsScorer:
    """A `QualityScorer` whose results equal those of `Scorer`; `start` makes one.

    Args:
        load: makes the scorer, in the thread that will use it.
        loop: where results are delivered.
    """

    def __init__(self, load: Callable[[], Scorer], loop: asyncio.AbstractEventLoop) -> None:
        self._load = load
        self._loop = loop
        self._inbox: SimpleQueue[_Job | _Question | None] = SimpleQueue()
        # One batch more than may be under way, so that the thread finds the next one waiting.
        self._places = asyncio.Semaphore(RING_SIZE + 1)
        self._started: asyncio.Future[Scorer] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._closed = False
        self._thread = Thread(target=self._work, name="scorer", daemon=True)

    @classmethod
    async def start(cls, settings: NetworkSection) -> Self:
        """Start the thread and wait until the model is loaded.

        Raises:
            ModelError: a file cannot be used, or the machine lacks what was asked for.
        """

        def load() -> Scorer:
            return Scorer.load(
                settings.weights,
                group=settings.group,
                device=settings.device,
                precision=settings.precision,
                batch_size=settings.batch_size,
                # Cameras share hosts; another thread is another camera's.
                threads=settings.threads or 1,
                calibration=settings.calibration,
                cuda_graphs=settings.cuda_graphs,
            )

        scorer = cls(load, asyncio.get_running_loop())
        scorer._thread.start()
        try:
            # Shielded, because the thread settles this future even when start() is cancelled.
            await asyncio.shield(scorer._started)
        except BaseException:
            await scorer.close()
            raise
        return scorer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def batch_size(self) -> int:
        """The most crops that are scored at once."""
        return self._started.result().batch_size

    @property
    def model_hash(self) -> str:
        """sha256 of the weights."""
        return self._started.result().model_hash

    @property
    def overlaps(self) -> bool:
        """Whether several batches under way are faster than one at a time."""
        return self._started.result().overlaps

    @property
    def backbone(self) -> str:
        """The published name of the network's layout, or its depths."""
        return self._started.result().backbone

    @property
    def embedding_size(self) -> int:
        """E."""
        return self._started.result().embedding_size

    @property
    def calibrated(self) -> bool:
        """Whether quality is calibrated; otherwise it only ranks."""
        return self._started.result().calibrated

    @property
    def calibration(self) -> Calibration | None:
        """What quality means, where that is known."""
        return self._started.result()._calibration

    @property
    def identity(self) -> IdentityThresholds | None:
        """From which cosines on faces are of one person, where that is known."""
        return self._started.result().identity

    @property
    def doubt(self) -> str | None:
        """What is wrong although faces are scored: nothing that this scorer knows of."""
        return None

    async def score(self, crops: NDArray[np.uint8]) -> Scores:
        """Score RGB uint8 [N, 112, 112, 3] crops, 1 ≤ N ≤ batch_size, without blocking the loop.

        Raises:
            ScoreError: the array is another one, the device failed, or the scorer is closed.
        """
        check_crops(crops)
        if not 1 <= len(crops) <= self.batch_size:
            raise ScoreError(f"got {len(crops)} crops; expected 1 to {self.batch_size}")
        async with self._places:
            if self._closed or self._ended.done():
                raise ScoreError("the scorer is closed")
            job = _Job(crops, self._loop.create_future())
            self._inbox.put(job)
            return await job.future

    async def explain(self, crop: Image) -> Explanation:
        """Show what one RGB uint8 [112, 112, 3] crop's score is made of, between two batches.

        Raises:
            ScoreError: the array is another one, the device failed, or the scorer is closed.
        """
        check_crops(crop[None])
        async with self._places:
            if self._closed or self._ended.done():
                raise ScoreError("the scorer is closed")
            question = _Question(crop, self._loop.create_future())
            self._inbox.put(question)
            return await question.future

    async def close(self) -> None:
        """Finish what is under way, refuse the rest, end the thread and free the device."""
        self._closed = True
        self._inbox.put(None)
        if self._thread.ident is not None:
            await asyncio.shield(self._ended)
            # The thread only lets its network go now, which takes some milliseconds.
            await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        """Run in the thread, to its end."""
        try:
            scorer = self._load()
        except Exception as error:  # whatever it is, the caller of start() must have it
            self._deliver(self._started, error)
        else:
            self._deliver(self._started, scorer)
            if scorer.identity is None:
                _log.warning(
                    "the calibration does not say how alike people are: only tracks that are very "
                    "similar become one visit",
                    remedy="streamgate calibrate --images, of crops with identities",
                )
            _log.info("scorer ready", backbone=scorer.backbone, group=str(scorer.group))
            self._serve(scorer)
            del scorer
        self._deliver(self._ended, None)

    def _serve(self, scorer: Scorer) -> None:
        under_way: deque[tuple[_Job, PendingScores]] = deque()
        # Where work is done at once, waiting for a second batch would only hold back the first.
        most = RING_SIZE if scorer.overlaps else 1
        closing = False
        while not closing or under_way:
            if not closing and len(under_way) < most:
                with suppress(Empty):
                    # With a batch under way it must not block: the result of that batch is due
                    # next.
                    job = self._inbox.get(block=not under_way)
                    closing = job is None
                    if isinstance(job, _Question):
                        self._answer(scorer, job, under_way)
                    elif job is not None:
                        self._submit(scorer, job, under_way)
                    continue
            self._finish(*under_way.popleft())
        with suppress(Empty):
            while True:
                left = self._inbox.get_nowait()
                closed = ScoreError("the scorer is closed")
                if isinstance(left, _Question):  # noqa: SIM114 # futures of different results
                    self._deliver(left.future, closed)
                elif left is not None:
                    self._deliver(left.future, closed)

    def _submit(
        self, scorer: Scorer, job: _Job, under_way: deque[tuple[_Job, PendingScores]]
    ) -> None:
        if job.future.cancelled():
            return
        try:
            under_way.append((job, scorer.submit(job.crops)))
        except Exception as error:  # the caller of score() must have it, and others be served
            self._deliver(job.future, error)

    def _answer(
        self, scorer: Scorer, question: _Question, under_way: deque[tuple[_Job, PendingScores]]
    ) -> None:
        # An explanation takes a place in the ring, and results come in the order of submission.
        while under_way:
            self._finish(*under_way.popleft())
        if question.future.cancelled():
            return
        try:
            explanation = scorer.explain(question.crop)
        except Exception as error:  # as above
            self._deliver(question.future, error)
        else:
            self._deliver(question.future, explanation)

    def _finish(self, job: _Job, pending: PendingScores) -> None:
        try:
            scores = pending.result()
        except Exception as error:  # as above
            self._deliver(job.future, error)
        else:
            self._deliver(job.future, scores)

    def _deliver(self, future: asyncio.Future[_T], outcome: _T | Exception) -> None:
        # A loop that has been closed has nobody left who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_settle, future, outcome)


def _settle(future: asyncio.Future[_T], outcome: _T | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
