"""Error versus discard for probes, which is how a gate in front of a recogniser works.

The gallery is clean and never discarded, like enrolled pictures. Probes of low quality are
discarded, and the share of the remaining comparisons of one person that fail is measured. The
threshold is set once, on all probes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Comparisons", "compare", "error_curve", "partial_area"]


@dataclass(frozen=True, slots=True, eq=False)
class Comparisons:
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


def compare(
    probes: NDArray[np.float32],
    gallery: NDArray[np.float32],
    identities: NDArray[np.str_],
    *,
    false_match_rate: float,
) -> Comparisons:
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
    return Comparisons(probe, similarity[probe, picture] <= threshold, threshold)


def error_curve(
    comparisons: Comparisons, quality: NDArray[np.floating], discards: NDArray[np.float64]
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


def partial_area(
    comparisons: Comparisons, quality: NDArray[np.floating], *, up_to: float = 0.3
) -> float:
    """Return the mean FNMR over discards from 0 to `up_to`; lower is better."""
    return float(error_curve(comparisons, quality, np.linspace(0, up_to, 61)).mean())
