"""A camera's scorer that has its faces scored by services, with whatever may happen to those.

A task for each address asks what is there, with growing pauses while there is nothing, so that a
batch is only ever sent where a service has answered. Scoring is a pure function: what one service
does not answer, another is asked within the same deadline. Half of the time that is left goes to
each but the last, so that a service that swallows requests cannot use up all of it.

Requests are not hedged. A second copy of slow requests would double the load of a service at the
very time at which it has too much, and a service that does not answer at all is left after one
batch.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
import structlog
from numpy.typing import NDArray

from streamgate.config import QualitySection
from streamgate.config.service_address import parse_address
from streamgate.errors import ScoreError, ScorerAwayError
from streamgate.quality.calibration import Calibration, uncalibrated_quality
from streamgate.quality.remote.endpoint import Access, Endpoint, EndpointError
from streamgate.quality.remote.expected import ExpectedModel, expected_model
from streamgate.quality.remote.fallback import LocalFallback
from streamgate.quality.remote.tensors import RawScores, RemoteModel, decode_scores, encode_crops
from streamgate.quality.scorer import Explanation, check_crops
from streamgate.telemetry.metrics import Metrics
from streamgate.values import IdentityThresholds, Image, Scores
from streamgate.values.backoff import Backoff, pause_s
from streamgate.values.reasons import ServiceFault

__all__ = ["RemoteScorer"]

log = structlog.get_logger(__name__)

_PAUSES = Backoff(initial_s=0.2, max_s=5.0)
_PROBE_S = 2.0
_LEAST_S = 0.005
_IN_FLIGHT = 4
# How often a batch may go to each address within its deadline.
_ROUNDS = 2
# The service is told less than we wait, so that it can still say that it was too slow.
_ANSWER_S = 0.1


@dataclass(slots=True, eq=False)
class _Peer:
    """A service at one address.

    Attributes:
        model: what it scores with; None while it cannot be used.
        failures: since it last scored, in a row.
        lost: whether it was looked for in vain, or has failed; False before it was looked for.
        doubted: set to have it looked for again.
    """

    endpoint: Endpoint
    model: RemoteModel | None = None
    failures: int = 0
    lost: bool = False
    error: str = "it has not answered yet"
    doubted: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return self.endpoint.address.text


class RemoteScorer:
    """A `QualityScorer` that loads no network as long as a service answers; `start` makes one."""

    def __init__(
        self,
        settings: QualitySection,
        expected: ExpectedModel,
        access: Access,
        *,
        camera: str,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._expected = expected
        self._camera = camera
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._places = asyncio.Semaphore(_IN_FLIGHT)
        self._peers = [_Peer(Endpoint(parse_address(text), access)) for text in settings.service]
        self._changed = asyncio.Event()
        self._lost_at = self._loop.time()
        self._local = LocalFallback(settings) if settings.on_loss == "local" else None
        self._tasks = [self._loop.create_task(self._tend(peer)) for peer in self._peers]
        for peer in self._peers:
            metrics.remote_scorer_up.labels(peer.name).set(0)

    @classmethod
    async def start(cls, settings: QualitySection, *, camera: str, metrics: Metrics) -> Self:
        """Begin to look for the services; it does not wait for them.

        Raises:
            StreamgateError: a file that says what to expect or whom to trust cannot be used.
        """
        expected = await asyncio.to_thread(expected_model, settings)
        access = await asyncio.to_thread(Access.of, settings)
        return cls(settings, expected, access, camera=camera, metrics=metrics)

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
        """The most crops that are scored at once: what the settings and all services allow."""
        known = [peer.model.batch_size for peer in self._peers if peer.model is not None]
        return min([self._settings.batch_size, *(size for size in known if size)])

    @property
    def model_hash(self) -> str:
        """sha256 of the weights that the services must have."""
        return self._expected.model_hash

    @property
    def calibrated(self) -> bool:
        """Whether quality is calibrated; otherwise it only ranks."""
        return self._expected.calibration is not None

    @property
    def calibration(self) -> Calibration | None:
        """What quality means, where that is known."""
        return self._expected.calibration

    @property
    def identity(self) -> IdentityThresholds | None:
        """From which cosines on faces are of one person, where that is known."""
        return self._expected.identity

    @property
    def doubt(self) -> str | None:
        """What is wrong although the camera runs; None while a service answers."""
        if any(peer.model is not None for peer in self._peers):
            return None
        error = self._peers[0].error
        so = "faces are scored here" if self._local is not None else "faces are skipped"
        return f"no scorer service answers, so {so}: {self._peers[0].name}: {error}"

    async def score(self, crops: NDArray[np.uint8]) -> Scores:
        """Score RGB uint8 [N, 112, 112, 3] crops, 1 ≤ N ≤ batch_size.

        Raises:
            ScorerAwayError: no service has scored them in time.
            ScoreError: the array is another one, or the network that was loaded instead failed.
        """
        check_crops(crops)
        deadline = self._loop.time() + self._settings.service_timeout_s
        scores = await self._remotely(crops, deadline)
        if scores is not None:
            if self._local is not None:
                await self._local.rest()
            self._metrics.remote_scorer_local.set(0)
            return self._with_quality(scores)
        if self._local is None:
            raise ScorerAwayError(self.doubt or "no scorer service has answered in time")
        self._metrics.remote_scorer_local.set(1)
        return await self._local.score(crops)

    async def explain(self, crop: Image) -> Explanation:
        """Show what one crop's score is made of, where the network is loaded here.

        Raises:
            ScoreError: it is not.
        """
        if self._local is None or not self._local.loaded:
            raise ScoreError("this camera's faces are scored by a service, which draws no heat map")
        return await self._local.explain(crop)

    async def close(self) -> None:
        """End the tasks and close every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(peer.endpoint.close() for peer in self._peers))
        if self._local is not None:
            await self._local.close()

    async def _remotely(self, crops: NDArray[np.uint8], deadline: float) -> RawScores | None:
        """Ask the services; None where none has answered in time."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._places.acquire()
        except TimeoutError:
            return None
        try:
            return await self._in_order(crops, deadline)
        except TimeoutError:
            return None
        finally:
            self._places.release()

    async def _in_order(self, crops: NDArray[np.uint8], deadline: float) -> RawScores | None:
        tried: list[_Peer] = []
        attempts = _ROUNDS * len(self._peers)
        while attempts:
            usable = self._usable(len(crops), tried)
            if usable:
                attempts -= 1
                tried.append(usable[0])
                last = len(usable) == 1
                scores = await self._try(usable[0], crops, deadline, last=last)
                if scores is not None:
                    return scores
            elif self._worth_waiting():
                self._changed.clear()
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
                tried.clear()
            else:
                break
        return None

    def _usable(self, count: int, tried: list[_Peer]) -> list[_Peer]:
        return [
            peer
            for peer in self._peers
            if peer not in tried
            and peer.model is not None
            and (peer.model.batch_size or count) >= count
        ]

    def _worth_waiting(self) -> bool:
        """Whether a service may be back before a batch is late: a loss that is new often ends."""
        if any(peer.model is not None for peer in self._peers):
            # It was asked already.
            return False
        if self._local is not None:
            return not all(peer.lost for peer in self._peers)
        return self._loop.time() - self._lost_at < self._settings.service_timeout_s

    async def _try(
        self, peer: _Peer, crops: NDArray[np.uint8], deadline: float, *, last: bool
    ) -> RawScores | None:
        left_s = deadline - self._loop.time()
        attempt_s = left_s if last else left_s / 2
        if attempt_s < _LEAST_S or peer.model is None:
            return None
        request = encode_crops(
            crops,
            peer.model,
            camera=self._camera,
            deadline_ms=max(1, int(1000 * max(attempt_s / 2, attempt_s - _ANSWER_S))),
            model_hash=self._expected.model_hash,
        )
        began_at = self._loop.time()
        try:
            answer = await peer.endpoint.infer(request, timeout_s=attempt_s)
            scores = decode_scores(answer, len(crops))
        except EndpointError as error:
            self._failed(peer, error, began_at)
        except ScoreError as error:
            self._failed(peer, EndpointError(ServiceFault.FAILED, str(error)), began_at)
        else:
            peer.failures = 0
            return scores
        return None

    def _failed(self, peer: _Peer, error: EndpointError, since: float) -> None:
        self._metrics.remote_scorer_faults.labels(error.fault).inc()
        if error.fault is not ServiceFault.BUSY and peer.model is not None:
            # It is asked again by its task before another batch is sent there.
            peer.failures += 1
            if sum(other.model is not None for other in self._peers) == 1:
                # The last one; what it has swallowed it has had its time for.
                self._lost_at = since
            self._lose(peer, error)
            peer.doubted.set()

    def _lose(self, peer: _Peer, error: EndpointError) -> None:
        if not peer.lost:
            log.warning("scorer service lost", service=peer.name, error=str(error))
        peer.model, peer.lost, peer.error = None, True, str(error)
        self._metrics.remote_scorer_up.labels(peer.name).set(0)
        self._changed.set()

    async def _tend(self, peer: _Peer) -> None:
        """Keep knowing whether a service can be used."""
        while True:
            if peer.failures > 1:
                await asyncio.sleep(pause_s(peer.failures - 1, _PAUSES, random.random()))  # noqa: S311
            try:
                model = await self._ask(peer)
            except EndpointError as error:
                if not peer.lost:
                    self._metrics.remote_scorer_faults.labels(error.fault).inc()
                peer.failures += 1
                self._lose(peer, error)
                continue
            peer.model, peer.lost, peer.error = model, False, ""
            self._metrics.remote_scorer_up.labels(peer.name).set(1)
            log.info("scorer service found", service=peer.name, input=str(model.layout))
            self._changed.set()
            await peer.doubted.wait()
            peer.doubted.clear()

    async def _ask(self, peer: _Peer) -> RemoteModel:
        name = self._settings.service_model
        model = await peer.endpoint.describe(name, timeout_s=_PROBE_S)
        different = model.difference(self._expected.model_hash, self._settings.group)
        if different is not None:
            raise EndpointError(ServiceFault.OTHER_MODEL, different)
        return model

    def _with_quality(self, scores: RawScores) -> Scores:
        quality = (self._expected.calibration or uncalibrated_quality)(scores.raw)
        return Scores(scores.raw, quality, scores.embedding, self.calibrated)
