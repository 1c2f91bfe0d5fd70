"""The states that a WebRTC source is in, as its metrics tell them."""

from __future__ import annotations

from enum import StrEnum

from streamgate.telemetry.metrics import Metrics

__all__ = ["SourceState", "show_state"]


class SourceState(StrEnum):
    """Where a WebRTC source stands."""

    WAITING = "waiting"
    NEGOTIATING = "negotiating"
    CONNECTING = "connecting"
    LIVE = "live"


def show_state(metrics: Metrics, state: SourceState) -> None:
    """Set the metrics that tell the state."""
    for other in SourceState:
        metrics.webrtc_state.labels(str(other)).set(float(other is state))
    metrics.source_up.set(float(state is SourceState.LIVE))
