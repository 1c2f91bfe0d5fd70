"""How much a sender is told that it may send.

A browser adapts to what its receiver announces (REMB) and to what gets lost. aiortc's estimator
never announces more than one and a half times what arrives, so that a quiet scene, which needs few
bits, holds the limit down for the seconds in which a face walks in and needs many. Here a limit
exists only after the network was seen to queue: nothing else is known of its capacity.
"""

from __future__ import annotations

from aiortc.rate import BandwidthUsage, InterArrival, OveruseDetector, OveruseEstimator, RateCounter

__all__ = ["UNLIMITED_BITS_PER_SECOND", "BandwidthEstimator", "BandwidthLimit"]

UNLIMITED_BITS_PER_SECOND = 50_000_000
_LEAST_BITS_PER_SECOND = 500_000
"""A busy machine looks like a queue in the network; a face of this rate can still be judged."""

# As the congestion control of WebRTC does (draft-ietf-rmcat-gcc): after a queue was seen, a little
# less than what came through, then 8 % more a second.
_STEP_BACK = 0.85
_GROWTH_PER_SECOND = 1.08
# A queue that was answered takes a round trip and more to drain; until then it is no news.
_BACK_AT_MOST_EVERY_S = 0.5
_ANNOUNCE_EVERY_S = 0.5
# A growing queue must be reported at once, but not once for each of its packets.
_WARN_EVERY_S = 0.1

_GROUP_S = 0.005
_SEND_TIME_BITS = 24
# aiortc wants the 24 bits of the header extension (6.18 fixed point seconds) as the upper of 32.
_SHIFT = 32 - _SEND_TIME_BITS
_TICKS_PER_SECOND = 1 << (18 + _SHIFT)


class BandwidthLimit:
    """What may be sent, in bits a second; time is an argument."""

    def __init__(self) -> None:
        self._limit: float | None = None
        self._changed_at = 0.0
        self._stepped_back_at = float("-inf")

    def update(self, *, queueing: bool, arriving: float, now: float) -> int:
        """Return the limit.

        Args:
            queueing: whether the packets' delay grows.
            arriving: bits a second that come through.
            now: monotonic seconds.
        """
        if queueing and now - self._stepped_back_at >= _BACK_AT_MOST_EVERY_S:
            self._limit = max(_LEAST_BITS_PER_SECOND, _STEP_BACK * arriving)
            self._stepped_back_at = self._changed_at = now
        elif self._limit is not None and not queueing:
            self._limit *= _GROWTH_PER_SECOND ** (now - self._changed_at)
            if self._limit >= UNLIMITED_BITS_PER_SECOND:
                self._limit = None
        self._changed_at = now
        return UNLIMITED_BITS_PER_SECOND if self._limit is None else round(self._limit)


class BandwidthEstimator:
    """Watches the packets of one stream for a queue that grows on their way."""

    def __init__(self) -> None:
        self._limit = BandwidthLimit()
        self._arriving = RateCounter(1000, 8000)
        self._groups = InterArrival(round(_GROUP_S * _TICKS_PER_SECOND), 1000 / _TICKS_PER_SECOND)
        self._delay = OveruseEstimator()
        self._detector = OveruseDetector()
        self._announced_at: float | None = None

    def add(self, *, sent: int, arrived_at: float, size: int) -> int | None:
        """Take a packet; return the limit in bits a second where it is due to be announced.

        Args:
            sent: the sender's clock, 24 bits, 6.18 fixed point seconds (abs-send-time).
            arrived_at: monotonic seconds.
            size: payload with padding, bytes.
        """
        arrived_ms = round(1000 * arrived_at)
        self._arriving.add(size, arrived_ms)
        deltas = self._groups.compute_deltas(sent << _SHIFT, arrived_ms, size)
        if deltas is not None:
            sent_ms = deltas.timestamp * 1000 / _TICKS_PER_SECOND
            self._delay.update(
                deltas.arrival_time, sent_ms, deltas.size, self._detector.state(), arrived_ms
            )
            self._detector.detect(
                self._delay.offset(), sent_ms, self._delay.num_of_deltas(), arrived_ms
            )
        return self._announcement(arrived_at, arrived_ms)

    def _announcement(self, now: float, now_ms: int) -> int | None:
        queueing = self._detector.state() is BandwidthUsage.OVERUSING
        pause_s = _WARN_EVERY_S if queueing else _ANNOUNCE_EVERY_S
        if self._announced_at is not None and now - self._announced_at < pause_s:
            return None
        self._announced_at = now
        arriving = self._arriving.rate(now_ms) or 0
        return self._limit.update(queueing=queueing, arriving=arriving, now=now)
