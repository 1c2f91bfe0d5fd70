"""The state behind the live page: why faces are forwarded, and why they are rejected.

The view is called with what the pipeline sees and keeps a bounded part of it: the points and the
best face of each live track, the last best shots, the last events in words. Frames are kept, and
JSON is made, only while a page is open; otherwise a call costs a comparison and two appends.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from streamgate.config import GateSection, PrecheckSection, WebSection, ZoneSection
from streamgate.ports import Clock
from streamgate.values import (
    Analysis,
    BestShot,
    Frame,
    Image,
    PassReason,
    ScoredFace,
    SeenFace,
    TrackDecision,
    TracksJoined,
)
from streamgate.web.figures import figure, limit_figure
from streamgate.web.live_words import decision_in_words, rejection_in_words, release_in_words
from streamgate.web.shown import ShownShot, ShownTrack
from streamgate.web.zones import zones_for_page

__all__ = ["LiveSources", "LiveView"]

_MOST_TRACKS = 64
_TRACKS_SHOWN = 8
_SHOTS = 60
_EVENTS = 40
_FRAME_GAP_S = 0.25
_RATE_WINDOW_S = 2.0


@dataclass(frozen=True, slots=True)
class LiveSources:
    """Where the view looks things up.

    Attributes:
        gate: the gate's settings as they are now.
        prechecks: the prechecks' settings as they are now.
        sinks: names of the sinks.
        holds: whether the outbox still has the best shot of a key.
        explain: draws the heat map of a crop, RGB uint8 [112, 112, 3]; may raise ScoreError.
        explains: what the heat map shows, in words.
        zones: the zones as they are now.
    """

    gate: Callable[[], GateSection]
    prechecks: Callable[[], PrecheckSection]
    sinks: Callable[[], Sequence[str]]
    holds: Callable[[str], bool]
    explain: Callable[[Image], Awaitable[Image]]
    explains: str = ""
    zones: Callable[[], Sequence[ZoneSection]] = tuple


@dataclass(slots=True)
class _Event:
    number: int
    kind: str
    wall: float
    track_id: int | None
    text: str
    count: int = 1
    reason: str = ""


class LiveView:
    """Called by the pipeline on the event loop, and read by the page's routes."""

    def __init__(self, settings: WebSection, sources: LiveSources, clock: Clock) -> None:
        self.pictures = settings.show_pictures
        self.on_forbidden: Callable[[], None] = lambda: None
        self.sources = sources
        self.tracks: dict[int, ShownTrack] = {}
        self.shots: dict[str, ShownShot] = {}
        self.frame: tuple[int, Image] | None = None
        self._clock = clock
        self._viewers = 0
        self._newest: tuple[Frame, Analysis] | None = None
        self._shown: tuple[Frame, Analysis] | None = None
        self._frame_times: deque[float] = deque(maxlen=256)
        self._events: deque[_Event] = deque(maxlen=_EVENTS)
        self._tally: Counter[str] = Counter()
        self._last_number = 0
        self._score_latency_s: float | None = None

    # Who looks

    @property
    def viewers(self) -> int:
        """The number of open pages."""
        return self._viewers

    def enter(self) -> None:
        """Somebody looks."""
        self._viewers += 1

    def leave(self) -> None:
        """Somebody has gone; with the last one the pictures go."""
        self._viewers -= 1
        if not self._viewers:
            self._newest = self._shown = None
            self._drop_pictures()
            self._frame_times.clear()
            self._tally.clear()

    def show_pictures(self, allowed: bool) -> None:
        """Allow or forbid pictures from now on; stored ones are dropped."""
        self.pictures = allowed
        if not allowed:
            self.on_forbidden()
            self._drop_pictures()

    @property
    def keeps_pictures(self) -> bool:
        """Whether faces may be kept: pictures are allowed, and somebody looks."""
        return self.pictures and self._viewers > 0

    # What the pipeline tells

    def analysed(self, frame: Frame, analysis: Analysis) -> None:
        """A frame was looked at."""
        if not self._viewers:
            return
        self._frame_times.append(self._clock.monotonic())
        if isinstance(analysis.look, PassReason) and self._newest is not None:
            # Faces stay where they were seen last until the next look.
            self._newest = frame, self._newest[1]
            return
        self._newest = frame, analysis
        self._tally["in_ignore_zone"] += sum(analysis.ignored.values())
        watches = any(zone.kind == "watch" for zone in self.sources.zones())
        for seen in analysis.faces:
            track = self._track(seen.tracked.track_id, analysis.captured_at)
            track.zone = seen.zone or track.zone
            track.outside = watches and track.zone is None
            # Nobody wants to know why a face is unfit that does not count.
            if seen.rejection is not None and not track.outside:
                self._rejected(seen, seen.rejection, analysis)
            else:
                track.rejection = None

    def scored(self, face: ScoredFace) -> None:
        """A face was scored."""
        candidate = face.candidate
        track = self._track(candidate.track_id, candidate.captured_at)
        track.scored += 1
        track.add(candidate.captured_at, face.quality)
        self._score_latency_s = face.scored_at - candidate.captured_at
        if track.best is None or face.quality > track.best:
            track.best = face.quality
            track.crop_index = candidate.frame_index
            track.crop = candidate.crop.image if self.keeps_pictures else None

    def released(self, shot: BestShot) -> None:
        """A best shot was handed to delivery."""
        sinks = self.sources.sinks()
        self.shots[shot.key] = ShownShot(
            key=shot.key,
            track_id=shot.track_id,
            revision=shot.revision,
            quality=shot.face.quality,
            reason=release_in_words(shot.reason),
            captured_wall=shot.face.candidate.captured_wall,
            crop=shot.face.candidate.crop.image if self.keeps_pictures else None,
            sinks=dict.fromkeys(sinks, "waiting"),
            zone=shot.face.candidate.zone,
        )
        while len(self.shots) > _SHOTS:
            del self.shots[next(iter(self.shots))]
        if shot.track_id in self.tracks:
            self.tracks[shot.track_id].forwarded += 1
        quality = figure(shot.face.quality, self._wanted(shot.face.candidate.zone))
        self._tell("shot", f"Best shot, quality {quality}", shot.track_id)

    def joined(self, joined: TracksJoined) -> None:
        """Two live tracks have become one."""
        younger = self.tracks.pop(joined.join.track_id, None)
        if younger is not None and joined.track_id in self.tracks:
            self.tracks[joined.track_id].scored += younger.scored

    def decided(self, decision: TrackDecision) -> None:
        """A track has ended."""
        self.tracks.pop(decision.track_id, None)
        text = decision_in_words(decision, self.sources.gate())
        self._tell("end" if decision.forwarded else "missed", text, decision.track_id)

    def delivered(self, key: str, sink: str, state: str) -> None:
        """An attempt to deliver a best shot has ended."""
        shot = self.shots.get(key)
        if shot is not None:
            shot.sinks[sink] = state

    def say(self, text: str) -> None:
        """Tell those who look something that is about no track."""
        self._tell("note", text, None)

    # What the page asks

    def now(self) -> dict[str, Any]:
        """The newest frame and how long things take."""
        if self._newest is None:
            return {"frame": None, "faces": [], "rate": 0, "detect_ms": None, "score_ms": None}
        shown_at = -1.0 if self._shown is None else self._shown[0].captured_at
        frame, analysis = self._newest
        if abs(frame.captured_at - shown_at) >= _FRAME_GAP_S:
            self._shown = self._newest
            self._keep(frame)
        frame, analysis = self._shown or self._newest
        width, height = frame.pixels.size
        return {
            "frame": {"index": frame.index, "width": width, "height": height},
            "faces": [self._face(seen, width, height) for seen in analysis.faces],
            "rate": self._rate(self._clock.monotonic()),
            "detect_ms": _milliseconds(analysis.seconds.get("detect")),
            "score_ms": _milliseconds(self._score_latency_s),
        }

    def live_tracks(self) -> dict[str, Any]:
        """The live tracks that were seen last, oldest first, and the thresholds."""
        gate = self.sources.gate()
        release = gate.release_quality
        last = sorted(self.tracks.values(), key=lambda track: -track.last_at)[:_TRACKS_SHOWN]
        return {
            "min_quality": gate.min_quality,
            "wanted": limit_figure(gate.min_quality),
            "release": None if release is None else limit_figure(release),
            "more": max(0, len(self.tracks) - len(last)),
            "tracks": [track.page(self._wanted(track.zone)) for track in sorted(last, key=_by_id)],
        }

    def best_shots(self) -> dict[str, Any]:
        """The last best shots, newest first."""
        holds = self.sources.holds
        return {
            "shots": [
                shot.page(self._wanted(shot.zone), holds) for shot in reversed(self.shots.values())
            ]
        }

    def zones(self) -> dict[str, Any]:
        """The zones in use."""
        return {"zones": zones_for_page(self.sources.zones())}

    def events(self) -> dict[str, Any]:
        """The last events, newest first, and the number of rejected faces by reason."""
        return {
            "events": [
                {
                    "number": event.number, "kind": event.kind, "wall": round(event.wall, 1),
                    "track": event.track_id, "text": event.text, "count": event.count,
                }
                for event in self._events
            ],
            "tally": [
                {"reason": rejection_in_words(reason), "count": count}
                for reason, count in self._tally.most_common()
                if count
            ],
        }  # fmt: skip

    # Inside

    def _wanted(self, zone: str | None) -> float:
        """The quality that a best shot of a zone needs."""
        for section in self.sources.zones():
            if section.name == zone and section.min_quality is not None:
                return section.min_quality
        return self.sources.gate().min_quality

    def _track(self, track_id: int, at: float) -> ShownTrack:
        track = self.tracks.get(track_id)
        if track is None:
            track = self.tracks[track_id] = ShownTrack(track_id, at, at)
            while len(self.tracks) > _MOST_TRACKS:
                del self.tracks[next(iter(self.tracks))]
        track.first_at, track.last_at = min(track.first_at, at), max(track.last_at, at)
        return track

    def _rejected(self, seen: SeenFace, reason: str, analysis: Analysis) -> None:
        track = self._track(seen.tracked.track_id, analysis.captured_at)
        track.rejected += 1
        track.rejection = reason
        self._tally[reason] += 1
        text = rejection_in_words(reason, seen.tracked.face, self.sources.prechecks())
        for event in self._events:
            if event.track_id == track.track_id:
                if event.reason == reason:
                    event.count += 1
                    event.text = _sentence(text)
                    return
                break
        self._tell("rejected", _sentence(text), track.track_id, reason)

    def _tell(self, kind: str, text: str, track_id: int | None, reason: str = "") -> None:
        self._last_number += 1
        wall = self._clock.wall()
        self._events.appendleft(
            _Event(self._last_number, kind, wall, track_id, text, reason=reason)
        )

    def _keep(self, frame: Frame) -> None:
        """Keep the frame that is announced for those who ask; it replaces the one before."""
        if self.keeps_pictures:
            self.frame = frame.index, frame.image

    def _drop_pictures(self) -> None:
        self.frame = None
        for track in self.tracks.values():
            track.crop = None
        for shot in self.shots.values():
            shot.crop = None

    def _rate(self, at: float) -> float:
        """Frames a second over the last ones."""
        while self._frame_times and at - self._frame_times[0] > _RATE_WINDOW_S:
            self._frame_times.popleft()
        if len(self._frame_times) < 2:
            return 0.0
        return round((len(self._frame_times) - 1) / max(0.01, at - self._frame_times[0]), 1)

    def _face(self, seen: SeenFace, width: int, height: int) -> dict[str, Any]:
        track = self.tracks.get(seen.tracked.track_id)
        x1, y1, x2, y2 = seen.tracked.face.box
        quality = None if track is None else track.quality
        wanted = self._wanted(None if track is None else track.zone)
        return {
            "outside": track is not None and track.outside,
            "track": seen.tracked.track_id,
            "box": [
                round(float(side), 4)
                for side in (x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height)
            ],
            "quality": None if quality is None else figure(quality, wanted),
            "good": quality is not None and quality >= wanted,
            "rejected": None if seen.rejection is None else rejection_in_words(seen.rejection),
        }


def _by_id(track: ShownTrack) -> int:
    return track.track_id


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * max(0.0, seconds), 1)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
