"""The rule that picks the faces of a track that are forwarded.

Pure and deterministic: time is an argument, nothing is read or written, and the same observations
give the same events. Tracks are independent, so a pause after one person never delays the next.

Of the faces that are good enough the one goes that is worth most: by quality, and by how well it
agrees with the other faces of its track.

Every track has exactly one `TrackDecision`, forwarded or not. Faces are released
- when the track ends,
- when a face reaches `release_quality`,
- when the track has lived for `max_wait_s` (or as soon after that as there is a face to release),
- and, after a release, when a later face is better by `improve_by` points; the cool-down between
  releases does not apply at the track's end, which is the last chance.

If the person of a track was already forwarded in an earlier track of the same visit, the track
counts as released from its beginning. Which tracks are one person is decided elsewhere (see
`identity`): the gate is called to merge two tracks, to continue a visit, or to divide a track.

Where there are watch zones, a track counts from the moment when its face is first in one of them. A
face is judged by the threshold of the zone that it is in, or that its track was in last.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from streamgate.config import GateSection, ZoneSection
from streamgate.selection.agreement import TrackTemplate, worth
from streamgate.values import (
    Release,
    ReleaseReason,
    ReleaseTarget,
    ScoredFace,
    TrackDecision,
    TrackJoin,
    TrackOutcome,
)

__all__ = ["Forwarded", "GateEvent", "QualityGate"]

GateEvent = Release | TrackDecision


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What was already forwarded of a person.

    Attributes:
        quality: of the latest face, 0-100.
        at: monotonic seconds of its release.
        count: faces in all.
    """

    quality: float
    at: float
    count: int


# A release picks faces that are apart in time from the best moments: this many times `top_k`.
_POOL_FACTOR = 4
_LEAST_POOL = 8
"""Moments that are kept where one face is to be released: the best by quality may look like nobody
else in its track, and one of the next may be worth more, see `agreement`."""


@dataclass(slots=True)
class _Track:
    """What the gate remembers about one live track; bounded, however long the track is."""

    first_seen_at: float
    first_seen_wall: float
    last_seen_at: float
    last_seen_wall: float
    visit: int
    # Since when it counts; None before it was in a watch zone.
    counts_from: float | None = None
    # The watch zones that it was in, the latest last; a dict because sets have no order.
    zones: dict[str, None] = field(default_factory=dict)
    zone: str | None = None
    faces: int = 0
    scored: int = 0
    skipped: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    best: ScoredFace | None = None
    pool: dict[float, ScoredFace] = field(default_factory=dict)
    template: TrackTemplate = field(default_factory=TrackTemplate)
    forwarded: int = 0
    # The latest release of the person, in this track or an earlier one of the visit.
    latest: Forwarded | None = None
    joins: list[TrackJoin] = field(default_factory=list)
    suppressed: bool = False

    @property
    def age_s(self) -> float:
        return self.last_seen_at - self.first_seen_at


class QualityGate:
    """Picks the best faces of each track, by the settings of the section `gate`.

    Args:
        zones: those of the camera; of ignore zones it takes no notice.

    Attributes:
        watches: whether there are watch zones.
    """

    def __init__(self, settings: GateSection, zones: Sequence[ZoneSection] = ()) -> None:
        self.settings = settings
        self._tracks: dict[int, _Track] = {}
        self._take_zones(zones)

    def _take_zones(self, zones: Sequence[ZoneSection]) -> None:
        watched = [zone for zone in zones if zone.kind == "watch"]
        self.watches = bool(watched)
        self._zone_quality = {
            zone.name: zone.min_quality for zone in watched if zone.min_quality is not None
        }

    def adopt(self, settings: GateSection, zones: Sequence[ZoneSection] = ()) -> None:
        """Change the settings; live tracks keep what was seen and forwarded.

        A face that waits for its release is discarded if it is no longer good enough, and the
        best one so far is considered again if it has become good enough. A track that counts goes
        on counting, whatever its zones have become.
        """
        self.settings = settings
        self._take_zones(zones)
        for track in self._tracks.values():
            faces = list(track.pool.values())
            if not faces and track.best is not None:
                faces = [track.best]
            self._rebuild_pool(track, faces)

    def forwarded(self, track_id: int) -> Forwarded | None:
        """What was forwarded of the person of a live track, here or earlier in the visit."""
        return self._tracks[track_id].latest

    def counts(self, track_id: int) -> bool:
        """Whether a live track was in a watch zone, or there are none."""
        return self._tracks[track_id].counts_from is not None

    def visit_of(self, track_id: int) -> int:
        """The visit that a live track belongs to."""
        return self._tracks[track_id].visit

    def suppress(self, track_id: int) -> None:
        """Forward nothing of a live track: it is a static face that was forwarded before."""
        track = self._tracks[track_id]
        track.suppressed = True
        track.pool.clear()

    def merge(self, track_id: int, join: TrackJoin) -> None:
        """Let a live track become part of another live one, of which nothing is told any more.

        Nothing may have been forwarded in the one that ends; else it stays a track of its own, see
        `continue_visit`.
        """
        track, other = self._tracks[track_id], self._tracks.pop(join.track_id)
        assert not other.forwarded
        if other.first_seen_at < track.first_seen_at:
            track.first_seen_at, track.first_seen_wall = other.first_seen_at, other.first_seen_wall
        if other.last_seen_at > track.last_seen_at:
            track.last_seen_at, track.last_seen_wall = other.last_seen_at, other.last_seen_wall
        starts = [at for at in (track.counts_from, other.counts_from) if at is not None]
        track.counts_from = min(starts, default=None)
        track.zones = {**other.zones, **track.zones}
        track.zone = track.zone or other.zone
        track.faces += other.faces
        track.scored += other.scored
        track.skipped += other.skipped
        track.rejected += other.rejected
        track.joins += [*other.joins, join]
        track.template.merge(other.template)
        if other.best is not None:
            best = other.best.of_track(track_id)
            if track.best is None or best.quality > track.best.quality:
                track.best = best
        faces = [face.of_track(track_id) for face in other.pool.values()]
        self._rebuild_pool(track, [*track.pool.values(), *faces])

    def continue_visit(
        self, track_id: int, visit: int, join: TrackJoin, before: Forwarded | None
    ) -> None:
        """Let a live track be a later one of a visit: what was forwarded before counts for it."""
        track = self._tracks[track_id]
        track.visit = visit
        track.joins.append(join)
        if track.latest is None:
            track.latest = before
        self._rebuild_pool(track, list(track.pool.values()))

    def divide(self, track_id: int, new_id: int, *, visit: int, at: float, wall: float) -> None:
        """Let the faces of a track from `at` on be another person's, in a track of another number.

        What was forwarded, and whatever else cannot be told apart, stays with the first person.
        """
        track = self._tracks[track_id]
        new = self._tracks[new_id] = _Track(
            at, wall, track.last_seen_at, track.last_seen_wall, visit,
            counts_from=None if track.counts_from is None else max(at, track.counts_from),
            zones=dict.fromkeys([track.zone] if track.zone else []),
            zone=track.zone,
        )  # fmt: skip
        faces = list(track.pool.values())
        if track.best is not None and track.best not in faces:
            faces.append(track.best)
        first = [face for face in faces if face.candidate.captured_at < at]
        second = [face.of_track(new_id) for face in faces if face.candidate.captured_at >= at]
        track.last_seen_at = max(track.first_seen_at, min(track.last_seen_at, at))
        track.last_seen_wall = track.first_seen_wall + track.last_seen_at - track.first_seen_at
        track.best = max(first, key=lambda face: face.quality, default=track.best)
        self._rebuild_pool(track, first)
        new.best = max(second, key=lambda face: face.quality, default=None)
        # Counted where they are known to belong; the others were counted with the first person.
        new.faces = new.scored = len(second)
        track.faces -= len(second)
        track.scored -= len(second)
        self._rebuild_pool(new, second)
        # The first person's template keeps a few faces of the second: they weigh little by then.
        for face in second:
            new.template.add(face.embedding, face.quality)

    @property
    def live_tracks(self) -> tuple[int, ...]:
        """Tracks that have been seen and not ended."""
        return tuple(self._tracks)

    def best_quality(self, track_id: int) -> float | None:
        """Return the quality of the track's best scored face so far, if there is one."""
        track = self._tracks.get(track_id)
        return track.best.quality if track is not None and track.best is not None else None

    def release_target(self, track_id: int) -> ReleaseTarget:
        """Return which quality a face of the track must exceed to matter, and until when."""
        track = self._tracks.get(track_id)
        if track is None:
            return ReleaseTarget(to_beat=math.inf, deadline=math.inf)
        to_beat, wanted = self._threshold(track, track.zone), self._wanted(track)
        if len(track.pool) >= wanted:
            best_first = sorted((face.quality for face in track.pool.values()), reverse=True)
            to_beat = max(to_beat, best_first[wanted - 1])
        return ReleaseTarget(to_beat, self._deadline(track))

    def seen(self, track_id: int, *, at: float, wall: float, zone: str | None = None) -> str | None:
        """Note a detected face of a track at its capture time.

        Args:
            zone: the watch zone that it is in.

        Returns:
            The watch zone that the track is in or was in last.
        """
        track = self._tracks.get(track_id)
        if track is None:
            track = self._tracks[track_id] = _Track(at, wall, at, wall, visit=track_id)
        track.faces += 1
        track.last_seen_at, track.last_seen_wall = at, wall
        if zone is not None:
            track.zones[zone] = None
            track.zone = zone
        if track.counts_from is None and (zone is not None or not self.watches):
            track.counts_from = at
        return track.zone

    def rejected(self, track_id: int, reason: str) -> None:
        """Note that a face of the track failed a precheck."""
        self._tracks[track_id].rejected[reason] += 1

    def skipped(self, track_id: int) -> None:
        """Note that a face of the track passed the prechecks but was not scored."""
        self._tracks[track_id].skipped += 1

    def scored(self, face: ScoredFace, *, at: float) -> list[GateEvent]:
        """Take a scored face of a live track; return what is due at `at`, monotonic seconds."""
        track_id = face.candidate.track_id
        track = self._tracks[track_id]
        track.scored += 1
        track.template.add(face.embedding, face.quality)
        if track.best is None or face.quality > track.best.quality:
            track.best = face
        if face.quality >= self._threshold(track, face.candidate.zone):
            self._pool(track, face)
        return list(self._due(track_id, track, at))

    def tick(self, at: float) -> list[GateEvent]:
        """Return what has become due because time has passed."""
        return [
            event for track_id, track in self._tracks.items()
            for event in self._due(track_id, track, at)
        ]  # fmt: skip

    def end(self, track_id: int, reason: ReleaseReason, *, at: float) -> list[GateEvent]:
        """End a track; return its last releases, then its decision."""
        track = self._tracks.pop(track_id)
        events: list[GateEvent] = []
        if track.pool and track.age_s >= self.settings.min_age_s:
            events.extend(self._release(track_id, track, reason, at))
        least = self._least(None if track.best is None else track.best.candidate.zone)
        events.append(_decision(track_id, track, reason, at, least))
        return events

    def flush(self, reason: ReleaseReason, *, at: float) -> list[GateEvent]:
        """End every live track, oldest first."""
        return [
            event for track_id in self.live_tracks for event in self.end(track_id, reason, at=at)
        ]

    def _least(self, zone: str | None) -> float:
        """Return the threshold of a zone."""
        if zone is None:
            return self.settings.min_quality
        return self._zone_quality.get(zone, self.settings.min_quality)

    def _threshold(self, track: _Track, zone: str | None) -> float:
        """Return the quality that a face of a zone must have to be released."""
        if track.suppressed:
            return math.inf
        if track.latest is None:
            return self._least(zone)
        if self.settings.improve_by is None or track.latest.count >= self.settings.max_per_track:
            return math.inf
        return max(track.latest.quality + self.settings.improve_by, self._least(zone))

    def _wanted(self, track: _Track) -> int:
        """Return how many faces the next release of the track may have."""
        return self.settings.top_k if track.latest is None else 1

    def _deadline(self, track: _Track) -> float:
        """Return when the track's first release is due, whatever its faces are."""
        if track.suppressed or track.latest is not None or self.settings.max_wait_s is None:
            return math.inf
        if track.counts_from is None:
            return math.inf
        return track.counts_from + self.settings.max_wait_s

    def _pool(self, track: _Track, face: ScoredFace) -> None:
        """Keep the best face of each moment, and only the best moments."""
        gap = self.settings.min_gap_s
        since = face.candidate.captured_at - track.first_seen_at
        moment = since // gap if gap > 0 else since
        rival = track.pool.get(moment)
        if rival is None or face.quality > rival.quality:
            track.pool[moment] = face
        wanted = self._wanted(track)
        if len(track.pool) > max(_LEAST_POOL, _POOL_FACTOR * wanted):
            # Among equals the earlier one stays: it can be released sooner.
            worst = min(track.pool, key=lambda m: (track.pool[m].quality, -m))
            del track.pool[worst]

    def _rebuild_pool(self, track: _Track, faces: Sequence[ScoredFace]) -> None:
        """Let the faces that are good enough compete again, in the order of their capture."""
        track.pool.clear()
        for face in sorted(faces, key=lambda one: one.candidate.captured_at):
            if face.quality >= self._threshold(track, face.candidate.zone):
                self._pool(track, face)

    def _due(self, track_id: int, track: _Track, at: float) -> Iterator[Release]:
        reason = self._reason(track, at)
        if reason is not None:
            yield from self._release(track_id, track, reason, at)

    def _reason(self, track: _Track, at: float) -> ReleaseReason | None:
        if not track.pool or track.age_s < self.settings.min_age_s:
            return None
        if track.latest is not None:
            rested = at - track.latest.at >= self.settings.cooldown_s
            return ReleaseReason.IMPROVED if rested else None
        best = max(face.quality for face in track.pool.values())
        if self.settings.release_quality is not None and best >= self.settings.release_quality:
            return ReleaseReason.QUALITY_REACHED
        if (
            self.settings.max_wait_s is not None
            and track.counts_from is not None
            and at - track.counts_from >= self.settings.max_wait_s
        ):
            return ReleaseReason.MAX_WAIT
        return None

    def _release(
        self, track_id: int, track: _Track, reason: ReleaseReason, at: float
    ) -> Iterator[Release]:
        before = 0 if track.latest is None else track.latest.count
        room = self.settings.max_per_track - before
        wanted = min(room, self._wanted(track))
        chosen = _apart(track, wanted, self.settings.min_gap_s)
        track.pool.clear()
        track.latest = Forwarded(chosen[0].quality, at, before + len(chosen))
        for rank, face in enumerate(chosen, start=1):
            track.forwarded += 1
            yield Release(
                track_id=track_id,
                revision=track.forwarded,
                rank=rank,
                reason=reason,
                face=face,
                at=at,
                visit=track.visit,
                template=track.template.mean,
            )


def _apart(track: _Track, wanted: int, gap_s: float) -> list[ScoredFace]:
    """The faces that are worth most, best first, each `gap_s` or more away from those before it."""

    def worth_of(face: ScoredFace) -> float:
        return worth(face.quality, track.template.agreement(face.embedding, face.quality))

    best_first = sorted(
        track.pool.values(), key=lambda face: (-worth_of(face), face.candidate.captured_at)
    )
    chosen: list[ScoredFace] = []
    for face in best_first:
        at = face.candidate.captured_at
        if all(abs(at - other.candidate.captured_at) >= gap_s for other in chosen):
            chosen.append(face)
        if len(chosen) == wanted:
            break
    return chosen


def _decision(
    track_id: int, track: _Track, reason: ReleaseReason, at: float, least: float
) -> TrackDecision:
    if track.forwarded:
        outcome = TrackOutcome.FORWARDED
    elif track.suppressed:
        outcome = TrackOutcome.STATIC
    elif track.latest is not None:
        outcome = TrackOutcome.SAME_VISIT
    elif track.best is not None and track.best.quality < least:
        outcome = TrackOutcome.BELOW_MIN_QUALITY
    elif track.best is not None:
        outcome = TrackOutcome.TOO_YOUNG
    elif track.counts_from is None:
        outcome = TrackOutcome.OUTSIDE_ZONES
    elif track.skipped:
        outcome = TrackOutcome.NOTHING_SCORED
    else:
        outcome = TrackOutcome.ALL_REJECTED
    return TrackDecision(
        track_id=track_id,
        outcome=outcome,
        reason=reason,
        first_seen_at=track.first_seen_at,
        last_seen_at=track.last_seen_at,
        first_seen_wall=track.first_seen_wall,
        last_seen_wall=track.last_seen_wall,
        decided_at=at,
        faces=track.faces,
        scored=track.scored,
        skipped=track.skipped,
        best_quality=None if track.best is None else track.best.quality,
        best_raw=None if track.best is None else track.best.raw,
        forwarded=track.forwarded,
        visit=track.visit,
        rejected=dict(track.rejected),
        joins=tuple(track.joins),
        zones=tuple(track.zones),
    )
