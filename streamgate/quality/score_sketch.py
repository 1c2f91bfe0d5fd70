"""Raw scores of live traffic as a sketch: their distribution, and nothing of any face.

A camera that sees other faces than the reference wants a scale of its own. Pictures need not be
kept for that: a KLL sketch holds some 2,000 of all the numbers that went by, whatever their
count, and knows any quantile to a third of a percent of rank.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from streamgate.errors import ModelError
from streamgate.quality.calibration import MOST_KNOTS, Calibration, fit_quantiles

__all__ = ["LEAST_SCORES", "ScoreSketch"]

FORMAT_VERSION = 1
LEAST_SCORES = 500
"""With fewer a threshold at 20 % would be off by more than 2 points in one case of five."""
_K = 800


class ScoreSketch:
    """How raw scores of one network are distributed; `add` may be called by one thread at a time.

    Args:
        weights_sha256: of the weights that give the scores.
        group: the tap that gives them.

    Raises:
        ModelError: the extra `calibrate` is not installed.
    """

    def __init__(self, weights_sha256: str, group: str) -> None:
        self.weights_sha256 = weights_sha256
        self.group = group
        self._sketch: Any = _library().kll_doubles_sketch(_K)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._sketch.n)

    def add(self, raw: float) -> None:
        """Count a score; one that is no positive number says nothing and is not counted."""
        if math.isfinite(raw) and raw > 0:
            with self._lock:
                self._sketch.update(raw)

    def save(self, path: Path) -> None:
        """Write it, whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        with self._lock:
            content = {
                "version": FORMAT_VERSION,
                "weights_sha256": self.weights_sha256,
                "group": self.group,
                "count": len(self),
                "kll_doubles": base64.b64encode(self._sketch.serialize()).decode(),
            }
        part = path.with_name(path.name + ".part")
        with part.open("w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> ScoreSketch:
        """Read a sketch.

        Raises:
            ModelError: it cannot be read or is damaged, or the extra is not installed.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            sketch = cls(str(content["weights_sha256"]), str(content["group"]))
            data = base64.b64decode(content["kll_doubles"], validate=True)
            sketch._sketch = _library().kll_doubles_sketch.deserialize(data)
        except OSError as error:
            raise ModelError(f"{path}: the sketch cannot be read: {error.strerror}") from error
        except (
            KeyError, TypeError, ValueError, IndexError, RuntimeError, binascii.Error,
        ) as error:  # fmt: skip
            raise ModelError(f"{path}: no sketch of scores, or a damaged one: {error}") from error
        if content.get("version") != FORMAT_VERSION:
            raise ModelError(f"{path}: expected a sketch of version {FORMAT_VERSION}")
        return sketch

    def calibration(self, source: str) -> Calibration:
        """Fit quality = percentage of the traffic that scores worse.

        Raises:
            ModelError: there were too few scores.
        """
        if len(self) < LEAST_SCORES:
            raise ModelError(f"{len(self)} faces were scored; a calibration needs {LEAST_SCORES}")
        shares = np.linspace(0.0, 1.0, MOST_KNOTS)
        return fit_quantiles(
            np.array(self._sketch.get_quantiles(shares.tolist())),
            shares,
            weights_sha256=self.weights_sha256,
            group=self.group,
            source=source,
            count=len(self),
        )


def _library() -> Any:
    try:
        import datasketches  # noqa: PLC0415 # belongs to an extra
    except ImportError:
        raise ModelError("sketches of scores need: pip install 'streamgate[calibrate]'") from None
    return datasketches
