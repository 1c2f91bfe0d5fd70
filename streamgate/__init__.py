"""Streamgate: a streaming quality gate between a camera and a face recogniser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamgate.version import __version__

if TYPE_CHECKING:
    from streamgate.quality import Scorer as Scorer

__all__ = ["Scorer", "__version__"]


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds; commands that score nothing should not pay for it.
    if name == "Scorer":
        from streamgate.quality import Scorer  # noqa: PLC0415

        return Scorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
