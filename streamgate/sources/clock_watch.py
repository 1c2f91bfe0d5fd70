"""Telling, once, that a source's clock is not believed, and that it is believed again."""

from __future__ import annotations

import structlog

from streamgate.sources.clock import CaptureClock, ClockFault
from streamgate.sources.faults import FaultReason, fault
from streamgate.telemetry.metrics import Metrics

__all__ = ["ClockWatch"]

log = structlog.get_logger(__name__)

_TOLD_AGAIN_S = 3600.0
"""A clock that fails again within the hour is no news."""


class ClockWatch:
    """Tells of one source's clock; it outlives the source's connections."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._fault: ClockFault | None = None
        self._told_at: float | None = None
        metrics.clock_trusted.set(1)

    def connected(self) -> None:
        """Another connection begins, whose clock is believed until it fails."""
        self._fault = None
        self._metrics.clock_trusted.set(1)

    def look(self, clock: CaptureClock, now: float) -> None:
        """Tell what has changed since the last look."""
        if clock.fault is self._fault:
            return
        self._fault = clock.fault
        self._metrics.clock_trusted.set(float(clock.fault is None))
        if clock.fault is None:
            log.info("source clock believed again")
            return
        self._metrics.source_faults.labels(FaultReason.CLOCK.value).inc()
        is_news = self._told_at is None or now - self._told_at > _TOLD_AGAIN_S
        self._told_at = now
        pace = None if clock.pace is None else round(clock.pace, 4)
        say = log.warning if is_news else log.debug
        say(
            "source clock not believed",
            reason=FaultReason.CLOCK.value,
            clock=clock.fault.value,
            pace=pace,
            error=fault(FaultReason.CLOCK).text,
        )
