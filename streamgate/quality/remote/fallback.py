"""The network that a camera loads itself while no service answers."""

from __future__ import annotations

import asyncio

import numpy as np
import structlog
from numpy.typing import NDArray

from streamgate.config import QualitySection
from streamgate.errors import ModelError, ScoreError
from streamgate.quality.scorer import Explanation
from streamgate.quality.thread import GrafiqsScorer
from streamgate.values import Image, Scores

__all__ = ["LocalFallback"]

log = structlog.get_logger(__name__)

_KEPT_S = 60.0


class LocalFallback:
    """Loads the network with its first batch, and lets it go once services have been back a while.

    The while spares a service that comes and goes from having it loaded again and again.
    """

    def __init__(self, settings: QualitySection) -> None:
        self._settings = settings
        self._scorer: GrafiqsScorer | None = None
        self._loading = asyncio.Lock()
        self._used_at = 0.0

    @property
    def loaded(self) -> bool:
        """Whether the network is in memory."""
        return self._scorer is not None

    async def score(self, crops: NDArray[np.uint8]) -> Scores:
        """Score RGB uint8 crops [N, 112, 112, 3].

        Raises:
            ScoreError: the network cannot be loaded, or has failed.
        """
        scorer = await self._loaded()
        self._used_at = asyncio.get_running_loop().time()
        return await scorer.score(crops)

    async def explain(self, crop: Image) -> Explanation:
        """Show what one crop's score is made of.

        Raises:
            ScoreError: the network cannot be loaded, or has failed.
        """
        return await (await self._loaded()).explain(crop)

    async def rest(self) -> None:
        """Let the network go if it has not been needed for a while."""
        now = asyncio.get_running_loop().time()
        if self._scorer is not None and now - self._used_at > _KEPT_S:
            log.info("the network is let go, since a scorer service is back")
            await self.close()

    async def close(self) -> None:
        """Let the network go."""
        scorer, self._scorer = self._scorer, None
        if scorer is not None:
            await scorer.close()

    async def _loaded(self) -> GrafiqsScorer:
        async with self._loading:
            if self._scorer is None:
                log.warning("the network is loaded, since no scorer service answers")
                try:
                    self._scorer = await GrafiqsScorer.start(self._settings)
                except ModelError as error:
                    raise ScoreError(str(error)) from None
            return self._scorer
