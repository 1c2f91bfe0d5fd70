"""Error-versus-discard curves: does a quality score reject the comparisons that go wrong?

Faces are compared in pairs; the quality of a pair is the lower of its two. Pairs are discarded from
the lowest quality upwards, and the false non-match rate (FNMR) of the remaining mated pairs is
drawn over the share of mated pairs that were discarded. The threshold is set for a false match rate
(FMR). Published evaluations differ in one point, so both ways are given and named:

- `fixed`: the threshold is set once, on all non-mated pairs;
- `recomputed`: it is set again at each step, on the non-mated pairs whose quality is no lower than
  that of the worst remaining mated pair.

A gate in front of a recogniser works a little differently, so there is a second kind of curve,
that of *probes*: the gallery is clean, like enrolled pictures, and nothing of it is discarded;
probes are discarded from the lowest quality upwards, and the threshold is set once, on all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgate.errors import StreamgateError

__all__ = [
    "DISCARDS",
    "Comparisons",
    "Curve",
    "ProbeComparisons",
    "compare_probes",
    "edc",
    "mean_probe_error",
    "partial_area",
    "probe_curve",
]

DISCARDS: NDArray[np.float64] = np.arange(96) / 100.0
"""Shares of mated pairs that are discarded: 0 to 95 %."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
    """Pairs of faces.

    Attributes:
        first, second: index of each face, int64 [P].
        similarity: higher is more alike, float64 [P].
        mated: whether both show the same person, bool [P].
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    similarity: NDArray[np.float64]
    mated: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """FNMR over discard.

    Attributes:
        fmr: the false match rate that the threshold is set for.
        threshold: at the start.
        fixed: FNMR at each of `DISCARDS`, float64 [96].
        recomputed: likewise; NaN where too few non-mated pairs are left to resolve the rate.
    """

    fmr: float
    threshold: float
    fixed: NDArray[np.float64]
    recomputed: NDArray[np.float64]

    @property
    def ways(self) -> Mapping[str, NDArray[np.float64]]:
        """Both curves by name."""
        return {"fixed": self.fixed, "recomputed": self.recomputed}


def edc(comparisons: Comparisons, quality: NDArray[np.float64], fmr: float) -> Curve:
    """Return the curves for qualities [faces], higher is better.

    Raises:
        StreamgateError: there are no mated pairs, or too few non-mated ones for this rate.
    """
    pair_quality = np.minimum(quality[comparisons.first], quality[comparisons.second])
    mated, non_mated = comparisons.mated, ~comparisons.mated
    if not mated.any():
        raise StreamgateError("there are no mated pairs: no two faces of one person")
    impostors = comparisons.similarity[non_mated]
    if len(impostors) * fmr < 1.0:
        raise StreamgateError(
            f"{len(impostors)} non-mated pairs cannot resolve a false match rate of {fmr:g}: "
            f"at least {int(np.ceil(1.0 / fmr))} are needed"
        )
    # Stable, so that ties are discarded in the order of the input and a run can be repeated.
    order = np.argsort(pair_quality[mated], kind="stable")
    genuine, genuine_quality = comparisons.similarity[mated][order], pair_quality[mated][order]
    # In whole numbers, because 0.29 × 100 is less than 29 in floating point.
    first_left = np.arange(len(DISCARDS)) * len(genuine) // 100
    start = _threshold(impostors, fmr)
    impostor_quality = pair_quality[non_mated]
    # Until a mated pair is discarded, no other pair is.
    lowest = np.where(first_left == 0, -np.inf, genuine_quality[first_left])
    recomputed = [
        _fnmr(genuine[left:], _threshold(impostors[impostor_quality >= worst], fmr))
        for left, worst in zip(first_left, lowest, strict=True)
    ]
    return Curve(
        fmr=fmr,
        threshold=start,
        fixed=np.array([_fnmr(genuine[left:], start) for left in first_left]),
        recomputed=np.array(recomputed),
    )


def partial_area(curve: NDArray[np.float64], discard: float) -> float:
    """Return the area under FNMR [96] from no discard to `discard`, by the trapezoid rule."""
    inside = discard + 1e-9 >= DISCARDS
    return float(np.trapezoid(curve[inside], DISCARDS[inside]))


def _threshold(impostors: NDArray[np.float64], fmr: float) -> float:
    """Return the lowest similarity above which at most a share `fmr` of impostors lies."""
    # A product like 1000 × 1e-3 may fall short of 1 by rounding.
    accepted = int(len(impostors) * fmr + 1e-9)
    if accepted < 1:
        return float("nan")
    place = len(impostors) - accepted - 1
    if place < 0:
        return float("-inf")
    return float(np.partition(impostors, place)[place])


def _fnmr(genuine: NDArray[np.float64], threshold: float) -> float:
    """Return the share of mated pairs that are not above the threshold."""
    return float("nan") if np.isnan(threshold) else float((genuine <= threshold).mean())


@dataclass(frozen=True, slots=True, eq=False)
class ProbeComparisons:
    """Comparisons of probes with the gallery pictures of the same person.

    Attributes:
        probe: number of the probe of each comparison, [M].
        failed: whether its similarity is below the threshold, [M].
        threshold: similarity at which the requested share of comparisons of two people match.
    """

    probe: NDArray[np.int64]
    failed: NDArray[np.bool_]
    threshold: float

    @property
    def error(self) -> float:
        """FNMR with every probe."""
        return float(self.failed.mean())


def compare_probes(
    probes: NDArray[np.float32],
    gallery: NDArray[np.float32],
    identities: NDArray[np.str_],
    *,
    false_match_rate: float,
) -> ProbeComparisons:
    """Compare probe i with every gallery picture except its own, number i.

    Args:
        probes, gallery: embeddings of length 1 of the same pictures, the first as captured, the
            second as enrolled, [N, E].
        identities: who is seen, [N].
        false_match_rate: of the comparisons of two people that may match.
    """
    similarity = probes @ gallery.T
    same = identities[:, None] == identities[None, :]
    threshold = float(np.quantile(similarity[~same], 1 - false_match_rate))
    np.fill_diagonal(same, val=False)
    probe, picture = np.nonzero(same)
    return ProbeComparisons(probe, similarity[probe, picture] <= threshold, threshold)


def probe_curve(
    comparisons: ProbeComparisons, quality: NDArray[np.floating], discards: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return FNMR after discarding each share of the probes, lowest quality first.

    Args:
        comparisons: of the probes.
        quality: of the probes, higher is better, [N]; equal values are discarded in any order.
        discards: shares, 0 to below 1.
    """
    # Equal values are shuffled: the order of the pictures depends on their identities.
    shuffle = np.random.default_rng(0).permutation(len(quality))
    order = shuffle[np.argsort(quality[shuffle], kind="stable")]
    rank = np.empty(len(quality), dtype=np.int64)
    rank[order] = np.arange(len(quality))
    count = np.bincount(rank[comparisons.probe], minlength=len(quality))
    failures = np.bincount(rank[comparisons.probe], comparisons.failed, minlength=len(quality))
    kept_count = np.cumsum(count[::-1])[::-1]
    kept_failures = np.cumsum(failures[::-1])[::-1]
    first_kept = np.minimum((discards * len(quality)).round().astype(int), len(quality) - 1)
    return np.asarray(
        kept_failures[first_kept] / np.maximum(kept_count[first_kept], 1), dtype=np.float64
    )


def mean_probe_error(
    comparisons: ProbeComparisons, quality: NDArray[np.floating], *, up_to: float = 0.3
) -> float:
    """Return the mean FNMR over discards from 0 to `up_to`; lower is better."""
    return float(probe_curve(comparisons, quality, np.linspace(0, up_to, 61)).mean())
