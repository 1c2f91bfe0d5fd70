"""Reasons in words, for somebody who mounts a camera and looks at a phone."""

from __future__ import annotations

import math

from streamgate.config import GateSection, PrecheckSection
from streamgate.values import Face, ReleaseReason, TrackDecision, TrackOutcome
from streamgate.web.figures import figure, limit_figure

__all__ = ["decision_in_words", "rejection_in_words", "release_in_words"]

_REJECTIONS = {
    "too_small": "too small",
    "at_edge": "cut by the edge",
    "low_detector_score": "hardly a face",
    "eyes_too_close": "eyes too close",
    "turned_away": "turned away",
    "nodding": "looking up or down",
    "tilted": "tilted",
    "not_alignable": "cannot be aligned",
    "implausible": "eyes, nose and mouth as in no face",
    "too_dark": "too dark",
    "too_bright": "too bright",
    "flat": "too little contrast",
    "blurred": "blurred",
    "in_ignore_zone": "in an ignore zone",
}
_RELEASES = {
    ReleaseReason.TRACK_ENDED: "the person left",
    ReleaseReason.QUALITY_REACHED: "good enough at once",
    ReleaseReason.MAX_WAIT: "the wait was over",
    ReleaseReason.IMPROVED: "better than before",
    ReleaseReason.STREAM_LOST: "the stream was lost",
    ReleaseReason.STREAM_ENDED: "the recording ended",
    ReleaseReason.SHUTDOWN: "the camera was stopped",
}


def rejection_in_words(
    reason: str, face: Face | None = None, settings: PrecheckSection | None = None
) -> str:
    """Why a face was rejected; with the face and the limits, what was found and what is wanted."""
    words = _REJECTIONS.get(reason, reason.replace("_", " "))
    if face is None or settings is None:
        return words
    match reason:
        case "too_small":
            size, wanted = min(face.width, face.height), settings.min_size_px
            return f"{words}: {figure(size, wanted)} of {limit_figure(wanted)} px"
        case "eyes_too_close":
            apart = math.dist(face.landmarks[0], face.landmarks[1])
            wanted = settings.min_eye_distance_px
            return f"{words}: {figure(apart, wanted)} of {limit_figure(wanted)} px"
        case "low_detector_score":
            score, wanted = face.detector_score, settings.min_detector_score
            return f"{words}: {figure(score, wanted, digits=2)} of {limit_figure(wanted)}"
    return words


def release_in_words(reason: ReleaseReason) -> str:
    """Return in words why a best shot was released at that moment."""
    return _RELEASES.get(reason, reason.value.replace("_", " "))


def decision_in_words(  # noqa: PLR0911 # one for each outcome
    decision: TrackDecision, settings: GateSection
) -> str:
    """Return in words how a track ended, and why it gave no best shot."""
    best, wanted = decision.best_quality or 0.0, settings.min_quality
    match decision.outcome:
        case TrackOutcome.FORWARDED:
            return f"Gone: {decision.forwarded} forwarded, best {figure(best, wanted)}"
        case TrackOutcome.SAME_VISIT:
            return f"Gone: forwarded before, in track {decision.visit}"
        case TrackOutcome.STATIC:
            return "Gone: a face that never moves; forwarded before"
        case TrackOutcome.BELOW_MIN_QUALITY:
            return f"Gone: best quality {figure(best, wanted)} of {limit_figure(wanted)}"
        case TrackOutcome.TOO_YOUNG:
            seen_s = decision.last_seen_at - decision.first_seen_at
            age = figure(seen_s, settings.min_age_s, digits=1)
            return f"Gone after {age} of {limit_figure(settings.min_age_s)} s"
        case TrackOutcome.ALL_REJECTED:
            return f"Gone: {_times(decision.faces)}, {_most(decision)}"
        case TrackOutcome.OUTSIDE_ZONES:
            return "Gone: never in a watch zone"
        case TrackOutcome.NOTHING_SCORED:
            return "Gone: the scorer had no time for it"


def _times(count: int) -> str:
    return "one face" if count == 1 else f"{count} faces"


def _most(decision: TrackDecision) -> str:
    """The reason that most of its faces were rejected for; a line has no room for more."""
    reason, count = max(decision.rejected.items(), key=lambda item: item[1], default=("", 0))
    return f"{count} {rejection_in_words(reason)}" if count else "none fit"
