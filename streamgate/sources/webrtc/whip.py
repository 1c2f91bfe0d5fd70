"""A publisher's stream (WHIP, RFC 9725): one at a time, and nothing left of one that has gone.

The web server hands offers in; a session lives in a task of this source, so that shutting the
source down closes every one. A publisher that has offered but is not connected yet holds at most
one peer connection, and that for a bounded time.
"""

from __future__ import annotations

import asyncio
import secrets
from fractions import Fraction

import structlog
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from av.video.frame import VideoFrame

from streamgate.config import WhipSection
from streamgate.errors import IngestError, IngestFault
from streamgate.ports import Clock, FrameSink
from streamgate.sources.clock_watch import ClockWatch
from streamgate.sources.frames import FrameMaker
from streamgate.sources.webrtc.answer import with_start_bitrate
from streamgate.sources.webrtc.offer import Offer, read_fragment, read_offer
from streamgate.sources.webrtc.peer import Peer, PeerEnd
from streamgate.sources.webrtc.state import show_state
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Discontinuity, PublishAnswer
from streamgate.values.reasons import SourceState

__all__ = ["WhipSource"]

log = structlog.get_logger(__name__)

_MOST_TRICKLED = 64


class _Session:
    """One publisher, from its offer to its end."""

    def __init__(self, offer: Offer, peer: Peer) -> None:
        self.session_id = secrets.token_urlsafe(16)
        self.entity_tag = secrets.token_urlsafe(9)
        self.offer = offer
        self.peer = peer
        self.answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        # The publisher may hang up before its answer; then nobody else asks how it went.
        self.answered.add_done_callback(asyncio.Future.exception)
        self.closed = asyncio.Event()
        self.trickled = 0

    async def end(self, end: PeerEnd) -> None:
        """End the session and wait until nothing of it is left."""
        self.peer.finish(end)
        await self.closed.wait()


class WhipSource:
    """The source that publishers feed; also what the web server hands their requests to."""

    def __init__(self, settings: WhipSection, metrics: Metrics, clock: Clock) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._live: _Session | None = None
        self._frames = FrameMaker(settings, metrics, clock)
        self._clock_watch = ClockWatch(metrics)
        self._group: asyncio.TaskGroup | None = None
        self._sink: FrameSink | None = None

    async def run(self, sink: FrameSink) -> None:
        """Take publishers until the task is cancelled."""
        self._sink = sink
        show_state(self._metrics, SourceState.WAITING)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                try:
                    await asyncio.Event().wait()
                finally:
                    # A group that closes its sessions takes no new one.
                    self._group = None
        finally:
            self._sink = None

    # What the web server calls

    async def offer(self, sdp: str) -> PublishAnswer:
        """Take an offer; see `WebRtcIngest`."""
        offer = read_offer(sdp)
        if self._group is not None:
            await self._make_room()
        # The source may have stopped meanwhile.
        if self._group is None:
            raise _stopping()
        session = self._session_for(offer)
        self._sessions[session.session_id] = session
        self._group.create_task(self._serve(session))
        answer = await asyncio.shield(session.answered)
        return PublishAnswer(session.session_id, session.entity_tag, answer)

    async def patch(self, session_id: str, fragment: str, *, entity_tag: str | None) -> None:
        """Take trickled candidates; see `WebRtcIngest`."""
        session = self._session(session_id)
        if entity_tag is None:
            raise IngestError(IngestFault.NO_CONDITION, "If-Match is missing: send the ETag")
        if entity_tag not in {"*", session.entity_tag}:
            raise IngestError(IngestFault.STALE, "If-Match names another ICE session")
        news = read_fragment(fragment)
        if news.user_fragment not in {None, session.offer.user_fragment}:
            raise IngestError(
                IngestFault.UNSUPPORTED,
                "ICE cannot be restarted here: DELETE this session and publish again",
            )
        session.trickled += len(news.candidates)
        if session.trickled > _MOST_TRICKLED:
            raise IngestError(
                IngestFault.UNSUPPORTED, f"at most {_MOST_TRICKLED} candidates are taken"
            )
        for candidate in news.candidates:
            await session.peer.add_candidate(candidate)
        if news.complete:
            await session.peer.add_candidate(None)

    async def delete(self, session_id: str) -> None:
        """End a session; see `WebRtcIngest`."""
        await self._session(session_id).end(PeerEnd.DELETED)

    def _session(self, session_id: str) -> _Session:
        session = self._sessions.get(session_id)
        if session is None or not session.answered.done():
            raise IngestError(IngestFault.UNKNOWN_SESSION, "there is no such session (any more)")
        return session

    async def _make_room(self) -> None:
        """Refuse where another publisher is there; or let at most the one that is live stay."""
        if self._sessions and self._settings.on_conflict == "refuse":
            raise IngestError(IngestFault.BUSY, "another publisher is there; try again later")
        while pending := [s for s in self._sessions.values() if s is not self._live]:
            await pending[0].end(PeerEnd.REPLACED)

    # A session's life

    def _session_for(self, offer: Offer) -> _Session:
        def put(picture: VideoFrame, captured_at: float, pixel_aspect: Fraction | None) -> None:
            sink = self._sink
            if self._live is session and sink is not None:
                frame = self._frames.make(
                    picture, captured_at=captured_at, pixel_aspect=pixel_aspect
                )
                sink.put(frame)

        peer = Peer(
            ice_servers=self._settings.ice_servers,
            loss_wait_s=self._settings.loss_wait_s,
            max_pixels=self._settings.max_pixels,
            clock_watch=self._clock_watch,
            on_picture=put,
            metrics=self._metrics,
            clock=self._clock,
        )
        session = _Session(offer, peer)
        return session

    async def _serve(self, session: _Session) -> None:
        peer = session.peer
        try:
            async with peer:
                await self._answer(session)
                if await peer.connect(self._settings.connect_timeout_s):
                    await self._go_live(session)
                    await peer.receive(self._settings.read_timeout_s)
        except Exception as error:
            peer.finish(PeerEnd.FAILED)
            if session.answered.done():
                log.exception("publisher's session failed")
            else:
                session.answered.set_exception(_refusal(error))
        finally:
            self._close(session)

    async def _answer(self, session: _Session) -> None:
        if self._live is None:
            show_state(self._metrics, SourceState.NEGOTIATING)
        for index, kind in enumerate(session.offer.kinds):
            if index == session.offer.video:
                session.peer.receive_video()
            else:
                session.peer.decline(kind)
        async with asyncio.timeout(self._settings.connect_timeout_s):
            answer = await session.peer.answer(session.offer.sdp)
        session.answered.set_result(
            with_start_bitrate(answer, self._settings.start_bits_per_second)
        )
        if self._live is None:
            show_state(self._metrics, SourceState.CONNECTING)

    async def _go_live(self, session: _Session) -> None:
        """Let this session's pictures through, after the one before has gone for good."""
        if self._live is not None:
            await self._live.end(PeerEnd.REPLACED)
        self._frames.connected()
        self._live = session
        show_state(self._metrics, SourceState.LIVE)
        log.info("publisher connected")

    def _close(self, session: _Session) -> None:
        """Tell of the end; everything that the session had opened is closed by now."""
        # A session that nobody has ended was cancelled with the source.
        end = session.peer.end or PeerEnd.STOPPED
        del self._sessions[session.session_id]
        if not session.answered.done():
            session.answered.set_exception(_stopping())
        if self._live is session:
            self._live = None
            self._frames.gone()
            if self._sink is not None:
                at = self._clock.monotonic()
                self._sink.mark(Discontinuity(str(end), at, ended=not end.is_fault))
        log.info("publisher gone", reason=str(end))
        if end.is_fault:
            self._metrics.source_faults.labels(str(end)).inc()
        if self._live is None:
            show_state(self._metrics, SourceState.WAITING)
        session.closed.set()


def _stopping() -> IngestError:
    return IngestError(IngestFault.NOT_RUNNING, "the camera is stopping; try again later")


def _refusal(error: Exception) -> IngestError:
    """Return what to tell a publisher whose offer could not be answered."""
    if isinstance(error, TimeoutError):
        return IngestError(IngestFault.NOT_RUNNING, "no answer could be made in time; try again")
    if isinstance(error, (OperationError, InvalidAccessError, InvalidStateError)):
        return IngestError(IngestFault.UNSUPPORTED, "the offer cannot be answered")
    log.warning("offer not answered", error=type(error).__name__)
    return IngestError(IngestFault.MALFORMED, "the offer contradicts itself")
