"""The same claims on a CUDA device, where there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from streamgate import Scorer
from streamgate.config import QualitySection
from streamgate.quality import GROUPS, GrafiqsScorer
from streamgate.quality.engine import RING_SIZE
from tests.quality import cases

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(torch.cuda.device_count() == 0, reason="no CUDA device on this machine"),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cases.save(tmp_path_factory.mktemp("weights"), cases.TINY, seed=3)


@pytest.mark.parametrize("cuda_graphs", [False, True])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_group_equals_autograd(weights: Path, precision: str, cuda_graphs: bool) -> None:
    """TF32 is off, so the tolerance is the CPU's."""
    crops = cases.pictures(2, 1)
    expected = cases.slow_scores_of(weights, crops[1])
    scorer = Scorer.load(weights, device="cuda", precision=precision, cuda_graphs=cuda_graphs)
    for _ in range(3):
        scores = scorer.score_all_groups(crops)
        for group in GROUPS:
            assert scores.raw[group][1] == pytest.approx(expected[group], rel=2e-4), group


def test_padding_and_order_change_nothing(weights: Path) -> None:
    """Batches are padded to powers of two with whatever lay in the buffer."""
    crops = cases.pictures(13, 2)
    scorer = Scorer.load(weights, device="cuda", batch_size=8)
    alone = [scorer.score(crops[i : i + 1]).raw[0] for i in range(13)]
    assert scorer.score(crops).raw == pytest.approx(alone, rel=1e-5)


@pytest.mark.filterwarnings("ignore")  # what a compiler says is not ours
def test_fused_kernels_give_the_same_scores(weights: Path) -> None:
    """With torch.compile between the convolutions."""
    crops = cases.pictures(4, 5)
    expected = Scorer.load(weights, device="cuda", group="block2").score(crops)
    fused = Scorer.load(weights, device="cuda", group="block2", fuse=True).score(crops)
    assert fused.raw == pytest.approx(expected.raw, rel=1e-5)


@pytest.mark.parametrize("cuda_graphs", [False, True])
async def test_the_thread_gives_the_same_scores(weights: Path, cuda_graphs: bool) -> None:
    """With two batches under way."""
    crops = cases.pictures(8, 3)
    expected = Scorer.load(weights, device="cuda", batch_size=4).score(crops)
    settings = QualitySection.model_validate(
        {"weights": weights, "device": "cuda", "batch_size": 4, "cuda_graphs": cuda_graphs}
    )
    async with await GrafiqsScorer.start(settings) as scorer:
        halves = [await scorer.score(crops[:4]), await scorer.score(crops[4:])]
    assert np.concatenate([half.raw for half in halves]) == pytest.approx(expected.raw, rel=1e-5)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_nothing_waits_for_the_device_until_the_result_is_asked_for(
    weights: Path, cuda_graphs: bool
) -> None:
    """Staging, launches and the way back are queued; the one wait is that for the result."""
    crops = cases.pictures(4, 6)
    scorer = Scorer.load(weights, device="cuda", batch_size=4, cuda_graphs=cuda_graphs)
    for _ in range(3):
        scorer.score(crops)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        pending = [scorer.submit(crops), scorer.submit(crops)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    first, second = (pending.result().raw for pending in pending)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_the_default_stream_is_left_alone(weights: Path, cuda_graphs: bool) -> None:
    """Scores do not wait for what somebody else has queued on the default stream."""
    crops = cases.pictures(4, 6)
    scorer = Scorer.load(weights, device="cuda", batch_size=4, cuda_graphs=cuda_graphs)
    # Once for each place of the ring: a recording waits for the whole device.
    for _ in range(RING_SIZE):
        expected = scorer.score(crops).raw
    busy = torch.randn(8192, 8192, device="cuda")
    torch.cuda.synchronize()
    for _ in range(40):
        torch.mm(busy, busy)
    found = scorer.score(crops).raw
    assert not torch.cuda.default_stream().query(), "the scores came after the other's work"
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_memory_is_flat_over_many_calls(weights: Path, cuda_graphs: bool) -> None:
    """Ten thousand calls with every size of batch, after a warm-up."""
    crops = cases.pictures(8, 7)
    scorer = Scorer.load(weights, device="cuda", batch_size=8, cuda_graphs=cuda_graphs)

    def call(times: int) -> int:
        for i in range(times):
            scorer.score(crops[: 1 + i % 8])
        return torch.cuda.memory_reserved()

    before = call(64)
    assert call(10_000) == before


def test_reduced_precision_stays_near(weights: Path) -> None:
    """Named options, with errors of the size that docs/score.md lists."""
    crops = cases.pictures(8, 8)
    expected = Scorer.load(weights, device="cuda").score_all_groups(crops)
    for precision, tolerance in (("tf32", 0.02), ("float16", 0.01), ("bfloat16", 0.1)):
        scores = Scorer.load(weights, device="cuda", precision=precision).score_all_groups(crops)
        for group in GROUPS:
            assert scores.raw[group] == pytest.approx(expected.raw[group], rel=tolerance), group
