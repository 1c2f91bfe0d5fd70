"""The main stream of a camera that is looked at in its substream: decoded only on demand.

Reading it costs little, decoding a large picture much. So its packets are read and kept from the
last keyframe on, and decoded only once somebody asks for a picture, and for as long as somebody
asks. The first picture after a rest takes the decoding of all since that keyframe; pictures that no
other refers to are left out then. All times are of one clock, that of `CaptureClock`: when a
picture was taken, in this machine's monotonic seconds, whatever the camera calls it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import av
import structlog
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamgate.errors import StreamgateError
from streamgate.ports import Clock
from streamgate.sources.bitstream import PictureReader, reader_for
from streamgate.sources.clock import CaptureClock
from streamgate.sources.convert import RgbConverter, VideoPixels
from streamgate.sources.decoder import GatedDecoder, TooManyPixelsError
from streamgate.sources.faults import Fault, fault, fault_of
from streamgate.sources.live import LiveCamera
from streamgate.sources.nal import CodedPicture
from streamgate.sources.opening import NoVideoError, PixelAspect, open_video
from streamgate.sources.reconnect import failures_after
from streamgate.sources.worker import run_in_thread
from streamgate.telemetry.metrics import Metrics
from streamgate.values.backoff import pause_s
from streamgate.values.reasons import DetailOutcome, FaultReason

__all__ = ["TOLERANCE_S", "MainStream", "TakenPicture"]

log = structlog.get_logger(__name__)

TOLERANCE_S = 0.12
"""Pictures of two streams that were taken within this are of one instant."""
_AWAKE_S = 3.0
"""So long after the last question is decoded on: somebody is there, and is asked about again."""
_WAIT_S = 0.15
"""The larger picture arrives a little after the smaller one."""
_KEPT_S = 1.0
_KEPT_BYTES = 256 * 1024 * 1024
_CODED_BYTES = 64 * 1024 * 1024
_MOST_CODED = 2000
_TICK_S = 0.5
_JOIN_S = 2.0


@dataclass(frozen=True, slots=True)
class TakenPicture:
    """A decoded picture of the main stream.

    Attributes:
        captured_at: monotonic seconds.
        pixels: what it shows.
    """

    captured_at: float
    pixels: VideoPixels


@dataclass(frozen=True, slots=True)
class _Coded:
    packet: Packet[VideoStream]
    captured_at: float

    @property
    def can_begin(self) -> bool:
        """By the demuxer's word: reading every packet that is never decoded would cost as much."""
        return bool(self.packet.is_keyframe)


class MainStream:
    """Reads the main stream and decodes what is asked for; `near` is for another thread.

    Args:
        camera: what is opened, again and again.
        random: 0-1, spreads the attempts.
    """

    def __init__(
        self, camera: LiveCamera, metrics: Metrics, clock: Clock, random: Callable[[], float]
    ) -> None:
        self._camera = camera
        self._metrics = metrics
        self._clock = clock
        self._random = random
        self._news = threading.Condition()
        self._coded: deque[_Coded] = deque()
        self._coded_bytes = 0
        self._gap = True
        """Whether what is decoded next does not follow what was decoded last."""
        self._pictures: deque[TakenPicture] = deque()
        self._asked_at = float("-inf")
        self._wanted_at = float("-inf")
        self._size: tuple[int, int] | None = None
        self._open = False
        self._failure: Exception | None = None
        self._reported: Fault | None = None
        self.on_picture: Callable[[TakenPicture], None] | None = None
        """Given every picture while it is set, in which case all are decoded."""

    async def run(self) -> None:
        """Read until cancelled."""
        try:
            await run_in_thread(self._serve, name="main-stream")
        finally:
            self._metrics.main_stream_up.set(0)

    # For whoever looks

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of its pictures; None while it is away."""
        return self._size if self._open else None

    def near(self, captured_at: float) -> TakenPicture | DetailOutcome:
        """Return the picture taken nearest to an instant, or why there is none."""
        with self._news:
            now = self._clock.monotonic()
            was_awake = now - self._asked_at < _AWAKE_S
            self._asked_at, self._wanted_at = now, captured_at
            self._news.notify_all()
            until = now + (_WAIT_S if was_awake else 0.0)
            while self._open:
                if self._pictures and self._pictures[-1].captured_at >= captured_at:
                    break
                left_s = until - self._clock.monotonic()
                if left_s <= 0:
                    break
                self._news.wait(left_s)
            if not self._open:
                return DetailOutcome.AWAY
            best = min(
                self._pictures, key=lambda one: abs(one.captured_at - captured_at), default=None
            )
            if best is None or abs(best.captured_at - captured_at) > TOLERANCE_S:
                return DetailOutcome.LATE
            return best

    # The thread that reads

    def _serve(self, stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set():
            began_at = self._clock.monotonic()
            lost = self._connect_once(stop)
            if stop.is_set():
                return
            failures = failures_after(failures, self._clock.monotonic() - began_at)
            pause = pause_s(failures, self._camera.reconnect, self._random())
            self._metrics.source_faults.labels(lost.reason.value).inc()
            say = log.debug if lost == self._reported else log.warning
            self._reported = lost
            say(
                "main stream lost",
                address=self._camera.address,
                reason=lost.reason.value,
                error=f"the main stream is away, faces are cut out of the substream: {lost.text}",
                retry_in_s=round(pause, 2),
            )
            stop.wait(pause)

    def _connect_once(self, stop: threading.Event) -> Fault:
        is_open = False
        try:
            opening = self._camera.opening()
            with open_video(opening) as (container, stream):
                is_open = True
                return self._read(container, stream, lossy=opening.lossy, stop=stop)
        except NoVideoError:
            return fault(FaultReason.NO_VIDEO)
        except TooManyPixelsError as error:
            return Fault(FaultReason.TOO_LARGE, str(error))
        except av.FFmpegError as error:
            return fault_of(error, encrypted=self._camera.encrypted and not is_open)

    def _read(
        self,
        container: InputContainer,
        stream: VideoStream,
        *,
        lossy: bool,
        stop: threading.Event,
    ) -> Fault:
        codec = stream.codec_context
        reader = reader_for(codec.name, codec.extradata or b"")
        decoder = GatedDecoder(
            codec,
            max_pixels=self._camera.pictures.max_pixels,
            knows_keyframes=reader is not None,
            watches_gaps=lossy,
            began_at=self._clock.monotonic(),
        )
        capture = CaptureClock()
        converter = RgbConverter(self._camera.pictures.max_pixels)
        aspect = PixelAspect(stream)
        with self._news:
            self._open, self._failure = True, None
            self._coded.clear()
            self._pictures.clear()
            self._coded_bytes, self._gap = 0, True
            self._size = (codec.width, codec.height) if codec.width and codec.height else None
        self._reported = None
        self._metrics.main_stream_up.set(1)
        log.info("main stream connected", address=self._camera.address,
                 stream=f"{codec.name} {codec.width}×{codec.height}")  # fmt: skip
        decoding = threading.Thread(
            target=self._decode_all, args=(decoder, reader, converter, aspect), name="main-decode",
            daemon=True,
        )  # fmt: skip
        decoding.start()
        try:
            for packet in container.demux(stream):
                if stop.is_set() or self._failure is not None:
                    break
                if not packet.size:
                    continue
                arrived_at = self._clock.monotonic()
                pts_s = _seconds(packet)
                capture.observe(pts_s, arrived_at)
                self._keep(_Coded(packet, capture.captured_at(pts_s, arrived_at)))
        finally:
            with self._news:
                self._open = False
                self._news.notify_all()
            self._metrics.main_stream_up.set(0)
            decoding.join(_JOIN_S)
        if isinstance(self._failure, TooManyPixelsError | av.FFmpegError):
            raise self._failure
        return fault(FaultReason.CLOSED)

    def _keep(self, coded: _Coded) -> None:
        with self._news:
            if coded.can_begin and not self._is_awake():
                # Nobody asks for what was before it.
                self._forget()
            elif self._coded_bytes > _CODED_BYTES or len(self._coded) >= _MOST_CODED:
                self._forget()
            if self._gap and not self._coded and not coded.can_begin:
                return
            self._coded.append(coded)
            self._coded_bytes += coded.packet.size
            self._news.notify_all()

    def _forget(self) -> None:
        if self._coded:
            self._gap = True
        self._coded.clear()
        self._coded_bytes = 0

    def _is_awake(self) -> bool:
        asked = self._clock.monotonic() - self._asked_at < _AWAKE_S
        return asked or self.on_picture is not None

    # The thread that decodes

    def _decode_all(
        self,
        decoder: GatedDecoder,
        reader: PictureReader | None,
        converter: RgbConverter,
        aspect: PixelAspect,
    ) -> None:
        try:
            while (taken := self._take()) is not None:
                coded, follows, wanted_at = taken
                packet = coded.packet
                said = (
                    CodedPicture(b"", is_keyframe=packet.is_keyframe)
                    if reader is None
                    else reader.read(bytes(packet))
                )
                is_old = coded.captured_at < wanted_at - TOLERANCE_S
                if is_old and not said.is_reference and not said.is_keyframe:
                    continue
                packet.opaque = coded.captured_at
                decoded = decoder.decode(packet, said, now=self._clock.monotonic(), follows=follows)
                for picture in decoded.pictures:
                    at = picture.opaque if isinstance(picture.opaque, float) else coded.captured_at
                    self._show(picture, at, converter, aspect)
        except (StreamgateError, av.FFmpegError) as failure:
            # It is raised where the stream is read.
            self._failure = failure

    def _take(self) -> tuple[_Coded, bool, float] | None:
        with self._news:
            while self._open and not (self._coded and self._is_awake()):
                self._news.wait(_TICK_S)
            if not self._open:
                return None
            self._skip_to_newest()
            coded = self._coded.popleft()
            self._coded_bytes -= coded.packet.size
            follows, self._gap = not self._gap, False
            return coded, follows, self._wanted_at

    def _skip_to_newest(self) -> None:
        """Begin at the last keyframe where there are several: what was before is not asked for."""
        begins = [place for place, coded in enumerate(self._coded) if coded.can_begin and place]
        if begins and self._coded[-1].captured_at - self._coded[0].captured_at > _KEPT_S:
            for _ in range(begins[-1]):
                self._coded_bytes -= self._coded.popleft().packet.size
            self._gap = True

    def _show(
        self, picture: VideoFrame, at: float, converter: RgbConverter, aspect: PixelAspect
    ) -> None:
        pixels = VideoPixels(picture, converter, self._camera.pictures.pixel_aspect or aspect.now)
        taken = TakenPicture(at, pixels)
        size = picture.width * picture.height * 3 // 2
        with self._news:
            self._size = pixels.size
            self._pictures.append(taken)
            while len(self._pictures) > 1 and (
                at - self._pictures[0].captured_at > _KEPT_S
                or len(self._pictures) * size > _KEPT_BYTES
            ):
                self._pictures.popleft()
            self._news.notify_all()
            hear = self.on_picture
        if hear is not None:
            hear(taken)


def _seconds(packet: Packet[VideoStream]) -> float | None:
    if packet.pts is None or packet.time_base is None:
        return None
    return float(packet.pts * packet.time_base)
