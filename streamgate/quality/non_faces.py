"""The file that says what pictures without a face look like to a network.

It lies beside the weights and belongs to them alone. `streamgate calibrate --non-faces` writes it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamgate.errors import ModelError
from streamgate.quality.weights import DEFAULT_WEIGHTS, default_weights_path
from streamgate.selection.non_faces import NonFaces

__all__ = ["load_non_faces", "non_faces_path", "save_non_faces"]

_VERSION = 1
_MOST_BYTES = 1 << 20


def non_faces_path(weights: str | Path) -> Path:
    """Return where the file of these weights lies, whether it is there or not."""
    path = default_weights_path() if str(weights) == DEFAULT_WEIGHTS else Path(weights)
    return path.with_name(path.name + ".non-faces.json")


def save_non_faces(
    centre: NDArray[np.float64], path: Path, *, weights_sha256: str, source: str, count: int
) -> None:
    """Write the centre of the embeddings of `count` pictures, whole or not at all."""
    content = {
        "version": _VERSION,
        "weights_sha256": weights_sha256,
        "source": source,
        "count": count,
        "centre": [round(float(value), 5) for value in centre],
    }
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content) + "\n", encoding="utf-8")
    part.replace(path)


def load_non_faces(weights: str | Path, weights_sha256: str, limit: float) -> NonFaces | None:
    """Return what is known of pictures without a face, or None: no file, or no limit below 1.

    Args:
        weights: "default" or the file of weights; the other file lies beside it.
        weights_sha256: of the weights that are in use.
        limit: see `NonFaces`.

    Raises:
        ModelError: the file is damaged or belongs to other weights.
    """
    path = non_faces_path(weights)
    if limit >= 1.0 or not path.exists():
        return None
    try:
        with path.open("rb") as opened:
            content = json.loads(opened.read(_MOST_BYTES))
        version, belongs_to = content["version"], content["weights_sha256"]
        centre = np.array(content["centre"], dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: cannot be read: {error}; delete it or make it again") from error
    if version != _VERSION or centre.ndim != 1 or not np.isfinite(centre).all():
        raise ModelError(f"{path}: not a file of version {_VERSION} with finite numbers")
    if belongs_to != weights_sha256:
        raise ModelError(
            f"{path}: belongs to other weights ({belongs_to[:12]}…, not {weights_sha256[:12]}…); "
            "make it again with `streamgate calibrate --non-faces`"
        )
    length = float(np.linalg.norm(centre))
    if length == 0:
        raise ModelError(f"{path}: its centre is zero")
    return NonFaces(centre / length, limit)
