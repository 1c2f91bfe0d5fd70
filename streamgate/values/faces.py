"""Faces: detected, tracked, measured, cropped and scored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from streamgate.values.pictures import Image, LookReason, PassReason

__all__ = [
    "Analysis",
    "Candidate",
    "Crop",
    "Face",
    "FaceMeasures",
    "ScoredFace",
    "Scores",
    "SeenFace",
    "TrackBeginning",
    "TrackedFace",
]


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A detected face.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the frame, clamped to it, float64 [4].
        landmarks: left eye, right eye, nose, left and right mouth corner as seen in the picture
            (left = smaller x on an upright face), x and y in pixels, float64 [5, 2].
        detector_score: the detector's confidence, 0-1.
        edge_distance_px: distance of the detector's box, before it was clamped, to the frame's
            nearest edge; negative where it leaves the frame.
    """

    box: NDArray[np.float64]
    landmarks: NDArray[np.float64]
    detector_score: float
    edge_distance_px: float = math.inf

    @property
    def width(self) -> float:
        """Width of the box in pixels."""
        return float(self.box[2] - self.box[0])

    @property
    def height(self) -> float:
        """Height of the box in pixels."""
        return float(self.box[3] - self.box[1])

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return self.width * self.height


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFace:
    """A detected face with the number of the track that it belongs to.

    Track ids start at 1 for each camera and boot and are never used twice.
    """

    face: Face
    track_id: int


@dataclass(frozen=True, slots=True, eq=False)
class FaceMeasures:
    """Cheap measures of a face, taken in the original frame.

    Attributes:
        size_px: shorter side of the box.
        eye_distance_px: distance between the eyes.
        detector_score: the detector's confidence, 0-1.
        yaw_deg: estimated head turn, 0 frontal, positive to the picture's right.
        roll_deg: tilt of the face, 0 upright, positive clockwise.
        sharpness: share of fine detail in the variance of the face's luma, in thousandths: 0 for
            a smeared face, about 25 for a sharp one, whatever its size, exposure and contrast.
        brightness: mean luma of the face, 0-255.
        contrast: standard deviation of the face's luma, 0-127.5.
        edge_distance_px: distance of the detector's box (before clamping) to the frame's nearest
            edge; zero or negative where it touches or leaves the frame.
        pitch_deg: estimated nod, 0 level, positive downwards.
    """

    size_px: float
    eye_distance_px: float
    detector_score: float
    yaw_deg: float
    roll_deg: float
    sharpness: float
    brightness: float
    contrast: float
    edge_distance_px: float
    pitch_deg: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """An aligned face.

    Attributes:
        image: RGB uint8 [112, 112, 3], aligned to the ArcFace template, read-only.
    """

    image: Image


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A tracked face that has passed the prechecks and may be scored.

    Attributes:
        tracked: the face and its track.
        measures: its cheap measures.
        crop: its aligned crop.
        context: wider crop around the face, RGB uint8, if the configuration asks for one.
        frame_index: index of its frame.
        captured_at, captured_wall, decoded_at, detected_at: times, see `Frame`.
        zone: name of the watch zone that the face is in, or that its track was in last; None where
            there is none.
        context_at: x and y of the context's left upper corner in its frame, pixels.
    """

    tracked: TrackedFace
    measures: FaceMeasures
    crop: Crop
    context: Image | None
    frame_index: int
    captured_at: float
    captured_wall: float
    decoded_at: float
    detected_at: float
    zone: str | None = None
    context_at: tuple[int, int] = (0, 0)

    @property
    def track_id(self) -> int:
        """The track that the face belongs to."""
        return self.tracked.track_id

    def of_track(self, track_id: int) -> Candidate:
        """Return the same candidate as one of another track: its own has become part of that."""
        if track_id == self.track_id:
            return self
        return replace(self, tracked=replace(self.tracked, track_id=track_id))

    def in_zone(self, zone: str | None) -> Candidate:
        """Return the same candidate as one of a watch zone: its track was there last."""
        return self if zone == self.zone else replace(self, zone=zone)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of a batch, in input order.

    Attributes:
        raw: GraFIQs as defined, lower is better, float64 [N].
        quality: calibrated quality, 0-100, higher is better, float64 [N].
        embedding: L2-normalised embeddings, float32 [N, E].
        calibrated: whether `quality` is comparable between networks; if not, it only ranks faces.
    """

    raw: NDArray[np.float64]
    quality: NDArray[np.float64]
    embedding: NDArray[np.float32]
    calibrated: bool = True

    def __len__(self) -> int:
        return len(self.raw)

    def of(self, batch: Sequence[Candidate], scored_at: float) -> list[ScoredFace]:
        """Pair the scores with their candidates, which are in the same order."""
        return [
            ScoredFace(
                candidate=candidate,
                raw=float(self.raw[i]),
                quality=float(self.quality[i]),
                embedding=self.embedding[i],
                scored_at=scored_at,
            )
            for i, candidate in enumerate(batch)
        ]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredFace:
    """A candidate with its score; see `Scores` for the units."""

    candidate: Candidate
    raw: float
    quality: float
    embedding: NDArray[np.float32]
    scored_at: float

    def of_track(self, track_id: int) -> ScoredFace:
        """Return the same face as one of another track, see `Candidate.of_track`."""
        return replace(self, candidate=self.candidate.of_track(track_id))


@dataclass(frozen=True, slots=True, eq=False)
class SeenFace:
    """A tracked face after the prechecks: a candidate, or the reason why it was rejected.

    Exactly one of `candidate` and `rejection` is set.

    Attributes:
        zone: name of the watch zone that the face is in; None outside of all.
    """

    tracked: TrackedFace
    candidate: Candidate | None
    rejection: str | None
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class TrackBeginning:
    """A track that begins.

    Attributes:
        may_continue: lost tracks that it may be, by place and time, the likeliest first.
    """

    track_id: int
    may_continue: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What was seen in one frame.

    Attributes:
        frame_index, captured_at, captured_wall: of the frame.
        faces: every tracked face.
        ended: tracks that ended before this frame.
        seconds: time spent, by stage.
        began: tracks whose first face is among `faces`, and that may still be false detections of
            the detector. A track that is not named here is none.
        confirmed: tracks that have now been seen for long enough not to be false detections.
        dismissed: tracks that were never confirmed, and are gone.
        look: why the detector was asked about the frame, or why it was not.
        surplus: faces that were found beyond the most that are allowed, and left alone.
        ignored: how many faces were in each ignore zone, by its name, and left alone.
    """

    frame_index: int
    captured_at: float
    captured_wall: float
    faces: tuple[SeenFace, ...]
    ended: tuple[int, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)
    began: tuple[TrackBeginning, ...] = ()
    confirmed: tuple[int, ...] = ()
    dismissed: tuple[int, ...] = ()
    look: LookReason | PassReason = LookReason.EVERY_FRAME
    surplus: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict)
