"""Decoding on a device, where there is one: by FFmpeg's own support, with its own fallback.

Pictures come back to main memory, so that all that follows is as with the CPU's decoder. Where no
device can be used the CPU decodes, and the reason is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

from streamgate.values.reasons import DecoderChoice

__all__ = ["DEVICES", "Decoder", "choose_decoder"]

Wanted = Literal["auto", "cpu", "cuda", "qsv"]
DEVICES: tuple[Literal["cuda", "qsv"], ...] = ("cuda", "qsv")
"""In the order in which `auto` tries them."""
_TRIED_WITH = "h264"


@dataclass(frozen=True, slots=True)
class Decoder:
    """What decodes.

    Attributes:
        choice: the kind of device, or the CPU.
        acceleration: for `av.open`; None for the CPU.
        reason: why it is not the device that was asked for; empty where it is.
    """

    choice: DecoderChoice
    acceleration: HWAccel | None = None
    reason: str = ""


def choose_decoder(wanted: Wanted) -> Decoder:
    """Return a device that can be used, or the CPU and why.

    Creating the device is the only way to know: a library may be there without a card.
    """
    if wanted == "cpu":
        return Decoder(DecoderChoice.CPU)
    reasons = []
    for kind in DEVICES if wanted == "auto" else (wanted,):
        acceleration, reason = _device(kind)
        if acceleration is not None:
            return Decoder(DecoderChoice(kind), acceleration)
        reasons.append(f"{kind}: {reason}")
    return Decoder(DecoderChoice.CPU, reason="; ".join(reasons))


def _device(kind: str) -> tuple[HWAccel | None, str]:
    if kind not in hwdevices_available():
        return None, "this build of FFmpeg does not support it"
    try:
        # Streams that the device cannot decode are decoded by the CPU, by FFmpeg itself.
        HWAccel(kind, allow_software_fallback=True).create(av.Codec(_TRIED_WITH, "r"))
    except (av.FFmpegError, NotImplementedError, RuntimeError, ValueError) as error:
        return None, getattr(error, "strerror", None) or str(error) or type(error).__name__
    return HWAccel(kind, allow_software_fallback=True), ""
