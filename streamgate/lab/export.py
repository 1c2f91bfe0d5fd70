"""GraFIQs as a plain feed-forward graph, for runtimes that have no gradients.

The whole backward pass to the picture is convolutions and the closed form of each BatchNorm's share
(see `quality.measured`), so every group fits into ONNX like any network's output.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamgate.errors import ModelError
from streamgate.models.runtime import open_graph
from streamgate.quality.checkpoint import convert
from streamgate.quality.choice import torch_installed
from streamgate.quality.grafiqs import Group
from streamgate.quality.graph_operations import grafiqs_graph
from streamgate.quality.scorer import Scorer
from streamgate.quality.weights import DEFAULT_WEIGHTS, default_weights_path, load_weights

__all__ = ["TOLERANCE", "Agreement", "compare", "export_onnx", "export_safetensors"]

TOLERANCE = 1e-4
_CHECKED_PICTURES = 4


@dataclass(frozen=True, slots=True)
class Agreement:
    """The largest differences between an exported graph and a reference.

    Attributes:
        reference: what it was compared with, in words.
        raw: relative.
        embedding: absolute.
    """

    reference: str
    raw: float
    embedding: float


def export_onnx(weights: str | Path, output: Path, group: Group = Group.BLOCK4) -> str:
    """Write the graph: `crops` uint8 [N, 112, 112, 3] RGB to `raw` [N] and `embedding` [N, E].

    That of the image has `saliency` [N, 112, 112] too: where in the picture its score comes from.

    Returns:
        sha256 of the weights.

    Raises:
        ModelError: the weights cannot be used, or the file cannot be written.
    """
    loaded = load_weights(weights)
    facts = {"group": str(group), "weights_sha256": loaded.sha256, "input": "RGB uint8"}
    model = grafiqs_graph(
        loaded.tensors, loaded.layout, group, blocked=False, alone=True, metadata=facts
    )
    try:
        output.write_bytes(model)
    except OSError as error:
        raise ModelError(f"{output}: cannot be written: {error.strerror}") from error
    return loaded.sha256


def export_safetensors(weights: str | Path, output: Path) -> None:
    """Write the weights as a file that a CPU reads without torch.

    Raises:
        ModelError: the weights cannot be used, or the file cannot be written.
    """
    path = default_weights_path() if str(weights) == DEFAULT_WEIGHTS else Path(weights)
    convert(path, output)
    load_weights(output)


def compare(output: Path, weights: str | Path, group: Group = Group.BLOCK4) -> Agreement:
    """Run the exported graph with onnxruntime, and on the same pictures the reference.

    That is torch in double precision, or, where it is not installed, the engine that cameras use.
    """
    crops = _pictures()
    session = open_graph(output.read_bytes(), threads=1)
    raw, embedding = session.run(["raw", "embedding"], {"crops": crops})
    precision = "float64" if torch_installed() else "float32"
    expected = Scorer.load(weights, device="cpu", group=group, precision=precision).score(crops)
    return Agreement(
        reference="torch in float64" if precision == "float64" else "the engine in float32",
        raw=float(np.abs(raw / expected.raw - 1.0).max()),
        embedding=float(np.abs(embedding - expected.embedding).max()),
    )


def _pictures() -> NDArray[np.uint8]:
    """Return crops from smooth to noisy, so that scores differ."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (_CHECKED_PICTURES, 7, 7, 3)).repeat(16, axis=1).repeat(16, axis=2)
    noise = (
        rng.normal(0, 1, coarse.shape) * np.linspace(0, 60, _CHECKED_PICTURES)[:, None, None, None]
    )
    return np.clip(coarse + noise, 0, 255).astype(np.uint8)
