"""The states that a WebRTC source is in, as its metrics tell them."""

from __future__ import annotations

from streamgate.telemetry.metrics import Metrics
from streamgate.values.reasons import SourceState

__all__ = ["show_state"]


def show_state(metrics: Metrics, state: SourceState) -> None:
    """Set the metrics that tell the state."""
    for other in SourceState:
        metrics.webrtc_state.labels(str(other)).set(float(other is state))
    metrics.source_up.set(float(state is SourceState.LIVE))
