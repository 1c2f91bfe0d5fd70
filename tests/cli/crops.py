"""Aligned pictures in files, for the commands that read them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from streamgate.cli import app

__all__ = ["invoke", "write_picture"]


def write_picture(path: Path, rgb: NDArray[np.uint8]) -> Path:
    """Write RGB uint8 [H, W, 3] without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return path


def invoke(*arguments: object, input: str | None = None) -> Result:
    """Run `streamgate` with these arguments, and with what is typed in."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)
