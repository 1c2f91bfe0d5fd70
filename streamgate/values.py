"""What travels through the gate: frozen values without behaviour beyond derivations.

Every picture is RGB, uint8, height × width × 3, read-only. Colour order is fixed by the type and
never by an option: RGB taken for BGR moves scores by up to a tenth. `captured_at` and the other
`*_at` fields are monotonic seconds; `captured_wall` is Unix time, for people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Analysis",
    "BestShot",
    "Candidate",
    "Crop",
    "EncodedShot",
    "Face",
    "FaceMeasures",
    "Frame",
    "Image",
    "Interruption",
    "PublishAnswer",
    "Release",
    "ReleaseReason",
    "ScoredFace",
    "Scores",
    "SeenFace",
    "SkipReason",
    "Skipped",
    "Standing",
    "TrackDecision",
    "TrackOutcome",
    "TrackedFace",
]

Image = NDArray[np.uint8]
"""RGB picture, uint8 [H, W, 3]."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture.

    Attributes:
        image: RGB uint8 [H, W, 3], read-only.
        index: how many frames this source had decoded before, since the process started.
        connection: how many times the source had been opened before; tracks never span two.
        captured_at: monotonic seconds at which the camera took the picture, as well as is known.
        captured_wall: the same instant in Unix seconds.
        decoded_at: monotonic seconds at which the picture was ready.
    """

    image: Image
    index: int
    connection: int
    captured_at: float
    captured_wall: float
    decoded_at: float


@dataclass(frozen=True, slots=True, eq=False)
class Interruption:
    """The stream was lost or has ended: whatever tracks are live belong to the past.

    Attributes:
        reason: why, for the log.
        at: monotonic seconds.
        ended: whether the source is at its end (a file) rather than lost.
    """

    reason: str
    at: float
    ended: bool = False


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
        context: wider crop around the face, RGB uint8, where the config asks for one.
        frame_index: index of its frame.
        captured_at, captured_wall, decoded_at, detected_at: times, see `Frame`.
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

    @property
    def track_id(self) -> int:
        """The track that the face belongs to."""
        return self.tracked.track_id


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of a batch, in input order.

    Attributes:
        raw: GraFIQs as defined, lower is better, float64 [N].
        quality: calibrated quality, 0-100, higher is better, float64 [N].
        embedding: L2-normalised embeddings, float32 [N, E].
        calibrated: whether `quality` means the same for every network; if not, it only ranks.
    """

    raw: NDArray[np.float64]
    quality: NDArray[np.float64]
    embedding: NDArray[np.float32]
    calibrated: bool = True

    def __len__(self) -> int:
        return len(self.raw)


@dataclass(frozen=True, slots=True, eq=False)
class ScoredFace:
    """A candidate with its score; see `Scores` for the units."""

    candidate: Candidate
    raw: float
    quality: float
    embedding: NDArray[np.float32]
    scored_at: float


@dataclass(frozen=True, slots=True, eq=False)
class SeenFace:
    """A tracked face after the prechecks: a candidate, or the reason why it is none.

    Exactly one of `candidate` and `rejection` is set.
    """

    tracked: TrackedFace
    candidate: Candidate | None
    rejection: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What was seen in one frame.

    Attributes:
        frame_index, captured_at, captured_wall: of the frame.
        faces: every tracked face.
        ended: tracks that ended before this frame.
        seconds: time spent, by stage.
    """

    frame_index: int
    captured_at: float
    captured_wall: float
    faces: tuple[SeenFace, ...]
    ended: tuple[int, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)


class SkipReason(StrEnum):
    """Why a face that was fit to be scored was not."""

    MORE_PROMISING_FACE = "more_promising_face"
    """The scorer was busy, and the places of those that wait went to others."""
    CANNOT_WIN = "cannot_win"
    """It could hardly be better than the best of its track, or the track was released before."""
    OVER_BUDGET = "over_budget"
    """Others of its track were worth its budget more."""
    SCORER_FAILED = "scorer_failed"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True, eq=False)
class Skipped:
    """A candidate that will not be scored."""

    candidate: Candidate
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a track stands with the gate.

    Attributes:
        to_beat: the quality above which a face would change what is released; infinite where none
            could any more.
        deadline: monotonic seconds at which the track is released whatever it has by then;
            infinite where only its end decides.
    """

    to_beat: float
    deadline: float


class ReleaseReason(StrEnum):
    """Why the gate let a face go."""

    TRACK_ENDED = "track_ended"
    QUALITY_REACHED = "quality_reached"
    MAX_WAIT = "max_wait"
    IMPROVED = "improved"
    STREAM_LOST = "stream_lost"
    STREAM_ENDED = "stream_ended"
    SHUTDOWN = "shutdown"


class TrackOutcome(StrEnum):
    """How a track ended: exactly one for every track."""

    FORWARDED = "forwarded"
    TOO_YOUNG = "too_young"
    BELOW_MIN_QUALITY = "below_min_quality"
    ALL_REJECTED = "all_rejected"
    NOTHING_SCORED = "nothing_scored"


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    """A face that the gate lets go: what a `BestShot` is made of.

    Attributes:
        revision: 1 for the first face of the track that was let go, then 2, 3, ...
        rank: 1 for the best of those released together, then 2, 3, ...
        at: monotonic seconds of the decision.
    """

    track_id: int
    revision: int
    rank: int
    reason: ReleaseReason
    face: ScoredFace
    at: float


@dataclass(frozen=True, slots=True, eq=False)
class BestShot:
    """A face that the gate forwards.

    Attributes:
        camera: name of the camera.
        boot_id: identifies this run of the process.
        revision: 1 for the first face of the track that was forwarded, then 2, 3, ...
        rank: 1 for the best of those released together, then 2, 3, ...
        reason: why it was released now.
        face: the scored face.
        decided_at: monotonic seconds.
        decided_wall: Unix seconds.
        model_hash: sha256 of the weights that scored it.
        config_hash: sha256 of the configuration.
    """

    camera: str
    boot_id: str
    revision: int
    rank: int
    reason: ReleaseReason
    face: ScoredFace
    decided_at: float
    decided_wall: float
    model_hash: str
    config_hash: str

    @property
    def track_id(self) -> int:
        """The track that the face belongs to."""
        return self.face.candidate.track_id

    @property
    def key(self) -> str:
        """Idempotency key: the same for every attempt to deliver this face."""
        return f"{self.camera}-{self.boot_id}-{self.track_id}-{self.revision}"


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture.

    Attributes:
        media_type: `image/jpeg` or `image/png`.
        data: the file's bytes.
    """

    media_type: str
    data: bytes

    @property
    def suffix(self) -> str:
        """What its file's name ends with, the dot included."""
        return ".jpg" if self.media_type == "image/jpeg" else ".png"


@dataclass(frozen=True, slots=True)
class EncodedShot:
    """A best shot as it is stored and delivered: bytes that no later step changes.

    Attributes:
        key: idempotency key, see `BestShot.key`.
        camera, boot_id, track_id, revision, quality: see `BestShot`.
        captured_wall, decided_wall: Unix seconds.
        metadata: JSON, UTF-8, as the published schema describes it.
        crop: the aligned face.
        context: the wider picture around it, where one was asked for.
    """

    key: str
    camera: str
    boot_id: str
    track_id: int
    revision: int
    quality: float
    captured_wall: float
    decided_wall: float
    metadata: bytes
    crop: Picture
    context: Picture | None

    @property
    def track(self) -> tuple[str, int]:
        """Boot and track: best shots that share them are delivered in order."""
        return self.boot_id, self.track_id

    @property
    def size(self) -> int:
        """Bytes of metadata and pictures."""
        return (
            len(self.metadata)
            + len(self.crop.data)
            + len(self.context.data if self.context else b"")
        )


class Acceptance(StrEnum):
    """What became of a best shot when it was handed to delivery."""

    ACCEPTED = "accepted"
    """It is in the outbox as safely as the outbox can keep it."""
    HELD = "held"
    """The outbox could not be written: it is delivered from memory and lost with the process."""
    DROPPED = "dropped"
    """The outbox is full of better or equal ones."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackDecision:
    """The terminal decision on a track, forwarded or not.

    Attributes:
        outcome: what became of it.
        reason: what ended it.
        first_seen_at, last_seen_at, decided_at: monotonic seconds.
        first_seen_wall, last_seen_wall: Unix seconds.
        faces: detected faces of the track.
        scored: how many of them were scored.
        skipped: how many were not scored because they could not win or time was short.
        rejected: rejected faces by reason.
        best_quality, best_raw: of the best scored face; None where none was scored.
        forwarded: revisions that were forwarded.
    """

    track_id: int
    outcome: TrackOutcome
    reason: ReleaseReason
    first_seen_at: float
    last_seen_at: float
    first_seen_wall: float
    last_seen_wall: float
    decided_at: float
    faces: int
    scored: int
    skipped: int
    best_quality: float | None
    best_raw: float | None
    forwarded: int
    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PublishAnswer:
    """What a publisher is told when its offer was taken.

    Attributes:
        session_id: names the session in its URL; cannot be guessed.
        entity_tag: names its ICE session, without quotes.
        sdp: the answer.
    """

    session_id: str
    entity_tag: str
    sdp: str
