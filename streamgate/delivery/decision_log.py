"""The decision log: one line for each track that ended, written after its best shots were kept.

The order is what makes `accepted` in a line mean something: the outbox has forced the best shot to
disk before the line exists, so that whoever reads the line may rely on the delivery. The other way
round, a process that is killed in between would have promised what it never kept.

A full disk never stops the camera: some lines are held and written as soon as there is room;
those beyond a limit are lost and counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from functools import partial

import structlog

from streamgate.config import CameraConfig, DecisionLogSection
from streamgate.delivery.chain import ChainedFile
from streamgate.delivery.rotated import RotatedFile
from streamgate.delivery.threads import Threads
from streamgate.errors import DeliveryError
from streamgate.ports import ShotOutbox
from streamgate.selection.decision_record import (
    DecidedUnder,
    ForwardedShot,
    ShotState,
    decision_line,
    decision_record,
    forwarded_shot,
)
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Acceptance, BestShot, TrackDecision

__all__ = ["DecisionLog"]

log = structlog.get_logger(__name__)

_HELD_LINES = 256
_WRITE_S = 1.0
"""So long a disk may take for a line before those that follow are held back."""
_STATES: dict[Acceptance, ShotState] = {
    Acceptance.ACCEPTED: "accepted",
    Acceptance.HELD: "held",
    Acceptance.DROPPED: "dropped",
}


class DecisionLog:
    """Stands before the outbox, to note what became of each best shot, and logs each decision.

    Args:
        outbox: where best shots go on to.
        under: who decides, and by which rules.
    """

    def __init__(
        self,
        section: DecisionLogSection,
        outbox: ShotOutbox,
        under: DecidedUnder,
        *,
        metrics: Metrics,
    ) -> None:
        key = None if section.key is None else section.key.get_secret_value().encode()
        rotated = RotatedFile(section.path, section.max_bytes, section.keep)
        self._file = ChainedFile(section.path, rotated, key)
        self._place = section.path
        # Not the loop's threads, which a dead name server may hold: best shots wait behind lines.
        self._thread = Threads("decisions")
        # A write that has not returned in time: whether its line is in the file shows later.
        self._late: tuple[bytes, asyncio.Future[None]] | None = None
        self._outbox = outbox
        self._under = under
        self._metrics = metrics
        # Tracks end, and a track has at most `gate.max_per_track` best shots: this stays small.
        self._shots: dict[int, list[ForwardedShot]] = {}
        self._held: deque[bytes] = deque(maxlen=_HELD_LINES)
        self._trouble: str | None = None

    def adopt(self, config: CameraConfig, config_hash: str, profile: str) -> None:
        """Use other settings from the next line on."""
        self._under = replace(
            self._under,
            gate=config.gate,
            precheck=config.precheck,
            zones=config.zones,
            config_hash=config_hash,
            profile=profile,
            sinks=tuple(sink.name for sink in config.delivery.sinks),
        )

    async def accept(self, shot: BestShot) -> Acceptance:
        """Hand a best shot on and note what became of it."""
        try:
            acceptance = await self._outbox.accept(shot)
        except DeliveryError:
            self._note(shot, "failed")
            raise
        self._note(shot, _STATES[acceptance])
        return acceptance

    async def decided(self, decision: TrackDecision) -> None:
        """Write the line of a track that has ended."""
        shots = self._shots.pop(decision.track_id, [])
        if len(self._held) == _HELD_LINES:
            self._metrics.decision_log_lines.labels("lost").inc()
        self._held.append(decision_line(decision_record(decision, shots, self._under)))
        await self._write()

    async def close(self) -> None:
        """Try once more to write what the disk did not take."""
        await self._write()
        if self._held:
            self._metrics.decision_log_lines.labels("lost").inc(len(self._held))
            log.error("decisions are lost", path=str(self._place), lines=len(self._held))
        last = self._file.last
        if last is not None:
            # Elsewhere than the file: a tail that is cut off it shows by this alone.
            log.info("decision log ends", path=str(self._place), number=last.number, hash=last.hash)
        self._thread.close()

    def _note(self, shot: BestShot, state: ShotState) -> None:
        self._shots.setdefault(shot.track_id, []).append(forwarded_shot(shot, state))

    async def _write(self) -> None:
        while self._held:
            # One that is late already is looked at, not waited for: lines must not hold up shots.
            limit_s = 0.0
            if self._late is None:
                line, limit_s = self._held[0], _WRITE_S
                self._late = line, self._thread.begin(partial(self._file.append, line))
            line, writing = self._late
            await asyncio.wait({writing}, timeout=limit_s)
            if not writing.done():
                self._tell("the disk does not answer")
                return
            self._late = None
            try:
                writing.result()
            except OSError as error:
                self._tell(error.strerror or type(error).__name__)
                return
            # Newer lines may have pushed it out meanwhile.
            if self._held and self._held[0] is line:
                self._held.popleft()
            self._metrics.decision_log_lines.labels("written").inc()
        if self._trouble is not None:
            log.info("the decision log can be written again", path=str(self._place))
            self._trouble = None

    def _tell(self, reason: str) -> None:
        if self._trouble != reason:
            self._trouble = reason
            log.error(
                "the decision log cannot be written; lines are held back",
                path=str(self._place), reason=reason, held_at_most=_HELD_LINES,
            )  # fmt: skip
