"""The figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["tables"]


def tables(results: Mapping[str, Any]) -> str:
    """Return the README's tables for the results as they are in the JSON file."""
    return "\n".join([*_discard(results), "", *_separation(results), "", *_rest(results)]) + "\n"


def _discard(results: Mapping[str, Any]) -> Iterator[str]:
    found = results["discard"]
    yield (
        f"FNMR at FMR {found['false_match_rate']:g} after discarding the worst probes: "
        f"{found['probes']:,} clean gallery pictures of {found['people']} people, as many probes "
        f"of which 60 % are degraded, mean of {found['draws']} draws, judged by "
        f"{results['judge']['name']}."
    )
    yield ""
    shares = " | ".join(f"{share:.0%}" for share in found["discards"])
    yield f"| discarded | {shares} | mean to 30 % |"
    yield "|---" * (len(found["discards"]) + 2) + "|"
    for name, figures in found["methods"].items():
        cells = " | ".join(f"{value:.3f}" for value in figures["fnmr"])
        yield f"| {name} | {cells} | {figures['partial_area_30']:.3f} |"


def _separation(results: Mapping[str, Any]) -> Iterator[str]:
    yield f"AUC, {results['crops']:,} clean faces against the same faces degraded."
    yield ""
    yield "| degradation | weak | middle | strong |"
    yield "|---|---|---|---|"
    for kind, values in results["separation"].items():
        yield f"| {kind} | " + " | ".join(f"{value:.3f}" for value in values) + " |"


def _rest(results: Mapping[str, Any]) -> Iterator[str]:
    own = results["recognition"]
    yield (
        f"Recognition by the default's own embedding, people it has never seen: AUC "
        f"{own['auc']:.4f}, {own['accept_rate']:.1%} of {own['pairs']:,} pairs accepted at FMR "
        f"{own['false_match_rate']:g}."
    )
    for kind, shares in results["non_faces"].items():
        yield (
            f"- {kind}: {shares['rejected']:.1%} rejected by the prechecks; with the score, "
            f"{shares['rejected_or_below_every_face']:.1%} are rejected or below every clean face"
        )
