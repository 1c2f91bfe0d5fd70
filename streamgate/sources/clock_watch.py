"""Logs once when a source's clock is not used any more, and once when it is used again."""

from __future__ import annotations

import structlog

from streamgate.sources.clock import CaptureClock, ClockFault
from streamgate.sources.faults import FaultReason, fault
from streamgate.telemetry.metrics import Metrics

__all__ = ["ClockWatch"]

log = structlog.get_logger(__name__)

_TOLD_AGAIN_S = 3600.0
"""A clock that fails again within an hour is not reported again."""


class ClockWatch:
    """Watches the clock of one source, across its connections."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._fault: ClockFault | None = None
        self._told_at: float | None = None
        metrics.clock_trusted.set(1)

    def connected(self) -> None:
        """A new connection starts; its clock is used until it fails."""
        self._fault = None
        self._metrics.clock_trusted.set(1)

    def look(self, clock: CaptureClock, now: float) -> None:
        """Log what has changed since the last call."""
        if clock.fault is self._fault:
            return
        self._fault = clock.fault
        self._metrics.clock_trusted.set(float(clock.fault is None))
        if clock.fault is None:
            log.info("source clock is used again")
            return
        self._metrics.source_faults.labels(FaultReason.CLOCK.value).inc()
        is_news = self._told_at is None or now - self._told_at > _TOLD_AGAIN_S
        self._told_at = now
        pace = None if clock.pace is None else round(clock.pace, 4)
        say = log.warning if is_news else log.debug
        say(
            "source clock is not used",
            reason=FaultReason.CLOCK.value,
            clock=clock.fault.value,
            pace=pace,
            error=fault(FaultReason.CLOCK).text,
        )
