"""How a lost source is opened again."""

from __future__ import annotations

from pydantic import Field, model_validator

from streamgate.config.section import Fraction, Seconds, Section

__all__ = ["ReconnectSection"]


class ReconnectSection(Section):
    """How long to wait before a lost source is opened again; it is tried for ever."""

    initial_s: Seconds = Field(
        default=0.5, description="First pause in seconds: a short network fault heals within it."
    )
    max_s: Seconds = Field(
        default=30.0,
        description="Longest pause in seconds: a camera that was away for hours is back soon.",
    )
    jitter: Fraction = Field(
        default=0.3,
        description="Random share by which each pause is shortened, so that a fleet does not "
        "come back in one wave.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> ReconnectSection:
        if self.initial_s > self.max_s:
            raise ValueError(f"initial_s ({self.initial_s}) must not exceed max_s ({self.max_s})")
        return self
