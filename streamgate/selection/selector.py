"""Everything that is decided about faces between analysis and delivery: one object without I/O.

The live pipeline and the replay of recordings drive the same `Selector`: they report what was seen,
ask what to score next, and report the scores. It answers with events. Time is an
argument, so that equal calls give equal events.

The tracker breaks a person into tracklets when it is unsure, and every tracklet has a number. Here
tracklets become *tracks*. A tracklet that turns out to be the person of a live track becomes a part
of that track; one that follows a decided track of the same person is a later track of the same
*visit*.
`identity` tells which tracklets are the same person, from the embeddings that come with the scores.

Where there are watch zones, a track counts from the moment when its face is first in one of them;
none of its faces before is scored.

A track that has ended is decided once no face of it is being scored and no waiting one can still
win. Until then it is *ending*.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamgate.config import GateSection, ZoneSection
from streamgate.selection.gate import Forwarded, QualityGate
from streamgate.selection.identity import Identities, IdentityRules, Joined, Split
from streamgate.selection.non_faces import NonFaces
from streamgate.selection.scheduler import Scheduler
from streamgate.selection.static import StaticFaces
from streamgate.values import (
    Analysis,
    Candidate,
    JoinReason,
    Release,
    ReleaseReason,
    ReleaseTarget,
    ScoredFace,
    SeenFace,
    Skipped,
    SkipReason,
    TrackDecision,
    TrackJoin,
    TracksJoined,
)

__all__ = ["Selector", "SelectorEvent"]

SelectorEvent = Release | TrackDecision | Skipped | TracksJoined
"""A face to forward, the decision on a track that has ended, a face that will not be scored, or two
tracks that have become one."""

_DIVIDED = 1_000_000
"""After a track has changed to another person, it continues under its number plus this. No camera
counts that far in one run, and the same recording gives the same number."""

_MOST_URGENT_NON_FACES = 3
"""After so many scores that were of no face, a track is not scored before others any more."""
_DEFERRED_S = 3.0
"""So long a decision waits for the first good face of somebody who may be the same person."""


@dataclass(slots=True)
class _Tracklet:
    """A run of sightings that the tracker takes for one person.

    Attributes:
        track_id: the track that it is part of.
        unconfirmed: its faces so far, each with the time of its frame, while it may be a false
            detection.
        ending: why and when it ended; None while it is live.
        may_continue: tracklets that it may be, by place and time.
        non_faces: how many of its scored faces were none.
    """

    track_id: int
    unconfirmed: list[tuple[SeenFace, float, float]] | None
    ending: tuple[ReleaseReason, float] | None = None
    may_continue: tuple[int, ...] = ()
    non_faces: int = 0


class Selector:
    """Chooses the faces to score and the faces to forward, for all tracks of one camera.

    Every candidate of a confirmed track is either scored or returned as `Skipped`, and every such
    track ends with exactly one `TrackDecision`, unless it became part of another (`TracksJoined`).

    Args:
        gate: the rules of release.
        max_pending: the most faces that wait for the scorer.
        share: share of a track's candidates that may be scored, 0-1.
        identity: when two tracks are one person; None: tracks are never compared.
        zones: those of the camera.
        non_faces: by which it tells what is no face; None: everything scored is one.
    """

    def __init__(  # noqa: PLR0913 # each is what the caller may choose
        self,
        gate: GateSection,
        *,
        max_pending: int,
        share: float = 1.0,
        identity: IdentityRules | None = None,
        zones: Sequence[ZoneSection] = (),
        non_faces: NonFaces | None = None,
    ) -> None:
        self._non_faces = non_faces
        self._gate = QualityGate(gate, zones)
        self._scheduler = Scheduler(
            max_pending, share=share, target_of=self._target_of, urgent=self._is_urgent
        )
        self._identities = None if identity is None else Identities(identity)
        self._static = StaticFaces()
        self._tracklets: dict[int, _Tracklet] = {}
        self._in_flight: Counter[int] = Counter()
        # What was forwarded of people who may come back, by the number of their visit.
        self._visits: dict[int, Forwarded] = {}

    @property
    def settings(self) -> GateSection:
        """The rules of release that are in use."""
        return self._gate.settings

    @property
    def live_tracks(self) -> tuple[int, ...]:
        """Tracks that have been seen and not decided, oldest first."""
        return self._gate.live_tracks

    @property
    def static_tracks(self) -> int:
        """How many live tracks show a face that never moves."""
        return len(self._static)

    @property
    def waiting(self) -> int:
        """How many faces wait for the scorer."""
        return len(self._scheduler)

    def track_of(self, tracklet: int) -> int:
        """The track that a number of the tracker's stands for, as is known now."""
        return self._tracklets[tracklet].track_id if tracklet in self._tracklets else tracklet

    def may_count(self, number: int) -> bool:
        """Whether what was just seen under a number of the tracker's was in a watch zone by now.

        Where there are no such zones, everything counts, false detections apart.
        """
        tracklet, track_id = self._tracklets.get(number), self.track_of(number)
        if tracklet is not None and tracklet.unconfirmed is not None:
            return not self._gate.watches or any(
                face.zone is not None for face, _, _ in tracklet.unconfirmed
            )
        return track_id not in self._gate.live_tracks or self._gate.counts(track_id)

    def named(self, analysis: Analysis) -> Analysis:
        """Return the same analysis with the numbers of tracks instead of the tracker's.

        Faces that may be false detections are left out.
        """
        faces = []
        for face in analysis.faces:
            tracklet = self._tracklets.get(face.tracked.track_id)
            if tracklet is not None and tracklet.unconfirmed is not None:
                continue
            track_id = self.track_of(face.tracked.track_id)
            tracked = replace(face.tracked, track_id=track_id)
            candidate = face.candidate and face.candidate.of_track(track_id)
            faces.append(SeenFace(tracked, candidate, face.rejection, face.zone))
        return replace(analysis, faces=tuple(faces))

    def adopt(
        self,
        gate: GateSection,
        *,
        max_pending: int,
        share: float,
        zones: Sequence[ZoneSection] = (),
    ) -> None:
        """Change the settings; live tracks keep what was seen and forwarded."""
        self._gate.adopt(gate, zones)
        if self._identities is not None:
            self._identities.rules = replace(self._identities.rules, visit_s=gate.visit_s)
        self._scheduler.max_pending, self._scheduler.share = max_pending, share

    # What happens

    def seen(self, analysis: Analysis, now: float) -> list[SelectorEvent]:
        """Take what was seen in a frame: first the tracks that ended before it, then its faces."""
        events: list[SelectorEvent] = []
        for tracklet in analysis.ended:
            self._end(tracklet, ReleaseReason.TRACK_ENDED, now)
        for tracklet in analysis.dismissed:
            self._dismiss(tracklet)
        events += self._decide_ending(now)
        for beginning in analysis.began:
            self._tracklets[beginning.track_id] = _Tracklet(
                beginning.track_id, unconfirmed=[], may_continue=beginning.may_continue
            )
            if self._identities is not None:
                self._identities.began(
                    beginning.track_id, beginning.may_continue, analysis.captured_at
                )
        for face in analysis.faces:
            events += self._saw(face, analysis.captured_at, analysis.captured_wall)
        for tracklet in analysis.confirmed:
            events += self._confirm(tracklet)
        return events + self._decide_ending(now)

    def next_batch(self, count: int, now: float) -> list[Candidate]:
        """Return up to `count` faces to be scored now, best first.

        Each must be reported by `scored` or `failed`. The list is empty if no face is worth a score
        now; that changes with what is seen, with scores and with time.
        """
        batch = self._scheduler.take(count, now)
        self._in_flight.update(candidate.track_id for candidate in batch)
        return batch

    def scored(self, faces: Sequence[ScoredFace], now: float) -> list[SelectorEvent]:
        """Take the scores of a batch; those of what is no face are not used."""
        events: list[SelectorEvent] = []
        for face in faces:
            tracklet = face.candidate.track_id
            self._scheduler.learn(face)
            if self._non_faces is not None and face.embedding in self._non_faces:
                events += self._skip([Skipped(face.candidate, SkipReason.NOT_A_FACE)])
                if tracklet in self._tracklets:
                    self._tracklets[tracklet].non_faces += 1
                continue
            self._look_for_static(self.track_of(tracklet), face)
            events += self._gate.scored(face.of_track(self.track_of(tracklet)), at=now)
            self._remember(self.track_of(tracklet))
            if self._identities is not None and tracklet in self._identities:
                changes = self._identities.scored(
                    tracklet, face.embedding, face.quality, face.candidate.captured_at
                )
                for change in changes:
                    if isinstance(change, Joined):
                        events += self._join(change)
                    elif isinstance(change, Split):
                        events += self._divide(change, face, now)
        self._landed([face.candidate for face in faces])
        return events + self._decide_ending(now)

    def failed(
        self, batch: Sequence[Candidate], reason: SkipReason, now: float
    ) -> list[SelectorEvent]:
        """Take back a batch that could not be scored."""
        events = self._skip([Skipped(candidate, reason) for candidate in batch])
        self._landed(batch)
        return events + self._decide_ending(now)

    def tick(self, now: float) -> list[SelectorEvent]:
        """Return what has become due because time has passed."""
        events: list[SelectorEvent] = list(self._gate.tick(now))
        for event in events:
            if isinstance(event, Release):
                self._remember(event.track_id)
        if self._identities is not None:
            for over in self._identities.tick(now):
                self._visits.pop(over.visit, None)
        return events + self._decide_ending(now)

    def end(self, reason: ReleaseReason, now: float) -> list[SelectorEvent]:
        """End every live track, oldest first."""
        for number, tracklet in tuple(self._tracklets.items()):
            if tracklet.unconfirmed is not None:
                self._dismiss(number)
            elif tracklet.ending is None:
                self._end(number, reason, now)
        return self._decide_ending(now)

    def close(self, reason: ReleaseReason, now: float) -> list[SelectorEvent]:
        """End every live track with the scores that it has; waiting faces are skipped."""
        self._in_flight.clear()
        left = self._scheduler.clear()
        events = self._skip([Skipped(candidate, SkipReason.SHUTDOWN) for candidate in left])
        return events + self._decide_ending(now) + self.end(reason, now)

    # Faces of a tracklet

    def _saw(self, face: SeenFace, at: float, wall: float) -> list[SelectorEvent]:
        number = face.tracked.track_id
        tracklet = self._tracklets.get(number)
        if tracklet is None:
            # Whoever does not say when tracks begin says that each is one from its first face on.
            tracklet = self._tracklets[number] = _Tracklet(number, unconfirmed=None)
            if self._identities is not None:
                self._identities.began(number, (), at)
        elif self._identities is not None:
            self._identities.seen(number, at)
        if tracklet.unconfirmed is not None:
            tracklet.unconfirmed.append((face, at, wall))
            return []
        return self._take(face, tracklet.track_id, at, wall)

    def _take(self, face: SeenFace, track_id: int, at: float, wall: float) -> list[SelectorEvent]:
        zone = self._gate.seen(track_id, at=at, wall=wall, zone=face.zone)
        box = face.tracked.face
        self._static.seen(track_id, box.landmarks, math.sqrt(box.area), at)
        if face.candidate is not None and not self._gate.counts(track_id):
            return self._skip([Skipped(face.candidate, SkipReason.OUTSIDE_ZONES)])
        if face.candidate is not None:
            return self._skip(self._scheduler.offer(face.candidate.in_zone(zone)))
        if face.rejection is not None:
            self._gate.rejected(track_id, face.rejection)
        return []

    def _confirm(self, number: int) -> list[SelectorEvent]:
        """Count a confirmed tracklet from its first face on."""
        tracklet = self._tracklets[number]
        before, tracklet.unconfirmed = tracklet.unconfirmed or [], None
        events: list[SelectorEvent] = []
        for face, at, wall in before:
            events += self._take(face, tracklet.track_id, at, wall)
        return events

    def _dismiss(self, number: int) -> None:
        """Forget a tracklet that was a false detection."""
        self._tracklets.pop(number, None)
        if self._identities is not None:
            self._identities.dismissed(number)

    def _end(self, number: int, reason: ReleaseReason, now: float) -> None:
        self._scheduler.end(number)
        self._tracklets[number].ending = reason, now
        if self._identities is not None:
            self._identities.ended(number)

    def _decide_ending(self, now: float) -> list[SelectorEvent]:
        """Decide the tracks with no live tracklet, no face being scored and none worth a score."""
        events: list[SelectorEvent] = []
        ending = [
            (number, tracklet) for number, tracklet in self._tracklets.items() if tracklet.ending
        ]
        for number, tracklet in ending:
            if self._in_flight[number] or self._scheduler.waits(number, now):
                continue
            if self._may_go_on(number, tracklet, now):
                continue
            events += self._skip(self._scheduler.forget(number))
            del self._tracklets[number]
            others = any(one.track_id == tracklet.track_id for one in self._tracklets.values())
            if not others and tracklet.ending is not None:
                events += self._decide(tracklet.track_id, *tracklet.ending)
        return events

    def _may_go_on(self, number: int, ended: _Tracklet, now: float) -> bool:
        """Whether a live tracklet may be the same person, and nobody can tell yet."""
        identities = self._identities
        if identities is None or ended.ending is None or now - ended.ending[1] > _DEFERRED_S:
            return False
        return any(
            one.ending is None
            and number in one.may_continue
            and other in identities
            and identities.is_unknown(other)
            for other, one in self._tracklets.items()
        )

    def _decide(self, track_id: int, reason: ReleaseReason, at: float) -> list[SelectorEvent]:
        visit, latest = self._gate.visit_of(track_id), self._gate.forwarded(track_id)
        events = self._gate.end(track_id, reason, at=at)
        decisions = [event for event in events if isinstance(event, TrackDecision)]
        self._static.ended(track_id, forwarded=any(one.forwarded for one in decisions))
        released = [event for event in events if isinstance(event, Release)]
        if released:
            count = len(released) + (0 if latest is None else latest.count)
            latest = Forwarded(released[0].face.quality, at, count)
        if latest is not None and self._identities is not None:
            self._visits[visit] = latest
        return list(events)

    # Which tracks are one person

    def _join(self, change: Joined) -> list[SelectorEvent]:
        """Take up that the tracks of a visit are those of an older one, too."""
        reason = JoinReason.CONTINUED if change.continued else JoinReason.ALIKE
        events: list[SelectorEvent] = []
        younger = sorted({self.track_of(tracklet) for tracklet in change.tracks})
        self._visits.pop(change.joined, None)
        for track_id in younger:
            if track_id not in self._gate.live_tracks:
                continue
            join = TrackJoin(track_id, change.similarity, reason)
            into = self._live_track_of(change.visit, besides=track_id)
            own = self._gate.forwarded(track_id)
            if into is not None and own is None:
                self._gate.merge(into, join)
                self._static.ended(track_id)
                for tracklet in self._tracklets.values():
                    if tracklet.track_id == track_id:
                        tracklet.track_id = into
                events.append(TracksJoined(into, join))
                continue
            before = self._visits.get(change.visit)
            if into is not None:
                before = self._gate.forwarded(into)
            follows = TrackJoin(into or change.visit, change.similarity, reason)
            self._gate.continue_visit(track_id, change.visit, follows, before)
            self._remember(track_id)
        return events

    def _live_track_of(self, visit: int, *, besides: int) -> int | None:
        """The live track of a visit, if it has one."""
        for track_id in self._gate.live_tracks:
            if track_id != besides and self._gate.visit_of(track_id) == visit:
                return track_id
        return None

    def _divide(self, change: Split, face: ScoredFace, now: float) -> list[SelectorEvent]:
        """Decide the first person of a track, and let it go on as the second one's."""
        tracklet = self._tracklets[change.track_id]
        old, new = tracklet.track_id, tracklet.track_id + _DIVIDED
        if old not in self._gate.live_tracks:
            return []
        wall = face.candidate.captured_wall - (face.candidate.captured_at - change.at)
        self._gate.divide(old, new, visit=change.visit, at=change.at, wall=wall)
        tracklet.track_id = new
        return self._decide(old, ReleaseReason.TRACK_ENDED, now)

    def _look_for_static(self, track_id: int, face: ScoredFace) -> None:
        """Forward nothing of a picture on a wall that was forwarded before."""
        if self._identities is None or track_id not in self._gate.live_tracks:
            return
        self._static.scored(track_id, face.embedding)
        if self._static.was_forwarded(track_id):
            self._gate.suppress(track_id)

    def _remember(self, track_id: int) -> None:
        """Keep with the visit what was forwarded of a live track, for whoever joins it."""
        latest = self._gate.forwarded(track_id) if self._identities is not None else None
        if latest is not None:
            self._visits[self._gate.visit_of(track_id)] = latest

    def _target_of(self, tracklet: int) -> ReleaseTarget:
        return self._gate.release_target(self.track_of(tracklet))

    def _is_urgent(self, tracklet: int) -> bool:
        """Return whether the person of a tracklet is unknown; its faces are then scored first."""
        identities, known = self._identities, self._tracklets.get(tracklet)
        if known is not None and known.non_faces >= _MOST_URGENT_NON_FACES:
            return False
        return (
            identities is not None and tracklet in identities and identities.wants_score(tracklet)
        )

    def _skip(self, skipped: Sequence[Skipped]) -> list[SelectorEvent]:
        for face in skipped:
            self._gate.skipped(self.track_of(face.candidate.track_id))
        return list(skipped)

    def _landed(self, batch: Sequence[Candidate]) -> None:
        self._in_flight -= Counter(candidate.track_id for candidate in batch)
