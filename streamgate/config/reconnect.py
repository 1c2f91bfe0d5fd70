"""How a lost source is reopened."""

from __future__ import annotations

from pydantic import Field, model_validator

from streamgate.config.section import Fraction, Seconds, Section

__all__ = ["ReconnectSection"]


class ReconnectSection(Section):
    """How long to wait before a lost source is reopened. Attempts never stop."""

    initial_s: Seconds = Field(
        default=0.5,
        description="First pause, seconds; each failure doubles it. Short network faults are over "
        "by then.",
    )
    max_s: Seconds = Field(
        default=30.0,
        description="Longest pause, seconds. A camera that was away for hours is back within it.",
    )
    jitter: Fraction = Field(
        default=0.3,
        description="Each pause is shortened by a random share of up to this much, so that many "
        "cameras do not reconnect in the same instant.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> ReconnectSection:
        if self.initial_s > self.max_s:
            raise ValueError(f"initial_s ({self.initial_s}) must not exceed max_s ({self.max_s})")
        return self
