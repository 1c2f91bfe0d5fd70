"""Batches of crops through the network: one stream, a ring of pinned buffers, fixed shapes.

On a CUDA device everything is queued on one long-lived stream of the engine's own (the caching
allocator keeps blocks per stream) and the CPU waits on one event per batch, so while one batch is
computed the next is staged. Batches are padded to a power of two, since new shapes cost new
algorithms and new memory. On a CPU, where torch is the reference in double precision, the same
calls are done at once and nothing is padded.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamgate.errors import ScoreError
from streamgate.quality.device import Device
from streamgate.quality.grafiqs import Grafiqs, Group, NetworkScores
from streamgate.quality.layout import INPUT_SIZE
from streamgate.quality.parameters import Parameters
from streamgate.quality.raw_scores import RING_SIZE, RawScores
from streamgate.quality.torch_operations import TorchOperations
from streamgate.quality.weights import Weights

__all__ = ["RING_SIZE", "Engine", "PendingBatch", "RawScores"]


@dataclass(slots=True, eq=False)
class PendingBatch:
    """A batch under way; its result is to be fetched once, and in the order of submission."""

    _slot: _Slot
    _scores: NetworkScores[Tensor]
    _count: int

    def result(self) -> RawScores:
        """Wait for the batch.

        Raises:
            ScoreError: the device failed.
        """
        try:
            self._slot.wait()
        except RuntimeError as error:
            raise ScoreError(f"the device failed while scoring: {error}") from error
        finally:
            self._slot.busy = False
        scores, count = self._scores, self._count
        saliency = scores.saliency
        assert scores.embedding is not None
        return RawScores(
            raw={group: values[:count].double().numpy() for group, values in scores.raw.items()},
            embedding=scores.embedding[:count].float().numpy(),
            saliency=None if saliency is None else saliency[:count].double().numpy(),
        )


class Engine:
    """A network on a device; belongs to one thread, like the stream that it owns.

    Args:
        weights: the network.
        device: where and in which precision.
        batch_size: the most crops of one batch.
        cuda_graphs: replay recorded launches, one recording per shape and tap.
        fuse: let torch.compile fuse what lies between the convolutions; on a CPU without effect.

    Attributes:
        device: as given.
        batch_size: as given.
    """

    def __init__(
        self,
        weights: Weights,
        device: Device,
        *,
        batch_size: int,
        cuda_graphs: bool = False,
        fuse: bool = False,
    ) -> None:
        self.device = device
        self.batch_size = batch_size
        self._cuda_graphs = cuda_graphs and device.is_cuda
        self._fuse = fuse and device.is_cuda
        self._stream = _new_stream(device)
        self._grafiqs: dict[Group, Callable[[Tensor], NetworkScores[Tensor]]] = {}
        self._weights = weights
        # On the stream too: what the default stream still converts must not be read from another.
        with self._on_stream():
            self._slots = [_Slot(batch_size, device, self._stream) for _ in range(RING_SIZE)]
        self._next = 0

    @property
    def overlaps(self) -> bool:
        """Whether several batches under way are faster than one at a time."""
        return self.device.is_cuda

    def prepare(self, tap: Group, /) -> None:
        """Build what `tap` needs now rather than with the first batch."""
        if tap not in self._grafiqs:
            with self.device.computing(), self._on_stream():
                device, weights = self.device, self._weights
                operations = TorchOperations(
                    device.torch_device, device.statistics_dtype, device.convolution_dtype
                )
                network = Parameters(weights.tensors)
                grafiqs = Grafiqs(operations, network, weights.layout, tap)
                self._grafiqs[tap] = (
                    torch.compile(grafiqs.__call__, dynamic=False) if self._fuse else grafiqs
                )

    def submit(self, crops: NDArray[np.uint8], tap: Group, /) -> PendingBatch:
        """Start scoring RGB uint8 crops [N, 112, 112, 3], 1 ≤ N ≤ batch_size.

        Raises:
            ScoreError: the device failed.
        """
        self.prepare(tap)
        slot = self._slots[self._next]
        assert not slot.busy, f"at most {RING_SIZE} batches are under way"
        # Results are fetched in the order of submission, so the oldest slot is the next free one.
        self._next = (self._next + 1) % RING_SIZE
        try:
            with self.device.computing(), self._on_stream():
                scores = self._run(slot, slot.stage(crops), tap)
                pending = PendingBatch(slot, slot.fetch(scores), len(crops))
        except RuntimeError as error:
            raise ScoreError(f"the device failed while scoring: {error}") from error
        slot.busy = True
        return pending

    def _run(self, slot: _Slot, crops: Tensor, tap: Group) -> NetworkScores[Tensor]:
        if not self._cuda_graphs:
            return self._forward(crops, tap)
        key = (tap, len(crops))
        # One recording for each slot: it replays on the very buffers it was made with.
        recording = slot.recordings.get(key)
        if recording is None:
            # Algorithms are chosen and workspaces allocated by a run before the recording.
            self._forward(crops, tap)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._stream):
                scores = self._forward(crops, tap)
            recording = slot.recordings[key] = (graph, scores)
        recording[0].replay()
        return recording[1]

    def _forward(self, crops: Tensor, tap: Group) -> NetworkScores[Tensor]:
        pictures = crops.permute(0, 3, 1, 2).to(self.device.statistics_dtype)
        return self._grafiqs[tap](pictures.div(127.5).sub_(1.0))

    def _on_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)


@dataclass(slots=True, eq=False)
class _Slot:
    """Buffers of one batch under way."""

    batch_size: int
    device: Device
    stream: torch.cuda.Stream | None
    busy: bool = False
    host: Tensor = field(init=False)
    crops: Tensor = field(init=False)
    done: torch.cuda.Event | None = field(init=False, default=None)
    recordings: dict[tuple[Group, int], tuple[torch.cuda.CUDAGraph, NetworkScores[Tensor]]] = field(
        init=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        shape = (self.batch_size, INPUT_SIZE, INPUT_SIZE, 3)
        cuda = self.device.is_cuda
        self.host = torch.zeros(shape, dtype=torch.uint8, pin_memory=cuda)
        self.crops = self.host.to(self.device.torch_device)
        if cuda:
            self.done = torch.cuda.Event()  # type: ignore[no-untyped-call] # torch's own

    def stage(self, crops: NDArray[np.uint8]) -> Tensor:
        """Bring the crops to the device, padded with whatever lay there before."""
        count = len(crops)
        np.copyto(self.host.numpy()[:count], crops)
        if not self.device.is_cuda:
            return self.host[:count]
        # The pictures of a batch do not see each other, so what pads it does not matter.
        count = min(1 << (count - 1).bit_length(), self.batch_size)
        self.crops[:count].copy_(self.host[:count], non_blocking=True)
        return self.crops[:count]

    def fetch(self, scores: NetworkScores[Tensor]) -> NetworkScores[Tensor]:
        """Start bringing the scores to the host."""
        if self.done is None:
            return scores
        assert scores.embedding is not None
        fetched = NetworkScores(
            raw={group: _to_host(values) for group, values in scores.raw.items()},
            embedding=_to_host(scores.embedding),
            saliency=None if scores.saliency is None else _to_host(scores.saliency),
        )
        self.done.record(self.stream)
        return fetched

    def wait(self) -> None:
        """Wait until the scores are on the host."""
        if self.done is not None:
            self.done.synchronize()


def _new_stream(device: Device) -> torch.cuda.Stream | None:
    if not device.is_cuda:
        return None
    return torch.cuda.Stream(device.torch_device)  # type: ignore[no-untyped-call] # torch's own


def _to_host(values: Tensor) -> Tensor:
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return host.copy_(values, non_blocking=True)
