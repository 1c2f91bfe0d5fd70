"""Replaces aiortc's receiver: takes the RTP packets of one video stream and decodes its pictures.

It offers aiortc's transport the methods of `RTCRtpReceiver`, under aiortc's names. They are private
there, so only this module uses them, the version is pinned, and a test fails if one is gone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiortc.codecs import depayload, is_rtx
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_PLI,
    RTCP_RTPFB_NACK,
    AnyRtcpPacket,
    RtcpByePacket,
    RtcpPsfbPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpRtpfbPacket,
    RtcpSrPacket,
    RtpPacket,
    pack_remb_fci,
    unwrap_rtx,
)
from aiortc.stats import RTCStatsReport

from streamgate.ports import Clock
from streamgate.sources.clock import CaptureClock, RtpTimestamps
from streamgate.sources.clock_watch import ClockWatch
from streamgate.sources.webrtc.assembly import FrameAssembler, MediaPacket
from streamgate.sources.webrtc.bandwidth import BandwidthEstimator
from streamgate.sources.webrtc.decode_thread import DecodeThread

__all__ = ["ReceiverCounts", "VideoReceiver"]

_NTP_EPOCH_S = 2_208_988_800
# A sender answers a request with a keyframe within a round trip; more requests only cost bits.
_ASK_FOR_KEYFRAME_EVERY_S = 0.5
_CLOCK_RATE = 90_000


@dataclass(frozen=True, slots=True)
class ReceiverCounts:
    """What a receiver has counted since it began; jitter is the current one, in seconds."""

    packets: int = 0
    bytes: int = 0
    lost: int = 0
    jitter_s: float = 0.0
    keyframes_asked: int = 0
    packets_asked: int = 0


class VideoReceiver:
    """Receives one video stream.

    Args:
        transport: aiortc's DTLS transport.
        decoding: where whole frames go; the receiver stops it, its owner joins it.
        clock_watch: logs faults of the sender's clock.
        loss_wait_s: how long a missing packet is awaited.
        on_bye: called when the sender says that the stream has ended, or closes the transport.
    """

    def __init__(  # noqa: PLR0913 # what the settings say and the process brings
        self,
        transport: Any,
        decoding: DecodeThread,
        *,
        clock: Clock,
        clock_watch: ClockWatch,
        loss_wait_s: float,
        on_bye: Callable[[], None],
    ) -> None:
        self.transport = transport
        self._track: Any = None
        self._enabled = True
        self._decoding = decoding
        self._on_bye = on_bye
        self._assembler = FrameAssembler(wait_s=loss_wait_s)
        self._time = clock
        self._clock_watch = clock_watch
        self._stamps = RtpTimestamps(_CLOCK_RATE)
        self._captures = CaptureClock()
        self._bandwidth = BandwidthEstimator()
        self._codecs: dict[int, RTCRtpCodecParameters] = {}
        self._rtx_of: dict[int, int] = {}
        self._own_ssrc: int | None = None
        self._ssrc: int | None = None
        self._statistics = StreamStatistics(_CLOCK_RATE)
        self._last_report: tuple[int, float] | None = None
        self._receiving = False
        self._report_at = 0.0
        self._asked_at = 0.0
        self._packets = self._bytes = self._keyframes_asked = self._packets_asked = 0
        self.last_packet_at: float | None = None

    @property
    def counts(self) -> ReceiverCounts:
        """What was counted so far."""
        received = self._statistics.packets_received > 0
        return ReceiverCounts(
            packets=self._packets,
            bytes=self._bytes,
            # Duplicates make the difference of expected and received negative (RFC 3550).
            lost=max(0, self._statistics.packets_lost) if received else 0,
            jitter_s=self._statistics.jitter / _CLOCK_RATE,
            keyframes_asked=self._keyframes_asked,
            packets_asked=self._packets_asked,
        )

    # What aiortc's peer connection and transceiver call

    @property
    def track(self) -> Any:
        """The track that aiortc keeps with a receiver; nothing is ever put into it."""
        return self._track

    def setTransport(self, transport: Any) -> None:  # noqa: N802 - aiortc's name
        """Use another transport: the one that the bundle shares."""
        self.transport = transport

    def _set_rtcp_ssrc(self, ssrc: int) -> None:
        self._own_ssrc = ssrc

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """Begin to receive what was negotiated."""
        if self._receiving:
            return
        self._receiving = True
        for codec in parameters.codecs:
            if codec.payloadType is not None:
                self._codecs[codec.payloadType] = codec
        for encoding in parameters.encodings:
            if encoding.rtx:
                self._rtx_of[encoding.rtx.ssrc] = encoding.ssrc
        self.transport._register_rtp_receiver(self, parameters)

    async def stop(self) -> None:
        """Stop for good."""
        self._decoding.stop()
        if self._receiving:
            self.transport._unregister_rtp_receiver(self)

    async def getStats(self) -> RTCStatsReport:  # noqa: N802 - aiortc's name
        """Return nothing: `counts` says it."""
        return RTCStatsReport()

    # What aiortc's transport calls

    def _handle_disconnect(self) -> None:
        self._on_bye()

    async def _handle_rtcp_packet(self, packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpByePacket):
            if self._ssrc in packet.sources:
                self._on_bye()
        elif isinstance(packet, RtcpSrPacket) and packet.ssrc == self._ssrc:
            sent = packet.sender_info
            # The middle 32 bits of the NTP time are what a receiver report returns (RFC 3550, LSR).
            self._last_report = (sent.ntp_timestamp >> 16) & 0xFFFFFFFF, self._time.monotonic()
            now, wall = self._time.monotonic(), self._time.wall()
            sender_wall = sent.ntp_timestamp / (1 << 32) - _NTP_EPOCH_S
            self._captures.report(
                self._stamps.beside(sent.rtp_timestamp),
                sent_at=now - (wall - sender_wall),
                arrived_at=now,
            )

    async def _handle_rtp_packet(
        self,
        packet: RtpPacket,
        arrival_time_ms: int,  # noqa: ARG002 - wall-clock time, which may jump
    ) -> None:
        codec = self._codecs.get(packet.payload_type)
        if codec is None or not self._enabled:
            return
        now = self._time.monotonic()
        self._packets += 1
        self._bytes += len(packet.payload)
        self.last_packet_at = now
        # Before retransmissions are told apart: they load the network too.
        await self._announce_bandwidth(packet, now)
        original = self._original(packet, codec)
        if original is None:
            return
        codec = self._codecs[original.payload_type]
        try:
            data = depayload(codec, original.payload) if original.payload else b""
        except ValueError:
            return
        self._assemble(codec.name, original, data, now)
        await self._ask(now)
        await self._report(now)

    # RTP

    def _original(self, packet: RtpPacket, codec: RTCRtpCodecParameters) -> RtpPacket | None:
        """Return the packet itself, or the one that a retransmission carries."""
        if not is_rtx(codec):
            if packet.ssrc != self._ssrc:
                self._begin(packet)
            # Retransmissions are not counted, or the sender would not learn of the loss.
            self._statistics.add(packet)
            return packet
        # Senders need not announce the SSRC of retransmissions; there is one stream that they can
        # be of.
        ssrc = self._rtx_of.get(packet.ssrc, self._ssrc)
        kind = codec.parameters.get("apt")
        if ssrc != self._ssrc or ssrc is None or len(packet.payload) < 2:
            return None
        # The other side wrote this number and may have written anything.
        if not isinstance(kind, int) or kind not in self._codecs:
            return None
        return unwrap_rtx(packet, payload_type=kind, ssrc=ssrc)

    def _begin(self, packet: RtpPacket) -> None:
        """Start with a stream: the first one, or that of a sender that has restarted."""
        self._ssrc = packet.ssrc
        # A stream begins with a keyframe, so none is requested in the first moment.
        self._asked_at = self._time.monotonic()
        self._last_report = None
        self._captures, self._stamps = CaptureClock(), RtpTimestamps(_CLOCK_RATE)
        self._clock_watch.connected()
        self._statistics = StreamStatistics(_CLOCK_RATE)
        self._assembler.restart()

    def _assemble(self, codec: str, packet: RtpPacket, data: bytes, now: float) -> None:
        media = MediaPacket(packet.sequence_number, packet.timestamp, bool(packet.marker), data)
        for frame in self._assembler.add(media, now):
            pts_s = self._stamps.seconds(frame.timestamp)
            self._captures.observe(pts_s, frame.arrived_at)
            self._clock_watch.look(self._captures, frame.arrived_at)
            captured_at = self._captures.captured_at(pts_s, frame.arrived_at)
            self._decoding.submit(codec, frame, captured_at=captured_at)

    # RTCP

    async def _ask(self, now: float) -> None:
        lost = self._assembler.packets_to_ask_for(now)
        if lost:
            self._packets_asked += len(lost)
            await self._send_nack(lost)
        waits = self._decoding.needs_keyframe or self._assembler.seeking
        if waits and now - self._asked_at >= _ASK_FOR_KEYFRAME_EVERY_S:
            self._asked_at = now
            self._keyframes_asked += 1
            await self._send_feedback(RTCP_PSFB_PLI, self._ssrc or 0)

    async def _announce_bandwidth(self, packet: RtpPacket, now: float) -> None:
        sent = packet.extensions.abs_send_time
        if sent is None:
            return
        size = len(packet.payload) + packet.padding_size
        limit = self._bandwidth.add(sent=sent, arrived_at=now, size=size)
        if limit is not None and self._ssrc is not None:
            await self._send_feedback(RTCP_PSFB_APP, 0, pack_remb_fci(limit, [self._ssrc]))

    async def _send_feedback(self, kind: int, ssrc: int, content: bytes = b"") -> None:
        if self._own_ssrc is not None:
            packet = RtcpPsfbPacket(fmt=kind, ssrc=self._own_ssrc, media_ssrc=ssrc, fci=content)
            await self._send(packet)

    async def _send_nack(self, lost: list[int]) -> None:
        if self._own_ssrc is not None and self._ssrc is not None:
            packet = RtcpRtpfbPacket(
                fmt=RTCP_RTPFB_NACK, ssrc=self._own_ssrc, media_ssrc=self._ssrc
            )
            packet.lost = sorted(lost)
            await self._send(packet)

    async def _report(self, now: float) -> None:
        if self._own_ssrc is None or now < self._report_at:
            return
        # RFC 3550 wants reports at random intervals, lest those of many receivers come in waves.
        self._report_at = now + 0.5 + random.random()  # noqa: S311 - no secret hangs on it
        await self._send(RtcpRrPacket(ssrc=self._own_ssrc, reports=[self._reception(now)]))

    def _reception(self, now: float) -> RtcpReceiverInfo:
        last, at = self._last_report or (0, now)
        return RtcpReceiverInfo(
            ssrc=self._ssrc or 0,
            fraction_lost=self._statistics.fraction_lost,
            packets_lost=self._statistics.packets_lost,
            highest_sequence=self._statistics.max_seq or 0,
            jitter=self._statistics.jitter,
            lsr=last,
            dlsr=min(0xFFFFFFFF, int((now - at) * 65536)),
        )

    async def _send(self, packet: AnyRtcpPacket) -> None:
        try:
            await self.transport._send_rtp(bytes(packet))
        except ConnectionError:
            # The transport is going down, which is told by its own means.
            return
