"""The version of the program, where any module may read it without importing the others."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
