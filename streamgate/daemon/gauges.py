"""What the metrics show of the parts and the configuration, rather than of events."""

from __future__ import annotations

from streamgate.config import CameraConfig
from streamgate.pipeline import CameraPipeline
from streamgate.ports import Clock
from streamgate.quality.start import CameraScorer
from streamgate.telemetry.drift import QualityDrift
from streamgate.telemetry.metrics import Metrics

__all__ = ["show_config", "show_parts"]


def show_config(config: CameraConfig, config_hash: str, metrics: Metrics, clock: Clock) -> None:
    """Show the configuration that is taken into use now, at the start and at each reload.

    Args:
        config: with the gate's threshold as a quality, however it was set.
        config_hash: of the settings as they were written.
    """
    thresholds = {
        "min_quality": config.gate.min_quality,
        "release_quality": config.gate.release_quality,
    }
    metrics.show_config(config_hash, thresholds, clock.wall())
    for zone in config.zones:
        metrics.expect_zone(zone.name, watched=zone.kind == "watch")
    metrics.camera.info({"source": config.source.kind})
    metrics.outbox_limit.set(config.delivery.outbox.max_shots)


def show_parts(
    pipeline: CameraPipeline, scorer: CameraScorer, drift: QualityDrift, metrics: Metrics
) -> None:
    """Let gauges read the parts whenever they are scraped."""
    calibrated = "true" if scorer.calibrated else "false"
    metrics.model.info({"sha256": scorer.model_hash, "calibrated": calibrated})
    metrics.watch(metrics.analysis_busy, lambda: pipeline.busy_s)
    metrics.watch(metrics.quality_decline, lambda: drift.now(pipeline.time).decline)
    metrics.watch(metrics.quality_drift, lambda: drift.now(pipeline.time).psi)
    metrics.watch(metrics.quality_drift_tracks, lambda: drift.now(pipeline.time).tracks)
