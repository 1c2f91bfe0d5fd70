"""A source that can be lost and comes back: the loop around its connections."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

import av
import structlog

from streamgate.config.pictures import PictureSection
from streamgate.config.source import ReconnectSection
from streamgate.ports import Clock, FrameSink
from streamgate.sources.clock_watch import ClockWatch
from streamgate.sources.connection import LiveConnection, SkipFrames
from streamgate.sources.decoder import TooManyPixelsError
from streamgate.sources.faults import Fault, fault, fault_of
from streamgate.sources.frames import FrameMaker
from streamgate.sources.opening import NoVideoError, Opening, open_video
from streamgate.sources.reconnect import failures_after
from streamgate.sources.worker import run_in_thread
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Discontinuity
from streamgate.values.backoff import pause_s
from streamgate.values.reasons import FaultReason

__all__ = ["LiveCamera", "LiveSource"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LiveCamera:
    """A camera, as the reconnecting loop sees it.

    Attributes:
        address: for people, without credentials.
        opening: builds what is to be opened, secrets included.
        encrypted: whether the connection is TLS.
        reconnect: the schedule of attempts.
        pictures: settings of its pictures.
        skip_frames: which of them are not decoded.
    """

    address: str
    opening: Callable[[], Opening]
    encrypted: bool
    reconnect: ReconnectSection
    pictures: PictureSection
    skip_frames: SkipFrames = "none"


class LiveSource:
    """Opens a camera, decodes it until it is lost, and reopens it, again and again."""

    def __init__(
        self,
        camera: LiveCamera,
        metrics: Metrics,
        clock: Clock,
        fraction: Callable[[], float] = random.random,
    ) -> None:
        self._camera = camera
        self._metrics = metrics
        self._clock = clock
        self._fraction = fraction
        self._frames = FrameMaker(camera.pictures, metrics, clock)
        self._clock_watch = ClockWatch(metrics)
        self._reported: Fault | None = None
        self._loss_reported = False

    async def run(self, sink: FrameSink) -> None:
        """See `FrameSource.run`; this returns by cancellation alone."""
        try:
            await run_in_thread(lambda stop: self._serve(sink, stop), name="read")
        finally:
            self._metrics.source_up.set(0)

    def _serve(self, sink: FrameSink, stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set():
            lost, delivered_s = self._connect_once(sink, stop)
            if stop.is_set():
                return
            failures = failures_after(failures, delivered_s)
            pause = pause_s(failures, self._camera.reconnect, self._fraction())
            self._metrics.source_faults.labels(lost.reason.value).inc()
            self._report(lost, pause)
            stop.wait(pause)

    def _connect_once(self, sink: FrameSink, stop: threading.Event) -> tuple[Fault, float]:
        """Serve one connection; return why it ended and for how long it had delivered frames."""
        connection: LiveConnection | None = None
        try:
            opening = self._camera.opening()
            with open_video(opening) as (container, stream):
                self._frames.connected()
                self._clock_watch.connected()
                connection = LiveConnection(
                    stream,
                    self._frames,
                    self._metrics,
                    self._clock,
                    clock_watch=self._clock_watch,
                    settings=self._camera.pictures,
                    lossy=opening.lossy,
                    skip_frames=self._camera.skip_frames,
                    on_loss=self._report_loss,
                )
                codec = stream.codec_context
                self._connected(f"{codec.name} {codec.width}×{codec.height}")
                lost = connection.run(container, sink, stop)
        except NoVideoError:
            lost = fault(FaultReason.NO_VIDEO)
        except TooManyPixelsError as error:
            lost = Fault(FaultReason.TOO_LARGE, str(error))
        except av.FFmpegError as error:
            lost = fault_of(error, encrypted=self._camera.encrypted and connection is None)
        now = self._clock.monotonic()
        if connection is None:
            return lost, 0.0
        self._metrics.source_up.set(0)
        self._frames.gone()
        sink.mark(Discontinuity(lost.reason.value, now))
        began_at = connection.first_frame_at
        return lost, 0.0 if began_at is None else now - began_at

    def _connected(self, stream: str) -> None:
        self._reported = None
        log.info("source connected", address=self._camera.address, stream=stream)

    def _report_loss(self) -> None:
        """Say once that packets are lost; the metric counts the rest."""
        say = log.debug if self._loss_reported else log.warning
        self._loss_reported = True
        lost = fault(FaultReason.PACKET_LOSS)
        say(
            "packets lost",
            address=self._camera.address,
            reason=lost.reason.value,
            error=lost.text,
        )

    def _report(self, lost: Fault, pause: float) -> None:
        """Say what is wrong once, not at every attempt of a night."""
        say = log.debug if lost == self._reported else log.warning
        self._reported = lost
        say(
            "source lost",
            address=self._camera.address,
            reason=lost.reason.value,
            error=lost.text,
            retry_in_s=round(pause, 2),
        )
