"""What the demo remembers of each track: its faces in time, and which of them was chosen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streamgate.demo.scene import Scene
from streamgate.recognise import Gallery
from streamgate.telemetry.metrics import Metrics
from streamgate.values import BestShot, Face, ScoredFace, TrackDecision

__all__ = ["History", "Moment", "TrackHistory"]

# A demo that runs for hours shows its last tracks.
_PAGES = 12
_MOMENTS = 600
_LEAST_MOMENTS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A scored face and what was truly wrong with it."""

    frame_index: int
    captured_at: float
    quality: float
    crop: NDArray[np.uint8]
    degradation: float
    fault: str


@dataclass(slots=True)
class TrackHistory:
    """One track.

    Attributes:
        person: who it truly is.
        rank: share of the visit's frames that are less degraded than the chosen one.
        recognised: who a recogniser says it is; None where nothing was forwarded.
    """

    track_id: int
    visit: int
    person: str
    moments: list[Moment] = field(default_factory=list)
    chosen: list[Moment] = field(default_factory=list)
    rank: float | None = None
    recognised: str | None = None
    decision: TrackDecision | None = None


class History:
    """An observer of the daemon that knows the scene's truth.

    Args:
        scene: what is played.
        gallery: of the people in it, so that each best shot can be named.
    """

    def __init__(self, scene: Scene, gallery: Gallery) -> None:
        self.scene = scene
        self.gallery = gallery
        self.pages: OrderedDict[int, TrackHistory] = OrderedDict()
        self.metrics: Metrics | None = None
        self.tracks = 0
        self.forwarded = 0
        self.ack_latencies_s: list[float] = []

    @property
    def decided_pages(self) -> list[TrackHistory]:
        """Pages of the tracks that were decided; a track that became part of another has none."""
        return [page for page in self.pages.values() if page.decision is not None]

    def started(self, metrics: Metrics) -> None:
        """Keep the metrics at hand for the table and the summary."""
        self.metrics = metrics

    def scored(self, face: ScoredFace) -> None:
        """Add a face to its track's page."""
        page = self._page_of(face)
        if page is not None and len(page.moments) < _MOMENTS:
            page.moments.append(self._moment(face))

    def released(self, shot: BestShot) -> None:
        """Mark the chosen face."""
        self.forwarded += 1
        page = self._page_of(shot.face)
        if page is None:
            return
        moment = self._moment(shot.face)
        page.chosen.append(moment)
        page.recognised = self.gallery.match(shot.face.embedding).name or "unknown"
        others = self._degradations(page.visit)
        page.rank = float(np.mean(others < moment.degradation))

    def decided(self, decision: TrackDecision) -> None:
        """Close a track's page.

        What is left of a visit when the person is hidden or gone in half is a track of its own if
        it is too poor to tell whose it is. Of such nothing is forwarded, and nothing is shown.
        """
        page = self.pages.get(decision.track_id)
        if not decision.forwarded and (page is None or len(page.moments) < _LEAST_MOMENTS):
            self.pages.pop(decision.track_id, None)
            return
        self.tracks += 1
        if page is not None:
            page.decision = decision

    def _page_of(self, face: ScoredFace) -> TrackHistory | None:
        track_id = face.candidate.track_id
        if track_id not in self.pages:
            found = self._who(face.candidate.frame_index, face.candidate.tracked.face)
            if found is None:
                return None
            self.pages[track_id] = TrackHistory(track_id, *found)
            while len(self.pages) > _PAGES:
                self.pages.popitem(last=False)
        return self.pages[track_id]

    def _who(self, frame_index: int, face: Face) -> tuple[int, str] | None:
        x = float(face.box[0] + face.box[2]) / 2
        near = min(
            self.scene.appearances(frame_index % self.scene.frame_count),
            key=lambda seen: abs(seen.center_px[0] - x),
            default=None,
        )
        return None if near is None else (near.visit, near.person)

    def _moment(self, face: ScoredFace) -> Moment:
        candidate = face.candidate
        page = self.pages[candidate.track_id]
        degradation, fault = self._truth(candidate.frame_index, page.visit)
        return Moment(
            frame_index=candidate.frame_index,
            captured_at=candidate.captured_at,
            quality=face.quality,
            crop=candidate.crop.image,
            degradation=degradation,
            fault=fault,
        )

    def _truth(self, frame_index: int, visit: int) -> tuple[float, str]:
        for seen in self.scene.appearances(frame_index % self.scene.frame_count):
            if seen.visit == visit:
                faults: Sequence[tuple[float, str]] = (
                    (seen.far, "far"), (seen.soft, "soft"),
                    (seen.dark, "dark"), (seen.hidden, "hidden"),
                )  # fmt: skip
                share, fault = max(faults)
                return seen.degradation, fault if share > 0 else "clear"
        return 1.0, "gone"

    def _degradations(self, visit: int) -> NDArray[np.float64]:
        every = (
            seen.degradation
            for index in range(self.scene.frame_count)
            for seen in self.scene.appearances(index)
            if seen.visit == visit
        )
        return np.fromiter(every, np.float64)
