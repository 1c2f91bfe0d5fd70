"""Which model a camera expects of a service, from the files that it would load itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from streamgate.config import QualitySection
from streamgate.errors import ModelError
from streamgate.quality.calibration import Calibration, find_calibration, find_identity
from streamgate.quality.weights import DEFAULT_WEIGHTS, default_weights_path
from streamgate.values import IdentityThresholds

__all__ = ["ExpectedModel", "expected_model"]


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedModel:
    """What makes a service's scores those of this camera.

    Attributes:
        model_hash: sha256 of the weights.
        calibration: what quality means, where that is known.
        identity: from which cosines on faces are of one person, where that is known.
    """

    model_hash: str
    calibration: Calibration | None
    identity: IdentityThresholds | None = None


def expected_model(settings: QualitySection) -> ExpectedModel:
    """Read the weights' hash and the calibration; the weights are not loaded.

    Raises:
        ModelError: a file cannot be read, or the calibration is none of these weights.
    """
    default = str(settings.weights) == DEFAULT_WEIGHTS
    path = default_weights_path() if default else Path(settings.weights)
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    found = find_calibration(path, sha256, settings.group, settings.calibration)
    return ExpectedModel(sha256, found, find_identity(path, sha256, found))
