"""Start a student from a smaller network without losing what that one learnt.

New channels get random weights, but no existing channel reads them yet: the widened network
computes what the smaller one did, and training decides what the new channels do.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from streamgate.errors import ModelError
from streamgate.quality.iresnet import IResNet
from streamgate.quality.layout import Layout

__all__ = ["widen"]


@torch.no_grad()
def widen(network: IResNet, tensors: Mapping[str, Tensor], layout: Layout) -> None:
    """Load a network of the same depths and of the same or smaller widths into `network`.

    Args:
        network: newly initialised, so that its new weights are random.
        tensors: the smaller network.
        layout: of the smaller network.

    Raises:
        ModelError: it has other depths, is wider somewhere, or embeds into another size.
    """
    wanted = network.layout
    widths = zip(
        (layout.stem_width, *layout.widths), (wanted.stem_width, *wanted.widths), strict=True
    )
    fits = layout.depths == wanted.depths and layout.embedding_size == wanted.embedding_size
    if not fits or any(small > large for small, large in widths):
        raise ModelError(
            f"cannot widen {layout} into {wanted}: expected the same or smaller widths"
        )
    state = network.state_dict()
    for name, small in tensors.items():
        if name == "fc.weight":
            # Its columns are channels × positions.
            old = small.reshape(len(small), layout.widths[-1], -1)
            new = state[name].reshape(len(small), wanted.widths[-1], -1)
            state[name] = _embedded(old, new).flatten(1)
        else:
            state[name] = _embedded(small, state[name])
    network.load_state_dict(state)


def _embedded(small: Tensor, large: Tensor) -> Tensor:
    """Return `large` with `small` in its corner, and zeros where its rows meet new columns."""
    if small.ndim == 0:
        return small.clone()
    result = large.clone()
    if small.ndim > 1:
        result[: len(small)] = 0
    result[tuple(slice(0, size) for size in small.shape)] = small.to(result.dtype)
    return result
