"""The engine against the definition, for every group, layout, precision and batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streamgate import Scorer
from streamgate.quality import GROUPS, Group
from streamgate.quality.iresnet import DEPTHS, PUBLISHED_WIDTHS, Layout
from streamgate.quality.measured import _prelu_gradient
from streamgate.quality.weights import load_weights
from tests.quality import cases, parity

FLOAT32 = 2e-4
FLOAT64 = 1e-9
NARROW = (16, 24, 32, 48)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cases.save(tmp_path_factory.mktemp("weights"), cases.TINY, seed=3)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("crop", ["noise", "black", "white", "grey"])
def test_every_group_of_a_small_network_equals_autograd(
    tiny: Path, precision: str, crop: str
) -> None:
    """Dead channels, negative slopes and flat pictures included."""
    levels = {"black": 0, "white": 255, "grey": 128}
    crops = cases.flat(levels[crop]) if crop in levels else cases.pictures(2, 1)[1:]
    expected = cases.slow_scores_of(tiny, crops[0])
    scores = Scorer.load(tiny, device="cpu", precision=precision).score_all_groups(crops)
    tolerance = FLOAT64 if precision == "float64" else FLOAT32
    for group in GROUPS:
        assert scores.raw[group][0] == pytest.approx(expected[group], rel=tolerance), group


@pytest.mark.parametrize(
    ("arch", "widths"),
    [("iresnet50", PUBLISHED_WIDTHS), ("iresnet34", NARROW), ("iresnet100", NARROW)],
)
def test_every_group_of_a_published_layout_equals_autograd(
    arch: str, widths: tuple[int, int, int, int], tmp_path: Path
) -> None:
    """In float32, on a picture and weights of their own."""
    weights = cases.save(tmp_path, Layout(DEPTHS[arch], widths), seed=len(arch))
    crops = cases.pictures(2, 7)
    expected = cases.slow_scores_of(weights, crops[1])
    scores = Scorer.load(weights, backbone=arch, device="cpu").score_all_groups(crops)
    for group in GROUPS:
        assert scores.raw[group][1] == pytest.approx(expected[group], rel=FLOAT32), group


@pytest.mark.parametrize("group", GROUPS)
def test_one_group_alone_is_the_same_as_all_together(tiny: Path, group: Group) -> None:
    """Folding the layers before the tap changes nothing."""
    crops = cases.pictures(3, 5)
    together = Scorer.load(tiny, device="cpu").score_all_groups(crops)
    alone = Scorer.load(tiny, device="cpu", group=group).score(crops)
    assert alone.raw == pytest.approx(together.raw[group], rel=1e-5)
    assert np.abs(alone.embedding - together.embedding).max() < 1e-5


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_published_implementations_values_are_reproduced(
    precision: str, tmp_path: Path
) -> None:
    """The reference divides by K in single precision, so it differs by 5e-8 of its own."""
    weights = parity.save_weights(tmp_path / "case.pth")
    scorer = Scorer.load(weights, backbone="iresnet18", device="cpu", precision=precision)
    scores = scorer.score_all_groups(parity.crops())
    tolerance = 1e-6 if precision == "float64" else FLOAT32
    for group in GROUPS:
        published = parity.EXPECTED.scores[group]
        assert scores.raw[group] == pytest.approx(published, rel=tolerance), group
    # Theirs are not normalised, so the directions of what is known of them are compared.
    ours, theirs = (_directions(e) for e in (scores.embedding[:, :8], parity.EXPECTED.embedding))
    assert np.abs(ours - theirs).max() < 1e-5


def _directions(vectors: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float64)


@pytest.mark.parametrize("group", ["block4", "block2", "image"])
def test_a_score_does_not_depend_on_the_batch(tiny: Path, group: str) -> None:
    """Batches of 1, 3 and 32, in any order, with blank and saturated pictures among them."""
    crops = np.concatenate(
        [cases.pictures(29, 11), cases.flat(0), cases.flat(255), cases.flat(127)]
    )
    alone = Scorer.load(tiny, device="cpu", group=group, batch_size=1).score(crops).raw
    order = np.random.default_rng(1).permutation(len(crops))
    for batch_size in (3, 32):
        scorer = Scorer.load(tiny, device="cpu", group=group, batch_size=batch_size)
        assert scorer.score(crops[order]).raw == pytest.approx(alone[order], rel=1e-5)


def test_the_derivative_of_prelu_at_zero_is_torchs() -> None:
    """At exactly 0 it is the slope."""
    x = torch.tensor([-1.0, -0.0, 0.0, 2.0], requires_grad=True)
    slope = torch.tensor([0.3])
    (expected,) = torch.autograd.grad(torch.prelu(x.view(4, 1), slope).sum(), x)
    ours = _prelu_gradient(torch.ones(4, 1, 1, 1), x.detach().view(4, 1, 1, 1), slope)
    assert ours.flatten().tolist() == pytest.approx(expected.tolist())


def test_embeddings_equal_the_networks_own(tiny: Path) -> None:
    """Normalised to length one."""
    crops = cases.pictures(2, 13)
    network = load_weights(tiny).build()
    pictures = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    expected = torch.nn.functional.normalize(network(pictures)).numpy()
    assert np.abs(Scorer.load(tiny, device="cpu").score(crops).embedding - expected).max() < 1e-5


@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.1), ("float16", 0.01)])
def test_reduced_precision_stays_near(tiny: Path, precision: str, tolerance: float) -> None:
    """It is an option whose error is known, not the default."""
    crops = cases.pictures(3, 17)
    exact = Scorer.load(tiny, device="cpu").score_all_groups(crops)
    reduced = Scorer.load(tiny, device="cpu", precision=precision).score_all_groups(crops)
    for group in GROUPS:
        assert reduced.raw[group] == pytest.approx(exact.raw[group], rel=tolerance), group


def test_named_layouts_have_the_papers_number_of_batch_norms() -> None:
    """30, 78 and 153 for IResNet18, 50 and 100."""
    counts = {name: Layout.named(name).batch_norms for name in DEPTHS}
    assert counts == {"iresnet18": 30, "iresnet34": 54, "iresnet50": 78, "iresnet100": 153}
