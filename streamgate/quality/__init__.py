"""GraFIQs: how good a face is for recognition, from a recogniser's BatchNorm statistics."""

from __future__ import annotations

from streamgate.quality.calibration import Calibration, fit_percentile, load_calibration
from streamgate.quality.grafiqs import GROUPS, Group
from streamgate.quality.scorer import Explanation, GroupScores, Scorer
from streamgate.quality.thread import GrafiqsScorer

__all__ = [
    "GROUPS",
    "Calibration",
    "Explanation",
    "GrafiqsScorer",
    "Group",
    "GroupScores",
    "Scorer",
    "fit_percentile",
    "load_calibration",
]
