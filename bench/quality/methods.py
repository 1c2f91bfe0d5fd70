"""Ways to tell a good face: ours, and what people use instead. Higher is better throughout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streamgate.config import DetectorSection
from streamgate.faces.align import TEMPLATE
from streamgate.faces.detect import YuNetDetector
from streamgate.faces.precheck import geometry_of, measure
from streamgate.lab.distill.augment import augment_some
from streamgate.lab.evaluation.other_methods import Observer, Pruned, Unrecognisable
from streamgate.models.registry import path_of
from streamgate.quality.grafiqs import GROUPS
from streamgate.quality.scorer import Scorer
from streamgate.quality.weights import load_weights
from streamgate.values import Crop, Face, Image

__all__ = ["OURS", "qualities"]

OURS = "GraFIQs, default (block4)"
_SCORES = {f"GraFIQs, default ({group})": group for group in reversed(GROUPS)}
_BORDER_PX = 56
_BATCH = 32
_CALIBRATION_FACES = 200
_SPOILED_SHARE = 0.6


def qualities(
    images: NDArray[np.uint8],
    eye_distance_px: NDArray[np.float64],
    weights: Path,
    others: NDArray[np.uint8],
    only: frozenset[str] = frozenset(),
) -> Mapping[str, NDArray[np.float64]]:
    """Return each method's qualities [N] of crops uint8 [N, 112, 112, 3].

    Args:
        images: to be judged.
        eye_distance_px: of each in the picture that it was cut from, [N].
        weights: of the network that the methods share.
        others: faces of other people, for the methods that must see some first.
        only: the methods that are wanted; none: all.
    """
    found: dict[str, NDArray[np.float64]] = {}
    if not only or not only.isdisjoint(_SCORES):
        groups = Scorer.load(weights, calibration=None).score_all_groups(images).raw
        found |= {name: -groups[group] for name, group in _SCORES.items()}
    network = load_weights(weights).build().eval()
    others = others[:_CALIBRATION_FACES]
    measures: Mapping[str, Callable[[], NDArray[np.float64]]] = {
        "sharpness (Laplacian variance)": lambda: np.array([_laplacian(x) for x in images]),
        "sharpness (our precheck)": lambda: np.array([_precheck(x) for x in images]),
        "detector score": lambda: _detector_scores(images),
        "eye distance in the source": lambda: eye_distance_px,
        "embedding norm": lambda: _embedding_norms(images, weights),
        "PreFIQs": lambda: Pruned.of(network)(images),
        "ERS": lambda: Unrecognisable.of(network, others)(images),
        "FROQ": lambda: Observer.of(network, augment_some(others, _SPOILED_SHARE, seed=0))(images),
        "random": lambda: np.random.default_rng(1).random(len(images)),
    }
    found |= {name: measure() for name, measure in measures.items() if not only or name in only}
    return found


def _laplacian(image: Image) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def _precheck(image: Image) -> float:
    face = Face(np.array([0.0, 0.0, 112.0, 112.0]), TEMPLATE, 1.0)
    return measure(geometry_of(face), Crop(image)).sharpness


def _detector_scores(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The detector's confidence in the crop with a border around it; 0 where it finds nothing."""
    detector = YuNetDetector(DetectorSection(min_score=0.05), path_of("yunet"))
    scores = []
    for image in images:
        framed = cv2.copyMakeBorder(image, *[_BORDER_PX] * 4, cv2.BORDER_REPLICATE)
        faces = detector.detect(np.asarray(framed, dtype=np.uint8))
        scores.append(max((face.detector_score for face in faces), default=0.0))
    return np.array(scores)


@torch.no_grad()
def _embedding_norms(images: NDArray[np.uint8], weights: Path) -> NDArray[np.float64]:
    network = load_weights(weights).build()
    norms = []
    for first in range(0, len(images), _BATCH):
        batch = torch.from_numpy(images[first : first + _BATCH].copy()).permute(0, 3, 1, 2)
        norms.append(network(batch.float() / 127.5 - 1).norm(dim=1).double().numpy())
    return np.concatenate(norms)
