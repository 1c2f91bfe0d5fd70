"""`streamgate export`: the same scores from a runtime without gradients."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from streamgate import Scorer
from tests.cli.crops import invoke
from tests.quality import cases


@pytest.mark.parametrize(
    ("weights", "group"),
    [("default", "block4"), ("tiny", "block4"), ("tiny", "block2"), ("tiny", "image")],
)
def test_onnxruntime_agrees_with_the_engine(weights: str, group: str, tmp_path: Path) -> None:
    """On pictures that the export did not see, in any batch."""
    path = "default" if weights == "default" else cases.save(tmp_path, cases.TINY, seed=9)
    output = tmp_path / "graph.onnx"
    result = invoke("export", "--group", group, "--weights", path, "--output", output)
    assert result.exit_code == 0, result.output
    assert "largest difference" in result.output
    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    scorer = Scorer.load(path, device="cpu", group=group)
    for count in (1, 5):
        crops = cases.pictures(count, 51)
        raw, embedding = session.run(["raw", "embedding"], {"crops": crops})
        expected = scorer.score(crops)
        assert raw == pytest.approx(expected.raw, rel=1e-4)
        assert np.abs(embedding - expected.embedding).max() < 1e-4


def test_a_graph_is_well_formed_and_says_what_it_belongs_to(tmp_path: Path) -> None:
    """By the format's own rules, and with the hash of the weights."""
    onnx = pytest.importorskip("onnx", reason="needs the extra distill")
    weights = cases.save(tmp_path, cases.TINY, seed=9)
    output = tmp_path / "graph.onnx"
    assert invoke("export", "--weights", weights, "--output", output, "--no-check").exit_code == 0
    model = onnx.load(output)
    onnx.checker.check_model(model, full_check=True)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_pickled_weights_become_ones_that_need_no_torch(tmp_path: Path) -> None:
    """With the same scores."""
    pickled = tmp_path / "weights.pth"
    torch.save(cases.state_dict(cases.TINY, seed=9), pickled)
    result = invoke("export", "--format", "safetensors", "--weights", pickled)
    assert result.exit_code == 0, result.output
    crops = cases.pictures(2, 51)
    scores = [
        Scorer.load(tmp_path / name, device="cpu").score(crops).raw
        for name in ("weights.pth", "weights.safetensors")
    ]
    assert np.array_equal(scores[0], scores[1])


def test_an_unknown_group_is_refused() -> None:
    """Bad usage."""
    assert invoke("export", "--group", "block5").exit_code == 2
