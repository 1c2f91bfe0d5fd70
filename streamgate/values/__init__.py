"""The data that travels between the parts: frozen values without behaviour, except derivations.

Every picture is RGB, uint8, height × width × 3, read-only. Colour order is fixed by the type and
never by an option: swapping red and blue changes scores by up to a tenth. `captured_at` and the
other `*_at` fields are monotonic seconds; `captured_wall` is Unix time, for people.
"""

from streamgate.values.faces import (
    Analysis,
    Candidate,
    Crop,
    Face,
    FaceMeasures,
    ScoredFace,
    Scores,
    SeenFace,
    TrackBeginning,
    TrackedFace,
)
from streamgate.values.identity import IdentityThresholds
from streamgate.values.ingest import PublishAnswer
from streamgate.values.pictures import (
    ArrayPixels,
    Discontinuity,
    Frame,
    Image,
    LookReason,
    PassReason,
    Picture,
    Pixels,
)
from streamgate.values.shots import Acceptance, BestShot, EncodedShot
from streamgate.values.tracks import (
    JoinReason,
    Release,
    ReleaseReason,
    ReleaseTarget,
    Skipped,
    SkipReason,
    TrackDecision,
    TrackJoin,
    TrackOutcome,
    TracksJoined,
)

__all__ = [
    "Acceptance",
    "Analysis",
    "ArrayPixels",
    "BestShot",
    "Candidate",
    "Crop",
    "Discontinuity",
    "EncodedShot",
    "Face",
    "FaceMeasures",
    "Frame",
    "IdentityThresholds",
    "Image",
    "JoinReason",
    "LookReason",
    "PassReason",
    "Picture",
    "Pixels",
    "PublishAnswer",
    "Release",
    "ReleaseReason",
    "ReleaseTarget",
    "ScoredFace",
    "Scores",
    "SeenFace",
    "SkipReason",
    "Skipped",
    "TrackBeginning",
    "TrackDecision",
    "TrackJoin",
    "TrackOutcome",
    "TrackedFace",
    "TracksJoined",
]
