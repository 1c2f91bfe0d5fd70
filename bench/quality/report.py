"""The figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["tables"]

_METHODS = {
    "oracle (knows each failure)": "oracle",
    "detector score": "confidence of the detector",
    "sharpness (our precheck)": "sharpness (as in the precheck)",
    "eye distance in the source": "distance between the eyes in the source picture",
    "embedding norm": "length of the embedding",
    "PreFIQs": "PreFIQs, included network",
    "ERS": "ERS, included network",
    "FROQ": "FROQ, included network",
}


def tables(results: Mapping[str, Any]) -> str:
    """Return the tables of docs/measurements.md for the results as they are in the JSON file."""
    return "\n".join([*_discard(results), "", *_separation(results), "", *_rest(results)]) + "\n"


def _discard(results: Mapping[str, Any]) -> Iterator[str]:
    found = results["discard"]
    yield (
        f"FNMR at FMR {found['false_match_rate']:g} after discarding the probes of lowest quality: "
        f"{found['probes']:,} clean gallery pictures of {found['people']} people and as many "
        f"probes, 60 % of which are degraded. Mean of {found['draws']} random draws, judged by the "
        f"recogniser {results['judge']['name']}."
    )
    yield ""
    shares = " | ".join(f"{share:.0%}" for share in found["discards"])
    yield f"| discarded | {shares} | mean to 30 % |"
    yield "|---" * (len(found["discards"]) + 2) + "|"
    for name, figures in found["methods"].items():
        cells = " | ".join(f"{value:.3f}" for value in figures["fnmr"])
        method = _METHODS.get(name, name.replace("default (", "included network ("))
        yield f"| {method} | {cells} | {figures['partial_area_30']:.3f} |"


def _separation(results: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"How often a clean face has a higher quality than a degraded one (AUC), for "
        f"{results['crops']:,} faces:"
    )
    yield ""
    yield "| degradation | weak | middle | strong |"
    yield "|---|---|---|---|"
    for kind, values in results["separation"].items():
        yield f"| {kind} | " + " | ".join(f"{value:.3f}" for value in values) + " |"


def _rest(results: Mapping[str, Any]) -> Iterator[str]:
    own = results["recognition"]
    yield (
        f"Recognition by the included network's own embedding, for people whom it has never seen: "
        f"AUC {own['auc']:.4f}; {own['accept_rate']:.1%} of {own['pairs']:,} pairs of one person "
        f"accepted at FMR {own['false_match_rate']:g}."
    )
    yield ""
    yield "Pictures that are no faces:"
    yield ""
    for kind, shares in results["non_faces"].items():
        yield (
            f"- {kind}: the prechecks reject {shares['rejected']:.1%}; "
            f"{shares['rejected_or_below_every_face']:.1%} are rejected or score below every clean "
            f"face{_embedded(shares)}"
        )


def _embedded(shares: Mapping[str, float]) -> str:
    """Return what the embedding says, of results that have it."""
    if "known_by_embedding" not in shares:
        return ""
    return (
        f"; the embedding gives {shares['known_by_embedding']:.1%} away, and takes "
        f"{shares['clean_faces_lost']:.1%} of the clean faces for such pictures"
    )
