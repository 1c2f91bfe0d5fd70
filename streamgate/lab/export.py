"""GraFIQs as a plain feed-forward graph, for runtimes that have no gradients.

The gradient after stage 4 has a closed form, so the `block4` score needs no backward pass and can
be expressed in ONNX like any output: means, a square and a sum. Earlier groups cannot.
"""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from streamgate.errors import ModelError
from streamgate.lab.recogniser import runtime
from streamgate.quality.iresnet import INPUT_SIZE, IResNet
from streamgate.quality.measured import MeasuredNorm
from streamgate.quality.scorer import Scorer
from streamgate.quality.weights import load_weights

__all__ = ["TOLERANCE", "Agreement", "compare", "export_onnx"]

TOLERANCE = 1e-4
_CHECKED_PICTURES = 4
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Agreement:
    """The largest differences between an exported graph and the engine.

    Attributes:
        raw: relative.
        embedding: absolute.
    """

    raw: float
    embedding: float


def export_onnx(weights: str | Path, output: Path) -> None:
    """Write the graph: `crops` uint8 [N, 112, 112, 3] RGB to `raw` [N] and `embedding` [N, E].

    Raises:
        ModelError: the weights cannot be used, or a package is missing.
    """
    require_packages()
    import onnx  # noqa: PLC0415 # an optional package

    loaded = load_weights(weights)
    graph = _Block4(loaded.build()).eval()
    example = torch.zeros((2, INPUT_SIZE, INPUT_SIZE, 3), dtype=torch.uint8)
    count = torch.export.Dim("count", min=1)
    # The exporter warns about its own internals, which users cannot change.
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        program = torch.onnx.export(
            graph,
            (example,),
            input_names=["crops"],
            output_names=["raw", "embedding"],
            dynamic_shapes=({0: count},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    facts = {"group": "block4", "weights_sha256": loaded.sha256, "input": "RGB uint8"}
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, output)


def compare(output: Path, weights: str | Path) -> Agreement:
    """Run the exported graph with onnxruntime, beside the engine, on seeded pictures."""
    require_packages()
    crops = _pictures()
    session = runtime().InferenceSession(str(output), providers=["CPUExecutionProvider"])
    raw, embedding = session.run(["raw", "embedding"], {"crops": crops})
    expected = Scorer.load(weights, device="cpu").score(crops)
    return Agreement(
        raw=float(np.abs(raw / expected.raw - 1.0).max()),
        embedding=float(np.abs(embedding - expected.embedding).max()),
    )


def require_packages() -> None:
    """Raise ModelError where the packages for exporting are not installed."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"export needs {', '.join(missing)}: pip install 'streamgate[export]'")


class _Block4(nn.Module):
    """The network with the closed form behind it."""

    def __init__(self, network: IResNet) -> None:
        super().__init__()
        self.network = network
        self._last_norm = MeasuredNorm(network.bn2, layers=network.layout.batch_norms)

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return raw scores and embeddings."""
        pictures = crops.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1.0
        x = self.network.forward_features(pictures)
        raw = self._last_norm.read(x).gradient.abs().sum(dim=(1, 2, 3))
        embedding = self.network.features(self.network.fc(torch.flatten(self.network.bn2(x), 1)))
        return raw, functional.normalize(embedding)


def _pictures() -> NDArray[np.uint8]:
    """Return crops from smooth to noisy, so that scores differ."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (_CHECKED_PICTURES, 7, 7, 3)).repeat(16, axis=1).repeat(16, axis=2)
    noise = (
        rng.normal(0, 1, coarse.shape) * np.linspace(0, 60, _CHECKED_PICTURES)[:, None, None, None]
    )
    return np.clip(coarse + noise, 0, 255).astype(np.uint8)
