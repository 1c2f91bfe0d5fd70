"""The C library's memory: what a model took while it was loaded is given back.

Reading weights and making a graph of them takes several times their size for a moment. By default
glibc keeps such blocks for later once it has seen one freed, in a heap for each thread, and a
camera would hold fifty megabytes for months that it never uses again.
"""

from __future__ import annotations

import ctypes

__all__ = ["give_back_freed_memory", "map_large_blocks"]

# From malloc.h.
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
# Pictures of 720p stay below it: mapping takes a page fault for each four kilobytes. At 1080p the
# faults cost little, and a camera holds six megabytes less.
_LARGE_BYTES = 4 << 20
_MOST_HEAPS = 2


def map_large_blocks() -> None:
    """Map every block of 4 MB or more by itself, and keep few heaps, in the whole process.

    Without effect where the C library is another.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_ARENA_MAX, _MOST_HEAPS)


def give_back_freed_memory() -> None:
    """Give back what is free now, in the whole process; see `map_large_blocks`."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
