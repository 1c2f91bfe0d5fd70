"""RTSP and RTSPS cameras."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from streamgate.config.source import RtspSection
from streamgate.ports import Clock, FrameSink
from streamgate.sources.hardware import Decoder, choose_decoder
from streamgate.sources.live import LiveCamera, LiveSource
from streamgate.sources.opening import Opening
from streamgate.sources.two_streams import TwoStreamSource
from streamgate.telemetry.metrics import Metrics
from streamgate.values.redaction import shown_address

__all__ = ["RtspSource"]

log = structlog.get_logger(__name__)

_UDP_BUFFER_BYTES = 1 << 21
_SYSTEM_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


class RtspSource:
    """A camera at an RTSP address; it is reopened whenever it is lost."""

    def __init__(self, config: RtspSection, metrics: Metrics, clock: Clock) -> None:
        decoder = choose_decoder(config.decoder)
        metrics.decoder.info({"decoder": decoder.choice, "wanted": config.decoder})
        if decoder.reason:
            say = log.info if config.decoder == "auto" else log.warning
            say("the CPU decodes", wanted=config.decoder, reason=decoder.reason)
        self._source: LiveSource | TwoStreamSource
        if config.detect_url is None:
            self._source = LiveSource(_camera(config, decoder), metrics, clock)
        else:
            sub = config.model_copy(update={"url": config.detect_url})
            self._source = TwoStreamSource(
                config, _camera(sub, decoder), _camera(config, decoder), metrics, clock
            )

    async def run(self, sink: FrameSink) -> None:
        """See `FrameSource.run`."""
        await self._source.run(sink)


def _camera(config: RtspSection, decoder: Decoder) -> LiveCamera:
    return LiveCamera(
        address=shown_address(config.url),
        opening=lambda: _opening(config, decoder),
        encrypted=_is_encrypted(config),
        reconnect=config.reconnect,
        pictures=config,
        skip_frames=config.skip_frames,
    )


def _is_encrypted(config: RtspSection) -> bool:
    return urlsplit(config.url).scheme == "rtsps"


def _opening(config: RtspSection, decoder: Decoder) -> Opening:
    options = {
        "rtsp_transport": config.transport,
        "allowed_media_types": "video",
        # FFmpeg would measure the frame rate, which nobody asks for: a second's worth of pictures
        # where the timestamps are right, and seconds more, up to the timeout, where they stand.
        "fpsprobesize": "0",
        "timeout": str(round(config.read_timeout_s * 1_000_000)),
    }
    if config.transport == "udp":
        options["buffer_size"] = str(_UDP_BUFFER_BYTES)
    if _is_encrypted(config) and config.tls_verify:
        options["tls_verify"] = "1"
    authorities = config.ca_file or _system_authorities()
    if _is_encrypted(config) and authorities is not None:
        options["ca_file"] = str(authorities)
    return Opening(
        _address(config),
        options,
        open_timeout_s=config.open_timeout_s,
        read_timeout_s=config.read_timeout_s,
        lossy=config.transport == "udp",
        max_pixels=config.max_pixels,
        acceleration=decoder.acceleration,
    )


def _address(config: RtspSection) -> str:
    credentials = config.quoted_credentials()
    if credentials is None:
        return config.url
    scheme, rest = config.url.split("://", 1)
    return f"{scheme}://{credentials}@{rest}"


def _system_authorities() -> Path | None:
    """Return the system's own list: the FFmpeg inside PyAV does not know where it lies."""
    found = ssl.get_default_verify_paths().cafile
    candidates = [Path(found)] if found else []
    return next((path for path in (*candidates, _SYSTEM_AUTHORITIES) if path.is_file()), None)
