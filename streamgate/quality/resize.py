"""Any picture as a crop, in the way in which the published scores were taken."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from streamgate.quality.iresnet import INPUT_SIZE
from streamgate.values import Image

__all__ = ["resized"]


def resized(picture: Image) -> NDArray[np.float32]:
    """Return uint8 [H, W, 3] as float32 [112, 112, 3], 0-255: bilinear, antialiased, unrounded."""
    if picture.shape[:2] == (INPUT_SIZE, INPUT_SIZE):
        return picture.astype(np.float32)
    tensor = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]
    size = (INPUT_SIZE, INPUT_SIZE)
    out = functional.interpolate(tensor, size, mode="bilinear", align_corners=False, antialias=True)
    return np.ascontiguousarray(out[0].permute(1, 2, 0).numpy())
