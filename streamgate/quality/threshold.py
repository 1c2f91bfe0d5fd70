"""The gate's threshold as a quality, however it was asked for."""

from __future__ import annotations

from streamgate.config import GateSection
from streamgate.errors import ConfigError
from streamgate.quality.calibration import Calibration

__all__ = ["with_threshold"]


def with_threshold(gate: GateSection, calibration: Calibration | None) -> GateSection:
    """Return the settings with `min_quality` as `discard` or `target_fnmr` ask for it.

    Raises:
        ConfigError: the calibration in use cannot say which quality that is.
    """
    if gate.discard is not None:
        if calibration is None:
            raise ConfigError(
                f"gate.discard: got {gate.discard:g}%, but these weights are not calibrated, so no "
                "share of faces is known; wanted a calibration (streamgate calibrate --images ...) "
                "or gate.min_quality"
            )
        # A calibrated quality is the percentage of the reference that is worse.
        return _with(gate, gate.discard)
    if gate.target_fnmr is None:
        return gate
    errors = None if calibration is None else calibration.errors
    if errors is None:
        raise ConfigError(
            f"gate.target_fnmr: got {gate.target_fnmr:g}, but the calibration in use holds no "
            "errors; wanted one made of labelled faces (streamgate calibrate --images ... "
            "--errors), named in quality.calibration"
        )
    quality = errors.quality_for(gate.target_fnmr)
    if quality is None:
        raise ConfigError(
            f"gate.target_fnmr: got {gate.target_fnmr:g}, but the best faces of the calibration "
            f"are expected to fail in {errors.fnmr[-1]:.4f} of cases at a false match rate of "
            f"{errors.fmr:g}; wanted no less than that"
        )
    return _with(gate, quality)


def _with(gate: GateSection, quality: float) -> GateSection:
    if gate.release_quality is not None and gate.release_quality < quality:
        raise ConfigError(
            f"gate.release_quality: got {gate.release_quality:g}, below the threshold of "
            f"{quality:.1f} that discard or target_fnmr comes to; wanted more"
        )
    return gate.model_copy(update={"min_quality": quality})
