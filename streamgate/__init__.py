"""Streamgate: a streaming quality gate between a camera and a face recogniser.

As a library it scores faces: `FaceFinder` finds and aligns them in a photograph, `Scorer` says how
good they are for recognition. See `streamgate.faces.finder` for an example.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from streamgate.version import __version__

if TYPE_CHECKING:
    from streamgate.errors import ConfigError as ConfigError
    from streamgate.errors import DataError as DataError
    from streamgate.errors import DetectorError as DetectorError
    from streamgate.errors import ModelError as ModelError
    from streamgate.errors import ScoreError as ScoreError
    from streamgate.errors import StreamgateError as StreamgateError
    from streamgate.faces.finder import FaceFinder as FaceFinder
    from streamgate.faces.finder import FoundFace as FoundFace
    from streamgate.faces.finder import crops_of as crops_of
    from streamgate.faces.photographs import read_photograph as read_photograph
    from streamgate.quality import Scorer as Scorer
    from streamgate.values import Scores as Scores

__all__ = [
    "ConfigError",
    "DataError",
    "DetectorError",
    "FaceFinder",
    "FoundFace",
    "ModelError",
    "ScoreError",
    "Scorer",
    "Scores",
    "StreamgateError",
    "__version__",
    "crops_of",
    "read_photograph",
]

_ERRORS = "streamgate.errors"
_HOMES = {
    "ConfigError": _ERRORS,
    "DataError": _ERRORS,
    "DetectorError": _ERRORS,
    "FaceFinder": "streamgate.faces.finder",
    "FoundFace": "streamgate.faces.finder",
    "ModelError": _ERRORS,
    "ScoreError": _ERRORS,
    "Scorer": "streamgate.quality",
    "Scores": "streamgate.values",
    "StreamgateError": _ERRORS,
    "crops_of": "streamgate.faces.finder",
    "read_photograph": "streamgate.faces.photographs",
}


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds; commands that score nothing should not pay for it.
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
