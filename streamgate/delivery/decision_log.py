"""The decision log: one line for each track that ended, written after its best shots were kept.

The order is what makes `accepted` in a line mean something: the outbox has forced the best shot to
disk before the line exists, so that whoever reads the line may rely on the delivery. The other way
round, a process that is killed in between would have promised what it never kept.

A disk that takes no lines costs lines, never the camera: some are held back and written as soon as
there is room, and those beyond are counted.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from dataclasses import replace
from pathlib import Path

import structlog

from streamgate.config import CameraConfig, DecisionLogSection
from streamgate.decisions import (
    DecidedUnder,
    ForwardedShot,
    ShotState,
    decision_line,
    decision_record,
    forwarded_shot,
)
from streamgate.errors import DeliveryError
from streamgate.metrics import Metrics
from streamgate.ports import ShotOutbox
from streamgate.values import Acceptance, BestShot, TrackDecision

__all__ = ["DecisionLog", "DecisionLogFile"]

log = structlog.get_logger(__name__)

_HELD_LINES = 256
_STATES: dict[Acceptance, ShotState] = {
    Acceptance.ACCEPTED: "accepted",
    Acceptance.HELD: "held",
    Acceptance.DROPPED: "dropped",
}


class DecisionLogFile:
    """Appends lines, and puts the file aside as PATH.1, PATH.2, ... before it grows too large.

    It is opened for each write, so that it may be moved or deleted under the running camera.
    """

    def __init__(self, section: DecisionLogSection) -> None:
        self._path = section.path
        self._max_bytes = section.max_bytes
        self._keep = section.keep

    def append(self, line: bytes) -> None:
        """Write a line whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._size() + len(line) > self._max_bytes:
            self._put_aside()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o640)
        try:
            _append_whole(descriptor, line)
        finally:
            os.close(descriptor)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _put_aside(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            older = self._aside(number)
            if older.exists():
                older.replace(self._aside(number + 1))
        if self._keep:
            if self._path.exists():
                self._path.replace(self._aside(1))
        else:
            self._path.unlink(missing_ok=True)

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _append_whole(descriptor: int, line: bytes) -> None:
    end = os.lseek(descriptor, 0, os.SEEK_END)
    # A power cut may have left half a line, which must not swallow this one.
    if end and os.pread(descriptor, 1, end - 1) != b"\n":
        line = b"\n" + line
    try:
        written = os.write(descriptor, line)
        if written < len(line):
            os.write(descriptor, line[written:])
    except OSError:
        os.ftruncate(descriptor, end)
        raise


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
        self._file = DecisionLogFile(section)
        self._place = section.path
        self._outbox = outbox
        self._under = under
        self._metrics = metrics
        # Tracks end, and a track has at most `gate.max_per_track` best shots: this stays small.
        self._shots: dict[int, list[ForwardedShot]] = {}
        self._held: deque[bytes] = deque(maxlen=_HELD_LINES)
        self._trouble: str | None = None

    def adopt(self, config: CameraConfig, config_hash: str) -> None:
        """Tell of other rules and sinks from the next line on."""
        self._under = replace(
            self._under,
            gate=config.gate,
            precheck=config.precheck,
            config_hash=config_hash,
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

    def _note(self, shot: BestShot, state: ShotState) -> None:
        self._shots.setdefault(shot.track_id, []).append(forwarded_shot(shot, state))

    async def _write(self) -> None:
        while self._held:
            try:
                await asyncio.to_thread(self._file.append, self._held[0])
            except OSError as error:
                self._tell(error.strerror or type(error).__name__)
                return
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
