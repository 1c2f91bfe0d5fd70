"""From the gate's events to best shots in the outbox and a decision told for each track."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from streamgate.config.profiles import DEFAULT_PROFILE
from streamgate.errors import DeliveryError
from streamgate.ports import Clock, ShotOutbox
from streamgate.selection.gate import GateEvent
from streamgate.telemetry.exposition import exemplar_of
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Acceptance, BestShot, Release, TrackDecision

__all__ = ["PipelineIdentity", "Publisher", "SystemClock"]

log = structlog.get_logger(__name__)

_EVENTS = 256


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()

    def wall(self) -> float:
        """Unix seconds."""
        return time.time()


@dataclass(frozen=True, slots=True)
class PipelineIdentity:
    """What every best shot carries; `epoch` is that of the lease, None where none is needed.

    `profile` is the one in use.
    """

    camera: str
    boot_id: str
    config_hash: str
    model_hash: str
    epoch: int | None = None
    profile: str = DEFAULT_PROFILE


class Publisher:
    """Publishes in the order of the gate's events; a slow outbox slows the gate, never decoding.

    Args:
        on_decision: called with the decision on each track, after its best shots were stored.
        on_shot: called with each best shot that was stored; must not block.
    """

    def __init__(  # noqa: PLR0913 # what it is told, and whom it tells
        self,
        identity: PipelineIdentity,
        outbox: ShotOutbox,
        *,
        metrics: Metrics,
        clock: Clock,
        on_decision: Callable[[TrackDecision], Awaitable[None]],
        on_shot: Callable[[BestShot], None] = lambda _shot: None,
    ) -> None:
        self.identity = identity
        self.outbox = outbox
        self.metrics = metrics
        self.clock = clock
        self.on_decision = on_decision
        self.on_shot = on_shot
        self._events: asyncio.Queue[GateEvent | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()
        self._faces = 0
        self._shots = 0

    def exemplar(self, track_id: int) -> dict[str, str] | None:
        """Return the exemplar that names a track, in the same way as keys and logs."""
        return exemplar_of(self.identity.camera, self.identity.boot_id, track_id)

    async def publish(self, events: Sequence[GateEvent]) -> None:
        """Queue events, then wait until few enough are left.

        The gate does not keep its events, so all of them are queued before anything is awaited: a
        cancelled caller loses none.
        """
        if not events:
            return
        for event in events:
            self._events.put_nowait(event)
        if self._events.qsize() > _EVENTS:
            self._room.clear()
        await self._room.wait()

    async def close(self) -> None:
        """Let `run` return once everything queued before is published."""
        self._events.put_nowait(None)

    async def run(self) -> None:
        """Publish until `close`."""
        while (event := await self._events.get()) is not None:
            if self._events.qsize() <= _EVENTS:
                self._room.set()
            if isinstance(event, Release):
                await self._deliver(self._best_shot(event))
            else:
                self._count(event)
                await self.on_decision(event)

    def _best_shot(self, release: Release) -> BestShot:
        captured = release.face.candidate
        return BestShot(
            camera=self.identity.camera,
            boot_id=self.identity.boot_id,
            revision=release.revision,
            rank=release.rank,
            reason=release.reason,
            face=release.face,
            decided_at=release.at,
            decided_wall=captured.captured_wall + (release.at - captured.captured_at),
            model_hash=self.identity.model_hash,
            config_hash=self.identity.config_hash,
            visit=release.visit,
            template=release.template,
            epoch=self.identity.epoch,
        )

    async def _deliver(self, shot: BestShot) -> None:
        metrics, face = self.metrics, shot.face
        metrics.shots_released.labels(shot.reason.value).inc()
        if face.candidate.zone is not None:
            metrics.zone_shots.labels(face.candidate.zone).inc()
        metrics.capture_to_decision.observe(
            shot.decided_at - face.candidate.captured_at, self.exemplar(shot.track_id)
        )
        log.info(
            "best shot", track=shot.track_id, revision=shot.revision, reason=shot.reason.value,
            quality=round(face.quality, 1), key=shot.key,
        )  # fmt: skip
        try:
            acceptance = await self.outbox.accept(shot)
        except DeliveryError as error:
            log.error("best shot not kept", key=shot.key, error=str(error))
        else:
            if acceptance is not Acceptance.ACCEPTED:
                log.warning("best shot not safely kept", key=shot.key, state=acceptance.value)
            self.on_shot(shot)

    def _count(self, decision: TrackDecision) -> None:
        self.metrics.tracks_decided.labels(decision.outcome.value).inc()
        self._faces += decision.faces
        self._shots += decision.forwarded
        self.metrics.forwarded_ratio.set(self._shots / max(1, self._faces))
        log.info(
            "track decided", track=decision.track_id, outcome=decision.outcome.value,
            reason=decision.reason.value, faces=decision.faces, scored=decision.scored,
            zones=decision.zones or None,
            best_quality=decision.best_quality and round(decision.best_quality, 1),
            rejected=dict(decision.rejected) or None,
        )  # fmt: skip
