"""Fit the scale of quality, and recognition errors by quality, to a set of crops.

The percentile needs only crops. If identities are known, pairs of faces of one person are compared,
and isotonic regression over the lower quality of each pair gives the expected error of a quality.
It assumes only that better faces are not recognised worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgate.errors import DataError
from streamgate.lab.crops import CropSet, hold_out
from streamgate.quality.calibration import ErrorCurve, fit_percentile
from streamgate.values import IdentityThresholds

__all__ = ["HeldOut", "fall_isotonic", "fit_errors", "fit_identity", "realised_discards"]

# Every pair of more faces would not fit into memory.
_MOST_FACES = 3000
_SAME_FMR, _CONTINUED_FMR, _DIFFERENT_FNMR = 1e-4, 5e-3, 5e-3
# A rate wants some pairs beyond it, not one.
_LEAST_BEYOND = 10
_LEAST_QUALITY = 30.0
# As the gate does: so many people weigh as much as knowing nothing.
_CENTER_PRIOR = 6.0
_DISCARDS = (5.0, 10.0, 20.0, 30.0, 40.0, 50.0)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How much a threshold discards of faces that it was not fitted to, both in percent."""

    setting: float
    realised: float


def realised_discards(
    crops: CropSet, raw: NDArray[np.float64], *, seed: int = 0
) -> tuple[HeldOut, ...]:
    """Fit the percentile on one half of the people and apply it to the other half.

    Args:
        crops: whose people are divided.
        raw: their scores, float64 [N], above zero.
        seed: of the division.

    Raises:
        DataError: there is one person only.
    """
    numbered = CropSet(
        images=np.zeros((len(crops), 0), np.uint8),
        names=crops.names,
        columns={**crops.columns, "place": tuple(map(str, range(len(crops))))},
        source=crops.source,
    )
    fitted, others = (
        raw[part.numbers("place").astype(np.int64)] for part in hold_out(numbered, 0.5, seed)
    )
    calibration = fit_percentile(fitted, weights_sha256="", group="", source=crops.source)
    quality = calibration(others)
    return tuple(HeldOut(d, 100.0 * float((quality < d).mean())) for d in _DISCARDS)


def fit_errors(
    quality: NDArray[np.float64],
    embeddings: NDArray[np.float32],
    identities: NDArray[np.str_],
    *,
    fmr: float,
    recogniser: str,
) -> ErrorCurve:
    """Fit the expected error of a quality.

    Args:
        quality: of the faces, 0-100 [N].
        embeddings: of length 1, float32 [N, E].
        identities: who is seen, [N]; empty where that is unknown.
        fmr: false match rate that the threshold is set for, on pairs of two people.
        recogniser: what gave the embeddings, for people.

    Raises:
        DataError: there are too few pairs.
    """
    chosen = _faces(identities)
    names, vectors, quality = identities[chosen], embeddings[chosen], quality[chosen]
    first, second = np.triu_indices(len(chosen), 1)
    similarity = (vectors @ vectors.T)[first, second]
    mated = names[first] == names[second]
    impostors = similarity[~mated]
    if len(impostors) * fmr < 1:
        raise DataError(
            f"{len(impostors)} pairs of two people cannot resolve a false match rate of {fmr:g}: "
            f"at least {int(np.ceil(1 / fmr))} are needed"
        )
    threshold = np.quantile(impostors, 1 - fmr, method="higher")
    lower = np.minimum(quality[first[mated]], quality[second[mated]])
    failed = (similarity[mated] <= threshold).astype(np.float64)
    begins, rates = fall_isotonic(lower, failed)
    return ErrorCurve(
        quality=tuple(begins.tolist()),
        fnmr=tuple(rates.tolist()),
        fmr=fmr,
        recogniser=recogniser,
        pairs=int(mated.sum()),
    )


def fit_identity(
    quality: NDArray[np.float64], embeddings: NDArray[np.float32], identities: NDArray[np.str_]
) -> IdentityThresholds:
    """Measure how alike two people are, and one person's faces.

    Only faces that are good enough for the gate to compare count, and the mean of the people is
    subtracted from all, as the gate subtracts its camera's.

    Args:
        quality: of the faces, 0-100 [N].
        embeddings: of length 1, float32 [N, E].
        identities: who is seen, [N]; empty where that is unknown.

    Raises:
        DataError: there are too few people.
    """
    fit = np.flatnonzero((identities != "") & (quality >= _LEAST_QUALITY))
    fit = _whole_people(identities, fit)
    names, first = np.unique(identities[fit], return_index=True)
    vectors = embeddings[fit].astype(np.float64)
    vectors -= vectors[first].sum(axis=0) / (len(first) + _CENTER_PRIOR)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    one, other = np.triu_indices(len(fit), 1)
    similarity = (vectors @ vectors.T)[one, other]
    mated = identities[fit][one] == identities[fit][other]
    impostors, genuine = similarity[~mated], similarity[mated]
    if (
        len(impostors) * _SAME_FMR < _LEAST_BEYOND
        or len(genuine) * _DIFFERENT_FNMR < _LEAST_BEYOND / 5
    ):
        raise DataError(
            f"{len(impostors)} pairs of two people and {len(genuine)} of one cannot say how alike "
            f"people are: at least {round(_LEAST_BEYOND / _SAME_FMR)} and "
            f"{round(_LEAST_BEYOND / 5 / _DIFFERENT_FNMR)} of quality {_LEAST_QUALITY:g} are needed"
        )
    same, continued = np.quantile(impostors, (1 - _SAME_FMR, 1 - _CONTINUED_FMR), method="higher")
    different = np.quantile(genuine, _DIFFERENT_FNMR, method="lower")
    return IdentityThresholds(
        same=round(float(same), 4),
        continued=round(float(continued), 4),
        different=round(min(float(different), float(continued)), 4),
        people=len(names),
        pairs=len(impostors),
    )


def fall_isotonic(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit y by a falling step function of x with least squares (pool adjacent violators).

    Returns:
        Where the steps begin, strictly rising, and their heights, strictly falling.
    """
    places, owner = np.unique(x, return_inverse=True)
    weights = np.bincount(owner).astype(np.float64)
    means = np.bincount(owner, weights=y) / weights
    begins: list[float] = []
    heights: list[float] = []
    sizes: list[float] = []
    for place, mean, weight in zip(places, means, weights, strict=True):
        begins.append(float(place))
        heights.append(float(mean))
        sizes.append(float(weight))
        while len(heights) > 1 and heights[-2] <= heights[-1]:
            size = sizes[-2] + sizes[-1]
            heights[-2:] = [(heights[-2] * sizes[-2] + heights[-1] * sizes[-1]) / size]
            sizes[-2:] = [size]
            begins.pop()
    return np.array(begins), np.array(heights)


def _faces(identities: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return faces of people who have two or more, a random choice if there are too many."""
    names, owner, counts = np.unique(identities, return_inverse=True, return_counts=True)
    chosen = np.flatnonzero((counts[owner] > 1) & (identities != ""))
    if not len(chosen) or len(names[counts > 1]) < 2:
        raise DataError("no two people with two faces each: identities are needed for errors")
    return _whole_people(identities, chosen)


def _whole_people(identities: NDArray[np.str_], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop whole people, so that their pairs stay whole, until the pairs fit into memory."""
    names, owner = np.unique(identities, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(names))
    ranked: Sequence[int] = sorted(chosen.tolist(), key=lambda i: (int(order[owner[i]]), i))
    return np.sort(np.array(ranked[:_MOST_FACES], dtype=np.int64))
