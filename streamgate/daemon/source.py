"""Which class stands for which kind of source."""

from __future__ import annotations

from streamgate.config import (
    DeviceSection,
    FileSection,
    RtspSection,
    SourceSection,
    WhepSection,
    WhipSection,
)
from streamgate.ports import Clock, FrameSource
from streamgate.sources import device, file, rtsp
from streamgate.sources.webrtc import whep, whip
from streamgate.telemetry.metrics import Metrics

__all__ = ["build_source"]


def build_source(section: SourceSection, metrics: Metrics, clock: Clock) -> FrameSource:
    """Make a source; it opens nothing before it is run."""
    match section:
        case RtspSection():
            return rtsp.RtspSource(section, metrics, clock)
        case FileSection():
            return file.FileSource(section, metrics, clock)
        case DeviceSection():
            return device.DeviceSource(section, metrics, clock)
        case WhipSection():
            return whip.WhipSource(section, metrics, clock)
        case WhepSection():
            return whep.WhepSource(section, metrics, clock)
