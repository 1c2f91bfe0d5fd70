"""The C library's freed memory, given back once a model has been loaded.

Reading weights and making a graph of them takes several times their size for a moment, in blocks
too small for the C library to unmap by itself, and a camera runs for months.
"""

from __future__ import annotations

import ctypes

__all__ = ["give_back_freed_memory"]


def give_back_freed_memory() -> None:
    """Do so for the whole process; without effect where the C library is another."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
