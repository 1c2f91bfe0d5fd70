"""From a raw score, which means nothing across networks, to a quality that people can set.

A raw GraFIQs score depends on the network and on the tap. Quality is the percentage of reference
faces that score worse, so 30 means the same after a change of weights: better than 30 % of the
reference. A calibration belongs to one file of weights and one group and is refused for others.

Where it is known who is seen on the reference faces, a calibration also holds the recognition error
that is to be expected of each quality, so that a threshold can be asked for as an error, and how
alike the embeddings of two people are, by which the gate tells who is seen again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgate.errors import ModelError
from streamgate.values import IdentityThresholds

__all__ = [
    "Calibration",
    "ErrorCurve",
    "calibration_path",
    "find_calibration",
    "find_identity",
    "fit_percentile",
    "fit_quantiles",
    "load_calibration",
    "uncalibrated_quality",
]

FORMAT_VERSION = 1
MOST_KNOTS = 201


@dataclass(frozen=True, slots=True, eq=False)
class ErrorCurve:
    """The false non-match rate that is expected of a comparison, by the lower of its two qualities.

    A falling staircase: from each of `quality` on up to the next, the rate is the one at its place.

    Attributes:
        quality: where the stairs begin, strictly increasing, 0-100.
        fnmr: strictly decreasing, 0-1.
        fmr: the false match rate that the recogniser's threshold was set for.
        recogniser: what compared the faces, for people.
        pairs: how many comparisons of one person's faces there were.
    """

    quality: tuple[float, ...]
    fnmr: tuple[float, ...]
    fmr: float
    recogniser: str
    pairs: int

    def quality_for(self, target: float) -> float | None:
        """Return the least quality whose expected error is at most `target`, if there is one."""
        for quality, fnmr in zip(self.quality, self.fnmr, strict=True):
            if fnmr <= target:
                return quality
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """A decreasing map from raw score to quality, linear in log(raw) between its knots.

    Attributes:
        weights_sha256: of the weights that gave the raw scores.
        group: the tap that gave them.
        raw: knots, strictly increasing, above zero.
        quality: at the knots, strictly decreasing, 0-100.
        source: what the reference faces were, for people.
        count: how many there were.
        errors: what recognition to expect of a quality, where identities were known.
        identity: from which cosines on faces are of one person, where identities were known.
    """

    weights_sha256: str
    group: str
    raw: tuple[float, ...]
    quality: tuple[float, ...]
    source: str
    count: int
    errors: ErrorCurve | None = None
    identity: IdentityThresholds | None = None

    def __call__(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return qualities 0-100 [N] for raw scores [N]; 0 for a score that is no number."""
        with np.errstate(divide="ignore", invalid="ignore"):
            quality = np.interp(np.log(raw), np.log(self.raw), self.quality)
        return np.where(np.isfinite(raw), quality, 0.0)

    def with_errors(self, errors: ErrorCurve) -> Calibration:
        """Return the same map with what recognition to expect of a quality."""
        return replace(self, errors=errors)

    def with_identity(self, identity: IdentityThresholds) -> Calibration:
        """Return the same map with the cosines from which faces are of one person."""
        return replace(self, identity=identity)

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        content = {"version": FORMAT_VERSION, **asdict(self)}
        for name in ("errors", "identity"):
            if content[name] is None:
                del content[name]
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        part.replace(path)


def fit_percentile(
    raw: NDArray[np.float64], *, weights_sha256: str, group: str, source: str
) -> Calibration:
    """Fit quality = percentage of the reference that scores worse.

    Args:
        raw: scores of reference faces, [N], N ≥ 2, above zero.
        weights_sha256: of the weights that gave them.
        group: the tap that gave them.
        source: what the faces were.

    Raises:
        ModelError: there are too few different scores, or some are no positive numbers.
    """
    raw = np.asarray(raw, dtype=np.float64)
    if len(raw) < 2 or not np.all(np.isfinite(raw) & (raw > 0)):
        raise ModelError("a calibration needs two or more finite raw scores above zero")
    shares = np.linspace(0.0, 1.0, min(MOST_KNOTS, len(raw)))
    return fit_quantiles(
        np.quantile(raw, shares),
        shares,
        weights_sha256=weights_sha256,
        group=group,
        source=source,
        count=len(raw),
    )


def fit_quantiles(  # noqa: PLR0913 # what a calibration says of itself
    quantiles: NDArray[np.float64],
    shares: NDArray[np.float64],
    *,
    weights_sha256: str,
    group: str,
    source: str,
    count: int,
) -> Calibration:
    """Fit the same map to quantiles of the reference, which a sketch knows without its scores.

    Args:
        quantiles: raw scores below which a share of the reference lies, not falling, above zero.
        shares: those shares, rising from 0 to 1.
        weights_sha256: of the weights that gave the scores.
        group: the tap that gave them.
        source: what the faces were.
        count: how many faces there were.

    Raises:
        ModelError: the quantiles are all the same.
    """
    knots, first = np.unique(quantiles, return_index=True)
    if len(knots) < 2:
        raise ModelError("a calibration needs at least two different raw scores")
    return Calibration(
        weights_sha256=weights_sha256,
        group=group,
        raw=tuple(knots.tolist()),
        quality=tuple((100.0 * (1.0 - shares[first])).tolist()),
        source=source,
        count=count,
    )


def uncalibrated_quality(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 100 / (1 + raw) [N]: it ranks as the raw score does, and claims nothing else."""
    with np.errstate(over="ignore"):
        return np.where(np.isfinite(raw), 100.0 / (1.0 + raw), 0.0)


def calibration_path(weights: Path) -> Path:
    """Return where the calibration of these weights lies: `<weights>.calibration.json`."""
    return weights.with_name(weights.name + ".calibration.json")


def load_calibration(path: Path, *, weights_sha256: str) -> Calibration:
    """Read a calibration and refuse one that was made for other weights.

    Raises:
        ModelError: it cannot be read, is malformed, or belongs to other weights.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: the calibration cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path}: no calibration, since it is no JSON: {error}") from error
    calibration = _parse(path, content)
    if calibration.weights_sha256 != weights_sha256:
        raise ModelError(
            f"{path}: made for weights {calibration.weights_sha256[:12]}…, but these are "
            f"{weights_sha256[:12]}…; calibrate again with streamgate calibrate"
        )
    return calibration


def find_calibration(
    weights: Path, weights_sha256: str, group: str, path: str | Path | None
) -> Calibration | None:
    """Return the calibration to use with weights: the one named, or else the one beside them.

    Args:
        weights: their file.
        weights_sha256: its hash.
        group: the tap that is scored.
        path: the calibration that is asked for; None takes the one beside the weights, if there
            is one for this group.

    Raises:
        ModelError: it cannot be used with these weights and this group.
    """
    if path is not None:
        calibration = load_calibration(Path(path), weights_sha256=weights_sha256)
        if calibration.group != group:
            raise ModelError(
                f"{path}: made for group {calibration.group}, but {group} is scored; calibrate "
                f"again or use group {calibration.group}"
            )
        return calibration
    beside = calibration_path(weights)
    if not beside.exists():
        return None
    calibration = load_calibration(beside, weights_sha256=weights_sha256)
    return calibration if calibration.group == group else None


def find_identity(
    weights: Path, weights_sha256: str, calibration: Calibration | None
) -> IdentityThresholds | None:
    """Return the cosines of the calibration in use, or else of the one beside the weights.

    The embedding belongs to the weights alone, so that a scale fitted to a camera's own scores,
    which knows no people, may go with the cosines of another set of faces.
    """
    if calibration is not None and calibration.identity is not None:
        return calibration.identity
    beside = calibration_path(weights)
    if not beside.exists():
        return None
    try:
        return load_calibration(beside, weights_sha256=weights_sha256).identity
    except ModelError:
        # It is not in use, or it would have been refused before.
        return None


def _parse(path: Path, content: object) -> Calibration:
    if not isinstance(content, dict) or content.pop("version", None) != FORMAT_VERSION:
        raise ModelError(f"{path}: expected a calibration of version {FORMAT_VERSION}")
    try:
        calibration = Calibration(
            weights_sha256=str(content["weights_sha256"]),
            group=str(content["group"]),
            raw=tuple(map(float, content["raw"])),
            quality=tuple(map(float, content["quality"])),
            source=str(content["source"]),
            count=int(content["count"]),
            errors=_parse_errors(content.get("errors")),
            identity=_parse_identity(content.get("identity")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: damaged calibration: {error!r}") from error
    raw, quality = np.array(calibration.raw), np.array(calibration.quality)
    monotone = len(raw) >= 2 and np.all(np.diff(raw) > 0) and np.all(np.diff(quality) < 0)
    inside = np.all(np.isfinite(raw) & (raw > 0)) and np.all((quality >= 0) & (quality <= 100))
    if len(raw) != len(quality) or not (monotone and inside):
        raise ModelError(
            f"{path}: damaged calibration: expected raw knots that rise from above 0, and as many "
            "qualities that fall within 100..0"
        )
    return calibration


def _parse_errors(content: Any) -> ErrorCurve | None:
    if content is None:
        return None
    curve = ErrorCurve(
        quality=tuple(map(float, content["quality"])),
        fnmr=tuple(map(float, content["fnmr"])),
        fmr=float(content["fmr"]),
        recogniser=str(content["recogniser"]),
        pairs=int(content["pairs"]),
    )
    quality, fnmr = np.array(curve.quality), np.array(curve.fnmr)
    inside = np.all((quality >= 0) & (quality <= 100)) and np.all((fnmr >= 0) & (fnmr <= 1))
    falling = np.all(np.diff(quality) > 0) and np.all(np.diff(fnmr) < 0)
    if not len(quality) or len(quality) != len(fnmr) or not (inside and falling):
        raise ValueError("errors must fall from 1..0 while quality rises within 0..100")
    return curve


def _parse_identity(content: Any) -> IdentityThresholds | None:
    if content is None:
        return None
    thresholds = IdentityThresholds(
        same=float(content["same"]),
        continued=float(content["continued"]),
        different=float(content["different"]),
        people=int(content["people"]),
        pairs=int(content["pairs"]),
    )
    if not -1 <= thresholds.different <= thresholds.continued <= thresholds.same <= 1:
        raise ValueError("identity must rise from different to continued to same, within -1..1")
    return thresholds
