"""Measures of how good a ranking or a recogniser is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Recognition", "rank_correlation", "recognition", "separation"]


def separation(low: NDArray[np.floating], high: NDArray[np.floating]) -> float:
    """Return the area under the ROC curve: how often one of `high` lies above one of `low`."""
    ranks = _ranks(np.concatenate([high, low]))[: len(high)]
    return float((ranks.mean() - (len(high) + 1) / 2) / len(low))


def rank_correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return Spearman's rank correlation of two measures of the same things, [N] each."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return ranks from 1, equal values sharing their mean."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[places], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Recognition:
    """How well embeddings distinguish people.

    Attributes:
        separation: AUC of pairs of one person against pairs of two.
        accept_rate: share of a person's pairs above the threshold.
        threshold: similarity that a share `false_match_rate` of the pairs of two people reach.
        false_match_rate: as asked for.
        pairs: of one person.
    """

    separation: float
    accept_rate: float
    threshold: float
    false_match_rate: float
    pairs: int


def recognition(
    embeddings: NDArray[np.float32], identities: NDArray[np.str_], *, false_match_rate: float = 1e-3
) -> Recognition | None:
    """Compare all pairs of embeddings, float32 [N, E] of length 1, of known people.

    Returns:
        None if no person has two pictures, or there is only one person.
    """
    known = identities != ""
    embeddings, identities = embeddings[known], identities[known]
    rows, columns = np.triu_indices(len(embeddings), 1)
    similarity = (embeddings @ embeddings.T)[rows, columns]
    same = identities[rows] == identities[columns]
    genuine, impostor = similarity[same], similarity[~same]
    if not len(genuine) or not len(impostor):
        return None
    threshold = float(np.quantile(impostor, 1 - false_match_rate))
    return Recognition(
        separation=separation(impostor, genuine),
        accept_rate=float((genuine > threshold).mean()),
        threshold=threshold,
        false_match_rate=false_match_rate,
        pairs=len(genuine),
    )
