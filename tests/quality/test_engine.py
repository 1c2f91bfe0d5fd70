"""The ring of batches, their padding and recorded launches, on a device that works late."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from streamgate.errors import ScoreError
from streamgate.quality import Group
from streamgate.quality.device import Device, Precision
from streamgate.quality.engine import RING_SIZE, Engine, RawScores
from streamgate.quality.weights import load_weights
from tests.quality import cases
from tests.quality.fake_cuda import FakeCuda, FakeDevice

TAP = Group.BLOCK2
MODES = pytest.mark.parametrize("cuda_graphs", [False, True], ids=["launched", "recorded"])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cases.save(tmp_path_factory.mktemp("weights"), cases.TINY, seed=3)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    fake.install(monkeypatch)
    return fake


def late(weights: Path, *, batch_size: int = 8, cuda_graphs: bool = False) -> Engine:
    loaded = load_weights(weights)
    return Engine(loaded, FakeDevice(), batch_size=batch_size, cuda_graphs=cuda_graphs)


@pytest.fixture(scope="module")
def expected(weights: Path) -> RawScores:
    """Scores of `cases.pictures(13, 1)`, from an engine without a stream."""
    cpu = Device(torch.device("cpu"), Precision.FLOAT32)
    engine = Engine(load_weights(weights), cpu, batch_size=16)
    return engine.submit(cases.pictures(13, 1), TAP).result()


def assert_equal(found: RawScores, expected: RawScores, part: slice) -> None:
    for group, values in expected.raw.items():
        assert found.raw[group] == pytest.approx(values[part], rel=1e-5), group
    assert np.abs(found.embedding - expected.embedding[part]).max() < 1e-5


@MODES
def test_two_batches_under_way_do_not_disturb_each_other(
    weights: Path, expected: RawScores, cuda: FakeCuda, cuda_graphs: bool
) -> None:
    """The second is staged before the first has been copied to the device; five rounds of it."""
    engine, crops = late(weights, cuda_graphs=cuda_graphs), cases.pictures(13, 1)
    for _ in range(5):
        first, second = engine.submit(crops[:8], TAP), engine.submit(crops[8:], TAP)
        assert_equal(first.result(), expected, slice(0, 8))
        assert_equal(second.result(), expected, slice(8, 13))


@MODES
def test_a_result_is_the_callers_own(
    weights: Path, expected: RawScores, cuda: FakeCuda, cuda_graphs: bool
) -> None:
    """Later batches in the same place of the ring leave it alone."""
    engine, crops = late(weights, cuda_graphs=cuda_graphs), cases.pictures(13, 1)
    kept = engine.submit(crops[:8], TAP).result()
    for _ in range(2 * RING_SIZE):
        engine.submit(cases.pictures(8, 5), TAP).result()
    assert_equal(kept, expected, slice(0, 8))


@MODES
def test_nothing_is_waited_for_until_a_result_is_asked_for(
    weights: Path, cuda: FakeCuda, cuda_graphs: bool
) -> None:
    """And then once a batch."""
    engine, crops = late(weights, cuda_graphs=cuda_graphs), cases.pictures(4, 1)
    pending = [engine.submit(crops, TAP) for _ in range(RING_SIZE)]
    assert cuda.waits == 0
    assert cuda.queue
    for one in pending:
        one.result()
    assert cuda.waits == RING_SIZE


def test_more_batches_than_the_ring_holds_are_a_mistake(weights: Path, cuda: FakeCuda) -> None:
    """They would overwrite what is still on its way."""
    engine, crops = late(weights), cases.pictures(2, 1)
    pending = [engine.submit(crops, TAP) for _ in range(RING_SIZE)]
    with pytest.raises(AssertionError, match="at most 2 batches"):
        engine.submit(crops, TAP)
    pending[0].result()
    engine.submit(crops, TAP).result()


@MODES
def test_batches_are_padded_to_powers_of_two(
    weights: Path, expected: RawScores, cuda: FakeCuda, cuda_graphs: bool
) -> None:
    """At most to the batch size; what pads them changes no score and comes back to nobody."""
    engine = late(weights, batch_size=12, cuda_graphs=cuda_graphs)
    sizes = {1: 1, 2: 2, 3: 4, 5: 8, 8: 8, 9: 12, 12: 12}
    # First a full batch in each place of the ring, so that there is something to pad with.
    for _ in range(RING_SIZE):
        engine.submit(cases.pictures(12, 9), TAP).result()
    for count, padded in sizes.items():
        found = engine.submit(cases.pictures(13, 1)[:count], TAP).result()
        assert cuda.padded[-1] == padded or cuda_graphs
        assert len(found.embedding) == count
        assert_equal(found, expected, slice(0, count))
    assert set(cuda.padded) == {1, 2, 4, 8, 12}


def test_launches_are_recorded_once_for_each_shape_tap_and_place(
    weights: Path, cuda: FakeCuda
) -> None:
    """After that they are replayed only, and the network's code no longer runs."""
    engine, crops = late(weights, cuda_graphs=True), cases.pictures(8, 1)
    for _ in range(3 * RING_SIZE):
        for count in (3, 4, 8):
            engine.submit(crops[:count], TAP).result()
    # Three and four crops are one shape.
    assert cuda.recorded == 2 * RING_SIZE
    assert cuda.replayed == 9 * RING_SIZE
    # A run before each recording chooses algorithms.
    assert len(cuda.padded) == 2 * cuda.recorded
    engine.submit(crops, Group.IMAGE).result()
    assert cuda.recorded == 2 * RING_SIZE + 1


def test_without_recordings_nothing_is_replayed(weights: Path, cuda: FakeCuda) -> None:
    """Each batch is launched anew."""
    engine, crops = late(weights), cases.pictures(4, 1)
    for _ in range(3):
        engine.submit(crops, TAP).result()
    assert (cuda.recorded, cuda.replayed, len(cuda.padded)) == (0, 0, 3)


@MODES
def test_saliency_comes_back_with_the_image_group(
    weights: Path, cuda: FakeCuda, cuda_graphs: bool
) -> None:
    """Its sum is the score, picture by picture."""
    engine = late(weights, cuda_graphs=cuda_graphs)
    scores = engine.submit(cases.pictures(3, 1), Group.IMAGE).result()
    assert scores.saliency is not None
    assert scores.saliency.shape == (3, 112, 112)
    sums = scores.saliency.sum((1, 2))
    assert sums == pytest.approx(scores.raw[Group.IMAGE], rel=1e-5)


def test_a_device_that_fails_gives_its_place_back(
    weights: Path, expected: RawScores, cuda: FakeCuda
) -> None:
    """The batch is lost with the device's words; the next ones are scored."""
    engine, crops = late(weights), cases.pictures(13, 1)
    pending = engine.submit(crops[:4], TAP)
    cuda.fails = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(ScoreError, match="illegal memory access"):
        pending.result()
    for _ in range(RING_SIZE):
        assert_equal(engine.submit(crops[:8], TAP).result(), expected, slice(0, 8))
