"""The training objective: embeddings like the teacher's, and a score that ranks utility.

The score of a face at `block4` is a differentiable expression of what enters the last BatchNorm,

    raw = 2/(K·C·N) · Σ_c Σ_i |(μ_c - m_c) + 2 (v_c - s_c)(x_ci - μ_c)|

(GraFIQs, CVPR 2024 workshops), so the network can be trained to show unusual statistics at that
layer for what the teacher would not recognise. The definition of the score is unchanged.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "augmented_utility",
    "clean_utility",
    "cosine_loss",
    "ladder_loss",
    "log_raw",
    "ranking_loss",
    "similarity_loss",
]

_POSITIONS = (2, 3)
# Keeps the logarithm finite for a picture that matches the statistics exactly.
_FLOOR = 1e-6
# How far apart the log scores of a pair should be per unit of utility, and how softly.
_SLOPE = 2.0
_TEMPERATURE = 0.3
# Pairs that differ by this much in utility count fully, closer ones in proportion.
_FULL_DIFFERENCE = 0.3
# Recognisers tolerate some damage for which people reject a picture; both should count.
_VISIBLE_SHARE = 0.5
_NON_FACE_UTILITY = -0.5


def cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return 1 - cosine, [N], of embeddings of length 1."""
    return 1 - (student * teacher).sum(dim=1)


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference between the similarities within a batch."""
    return (student @ student.T - teacher @ teacher.T).square().mean()


def log_raw(features: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Return log raw(block4) plus a constant, [N], as it will be after whitening.

    Args:
        features: output of stage 4, [N, C, 7, 7].
        norm: the BatchNorm that reads them; its running statistics are not differentiated.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.running_var.detach().clamp(min=1e-12).rsqrt()[:, None, None]
    x = features.float() * scale
    mean = x.mean(dim=_POSITIONS, keepdim=True)
    variance = x.var(dim=_POSITIONS, correction=0, keepdim=True)
    shift = mean - norm.running_mean.detach()[:, None, None] * scale
    gradient = shift + 2 * (variance - 1) * (x - mean)
    return torch.log(gradient.abs().mean(dim=(1, *_POSITIONS)) + _FLOOR)


def ranking_loss(log_scores: Tensor, utility: Tensor) -> Tensor:
    """Return how badly the scores, lower is better, rank pictures by utility; both [N].

    All pairs of the batch are compared, including those of different people, because one threshold
    applies to everyone.
    """
    difference = utility[:, None] - utility[None, :]
    apart = log_scores[None, :] - log_scores[:, None]
    weight = (difference / _FULL_DIFFERENCE).clamp(0, 1)
    penalty = functional.softplus((_SLOPE * difference - apart) / _TEMPERATURE) * _TEMPERATURE
    return (weight * penalty).sum() / weight.sum().clamp(min=1)


def ladder_loss(log_scores: Tensor, utility: Tensor) -> Tensor:
    """Return `ranking_loss` for pictures that are compared within each row; both [N, R]."""
    difference = utility[:, :, None] - utility[:, None, :]
    apart = log_scores[:, None, :] - log_scores[:, :, None]
    weight = (difference / _FULL_DIFFERENCE).clamp(0, 1)
    penalty = functional.softplus((_SLOPE * difference - apart) / _TEMPERATURE) * _TEMPERATURE
    return (weight * penalty).sum() / weight.sum().clamp(min=1)


def clean_utility(
    embeddings: NDArray[np.float32], identities: NDArray[np.str_]
) -> NDArray[np.float32]:
    """Return how similar each face is, for the teacher, to other pictures of the same person.

    Args:
        embeddings: the teacher's, of length 1, [N, E].
        identities: empty where unknown, [N].

    Returns:
        float32 [N]; NaN for a face whose person has no second picture.
    """
    utility = np.full(len(embeddings), np.nan, dtype=np.float32)
    order = np.argsort(identities, kind="stable")
    _, starts = np.unique(identities[order], return_index=True)
    for group in np.split(order, starts[1:]):
        if len(group) > 1 and identities[group[0]]:
            similarity = embeddings[group] @ embeddings[group].T
            utility[group] = (similarity.sum(axis=1) - 1) / (len(group) - 1)
    return utility


def augmented_utility(
    clean: NDArray[np.float32],
    likeness: NDArray[np.float32],
    strength: NDArray[np.float32],
    is_face: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Return the utility of augmented faces, float32 [N].

    Args:
        clean: utility of the unaltered faces.
        likeness: the teacher's similarity of each augmented face to the unaltered one.
        strength: of its degradation, 0-1.
        is_face: whether a recognisable face is left.
    """
    utility = clean * np.clip(likeness, 0, 1) - _VISIBLE_SHARE * strength
    return np.where(is_face, utility, _NON_FACE_UTILITY).astype(np.float32)
