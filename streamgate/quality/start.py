"""Which scorer a camera has: its own network, or services that several cameras share."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from streamgate.config import QualitySection
from streamgate.models.extras import require_grpc
from streamgate.ports import QualityScorer
from streamgate.quality.calibration import Calibration
from streamgate.quality.scorer import Explanation
from streamgate.quality.thread import GrafiqsScorer
from streamgate.telemetry.metrics import Metrics
from streamgate.values import IdentityThresholds, Image

__all__ = ["CameraScorer", "start_scorer"]


class CameraScorer(QualityScorer, Protocol):
    """What a camera's process needs of its scorer; an asynchronous context that closes it."""

    @property
    def calibrated(self) -> bool:
        """Whether quality is calibrated; otherwise it only ranks."""
        ...

    @property
    def calibration(self) -> Calibration | None:
        """What quality means, where that is known."""
        ...

    @property
    def identity(self) -> IdentityThresholds | None:
        """From which cosines on faces are of one person, where that is known."""
        ...

    @property
    def doubt(self) -> str | None:
        """What is wrong although the camera runs."""
        ...

    async def explain(self, crop: Image) -> Explanation:
        """Show what one RGB uint8 [112, 112, 3] crop's score is made of.

        Raises:
            ScoreError: it cannot be shown.
        """
        ...

    async def __aenter__(self) -> Self:
        """Nothing is left to do after the start."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        ...


async def start_scorer(settings: QualitySection, *, camera: str, metrics: Metrics) -> CameraScorer:
    """Start the scorer that the settings ask for.

    Raises:
        StreamgateError: a file cannot be used, or the machine lacks what was asked for.
    """
    if not settings.service:
        return await GrafiqsScorer.start(settings)
    require_grpc()
    # A camera without services has no gRPC in memory.
    from streamgate.quality.remote.scorer import RemoteScorer  # noqa: PLC0415

    return await RemoteScorer.start(settings, camera=camera, metrics=metrics)
