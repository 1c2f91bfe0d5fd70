"""The figures: recognition, error against discard, separation of clean from degraded faces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.quality.methods import qualities
from bench.quality.probes import make_probes, with_known_people
from streamgate.config import PrecheckSection, QualitySection
from streamgate.faces.align import TEMPLATE
from streamgate.faces.precheck import geometry_of, measure, reject_reason
from streamgate.lab.crops import CropSet
from streamgate.lab.evaluation.edc import (
    ProbeComparisons,
    compare_probes,
    mean_probe_error,
    probe_curve,
)
from streamgate.lab.evaluation.ladder import KINDS, LEVELS, NON_FACES, degrade, non_face
from streamgate.lab.evaluation.measures import recognition, separation
from streamgate.lab.recogniser import OnnxRecogniser
from streamgate.quality.non_faces import load_non_faces
from streamgate.quality.scorer import Scorer
from streamgate.selection.non_faces import NonFaces
from streamgate.values import Crop, Face, Image

__all__ = ["discard_figures", "non_face_figures", "recognition_figures", "separation_figures"]

_DISCARDS = (0.0, 0.1, 0.2, 0.3, 0.4)
FALSE_MATCH_RATE = 1e-3
_EMBEDDING_LIMIT = QualitySection().max_non_face_similarity
_EYES = "inter_eye_px_in_source"


def recognition_figures(crops: CropSet, scorer: Scorer) -> Mapping[str, float]:
    """How well the network's own embeddings tell people apart."""
    found = recognition(scorer.score(crops.images).embedding, crops.identities)
    assert found is not None
    return {
        "auc": found.separation,
        "accept_rate": found.accept_rate,
        "false_match_rate": found.false_match_rate,
        "pairs": found.pairs,
    }


def discard_figures(
    crops: CropSet,
    judge: OnnxRecogniser,
    weights: Path,
    seeds: Sequence[int],
    only: frozenset[str] = frozenset(),
) -> Mapping[str, Any]:
    """FNMR after discarding the worst probes, by method, averaged over draws of the probes.

    With `only`, just these methods are measured.
    """
    known = with_known_people(crops)
    theirs = set(known.names)
    others = crops.images[[name not in theirs for name in crops.names]]
    gallery = judge(known.images)
    rows: dict[str, list[NDArray[np.float64]]] = {}
    for seed in seeds:
        probes = make_probes(known, seed)
        comparisons = compare_probes(
            judge(probes.images), gallery, known.identities, false_match_rate=FALSE_MATCH_RATE
        )
        eyes = known.numbers(_EYES) if _EYES in known.columns else None
        if eyes is None:
            eyes = np.zeros(len(known))
        found = dict(qualities(probes.images, eyes, weights, others, only))
        # An oracle for comparison: each probe's own failures are known.
        if only:
            rows = _added(rows, found, comparisons)
            continue
        failures = np.bincount(comparisons.probe, comparisons.failed, minlength=len(known))
        found["oracle (knows each failure)"] = -failures / np.maximum(
            np.bincount(comparisons.probe, minlength=len(known)), 1
        )
        rows = _added(rows, found, comparisons)
    means = {name: np.mean(values, axis=0) for name, values in rows.items()}
    return {
        "probes": len(known),
        "people": len(set(known.identities.tolist())),
        "false_match_rate": FALSE_MATCH_RATE,
        "draws": len(seeds),
        "discards": list(_DISCARDS),
        "methods": {
            name: {"fnmr": values[:-1].tolist(), "partial_area_30": float(values[-1])}
            for name, values in sorted(means.items(), key=lambda item: item[1][-1])
        },
    }


def _added(
    rows: dict[str, list[NDArray[np.float64]]],
    found: Mapping[str, NDArray[np.float64]],
    comparisons: ProbeComparisons,
) -> dict[str, list[NDArray[np.float64]]]:
    """Return the rows with one draw more: FNMR at each discard, then the mean up to 30 %."""
    for name, quality in found.items():
        curve = probe_curve(comparisons, quality, np.array(_DISCARDS))
        area = mean_probe_error(comparisons, quality, up_to=0.3)
        rows.setdefault(name, []).append(np.append(curve, area))
    return rows


def separation_figures(crops: CropSet, scorer: Scorer) -> Mapping[str, Sequence[float]]:
    """AUC of clean faces against each degradation, by level, weak to strong."""
    clean = scorer.score(crops.images).raw
    figures = {}
    for kind in KINDS:
        aucs = []
        for level in LEVELS:
            chance = np.random.default_rng((level, KINDS.index(kind)))
            spoiled = np.stack([degrade(image, kind, level, chance) for image in crops.images])
            aucs.append(separation(clean, scorer.score(spoiled).raw))
        figures[kind] = aucs
    return figures


def non_face_figures(
    crops: CropSet, scorer: Scorer, weights: Path
) -> Mapping[str, Mapping[str, float]]:
    """Share of non-faces that the prechecks reject, or that score worse than 99 % of clean faces.

    Where it is known what pictures without a face look like to the network, also the share whose
    embedding gives them away, and that of clean faces that are taken for such pictures.

    The prechecks are asked with a perfect detection; a real detector rejects more.
    """
    scores = scorer.score(crops.images)
    clean, known = scores.raw, load_non_faces(weights, scorer.model_hash, _EMBEDDING_LIMIT)
    worst, limit = float(clean.max()), float(np.quantile(clean, 0.99))
    figures = {}
    for number, kind in enumerate(NON_FACES):
        chance = np.random.default_rng((9, number))
        images = np.stack([non_face(image, kind, chance) for image in crops.images])
        found = scorer.score(images)
        raw = found.raw
        rejected = np.array([_rejected(image) for image in images])
        figures[kind] = {
            "rejected": float(rejected.mean()),
            "rejected_or_below_every_face": float((rejected | (raw > worst)).mean()),
            "rejected_or_below_99_percent": float((rejected | (raw > limit)).mean()),
        }
        if known is not None:
            figures[kind]["known_by_embedding"] = _share(found.embedding, known)
            figures[kind]["clean_faces_lost"] = _share(scores.embedding, known)
    return figures


def _share(embeddings: NDArray[np.float32], known: NonFaces) -> float:
    return float(np.mean([embedding in known for embedding in embeddings]))


def _rejected(image: Image) -> bool:
    face = Face(np.array([0.0, 0.0, 112.0, 112.0]), TEMPLATE, 1.0)
    return reject_reason(measure(geometry_of(face), Crop(image)), PrecheckSection()) is not None
