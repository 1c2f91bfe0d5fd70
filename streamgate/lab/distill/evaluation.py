"""How good the finished student is on faces that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamgate.lab.crops import CropSet
from streamgate.lab.distill.augment import augment
from streamgate.lab.distill.batches import Embedder
from streamgate.lab.evaluation.measures import (
    Recognition,
    rank_correlation,
    recognition,
    separation,
)
from streamgate.quality.scorer import Scorer

__all__ = ["Evaluation", "evaluate"]

_SEED = 20


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of a student on held-out crops.

    Attributes:
        crops: how many there were.
        likeness: mean cosine of the student's and the teacher's embeddings.
        separation: AUC of the score, unaltered faces compared with augmented ones.
        rank_correlation: Spearman's, of the negative score with the teacher's similarity between
            each augmented face and the unaltered one.
        recognition: of the student's own embeddings; None without identities.
    """

    crops: int
    likeness: float
    separation: float
    rank_correlation: float
    recognition: Recognition | None


def evaluate(scorer: Scorer, teacher: Embedder, crops: CropSet) -> Evaluation:
    """Examine a student on crops that it was not trained on."""
    chance = np.random.default_rng(_SEED)
    images = crops.images
    augmented = np.stack([augment(i, images[-n - 1], chance).image for n, i in enumerate(images)])
    scores, spoiled_scores = scorer.score(images), scorer.score(augmented)
    answers = teacher(images)
    utility = (teacher(augmented) * answers).sum(axis=1)
    return Evaluation(
        crops=len(crops),
        likeness=float((scores.embedding * answers).sum(axis=1).mean()),
        separation=separation(scores.raw, spoiled_scores.raw),
        rank_correlation=rank_correlation(-spoiled_scores.raw, utility),
        recognition=recognition(scores.embedding, crops.identities),
    )
