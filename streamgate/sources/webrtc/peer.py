"""One peer connection that receives video, and that leaves nothing behind when it is closed.

aiortc opens tasks, sockets and certificates of its own; leaving the context closes all of them,
whatever happened before. A peer ends once and records the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from enum import StrEnum
from types import TracebackType

import structlog
from aiortc import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)

from streamgate.config import IceServer
from streamgate.errors import SourceError
from streamgate.ports import Clock
from streamgate.sources.clock_watch import ClockWatch
from streamgate.sources.decoder import TooManyPixelsError
from streamgate.sources.webrtc.decode_thread import DecodeThread, PictureTaker
from streamgate.sources.webrtc.receiver import ReceiverCounts, VideoReceiver
from streamgate.telemetry.metrics import Metrics

__all__ = ["Peer", "PeerEnd"]

log = structlog.get_logger(__name__)

# aiortc keeps the receiver here and offers no way to bring another one.
_RECEIVER = "_RTCRtpTransceiver__receiver"
_CLOSE_TIMEOUT_S = 5.0
_COUNT_EVERY_S = 1.0
# Twenty requests for a keyframe; a sender that has answered none of them will answer none.
_NO_PICTURE_S = 10.0


class PeerEnd(StrEnum):
    """Why a peer ended."""

    CLOSED = "closed_by_sender"
    DELETED = "deleted"
    REPLACED = "replaced"
    STOPPED = "stopped"
    NEVER_CONNECTED = "never_connected"
    SILENT = "silent"
    NO_KEYFRAME = "no_keyframe"
    TOO_LARGE = "too_large"
    FAILED = "failed"

    @property
    def is_fault(self) -> bool:
        """Whether the stream was lost rather than ended on purpose."""
        return self in {
            PeerEnd.NEVER_CONNECTED,
            PeerEnd.SILENT,
            PeerEnd.NO_KEYFRAME,
            PeerEnd.TOO_LARGE,
            PeerEnd.FAILED,
        }


class Peer:
    """Receives one video stream; use it as an asynchronous context.

    Args:
        ice_servers: STUN and TURN servers; none are used unless given.
        loss_wait_s: how long a lost packet is awaited.
        max_pixels: the largest picture that is decoded.
        clock_watch: logs faults of the sender's clock.
        on_picture: called on the decoding thread for each picture.
    """

    def __init__(  # noqa: PLR0913 # what the settings say and the process brings
        self,
        *,
        ice_servers: Sequence[IceServer],
        loss_wait_s: float,
        max_pixels: int,
        clock_watch: ClockWatch,
        on_picture: PictureTaker,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._servers = [_server(server) for server in ice_servers]
        self._loss_wait_s = loss_wait_s
        self._max_pixels = max_pixels
        self._clock_watch = clock_watch
        self._on_picture = on_picture
        self._metrics = metrics
        self._clock = clock
        self._counted = ReceiverCounts()
        self._connected = asyncio.Event()
        self._ended = asyncio.Event()
        self._receiver: VideoReceiver | None = None
        self.end: PeerEnd | None = None

    async def __aenter__(self) -> Peer:
        self._decoding = DecodeThread(
            self._on_picture, self._metrics, self._clock, max_pixels=self._max_pixels
        )
        self._decoding.ended.add_done_callback(self._decoding_ended)
        # An empty list, because None would mean a public server that nobody has asked for.
        self._connection = RTCPeerConnection(
            RTCConfiguration(iceServers=self._servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._connection.on("connectionstatechange", self._state_changed)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.end is None:
            self.finish(PeerEnd.STOPPED if kind is asyncio.CancelledError else PeerEnd.FAILED)
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._connection.close()
        except TimeoutError:
            log.warning("peer connection not closed in time", timeout_s=_CLOSE_TIMEOUT_S)
        finally:
            self._count()
            # Pictures that are too large have ended the peer, and it says so.
            with contextlib.suppress(TooManyPixelsError):
                await self._decoding.join()

    # Negotiation

    def receive_video(self) -> None:
        """Add the video; call it once, in the order of the media sections."""
        transceiver = self._connection.addTransceiver("video", "recvonly")
        if not hasattr(transceiver, _RECEIVER):
            raise SourceError("this version of aiortc is not supported; install aiortc 1.16")
        self._receiver = VideoReceiver(
            transceiver.receiver.transport,
            self._decoding,
            clock=self._clock,
            clock_watch=self._clock_watch,
            loss_wait_s=self._loss_wait_s,
            on_bye=self._said_bye,
        )
        # Feedback must come from an SSRC that the other side knows: the one in our description.
        self._receiver._set_rtcp_ssrc(transceiver.sender._ssrc)
        setattr(transceiver, _RECEIVER, self._receiver)

    def decline(self, kind: str) -> RTCRtpTransceiver:
        """Add media that is not wanted: it is negotiated as inactive, so nothing of it is sent."""
        return self._connection.addTransceiver(kind, "inactive")

    async def answer(self, offer: str) -> str:
        """Take an offer and return the answer with every candidate."""
        await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self._connection.setLocalDescription()
        return str(self._connection.localDescription.sdp)

    async def offer(self) -> str:
        """Return an offer with every candidate."""
        await self._connection.setLocalDescription()
        return str(self._connection.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """Take the answer to the offer."""
        await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def add_candidate(self, candidate: RTCIceCandidate | None) -> None:
        """Add a candidate of the other side; None says that there will be no more."""
        await self._connection.addIceCandidate(candidate)

    # Life

    def finish(self, end: PeerEnd) -> None:
        """End the peer; the first reason counts."""
        if self.end is None:
            self.end = end
            self._ended.set()
            # Whoever waits in connect() must learn of the end too.
            self._connected.set()

    async def connect(self, timeout_s: float) -> bool:
        """Wait until media can flow; False where the peer ended instead."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._connected.wait()
        except TimeoutError:
            self.finish(PeerEnd.NEVER_CONNECTED)
        return self.end is None

    async def receive(self, silence_s: float) -> PeerEnd:
        """Wait until the stream has ended, was silent, or gave no picture for too long."""
        since = self._clock.monotonic()
        while self.end is None:
            try:
                # Half the silence, so that a short limit is not exceeded by the wait between two
                # looks.
                async with asyncio.timeout(min(_COUNT_EVERY_S, silence_s / 2)):
                    await self._ended.wait()
            except TimeoutError:
                self._count()
            now = self._clock.monotonic()
            heard_at = self._receiver.last_packet_at if self._receiver else None
            if now - max(since, heard_at or since) > silence_s:
                self.finish(PeerEnd.SILENT)
            elif now - max(since, self._decoding.last_picture_at or since) > (
                _NO_PICTURE_S + silence_s
            ):
                # Packets arrive, but no picture comes of them.
                self.finish(PeerEnd.NO_KEYFRAME)
        return self.end

    def _state_changed(self) -> None:
        state = self._connection.connectionState
        log.debug("peer connection state", state=state)
        if state == "connected":
            self._connected.set()
        elif state == "failed":
            self.finish(PeerEnd.FAILED)
        elif state == "closed":
            self.finish(PeerEnd.CLOSED)

    def _decoding_ended(self, ended: asyncio.Future[None]) -> None:
        error = ended.exception()
        if isinstance(error, TooManyPixelsError) and self.end is None:
            log.warning("pictures too large", error=str(error))
            self.finish(PeerEnd.TOO_LARGE)
        self.finish(PeerEnd.FAILED)

    def _said_bye(self) -> None:
        self.finish(PeerEnd.CLOSED)

    def _count(self) -> None:
        """Add what the receiver has counted since the last time to the metrics."""
        if self._receiver is None:
            return
        now, before, metrics = self._receiver.counts, self._counted, self._metrics
        metrics.webrtc_packets_received.inc(now.packets - before.packets)
        metrics.webrtc_packets_lost.inc(max(0, now.lost - before.lost))
        metrics.webrtc_keyframes_asked.inc(now.keyframes_asked - before.keyframes_asked)
        metrics.webrtc_nacks_sent.inc(now.packets_asked - before.packets_asked)
        metrics.webrtc_jitter.set(now.jitter_s)
        metrics.webrtc_bytes_received.inc(now.bytes - before.bytes)
        self._counted = now


def _server(server: IceServer) -> RTCIceServer:
    credential = server.credential.get_secret_value() if server.credential else None
    return RTCIceServer(urls=server.url, username=server.username, credential=credential)
