"""Other methods that read a quality from the same network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from streamgate.lab.evaluation.other_methods import Observer, Pruned, Unrecognisable
from streamgate.quality.iresnet import IResNet
from streamgate.quality.layout import Layout

CROPS = np.random.default_rng(0).integers(0, 256, (12, 112, 112, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network() -> IResNet:
    torch.manual_seed(0)
    layout = Layout(depths=(1, 1, 1, 1), stem_width=8, widths=(8, 8, 8, 8), embedding_size=16)
    return IResNet(layout).eval()


def test_pruning_removes_the_smallest_weights_only(network: IResNet) -> None:
    pruned = Pruned.of(network, share=0.5).pruned
    before = torch.cat([w.flatten().abs() for w in network.parameters() if w.ndim > 1])
    after = torch.cat([w.flatten().abs() for w in pruned.parameters() if w.ndim > 1])
    assert (after == 0).float().mean().item() == pytest.approx(0.5, abs=0.01)
    assert before[after == 0].max() <= before[after > 0].min()


def test_without_pruning_nothing_moves(network: IResNet) -> None:
    assert np.allclose(Pruned(network, network)(CROPS), 0.0)


def test_an_unrecognisable_face_is_near_the_centre(network: IResNet) -> None:
    method = Unrecognisable.of(network, CROPS)
    assert np.linalg.norm(method.centre) == pytest.approx(1.0)
    assert ((method(CROPS) >= 0) & (method(CROPS) <= 2)).all()


def test_the_observer_chooses_layers_and_gives_a_mean_of_their_norms(network: IResNet) -> None:
    observer = Observer.of(network, CROPS)
    assert 1 <= len(observer.scales) <= 5
    quality = observer(CROPS)
    assert quality.shape == (12,)
    assert quality.mean() == pytest.approx(0.0, abs=1e-5)
