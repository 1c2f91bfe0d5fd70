"""Extension points: what the pipeline needs of its parts, as Protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from streamgate.values import (
    Acceptance,
    Analysis,
    BestShot,
    Discontinuity,
    EncodedShot,
    Face,
    Frame,
    Image,
    PublishAnswer,
    Scores,
)

__all__ = [
    "Clock",
    "FaceDetector",
    "FrameAnalyser",
    "FrameSink",
    "FrameSource",
    "LeaseStore",
    "ProbedSink",
    "QualityScorer",
    "ShotOutbox",
    "Sink",
    "TendedSink",
    "WebRtcIngest",
]


class Clock(Protocol):
    """Time, so that tests can bring their own."""

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        ...

    def wall(self) -> float:
        """Unix seconds."""
        ...


class FrameSink(Protocol):
    """Where a source leaves its frames; every method may be called from any thread."""

    def put(self, frame: Frame) -> None:
        """Leave the newest frame; one that nobody has read yet is replaced and counted."""
        ...

    def offer(self, frame: Frame, *, timeout_s: float) -> bool:
        """Leave a frame once the one before has been read, waiting for that at most `timeout_s`.

        This is for recordings of which every frame counts: nothing is replaced.

        Returns:
            Whether the frame was left (or the reader has gone); False asks to offer it again.
        """
        ...

    def mark(self, discontinuity: Discontinuity) -> None:
        """Say that the stream was lost; it is read in order with the frames."""
        ...


class FrameSource(Protocol):
    """A camera, a file or a browser."""

    async def run(self, sink: FrameSink) -> None:
        """Leave frames until the source has ended for good or the task is cancelled.

        A source that can come back keeps reconnecting. Whatever it opened is closed when this
        returns or raises.

        Raises:
            SourceError: it can never work (a missing file, say).
        """
        ...


class FaceDetector(Protocol):
    """Finds faces."""

    def detect(self, image: Image) -> Sequence[Face]:
        """Return the faces in an RGB uint8 [H, W, 3] picture, best first, without duplicates."""
        ...


class FrameAnalyser(Protocol):
    """Finds, follows, checks and aligns the faces of a stream; called by one thread.

    Attributes:
        static_tracks: of those that it follows, how many are pictures and statues, as is known
            elsewhere; may be set by any thread.
    """

    static_tracks: int

    def analyse(self, frame: Frame) -> Analysis:
        """Return what is seen in the next frame."""
        ...

    def flush(self) -> None:
        """Forget every live track: what comes next is another stream."""
        ...


class ShotOutbox(Protocol):
    """Where best shots are left for delivery."""

    async def accept(self, shot: BestShot) -> Acceptance:
        """Take a best shot; returning means that it is as safe as the outbox can make it."""
        ...


class QualityScorer(Protocol):
    """Scores aligned crops; one call at a time per caller is not required."""

    @property
    def batch_size(self) -> int:
        """The most crops that are scored at once."""
        ...

    @property
    def model_hash(self) -> str:
        """sha256 of the weights."""
        ...

    async def score(self, crops: NDArray[np.uint8]) -> Scores:
        """Score RGB uint8 [N, 112, 112, 3] crops, 1 ≤ N ≤ batch_size, without blocking the loop.

        Raises:
            ScoreError: the device failed.
        """
        ...


class Sink(Protocol):
    """A place where best shots are delivered."""

    @property
    def name(self) -> str:
        """Its name in the config, bounded and fit for a metric label."""
        ...

    async def deliver(self, shot: EncodedShot) -> None:
        """Deliver one best shot; returning means that it was acknowledged.

        It may be called again while an earlier call has not returned, and with a best shot that it
        was given before.

        Raises:
            DeliveryError: it was not; `fault` says whether the sink or the best shot is to blame.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class LeaseStore(Protocol):
    """A server that lets one process at a time deliver for a camera; for one event loop.

    Each method may raise LeaseError where the server cannot be used now.
    """

    async def acquire(self) -> int | None:
        """Take the lease, if it is free or has run out.

        Returns:
            The epoch, larger than that of every tenure before; None while another has the lease.
        """
        ...

    async def renew(self, epoch: int) -> bool:
        """Make it valid again for its full time; False where it is no longer ours."""
        ...

    async def release(self, epoch: int) -> None:
        """Let another have it at once."""
        ...

    async def holder(self) -> str:
        """Who has it, as far as the server knows; empty where nobody has."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


@runtime_checkable
class TendedSink(Protocol):
    """A sink that has something to do besides delivering."""

    async def tend(self) -> None:
        """Do what is due by time; called about once a second while its deliveries run.

        Raises:
            DeliveryError: it could not be done; it is called again.
        """
        ...


class ProbedSink(Sink, Protocol):
    """A sink that can be asked before it is relied on."""

    async def probe(self, place: str) -> str:
        """Ask whether it could deliver, without delivering; return what it says.

        Args:
            place: its place in the configuration, such as `delivery.sinks[0]`, for remedies.

        Raises:
            ProbeError: it could not.
            Exception: whatever a client library raises; the caller tells it.
        """
        ...


@runtime_checkable
class WebRtcIngest(Protocol):
    """Where the web server leaves what publishers ask for; each method may raise IngestError."""

    async def offer(self, sdp: str) -> PublishAnswer:
        """Take a publisher's offer and return the answer."""
        ...

    async def patch(self, session_id: str, fragment: str, *, entity_tag: str | None) -> None:
        """Take trickled candidates.

        Args:
            fragment: an SDP fragment.
            entity_tag: the ICE session that the publisher means, `*` for any, None if not said.
        """
        ...

    async def delete(self, session_id: str) -> None:
        """End a session and return when nothing of it is left."""
        ...
