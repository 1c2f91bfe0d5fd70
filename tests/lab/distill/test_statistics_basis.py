"""The basis of the last statistics is free: embeddings do not see it, the score does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamgate.lab.distill.precise_bn import normalised, precise_bn
from streamgate.lab.distill.statistics_basis import (
    Shown,
    change_basis,
    learn_basis,
    well_conditioned,
)
from streamgate.quality.iresnet import IResNet
from streamgate.quality.layout import Layout

LAYOUT = Layout((2, 2, 2, 2), (4, 4, 6, 8), 4, 16)


@pytest.fixture
def crops() -> NDArray[np.uint8]:
    """Pictures of noise, which is all that statistics need."""
    return np.random.default_rng(0).integers(0, 256, (40, 112, 112, 3), dtype=np.uint8)


@pytest.fixture
def network(crops: NDArray[np.uint8]) -> IResNet:
    """A random network whose BatchNorms all do something."""
    torch.manual_seed(0)
    network = IResNet(LAYOUT)
    for name, weight in network.named_parameters():
        if weight.ndim == 1 and "bn" in name:
            torch.nn.init.uniform_(weight, 0.5, 1.5)
    precise_bn(network, crops)
    return network.eval().double()


@pytest.fixture
def basis() -> Tensor:
    """Some invertible mixing."""
    torch.manual_seed(1)
    return torch.eye(8).double() + 0.3 * torch.randn(8, 8).double()


@torch.no_grad()
def test_embeddings_stay_the_same(
    network: IResNet, basis: Tensor, crops: NDArray[np.uint8]
) -> None:
    """To 1e-9, since every mixing is undone by those who read it."""
    pictures = normalised(crops[:4]).double()
    before = network(pictures)
    change_basis(network, basis, crops)
    assert torch.allclose(network(pictures), before, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_stage_4_gives_the_mixed_channels(
    network: IResNet, basis: Tensor, crops: NDArray[np.uint8]
) -> None:
    """What block4 reads is the basis times what it read."""
    pictures = normalised(crops[:4]).double()
    before = network.forward_features(pictures)
    change_basis(network, basis, crops)
    expected = torch.einsum("ij,njhw->nihw", basis, before)
    assert torch.allclose(network.forward_features(pictures), expected, atol=1e-9)


@torch.no_grad()
def test_the_new_statistics_are_those_of_the_clean_faces(
    network: IResNet, basis: Tensor, crops: NDArray[np.uint8]
) -> None:
    """Mean and variance of the last BatchNorm are what a count over the crops finds."""
    change_basis(network, basis, crops)
    x = network.forward_features(normalised(crops).double())
    norm = network.bn2
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert torch.allclose(norm.running_mean, x.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    variance = x.var(dim=(0, 2, 3), correction=0)
    assert torch.allclose(norm.running_var, variance, rtol=1e-4)


def test_a_learnt_basis_ranks_what_the_old_one_could_not() -> None:
    """What only a difference of two channels shows is found, and orders pictures."""
    torch.manual_seed(2)
    utility = torch.rand(400)
    shared, own = torch.randn(400, 1, 49), torch.randn(400, 1, 49)
    # The channels move together; in their difference, a useless face moves more than a clean one.
    spread = 0.05 + 0.4 * (1 - utility)[:, None, None]
    features = torch.cat([shared + spread * own, shared - spread * own], dim=1)
    clean = features[utility > 0.9].transpose(0, 1).flatten(1).double()
    mean, covariance = clean.mean(dim=1), torch.cov(clean)
    losses: list[float] = []
    learn_basis(
        Shown(features, utility), None, mean, covariance,
        steps=200, seed=0, report=lambda _step, loss: losses.append(loss),
    )  # fmt: skip
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def correlated_variances(basis: Tensor, covariance: Tensor) -> Tensor:
    clean = basis @ covariance @ basis.T
    deviation = clean.diagonal().sqrt()
    variances: Tensor = torch.linalg.eigvalsh(clean / deviation[:, None] / deviation)
    return variances


def test_no_channel_nearly_follows_from_the_others(basis: Tensor) -> None:
    """A channel that all but repeats another is told apart from it again."""
    covariance = torch.diag(torch.linspace(0.5, 2.0, 8).double())
    basis[3] = basis[2] + 1e-5 * basis[3]
    variances = correlated_variances(basis, covariance)
    assert variances[0] < 1e-9 * variances[-1]
    lifted = correlated_variances(well_conditioned(basis, covariance), covariance)
    assert lifted[0] > 0.9e-3 * lifted[-1]


def test_a_well_conditioned_basis_is_left_as_it_is(basis: Tensor) -> None:
    """Only what is lost in rounding is lifted."""
    covariance = torch.diag(torch.linspace(0.5, 2.0, 8).double())
    assert torch.allclose(well_conditioned(basis, covariance), basis, atol=1e-12)


def test_a_dead_channel_stays_as_it_is() -> None:
    """It has no variance to be lifted, and no other channel suffers."""
    covariance = torch.diag(torch.tensor([0.0, 0.5, 1.0, 2.0]).double())
    identity = torch.eye(4).double()
    assert torch.allclose(well_conditioned(identity, covariance), identity, atol=1e-12)
