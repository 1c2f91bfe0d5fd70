"""What `streamgate check --online` has asked, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """What was asked, and what came of it.

    Attributes:
        name: what was asked.
        ok: whether the daemon can rely on it.
        told: what came of it.
        remedy: what to do; empty where there is nothing to do.
    """

    name: str
    ok: bool
    told: str
    remedy: str = ""
