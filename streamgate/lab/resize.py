"""Scale any picture to a crop in the same way as the published script."""

from __future__ import annotations

import numpy as np

from streamgate.quality.choice import require_torch
from streamgate.quality.layout import INPUT_SIZE
from streamgate.values import Image

__all__ = ["resized"]


def resized(picture: Image) -> Image:
    """Return uint8 [H, W, 3] as uint8 [112, 112, 3]: bilinear, antialiased, rounded once.

    It computes with whole numbers because torchvision's transform does: another kind of rounding
    changes thousands of pixels by one.

    Raises:
        ModelError: it is of another size, and torch is not installed.
    """
    size = (INPUT_SIZE, INPUT_SIZE)
    if picture.shape[:2] == size:
        return picture
    require_torch("resizing pictures as for the published scores")
    import torch  # noqa: PLC0415 # takes seconds, and is not everywhere
    from torch.nn import functional  # noqa: PLC0415 # the same

    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None]
    out = functional.interpolate(tensor, size, mode="bilinear", align_corners=False, antialias=True)
    return np.ascontiguousarray(out[0].permute(1, 2, 0).numpy())
