"""Scale any picture to a crop in the same way as the published script."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from streamgate.quality.iresnet import INPUT_SIZE
from streamgate.values import Image

__all__ = ["resized"]


def resized(picture: Image) -> Image:
    """Return uint8 [H, W, 3] as uint8 [112, 112, 3]: bilinear, antialiased, rounded once.

    It computes with whole numbers because torchvision's transform does: another kind of rounding
    changes thousands of pixels by one.
    """
    size = (INPUT_SIZE, INPUT_SIZE)
    if picture.shape[:2] == size:
        return picture
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None]
    out = functional.interpolate(tensor, size, mode="bilinear", align_corners=False, antialias=True)
    return np.ascontiguousarray(out[0].permute(1, 2, 0).numpy())
