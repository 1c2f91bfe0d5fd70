"""Settings of pictures that the stream itself may not state, shared by all sources."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from streamgate.config.section import Section

__all__ = ["PictureSection"]

_LARGEST_ASPECT = 16.0
_MINUTE = 60


def _aspect(value: Any) -> Any:
    """Read `16:15`, which YAML takes for 16 minutes and 15 seconds, and `16/15` as numbers."""
    wanted = f"wanted width:height of one pixel, such as 16:15, or a number up to {_LARGEST_ASPECT}"
    if value is None:
        return value
    try:
        if isinstance(value, bool):
            number = 0.0
        elif isinstance(value, str):
            wide, _, high = value.replace("/", ":").partition(":")
            number = float(wide) / float(high or 1)
        elif isinstance(value, int) and value >= _MINUTE:
            number = (value // _MINUTE) / (value % _MINUTE)
        else:
            number = float(value)
    except (ValueError, TypeError, ZeroDivisionError, OverflowError):
        raise ValueError(wanted) from None
    if not 1 / _LARGEST_ASPECT <= number <= _LARGEST_ASPECT:
        raise ValueError(wanted)
    return number


class PictureSection(Section):
    """Settings that all sources share."""

    pixel_aspect: Annotated[float | None, BeforeValidator(_aspect)] = Field(
        default=None,
        description="Width of a pixel divided by its height, such as 16:15 or 1.067, for devices "
        "that send squeezed pictures without saying so: squeezed faces are hardly found. Default: "
        "what the stream states, or else square pixels.",
    )
    max_pixels: int = Field(
        default=7680 * 4320,
        ge=64 * 64,
        le=1 << 30,
        description="Largest picture that is decoded, width times height, pixels. The default is "
        "8K; a picture of 16,000 by 16,000 would take 2.7 GB of memory.",
    )
