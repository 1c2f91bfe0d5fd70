"""The public scorer: GraFIQs as a library call, and all that the daemon uses of this package."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamgate.errors import ModelError, ScoreError
from streamgate.quality.allocator import give_back_freed_memory, map_large_blocks
from streamgate.quality.calibration import (
    Calibration,
    find_calibration,
    find_identity,
    uncalibrated_quality,
)
from streamgate.quality.choice import Choice, choose
from streamgate.quality.grafiqs import GROUPS, Group
from streamgate.quality.graph_engine import GraphEngine
from streamgate.quality.layout import INPUT_SIZE
from streamgate.quality.raw_scores import RING_SIZE, Pending, RawScores, ScoringEngine
from streamgate.quality.weights import DEFAULT_WEIGHTS, Weights, load_weights
from streamgate.values import IdentityThresholds, Image, Scores

__all__ = ["Explanation", "GroupScores", "Scorer"]

# Measured on the CPU: activations of eight pictures of iresnet50 still fit a server's cache.
_CPU_BATCH_SIZE = 8
_CUDA_BATCH_SIZE = 32
_OVERLAY_SHARE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class GroupScores:
    """Raw scores of every group, in input order.

    Attributes:
        raw: by group ("image", "block1" .. "block4"), float64 [N] each, lower is better.
        embedding: L2-normalised embeddings, float32 [N, E].
    """

    raw: Mapping[str, NDArray[np.float64]]
    embedding: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.embedding)


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Where in a crop the score of the scorer's group comes from.

    Attributes:
        raw: the score: the sum of `magnitude`.
        magnitude: |∂L/∂t| summed over the channels, float64 [S, S] with S 112 at the image and 56,
            28, 14 and 7 behind the stages.
        overlay: the crop under a heat map of it, RGB uint8 [112, 112, 3].
    """

    raw: float
    magnitude: NDArray[np.float64]
    overlay: Image


class Scorer:
    """Scores aligned face crops; `Scorer.load` makes one. Belongs to one thread at a time."""

    def __init__(
        self,
        weights: Weights,
        engine: ScoringEngine,
        *,
        group: Group,
        calibration: Calibration | None,
        identity: IdentityThresholds | None = None,
    ) -> None:
        self._layout, self._sha256 = weights.layout, weights.sha256
        self._engine = engine
        self._group = group
        self._calibration = calibration
        self._identity = identity
        engine.prepare(group)

    @classmethod
    def load(  # noqa: PLR0913 # the public interface: one name per choice
        cls,
        weights: str | Path = DEFAULT_WEIGHTS,
        *,
        backbone: str | None = None,
        group: str = Group.BLOCK4,
        device: str = "auto",
        precision: str = "float32",
        batch_size: int | None = None,
        threads: int | None = None,
        calibration: str | Path | None = None,
        cuda_graphs: bool = False,
        fuse: bool = False,
    ) -> Scorer:
        """Load a network and prepare it for one group.

        On a CPU, onnxruntime computes single precision. CUDA and every other precision are torch's,
        which the extra `torch` installs. Single precision on a CPU sets how the C library
        keeps memory: see `allocator`.
        Args:
            weights: "default", or a `.safetensors` file or `.pth` state dict with the published
                key names; nothing in it is executed.
            backbone: the layout that the file must hold ("iresnet50"); None reads it from there.
            group: "image" or "block1" .. "block4", where the gradient is taken.
            device: "auto", "cpu", "cuda" or "cuda:N".
            precision: "float32", "float64", "tf32", "bfloat16" or "float16".
            batch_size: the most crops in one pass; default 8 on a CPU and 32 on CUDA.
            threads: of a CPU; None takes all that this process may use.
            calibration: file that maps raw scores to quality; None takes the one beside the
                weights if there is one for this group.
            cuda_graphs: record and replay the launches on a CUDA device.
            fuse: run the network through torch.compile on a CUDA device, which takes minutes for
                the first batch of each size.

        Raises:
            ModelError: a file cannot be used, or the machine lacks what was asked for.
        """
        chosen = choose(device, precision)
        tap = _group(group)
        size = batch_size or (_CUDA_BATCH_SIZE if chosen.is_cuda else _CPU_BATCH_SIZE)
        if size < 1:
            raise ModelError(f"batch_size is {size}; expected 1 or more")
        if not chosen.needs_torch:
            map_large_blocks()
        loaded = load_weights(weights, backbone=backbone)
        engine: ScoringEngine
        if chosen.needs_torch:
            engine = _torch_engine(loaded, chosen, size, threads, cuda_graphs, fuse)
        else:
            threads = threads or len(os.sched_getaffinity(0))
            engine = GraphEngine(loaded, batch_size=size, threads=threads)
        scale = find_calibration(loaded.path, loaded.sha256, tap, calibration)
        identity = find_identity(loaded.path, loaded.sha256, scale)
        scorer = cls(loaded, engine, group=tap, calibration=scale, identity=identity)
        # The engine has what it needs of them.
        del loaded
        give_back_freed_memory()
        return scorer

    @property
    def batch_size(self) -> int:
        """The most crops in one pass through the network."""
        return self._engine.batch_size

    @property
    def group(self) -> Group:
        """Where the gradient is taken."""
        return self._group

    @property
    def model_hash(self) -> str:
        """sha256 of the weights' file."""
        return self._sha256

    @property
    def backbone(self) -> str:
        """The published name of the network's layout, or its depths."""
        return self._layout.name

    @property
    def embedding_size(self) -> int:
        """E."""
        return self._layout.embedding_size

    @property
    def overlaps(self) -> bool:
        """Whether several batches under way are faster than one at a time."""
        return self._engine.overlaps

    @property
    def calibrated(self) -> bool:
        """Whether quality is calibrated; otherwise it only ranks, as 100 / (1 + raw)."""
        return self._calibration is not None

    @property
    def identity(self) -> IdentityThresholds | None:
        """From which cosines on faces are of one person; None where no calibration says so."""
        return self._identity

    def score(self, crops: NDArray[np.uint8]) -> Scores:
        """Score RGB uint8 crops [N, 112, 112, 3], aligned to the ArcFace template; any N.

        Raises:
            ScoreError: the array is another one, or the device failed.
        """
        return self._scores(list(self._run(crops, self._group)))

    def score_all_groups(self, crops: NDArray[np.uint8]) -> GroupScores:
        """Return the raw scores of all five groups for RGB uint8 crops [N, 112, 112, 3].

        Raises:
            ScoreError: the array is another one, or the device failed.
        """
        return self.score_groups(crops, GROUPS)

    def score_groups(self, crops: NDArray[np.uint8], groups: Sequence[Group]) -> GroupScores:
        """Return the raw scores of some groups; the earliest of them decides what it costs.

        Raises:
            ScoreError: the array is another one, or the device failed.
        """
        batches = list(self._run(crops, min(groups, key=GROUPS.index)))
        raw = {str(group): _join([batch.raw[group] for batch in batches]) for group in groups}
        return GroupScores(raw, self._embedding(batches))

    def explain(self, crop: Image) -> Explanation:
        """Show what the score of one RGB uint8 crop [112, 112, 3] is made of.

        Raises:
            ScoreError: the array is another one, or the device failed.
        """
        (scores,) = self._run(crop[None], self._group)
        assert scores.saliency is not None
        magnitude = scores.saliency[0]
        raw = float(scores.raw[self._group][0])
        return Explanation(raw, magnitude, _overlay(crop, magnitude))

    def submit(self, crops: NDArray[np.uint8]) -> PendingScores:
        """Start scoring at most `batch_size` crops; at most `RING_SIZE` may be under way."""
        check_crops(crops)
        return PendingScores(self, self._engine.submit(crops, self._group))

    def _run(self, crops: NDArray[np.uint8], tap: Group) -> Iterator[RawScores]:
        check_crops(crops)
        under_way: deque[Pending] = deque()
        size = self.batch_size
        for start in range(0, len(crops), size):
            if len(under_way) == RING_SIZE:
                yield under_way.popleft().result()
            under_way.append(self._engine.submit(crops[start : start + size], tap))
        while under_way:
            yield under_way.popleft().result()

    def _scores(self, batches: list[RawScores]) -> Scores:
        raw = _join([batch.raw[self._group] for batch in batches])
        quality = (self._calibration or uncalibrated_quality)(raw)
        return Scores(raw, quality, self._embedding(batches), self.calibrated)

    def _embedding(self, batches: list[RawScores]) -> NDArray[np.float32]:
        empty = np.empty((0, self.embedding_size), dtype=np.float32)
        return np.concatenate([empty, *(batch.embedding for batch in batches)])


class PendingScores:
    """Scores under way."""

    def __init__(self, scorer: Scorer, pending: Pending) -> None:
        self._scorer = scorer
        self._pending = pending

    def result(self) -> Scores:
        """Wait for them.

        Raises:
            ScoreError: the device failed.
        """
        return self._scorer._scores([self._pending.result()])


def check_crops(crops: NDArray[np.uint8]) -> None:
    """Raise ScoreError unless `crops` are uint8 [N, 112, 112, 3]."""
    shape, dtype = getattr(crops, "shape", None), getattr(crops, "dtype", None)
    if dtype != np.uint8 or shape is None or shape[1:] != (INPUT_SIZE, INPUT_SIZE, 3):
        found = f"{dtype} {list(shape)}" if shape is not None else type(crops).__name__
        raise ScoreError(f"expected RGB crops as uint8 [N, 112, 112, 3], got {found}")


def _group(name: str) -> Group:
    try:
        return Group(name)
    except ValueError:
        known = ", ".join(GROUPS)
        raise ModelError(f"unknown group {name!r}: expected one of {known}") from None


def _join(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([np.empty(0), *parts])


def _torch_engine(  # noqa: PLR0913, PLR0917 # what Scorer.load was given
    weights: Weights,
    choice: Choice,
    batch_size: int,
    threads: int | None,
    cuda_graphs: bool,
    fuse: bool,
) -> ScoringEngine:
    import torch  # noqa: PLC0415 # takes seconds, and is not everywhere

    from streamgate.quality.device import Device  # noqa: PLC0415 # the same
    from streamgate.quality.engine import Engine  # noqa: PLC0415 # the same

    if threads is not None:
        torch.set_num_threads(threads)
    device = Device.of(choice)
    return Engine(weights, device, batch_size=batch_size, cuda_graphs=cuda_graphs, fuse=fuse)


def _overlay(crop: Image, magnitude: NDArray[np.float64]) -> Image:
    import cv2  # noqa: PLC0415 # 50 MB that only pictures are drawn with

    if magnitude.shape != crop.shape[:2]:
        size = (crop.shape[1], crop.shape[0])
        magnitude = cv2.resize(magnitude, size, interpolation=cv2.INTER_LINEAR).astype(np.float64)
    # Gradients have a long tail; the root lets more than its few peaks be seen.
    heat = np.sqrt(magnitude / max(float(magnitude.max()), np.finfo(np.float64).tiny))
    colours = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    rgb = cv2.cvtColor(colours, cv2.COLOR_BGR2RGB)
    return np.asarray(
        cv2.addWeighted(crop, 1 - _OVERLAY_SHARE, rgb, _OVERLAY_SHARE, 0.0), dtype=np.uint8
    )
