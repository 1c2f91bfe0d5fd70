"""A CUDA device that is none: its stream does the work no sooner than somebody waits for it.

Copies to and from the device and the replay of recorded launches are queued, as on a device, and
done in their order when an event is waited for, or when a launch that was not recorded needs what
they bring. So what a batch reads or writes too early, or after another has taken its buffer, is
seen in its scores. The arithmetic is the CPU's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from streamgate.quality import engine as engine_module
from streamgate.quality.device import Device, Precision
from streamgate.quality.engine import Engine
from streamgate.quality.grafiqs import Group, NetworkScores

__all__ = ["FakeCuda", "FakeDevice"]


@dataclass(frozen=True, slots=True)
class FakeDevice(Device):
    """The CPU, which says that it is a CUDA device."""

    torch_device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: Precision = Precision.FLOAT32

    @property
    def is_cuda(self) -> bool:
        """It is not."""
        return True


class FakeCuda:
    """Stands in for `torch` in the engine's module; `install` puts it there.

    Attributes:
        queue: what the stream has not done yet.
        waits: events that were waited for.
        padded: sizes of the batches that the network was given, in order.
        recorded: how many recordings were made.
        replayed: how many times one was replayed.
        fails: raised by the next wait, if set.
    """

    def __init__(self) -> None:
        self.queue: list[Callable[[], object]] = []
        self.waits = 0
        self.padded: list[int] = []
        self.recorded = 0
        self.replayed = 0
        self.fails: RuntimeError | None = None
        self.recording: FakeGraph | None = None
        self.cuda = _CudaNames(self)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Let the engine find this device for as long as `patch` lasts."""
        forward = Engine._forward

        def launched(engine: Engine, crops: Tensor, tap: Group) -> NetworkScores:
            def again() -> NetworkScores:
                return forward(engine, crops.as_subclass(Tensor), tap)

            self.padded.append(len(crops))
            if self.recording is None:
                self.work(len(self.queue))
            scores = again()
            if self.recording is not None:
                self.recording.launches.append((again, scores))
            return scores

        patch.setattr(Engine, "_forward", launched)
        patch.setattr(engine_module, "torch", self)

    def work(self, count: int) -> None:
        """Do the first `count` of what is queued."""
        with torch.inference_mode():
            for _ in range(count):
                self.queue.pop(0)()

    def zeros(self, shape: Any, *, dtype: torch.dtype, pin_memory: bool) -> Tensor:
        """Pinned memory is what an asynchronous copy needs."""
        assert pin_memory
        return _queueing(torch.zeros(shape, dtype=dtype), self)

    def empty(self, shape: Any, *, dtype: torch.dtype, pin_memory: bool) -> Tensor:
        """Filled with what nobody would take for a score."""
        assert pin_memory
        return _queueing(torch.full(shape, -1.0, dtype=dtype), self)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


class FakeEvent:
    """Marks a place in the queue."""

    def __init__(self, device: FakeCuda) -> None:
        self._device = device
        self._done = True

    def record(self, stream: object) -> None:
        """Be done when all that is queued now is done."""
        assert stream is self._device.cuda.stream_of_engine
        self._done = False
        self._device.queue.append(self._reach)

    def synchronize(self) -> None:
        """Wait."""
        device = self._device
        device.waits += 1
        if device.fails is not None:
            failure, device.fails = device.fails, None
            raise failure
        while not self._done:
            device.work(1)

    def _reach(self) -> None:
        self._done = True


class FakeGraph:
    """Recorded launches: replaying them reads and writes the memory of the recording."""

    def __init__(self, device: FakeCuda) -> None:
        self._device = device
        self.launches: list[tuple[Callable[[], NetworkScores], NetworkScores]] = []

    def replay(self) -> None:
        """Queue all launches once more."""
        self._device.replayed += 1
        self._device.queue += [lambda one=one: _rewrite(*one) for one in self.launches]  # type: ignore[misc] # mypy cannot infer a lambda with a default


class _CudaNames:
    """`torch.cuda`, as far as the engine uses it."""

    def __init__(self, device: FakeCuda) -> None:
        self._device = device
        self.stream_of_engine = object()

    def Stream(self, _device: torch.device) -> object:  # noqa: N802 # torch's name
        return self.stream_of_engine

    def Event(self) -> FakeEvent:  # noqa: N802 # torch's name
        return FakeEvent(self._device)

    def CUDAGraph(self) -> FakeGraph:  # noqa: N802 # torch's name
        return FakeGraph(self._device)

    @contextmanager
    def stream(self, stream: object) -> Iterator[None]:
        assert stream is self.stream_of_engine
        yield

    @contextmanager
    def graph(self, graph: FakeGraph, stream: object) -> Iterator[None]:
        assert stream is self.stream_of_engine
        self._device.recorded += 1
        self._device.recording = graph
        try:
            yield
        finally:
            self._device.recording = None


class _Queueing(Tensor):
    """A tensor to which what is copied without blocking comes later."""

    device_of: FakeCuda

    def copy_(self, source: Tensor, non_blocking: bool = False) -> Tensor:
        assert non_blocking
        plain = source.as_subclass(Tensor)
        own = self.as_subclass(Tensor)
        self.device_of.queue.append(lambda: own.copy_(plain))
        return self


def _queueing(values: Tensor, device: FakeCuda) -> Tensor:
    # Slices and copies of a tensor are of its class, but hold nothing else of it.
    kind = type("_QueueingHere", (_Queueing,), {"device_of": device})
    return values.as_subclass(kind)


def _rewrite(launch: Callable[[], NetworkScores], scores: NetworkScores) -> None:
    fresh = launch()
    for group, values in scores.raw.items():
        values.copy_(fresh.raw[group])
    scores.embedding.copy_(fresh.embedding)
    if scores.saliency is not None and fresh.saliency is not None:
        scores.saliency.copy_(fresh.saliency)
