"""Warnings about settings that are allowed, but probably not what was meant."""

from __future__ import annotations

from collections.abc import Iterator

from streamgate.config.camera import CameraConfig
from streamgate.config.faults import KeyPath
from streamgate.config.source import DeviceSection

__all__ = ["Doubt", "doubts"]

Doubt = tuple[KeyPath, str, str]
"""A path, what was found, and what is wanted instead."""

# What the detector and the measures give to clear faces; see the descriptions of the settings.
_SUREST_DETECTION = 0.95
_SHARPEST = 25.0
_STRONGEST_CONTRAST = 70.0
_BEST_QUALITY = 99.0
_NARROW_BRIGHTNESS = 40.0


def doubts(config: CameraConfig) -> Iterator[Doubt]:
    """Yield the settings that deserve a second look."""
    yield from _delivery(config)
    yield from _gate(config)
    yield from _prechecks(config)
    if isinstance(config.source, DeviceSection) and not config.source.path.exists():
        yield ("source", "path"), f"{config.source.path}, which is not there now", "a camera there"


def _delivery(config: CameraConfig) -> Iterator[Doubt]:
    if not config.delivery.sinks:
        yield (
            ("delivery", "sinks"),
            "no sinks, so best shots go nowhere",
            "a sink: directory, http, redis, nats, mqtt or kafka",
        )


def _gate(config: CameraConfig) -> Iterator[Doubt]:
    gate = config.gate
    for name in ("min_quality", "release_quality"):
        quality = getattr(gate, name)
        if quality is not None and 0 < quality <= 1:
            yield (
                ("gate", name),
                f"{quality:g} on a scale of 0 to 100",
                f"{100 * quality:g}, if a share was meant",
            )
        elif quality is not None and quality > _BEST_QUALITY:
            yield (
                ("gate", name),
                f"{quality:g}, which hardly a face reaches",
                "less: of 100 reference faces one is better than 99",
            )
    if gate.discard is not None and gate.discard > _BEST_QUALITY:
        yield ("gate", "discard"), f"{gate.discard:g}%, which leaves hardly a face", "less"
    if gate.max_wait_s is not None and gate.max_wait_s < gate.min_age_s:
        yield (
            ("gate", "max_wait_s"),
            f"{gate.max_wait_s:g} s, less than min_age_s ({gate.min_age_s:g} s)",
            "more: nothing is forwarded before min_age_s",
        )


def _prechecks(config: CameraConfig) -> Iterator[Doubt]:
    precheck, limit = config.precheck, "which hardly a face reaches"
    for section, name, most in (
        (precheck, "min_detector_score", _SUREST_DETECTION),
        (config.tracker, "high_score", _SUREST_DETECTION),
        (config.detector, "min_score", _SUREST_DETECTION),
        (precheck, "min_sharpness", _SHARPEST),
        (precheck, "min_contrast", _STRONGEST_CONTRAST),
    ):
        value = float(getattr(section, name))
        if value > most:
            place = {id(precheck): "precheck", id(config.tracker): "tracker"}
            path = (place.get(id(section), "detector"), name)
            yield path, f"{value:g}, {limit}", f"at most {most:g}"
    for name in ("max_yaw_deg", "max_pitch_deg", "max_roll_deg"):
        value = float(getattr(precheck, name))
        if value < 5:
            yield ("precheck", name), f"{value:g}°, {limit}", "5 or more"
    if precheck.max_brightness - precheck.min_brightness < _NARROW_BRIGHTNESS:
        yield (
            ("precheck", "min_brightness"),
            f"{precheck.min_brightness:g} to {precheck.max_brightness:g}, a narrow band of light",
            f"{_NARROW_BRIGHTNESS:g} or more between min_brightness and max_brightness",
        )
    if precheck.min_edge_distance >= 0.5:
        yield (
            ("precheck", "min_edge_distance"),
            f"{precheck.min_edge_distance:g} of a face's width to every edge",
            "about 0.04",
        )
