"""Pictures through onnxruntime, on a CPU.

The graph is made from the weights when a group is first asked for, which takes a tenth of a second:
nothing is converted beforehand, and a graph cannot belong to other weights than its own.

Pictures pass one at a time. On a CPU a batch is no faster (measured from 16 to 512 channels: what
each layer's weights cost is small beside its arithmetic), it takes more memory, and a score would
depend on its neighbours' number in the last digits. Several threads take a picture each; only a
single picture is shared among them. Threads that wait do not spin, since cameras share hosts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from streamgate.errors import ModelError, ScoreError
from streamgate.models.runtime import open_graph
from streamgate.quality.allocator import give_back_freed_memory
from streamgate.quality.grafiqs import Group
from streamgate.quality.graph_operations import EMBEDDING, SALIENCY, grafiqs_graph
from streamgate.quality.raw_scores import RawScores
from streamgate.quality.weights import Weights, load_weights

__all__ = ["GraphEngine"]


@dataclass(frozen=True, slots=True, eq=False)
class _Done:
    """A batch that was scored when it was submitted."""

    scores: RawScores

    def result(self) -> RawScores:
        return self.scores


class GraphEngine:
    """A network on a CPU; belongs to one thread at a time.

    Args:
        weights: the network; its tensors are let go once a graph holds them.
        batch_size: the most crops of one batch.
        threads: that compute.
    """

    overlaps = False

    def __init__(self, weights: Weights, *, batch_size: int, threads: int) -> None:
        self._weights: Weights | None = weights
        self._path, self._sha256 = weights.path, weights.sha256
        self._batch_size = batch_size
        self._threads = threads
        self._sessions: dict[tuple[Group, int], onnxruntime.InferenceSession] = {}
        self._pool = ThreadPoolExecutor(threads, "score") if threads > 1 else None

    @property
    def batch_size(self) -> int:
        """The most crops of one batch."""
        return self._batch_size

    def prepare(self, tap: Group, /) -> None:
        """Build what `tap` needs now rather than with the first batch.

        Raises:
            ModelError: onnxruntime refuses the network, or its file is no longer the same.
        """
        wanted = [threads for threads in {1, self._threads} if (tap, threads) not in self._sessions]
        if not wanted:
            return
        weights = self._weights or self._reloaded()
        model = grafiqs_graph(weights.tensors, weights.layout, tap, batch=1)
        for threads in wanted:
            try:
                self._sessions[tap, threads] = open_graph(model, threads=threads)
            except Exception as error:  # its exceptions have no common class
                raise ModelError(f"{self._path}: onnxruntime refuses it: {error}") from error
        self._weights = None
        del weights, model
        give_back_freed_memory()

    def submit(self, crops: NDArray[np.uint8], tap: Group, /) -> _Done:
        """Score RGB uint8 crops [N, 112, 112, 3], 1 ≤ N ≤ batch_size.

        Raises:
            ScoreError: onnxruntime failed.
        """
        self.prepare(tap)
        one = self._sessions[tap, 1]
        names = [output.name for output in one.get_outputs()]
        pictures = [np.ascontiguousarray(crop)[None] for crop in crops]
        scored: Iterable[list[NDArray[np.float32]]]
        try:
            if len(pictures) == 1:
                scored = [_run(self._sessions[tap, self._threads], names, pictures[0])]
            elif self._pool is None:
                scored = [_run(one, names, picture) for picture in pictures]
            else:
                scored = list(self._pool.map(lambda picture: _run(one, names, picture), pictures))
        except Exception as error:  # as above
            raise ScoreError(f"onnxruntime failed while scoring: {error}") from error
        joined = map(np.concatenate, zip(*scored, strict=True))
        return _Done(_raw_scores(dict(zip(names, joined, strict=True))))

    def _reloaded(self) -> Weights:
        weights = load_weights(self._path)
        if weights.sha256 != self._sha256:
            raise ModelError(f"{self._path}: has changed since it was loaded; start again")
        return weights


def _run(
    session: onnxruntime.InferenceSession, names: list[str], picture: NDArray[np.uint8]
) -> list[NDArray[np.float32]]:
    outputs: list[NDArray[np.float32]] = session.run(names, {"crops": picture})
    return outputs


def _raw_scores(outputs: Mapping[str, NDArray[np.float32]]) -> RawScores:
    saliency = outputs.get(SALIENCY)
    return RawScores(
        raw={group: outputs[group].astype(np.float64) for group in Group if group in outputs},
        embedding=outputs[EMBEDDING],
        saliency=None if saliency is None else saliency.astype(np.float64),
    )
