"""Fit the scale that thresholds are set on: to a set of crops, or to what a camera has seen."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from streamgate.errors import DataError, ModelError
from streamgate.lab.calibrate import fit_errors, fit_identity, realised_discards
from streamgate.lab.crops import CropSet, read_crops
from streamgate.lab.distill.augment import augment_some
from streamgate.lab.distill.border_augment import with_full_crops
from streamgate.lab.recogniser import OnnxRecogniser, doubt_of
from streamgate.quality import Calibration, Scorer, fit_percentile
from streamgate.quality.score_sketch import ScoreSketch
from streamgate.values import Scores

__all__ = ["Fitted", "Judging", "Reference", "fit_crops", "fit_sketch", "save"]

_BATCHES = 8
_SEED = 3
_TARGETS = (0.2, 0.1, 0.05, 0.02, 0.01)


@dataclass(frozen=True, slots=True)
class Reference:
    """Which faces are the reference.

    Attributes:
        images: folder or tar archive of aligned crops.
        split: only those with this `split` of the index.
        labels: CSV with the columns file and identity, instead of the index.
        full_crops: take each once more with its black border filled and, if grey, in colour.
        spoiled: share that is spoiled as cameras do.
        identity_split: faces with this `split` of the index tell how alike people are; None: the
            same faces do.
        source: what the faces are, for people; the name of the set where None.
    """

    images: Path
    split: str | None = None
    labels: Path | None = None
    full_crops: bool = False
    spoiled: float = 0.0
    source: str | None = None
    identity_split: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Judging:
    """How recognition errors are learnt.

    Attributes:
        fmr: false match rate that the recogniser's threshold is set for.
        recogniser: an independent one; the scorer's own embedding where None.
    """

    fmr: float
    recogniser: OnnxRecogniser | None


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A calibration and what it was fitted to.

    Attributes:
        calibration: the scale.
        crops: the reference.
        raw: their scores, float64 [N].
        doubt: why the recogniser's judgement may mean nothing; None where nothing speaks for it.
        unknown: why it was not measured how alike people are; None where it was.
    """

    calibration: Calibration
    crops: CropSet
    raw: NDArray[np.float64]
    doubt: str | None = None
    unknown: str | None = None

    def tell(self, say: Callable[[str], None]) -> None:
        """Say what thresholds would do."""
        try:
            held_out = realised_discards(self.crops, self.raw)
        except (DataError, ModelError):
            say("too few people: what a threshold discards of others was not measured")
        else:
            shares = ", ".join(f"{h.setting:.0f} % → {h.realised:.1f} %" for h in held_out)
            say(f"fitted on one half of the people, discarded of the other: {shares}")
        curve = self.calibration.errors
        for target in _TARGETS if curve is not None else ():
            assert curve is not None
            quality = curve.quality_for(target)
            bar = "not reached" if quality is None else f"quality {quality:.1f}"
            say(f"target_fnmr {target:g} at FMR {curve.fmr:g}: {bar}")
        identity = self.calibration.identity
        if identity is None:
            say(f"how alike people are was not measured: {self.unknown}")
        else:
            say(
                f"of {identity.pairs} pairs of {identity.people} people, 1 in 10,000 is more alike "
                f"than {identity.same:.3f}, and 1 in 200 more than {identity.continued:.3f}"
            )


def fit_crops(
    scorer: Scorer,
    reference: Reference,
    judging: Judging | None,
    *,
    skip: Callable[[str], None] | None = None,
) -> Fitted:
    """Score the reference and fit quality = percentage of it that scores worse.

    Args:
        scorer: of the calibration.
        reference: which faces.
        judging: how errors are learnt; None learns none.
        skip: called with each crop that cannot be used and is left out; without it, that is an
        error.

    Raises:
        DataError: the crops cannot be used.
        ModelError: a model failed.
    """
    crops = _labelled(
        read_crops(reference.images, split=reference.split, skip=skip), reference.labels
    )
    if reference.full_crops:
        crops = with_full_crops(crops)
    if reference.spoiled:
        crops = replace(crops, images=augment_some(crops.images, reference.spoiled, _SEED))
    scores = _score(scorer, crops)
    calibration = fit_percentile(
        scores.raw,
        weights_sha256=scorer.model_hash,
        group=str(scorer.group),
        source=reference.source or crops.source,
    )
    if judging is not None:
        calibration = _with_errors(calibration, crops, scores, judging)
    calibration, unknown = _with_identity(calibration, crops, scores, reference, scorer)
    doubt = None
    if judging is not None and judging.recogniser is not None:
        doubt = doubt_of(judging.recogniser, crops.images)
    return Fitted(calibration, crops, scores.raw, doubt, unknown)


def fit_sketch(scorer: Scorer, path: Path, source: str | None) -> Calibration:
    """Fit the same to the scores that a daemon has kept as quality.sketch.

    Raises:
        ModelError: it is no sketch, one of other weights, or holds too few scores.
    """
    sketch = ScoreSketch.load(path)
    if (sketch.weights_sha256, sketch.group) != (scorer.model_hash, str(scorer.group)):
        raise ModelError(
            f"{path}: scores of weights {sketch.weights_sha256[:12]}… and group {sketch.group}, "
            f"but these are {scorer.model_hash[:12]}… and {scorer.group}; give --weights and "
            "--group of the daemon that kept it"
        )
    return sketch.calibration(source or f"live traffic, {path.name}")


def save(calibration: Calibration, target: Path, say: Callable[[str], None]) -> None:
    """Write it and say where.

    Raises:
        DataError: it cannot be written.
    """
    try:
        calibration.save(target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror}; give --out") from None
    say(f"{target}: group {calibration.group}, {calibration.count} faces of {calibration.source}")


def _with_errors(
    calibration: Calibration, crops: CropSet, scores: Scores, judging: Judging
) -> Calibration:
    embeddings, judge = scores.embedding, "own embedding"
    if judging.recogniser is not None:
        embeddings = judging.recogniser(crops.images)
        judge = judging.recogniser.path.name
    errors = fit_errors(
        calibration(scores.raw), embeddings, crops.identities, fmr=judging.fmr, recogniser=judge
    )
    return calibration.with_errors(errors)


def _with_identity(
    calibration: Calibration, crops: CropSet, scores: Scores, reference: Reference, scorer: Scorer
) -> tuple[Calibration, str | None]:
    if reference.identity_split is not None:
        crops = _labelled(
            read_crops(reference.images, split=reference.identity_split), reference.labels
        )
        scores = _score(scorer, crops)
    try:
        identity = fit_identity(calibration(scores.raw), scores.embedding, crops.identities)
    except DataError as error:
        return calibration, str(error)
    return calibration.with_identity(identity), None


def _labelled(crops: CropSet, labels: Path | None) -> CropSet:
    if labels is None:
        return crops
    try:
        with labels.open(encoding="utf-8-sig", newline="") as file:
            known = {row["file"]: row["identity"] for row in csv.DictReader(file)}
    except OSError as error:
        raise DataError(f"{labels}: cannot be read: {error.strerror}") from None
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{labels}: expected a CSV with the columns file and identity ({error!r})"
        ) from None
    identities = tuple(known.get(name) or "" for name in crops.names)
    if not any(identities):
        raise DataError(f"{labels}: names none of the files of {crops.source}")
    return CropSet(
        crops.images, crops.names, {**crops.columns, "identity": identities}, crops.source
    )


def _score(scorer: Scorer, crops: CropSet) -> Scores:
    size = _BATCHES * scorer.batch_size
    parts = [
        scorer.score(crops.images[start : start + size])
        for start in track(
            range(0, len(crops), size), "scoring", console=Console(stderr=True), transient=True
        )
    ]
    return Scores(
        raw=np.concatenate([part.raw for part in parts]),
        quality=np.concatenate([part.quality for part in parts]),
        embedding=np.concatenate([part.embedding for part in parts]),
    )
