"""The track protocol: does a recogniser name the right person from what was forwarded?

The gallery holds one clean photograph of each person and of distractors; a probe is what a policy
forwards of one track: a face, the mean of several, or a template. Judged are closed-set rank-1 and,
open-set, the false negative identification rate (FNIR) at a false positive identification rate
(FPIR), as ISO/IEC 19795-1 defines them; the threshold comes from probes of people who are not
enrolled. People, not faces, are what is sampled, so intervals are bootstrapped over people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgate.errors import StreamgateError

__all__ = ["Interval", "Probes", "bootstrap", "fnir_at", "gap_closed", "mated_similarity", "rank_1"]


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """What a policy forwarded, as a recogniser sees it.

    Attributes:
        embedding: of length 1, float [P, E].
        person: number of the person in the gallery, int [P].
    """

    embedding: NDArray[np.floating]
    person: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure, and where 95 % of its bootstrap repetitions lie."""

    value: float
    low: float
    high: float


def mated_similarity(probes: Probes, gallery: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the cosine of each probe to its person's photograph, float64 [P].

    Args:
        gallery: one embedding of length 1 for each person and distractor, float [G, E].
    """
    return np.asarray(
        np.einsum("pe,pe->p", probes.embedding, gallery[probes.person]), dtype=np.float64
    )


def rank_1(probes: Probes, gallery: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return whether the likest photograph is the person's, bool [P]; a tie counts as wrong."""
    similarity = probes.embedding @ gallery.T
    rows = np.arange(len(probes.person))
    mated = similarity[rows, probes.person].copy()
    similarity[rows, probes.person] = -np.inf
    return np.asarray(mated > similarity.max(axis=1, initial=-np.inf))


def fnir_at(probes: Probes, gallery: NDArray[np.floating], fpir: float) -> NDArray[np.bool_]:
    """Return which probes are not named at a threshold, bool [P]; their mean is the FNIR.

    Each probe is also searched in the gallery without its person: a search of somebody who is not
    enrolled. The threshold is the highest similarity that at most `fpir` of these reach.

    Raises:
        StreamgateError: there are too few probes to resolve such a rate.
    """
    if not 0 < fpir < 1 or len(probes.person) * fpir < 1:
        raise StreamgateError(f"{len(probes.person)} probes cannot resolve an FPIR of {fpir:g}")
    similarity = probes.embedding @ gallery.T
    rows = np.arange(len(probes.person))
    mated = similarity[rows, probes.person].copy()
    similarity[rows, probes.person] = -np.inf
    others = similarity.max(axis=1)
    allowed = int(len(others) * fpir)
    threshold = np.sort(others)[::-1][allowed]
    return np.asarray((mated <= threshold) | (mated <= others))


def gap_closed(policy: float, *, random: float, oracle: float) -> float:
    """Return which share of the way from a random choice to the best one a policy goes.

    Below zero it is worse than chance; NaN where there is nothing to choose.
    """
    return (policy - random) / (oracle - random) if oracle != random else float("nan")


def bootstrap(
    people: Sequence[object],
    figure: Callable[[NDArray[np.int64]], float],
    *,
    repetitions: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return a figure with its 95 % interval over people.

    Args:
        people: who is seen on each row.
        figure: computes the figure of some rows, given by their numbers, with repetition; what
            it cannot compute it gives as NaN.
        repetitions: how many times people are drawn anew.
    """
    names, number = np.unique(np.asarray(people), return_inverse=True)
    rows = [np.flatnonzero(number == one) for one in range(len(names))]
    chance = np.random.default_rng(seed)
    drawn = [
        figure(np.concatenate([rows[one] for one in chance.integers(0, len(names), len(names))]))
        for _ in range(repetitions)
    ]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Interval(figure(np.arange(len(number))), float(low), float(high))
