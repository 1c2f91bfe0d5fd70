"""USB and built-in cameras, through Video4Linux."""

from __future__ import annotations

from streamgate.config.source import DeviceSection
from streamgate.ports import Clock, FrameSink
from streamgate.sources.live import LiveCamera, LiveSource
from streamgate.sources.opening import Opening
from streamgate.telemetry.metrics import Metrics

__all__ = ["DeviceSource"]


class DeviceSource:
    """A camera at a device node. One that was unplugged is reopened when it is back."""

    def __init__(self, config: DeviceSection, metrics: Metrics, clock: Clock) -> None:
        camera = LiveCamera(
            address=str(config.path),
            opening=lambda: _opening(config),
            encrypted=False,
            reconnect=config.reconnect,
            pictures=config,
        )
        self._source = LiveSource(camera, metrics, clock)

    async def run(self, sink: FrameSink) -> None:
        """See `FrameSource.run`."""
        await self._source.run(sink)


def _opening(config: DeviceSection) -> Opening:
    options = {}
    if config.width is not None and config.height is not None:
        options["video_size"] = f"{config.width}x{config.height}"
    if config.frames_per_second is not None:
        options["framerate"] = f"{config.frames_per_second:g}"
    return Opening(
        str(config.path),
        options,
        container_format="v4l2",
        open_timeout_s=config.read_timeout_s,
        read_timeout_s=config.read_timeout_s,
        max_pixels=config.max_pixels,
    )
