"""What the finished student can do, on faces that it was not taught with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamgate.quality.crops import CropSet
from streamgate.quality.distill.lesson import Embedder
from streamgate.quality.distill.spoiling import spoil
from streamgate.quality.evaluation.measures import (
    Recognition,
    rank_correlation,
    recognition,
    separation,
)
from streamgate.quality.scorer import Scorer

__all__ = ["Examination", "examine"]

_SEED = 20


@dataclass(frozen=True, slots=True)
class Examination:
    """Figures of a student on held-out crops.

    Attributes:
        crops: how many there were.
        likeness: mean cosine of the student's and the teacher's embeddings.
        separation: AUC of the score, faces as they are against spoiled ones.
        rank_correlation: of the score, turned round, with the teacher's similarity between each
            spoiled face and the unspoiled one.
        recognition: of the student's own embeddings; None without identities.
    """

    crops: int
    likeness: float
    separation: float
    rank_correlation: float
    recognition: Recognition | None


def examine(scorer: Scorer, teacher: Embedder, crops: CropSet) -> Examination:
    """Examine a student on crops that it was not taught with."""
    chance = np.random.default_rng(_SEED)
    images = crops.images
    spoiled = np.stack([spoil(i, images[-n - 1], chance).image for n, i in enumerate(images)])
    scores, spoiled_scores = scorer.score(images), scorer.score(spoiled)
    answers = teacher(images)
    utility = (teacher(spoiled) * answers).sum(axis=1)
    return Examination(
        crops=len(crops),
        likeness=float((scores.embedding * answers).sum(axis=1).mean()),
        separation=separation(scores.raw, spoiled_scores.raw),
        rank_correlation=rank_correlation(-spoiled_scores.raw, utility),
        recognition=recognition(scores.embedding, crops.identities),
    )
