"""Reasons in words, for somebody who stands on a ladder with a phone."""

from __future__ import annotations

import math

from streamgate.config import GateSection, PrecheckSection
from streamgate.values import Face, ReleaseReason, TrackDecision, TrackOutcome

__all__ = ["decision_in_words", "rejection_in_words", "release_in_words"]

_REJECTIONS = {
    "too_small": "too small",
    "at_edge": "cut by the picture's edge",
    "low_detector_score": "hardly a face",
    "eyes_too_close": "eyes too close together",
    "turned_away": "turned away",
    "nodding": "looking up or down",
    "tilted": "tilted",
    "not_alignable": "cannot be aligned",
    "too_dark": "too dark",
    "too_bright": "too bright",
    "flat": "too little contrast",
    "blurred": "blurred",
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
            size = min(face.width, face.height)
            return f"{words}: {size:.0f} of {settings.min_size_px:.0f} pixels"
        case "eyes_too_close":
            apart = math.dist(face.landmarks[0], face.landmarks[1])
            return f"{words}: {apart:.0f} of {settings.min_eye_distance_px:.0f} pixels"
        case "low_detector_score":
            score = face.detector_score
            return f"{words}: confidence {score:.2f} of {settings.min_detector_score:.2f}"
    return words


def release_in_words(reason: ReleaseReason) -> str:
    """Why a best shot was let through when it was."""
    return _RELEASES.get(reason, reason.value.replace("_", " "))


def decision_in_words(decision: TrackDecision, settings: GateSection) -> str:
    """How a track ended, and what kept it from a best shot."""
    best = decision.best_quality
    match decision.outcome:
        case TrackOutcome.FORWARDED:
            return f"Gone; {_times(decision.forwarded)} let through, best quality {best or 0:.0f}"
        case TrackOutcome.SAME_VISIT:
            return f"Gone; the same person was forwarded before, in track {decision.visit}"
        case TrackOutcome.BELOW_MIN_QUALITY:
            return f"Gone; its best quality was {best or 0:.0f}, {settings.min_quality:g} is wanted"
        case TrackOutcome.TOO_YOUNG:
            age_s = decision.last_seen_at - decision.first_seen_at
            return f"Gone after {age_s:.1f} s; {settings.min_age_s:g} s are wanted"
        case TrackOutcome.ALL_REJECTED:
            return f"Gone; none of its {decision.faces} faces passed: {_most(decision)}"
        case TrackOutcome.NOTHING_SCORED:
            return "Gone; the scorer had no time for its faces"


def _times(count: int) -> str:
    return "one face" if count == 1 else f"{count} faces"


def _most(decision: TrackDecision) -> str:
    counted = sorted(decision.rejected.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{count} {rejection_in_words(reason)}" for reason, count in counted)
