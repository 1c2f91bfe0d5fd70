"""Which class stands for which kind of source; what a camera does not use is not loaded."""

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
from streamgate.telemetry.metrics import Metrics

__all__ = ["build_source"]


def build_source(section: SourceSection, metrics: Metrics, clock: Clock) -> FrameSource:
    """Make a source; it opens nothing before it is run."""
    # aiortc and what it brings cost 60 MB and a second.
    match section:
        case RtspSection():
            from streamgate.sources.rtsp import RtspSource  # noqa: PLC0415

            return RtspSource(section, metrics, clock)
        case FileSection():
            from streamgate.sources.file import FileSource  # noqa: PLC0415

            return FileSource(section, metrics, clock)
        case DeviceSection():
            from streamgate.sources.device import DeviceSource  # noqa: PLC0415

            return DeviceSource(section, metrics, clock)
        case WhipSection():
            from streamgate.sources.webrtc.whip import WhipSource  # noqa: PLC0415

            return WhipSource(section, metrics, clock)
        case WhepSection():
            from streamgate.sources.webrtc.whep import WhepSource  # noqa: PLC0415

            return WhepSource(section, metrics, clock)
