"""A media server's stream (WHEP): pulled for ever, and opened anew only when it is lost.

A connection that stutters is left alone: aiortc keeps checking it, and lost packets are asked for.
Only when ICE has failed, or nothing came for the read timeout, the session is deleted and another
one is negotiated, with new ICE credentials; that is an ICE restart in everything but the name, and
works with servers that cannot do the other. A stream that the server ends is told from one that was
lost, though both are tried again: it may come back.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import structlog
from av.video.frame import VideoFrame

from streamgate.config import WhepSection
from streamgate.ports import Clock, FrameSink
from streamgate.sources.clock_watch import ClockWatch
from streamgate.sources.faults import FaultReason
from streamgate.sources.frames import FrameMaker
from streamgate.sources.reconnect import failures_after
from streamgate.sources.webrtc.offer import read_answer
from streamgate.sources.webrtc.peer import Peer, PeerEnd
from streamgate.sources.webrtc.state import SourceState, show_state
from streamgate.sources.webrtc.whep_client import WhepClient, WhepError
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Discontinuity
from streamgate.values.backoff import pause_s
from streamgate.values.redaction import shown_address

__all__ = ["WhepSource"]

log = structlog.get_logger(__name__)

_WORDS: dict[PeerEnd, str] = {
    PeerEnd.CLOSED: "the server ended the stream",
    PeerEnd.NEVER_CONNECTED: "no media came through: check that UDP from the server is let in, or "
    "set source.ice_servers",
    PeerEnd.SILENT: "it is silent: nothing came within source.read_timeout_s",
    PeerEnd.NO_KEYFRAME: "no sound keyframe comes: shorten the stream's keyframe interval",
    PeerEnd.TOO_LARGE: "its pictures are larger than source.max_pixels allows",
    PeerEnd.FAILED: "the connection failed",
}


@dataclass(frozen=True, slots=True)
class _Lost:
    """Why a session ended or was never had; fit for a log."""

    reason: str
    text: str
    ended: bool = False
    retry_after_s: float = 0.0


class WhepSource:
    """Reads a WHEP server until the task is cancelled."""

    def __init__(
        self,
        settings: WhepSection,
        metrics: Metrics,
        clock: Clock,
        fraction: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._fraction = fraction
        self._frames = FrameMaker(settings, metrics, clock)
        self._clock_watch = ClockWatch(metrics)
        self._address = shown_address(settings.url)
        self._live_at: float | None = None
        self._reported: _Lost | None = None

    async def run(self, sink: FrameSink) -> None:
        """See `FrameSource.run`; this returns by cancellation alone."""
        failures = 0
        try:
            async with WhepClient(self._settings) as client:
                while True:
                    lost, delivered_s = await self._connect_once(client, sink)
                    failures = failures_after(failures, delivered_s)
                    await self._rest(lost, failures)
        finally:
            show_state(self._metrics, SourceState.WAITING)

    async def _rest(self, lost: _Lost, failures: int) -> None:
        show_state(self._metrics, SourceState.WAITING)
        schedule = self._settings.reconnect
        pause = pause_s(failures, schedule, self._fraction())
        pause = max(pause, min(lost.retry_after_s, schedule.max_s))
        if not lost.ended:
            self._metrics.source_faults.labels(lost.reason).inc()
        self._report(lost, pause)
        await asyncio.sleep(pause)

    def _report(self, lost: _Lost, pause: float) -> None:
        """Say what is wrong once, not at every attempt of a night."""
        say = log.debug if lost == self._reported else log.info if lost.ended else log.warning
        self._reported = lost
        say(
            "source ended" if lost.ended else "source lost",
            address=self._address,
            reason=lost.reason,
            error=lost.text,
            retry_in_s=round(pause, 2),
        )

    async def _connect_once(self, client: WhepClient, sink: FrameSink) -> tuple[_Lost, float]:
        """Serve one session; return why it ended and for how long it had been live."""
        self._live_at = None
        peer = self._peer(sink)
        try:
            async with peer:
                await self._serve(peer, client)
            lost = _lost_of(peer.end or PeerEnd.FAILED)
        except WhepError as error:
            lost = _Lost(str(error.reason), str(error), retry_after_s=error.retry_after_s or 0.0)
        except Exception as error:
            # aiortc answers what it cannot use with whatever Python raises on the way.
            log.warning("session failed", error=type(error).__name__)
            lost = _lost_of(PeerEnd.FAILED)
        return lost, self._gone(lost, sink)

    def _gone(self, lost: _Lost, sink: FrameSink) -> float:
        """Tell of the end of a session that was live; return for how long it was, seconds."""
        if self._live_at is None:
            return 0.0
        self._frames.gone()
        now = self._clock.monotonic()
        sink.mark(Discontinuity(lost.reason, now, ended=lost.ended))
        return now - self._live_at

    async def _serve(self, peer: Peer, client: WhepClient) -> None:
        """Negotiate and receive; the session is deleted whatever happens."""
        show_state(self._metrics, SourceState.NEGOTIATING)
        peer.receive_video()
        async with asyncio.timeout(self._settings.connect_timeout_s):
            offer = await peer.offer()
        session = await client.open(offer)
        try:
            if not read_answer(session.answer):
                raise WhepError(
                    FaultReason.NO_VIDEO, "its answer has no H.264 or VP8 video that it sends"
                )
            show_state(self._metrics, SourceState.CONNECTING)
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await peer.accept(session.answer)
            if await peer.connect(self._settings.connect_timeout_s):
                self._go_live()
                await peer.receive(self._settings.read_timeout_s)
        finally:
            await client.delete(session)

    def _go_live(self) -> None:
        self._frames.connected()
        self._live_at = self._clock.monotonic()
        self._reported = None
        show_state(self._metrics, SourceState.LIVE)
        log.info("source connected", address=self._address)

    def _peer(self, sink: FrameSink) -> Peer:
        def put(picture: VideoFrame, captured_at: float, pixel_aspect: Fraction | None) -> None:
            sink.put(self._frames.make(picture, captured_at=captured_at, pixel_aspect=pixel_aspect))

        return Peer(
            ice_servers=self._settings.ice_servers,
            loss_wait_s=self._settings.loss_wait_s,
            max_pixels=self._settings.max_pixels,
            clock_watch=self._clock_watch,
            on_picture=put,
            metrics=self._metrics,
            clock=self._clock,
        )


def _lost_of(end: PeerEnd) -> _Lost:
    text = _WORDS.get(end, _WORDS[PeerEnd.FAILED])
    return _Lost(str(end), text, ended=not end.is_fault)
