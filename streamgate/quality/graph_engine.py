"""Pictures through onnxruntime, on a CPU.

The graph is made from the weights when a group is first asked for, which takes a tenth of a second:
nothing is converted beforehand, and a graph cannot belong to other weights than its own.

Pictures pass one at a time. On a CPU a batch is no faster (measured from 16 to 512 channels: what
each layer's weights cost is small beside its arithmetic), it takes more memory, and a score would
depend on its neighbours' number in the last digits. Only the product that makes embeddings, most of
a small network's weights, takes a batch at once. Several threads take a picture each; only a
single picture is shared among them. Threads that wait do not spin, since cameras share hosts.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from streamgate.errors import ModelError, ScoreError
from streamgate.models.runtime import open_graph
from streamgate.quality.allocator import give_back_freed_memory
from streamgate.quality.grafiqs import Group
from streamgate.quality.graph_operations import (
    EMBEDDING,
    FEATURES,
    SALIENCY,
    grafiqs_graph,
    head_graph,
)
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
        self._head: onnxruntime.InferenceSession | None = None
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
        tensors, layout = weights.tensors, weights.layout
        try:
            if self._head is None:
                # Packed, most of a small network would be in memory twice, and one row slower.
                head = head_graph(tensors, layout)
                self._head = open_graph(head, threads=self._threads, packed=False)
                del head
            model = grafiqs_graph(tensors, layout, tap, batch=1, head=False)
            for threads in wanted:
                self._sessions[tap, threads] = open_graph(model, threads=threads)
        except Exception as error:  # its exceptions have no common class
            raise ModelError(f"{self._path}: onnxruntime refuses it: {error}") from error
        self._weights = None
        del weights, tensors, model
        give_back_freed_memory()

    def submit(self, crops: NDArray[np.uint8], tap: Group, /) -> _Done:
        """Score RGB uint8 crops [N, 112, 112, 3], 1 ≤ N ≤ batch_size.

        Raises:
            ScoreError: onnxruntime failed.
        """
        self.prepare(tap)
        assert self._head is not None
        pictures = [np.ascontiguousarray(crop)[None] for crop in crops]
        threads = self._threads if len(pictures) == 1 else 1
        session = self._sessions[tap, threads]
        names = [output.name for output in session.get_outputs()]

        def score(picture: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
            outputs: list[NDArray[np.float32]] = session.run(names, {"crops": picture})
            return outputs

        spread = map if self._pool is None or len(pictures) == 1 else self._pool.map
        try:
            joined = [np.concatenate(parts) for parts in zip(*spread(score, pictures), strict=True)]
            outputs = dict(zip(names, joined, strict=True))
            (embedding,) = self._head.run([EMBEDDING], {FEATURES: outputs[FEATURES]})
        except Exception as error:  # as above
            raise ScoreError(f"onnxruntime failed while scoring: {error}") from error
        saliency = outputs.get(SALIENCY)
        return _Done(
            RawScores(
                raw={group: outputs[group].astype(float) for group in Group if group in outputs},
                embedding=embedding,
                saliency=None if saliency is None else saliency.astype(float),
            )
        )

    def _reloaded(self) -> Weights:
        weights = load_weights(self._path)
        if weights.sha256 != self._sha256:
            raise ModelError(f"{self._path}: has changed since it was loaded; start again")
        return weights
