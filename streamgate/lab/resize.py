"""Any picture as a crop, in the way in which the published scores were taken."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from streamgate.quality.layout import INPUT_SIZE
from streamgate.values import Image

__all__ = ["resized"]


def resized(picture: Image) -> Image:
    """Return uint8 [H, W, 3] as uint8 [112, 112, 3]: bilinear, antialiased, rounded once.

    It stays in whole numbers because torchvision's transform does: rounding of another kind moves
    thousands of pixels by one.
    """
    size = (INPUT_SIZE, INPUT_SIZE)
    if picture.shape[:2] == size:
        return picture
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None]
    out = functional.interpolate(tensor, size, mode="bilinear", align_corners=False, antialias=True)
    return np.ascontiguousarray(out[0].permute(1, 2, 0).numpy())
