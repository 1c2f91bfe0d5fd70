"""`streamgate export`: the same scores from a runtime without gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamgate import Scorer
from tests.cli.crops import invoke
from tests.quality import cases

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")


@pytest.mark.parametrize("weights", ["default", "tiny"])
def test_onnxruntime_agrees_with_the_engine(weights: str, tmp_path: Path) -> None:
    """On pictures that the export did not see, in any batch."""
    path = "default" if weights == "default" else cases.save(tmp_path, cases.TINY, seed=9)
    output = tmp_path / "graph.onnx"
    result = invoke("export", "--group", "block4", "--weights", path, "--output", output)
    assert result.exit_code == 0, result.output
    assert "largest difference" in result.output
    session = onnxruntime.InferenceSession(str(output), providers=["CPUExecutionProvider"])
    scorer = Scorer.load(path, device="cpu")
    for count in (1, 5):
        crops = cases.pictures(count, 51)
        raw, embedding = session.run(["raw", "embedding"], {"crops": crops})
        expected = scorer.score(crops)
        assert raw == pytest.approx(expected.raw, rel=1e-4)
        assert np.abs(embedding - expected.embedding).max() < 1e-4


def test_a_group_without_a_closed_form_is_refused() -> None:
    """Bad usage."""
    assert invoke("export", "--group", "block3").exit_code == 2
