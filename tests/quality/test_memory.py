"""A daemon scores for months."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from streamgate import Scorer
from tests.quality import cases

_STATUS = Path("/proc/self/status")


def resident_mb() -> float:
    """Return the resident memory of this process."""
    gc.collect()
    (line,) = (x for x in _STATUS.read_text().splitlines() if x.startswith("VmRSS"))
    return float(line.split()[1]) / 1024


@pytest.mark.skipif(not _STATUS.exists(), reason="resident memory is read from /proc")
def test_memory_is_flat_over_many_calls(tmp_path: Path) -> None:
    """Of batches of every size, in any order."""
    scorer = Scorer.load(cases.save(tmp_path, cases.TINY, seed=1), device="cpu", group="block3")
    crops = cases.pictures(8, 1)
    for call in range(60):
        scorer.score(crops[: 1 + call % 8])
    before = resident_mb()
    for call in range(400):
        scorer.score(crops[: 1 + (call * 5) % 8])
    assert resident_mb() - before < 8
