"""Any face recogniser as an ONNX file: the teacher of a distillation, or the judge of a score.

Such files are often exported for a batch of one, which wastes most of a processor. Some hold
weights so small that each multiplication with them takes a hundred times as long (denormal numbers:
a published MobileFaceNet embeds 25 crops a second with them and 145 without). Both are corrected
here without changing the file.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from streamgate.errors import ModelError

__all__ = ["OnnxRecogniser", "Preprocessing", "doubt_of", "runtime"]

_BATCH_SIZE = 32
# Sums in another order differ in the last bits; if a batch mixes its pictures, all bits differ.
_TOLERANCE = 1e-3
_TINY = 5e-324
_SHOWN_CROPS = 12
_LIKELY = 0.5
"""Mean cosine of faces to what is none. A published MobileFaceNet has 0.0 where its pictures are
scaled as it wants, or twice as strongly or half; 0.67 to 1.0 where they are scaled 127 times too
strongly or too weakly, or not at all."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The input that a recogniser expects: (picture - mean) / std, with a colour order and a size.

    Attributes:
        size: height and width of its input in pixels.
        color: the order of its channels.
        mean, std: on 8-bit values, the same for every channel.
    """

    size: int = 112
    color: Literal["rgb", "bgr"] = "rgb"
    mean: float = 127.5
    std: float = 127.5

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 [N, 3, size, size] for RGB crops [N, H, W, 3]."""
        if crops.shape[1] != self.size:
            shape = (self.size, self.size)
            crops = np.stack([cv2.resize(crop, shape) for crop in crops]).astype(np.uint8)
        if self.color == "bgr":
            crops = crops[..., ::-1]
        pictures = crops.transpose(0, 3, 1, 2).astype(np.float32)
        return np.ascontiguousarray((pictures - np.float32(self.mean)) / np.float32(self.std))


class OnnxRecogniser:
    """A recogniser on the CPU.

    Args:
        path: the ONNX file: one picture input, embeddings as its first output.
        preprocessing: the input that it expects.
        threads: for one batch; None leaves the runtime's choice.

    Attributes:
        path: as given.
        sha256: of the file, in hexadecimal.
        preprocessing: as given.

    Raises:
        ModelError: the file cannot be used, or the extra `distill` is not installed.
    """

    def __init__(
        self, path: Path, preprocessing: Preprocessing, *, threads: int | None = None
    ) -> None:
        self.path = path
        self.preprocessing = preprocessing
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"{path}: the model cannot be read: {error.strerror}") from error
        self.sha256 = hashlib.sha256(content).hexdigest()
        batched = _session(_with_free_batch(content, path), path, threads)
        if self._can_batch(batched):
            self._session, self._batch_size = batched, _BATCH_SIZE
        else:
            self._session, self._batch_size = _session(content, path, threads), 1

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return embeddings of length 1, float32 [N, E], of RGB crops uint8 [N, 112, 112, 3]."""
        pictures = range(0, len(crops), self._batch_size)
        parts = [
            _embed(self._session, self.preprocessing(crops[i : i + self._batch_size]))
            for i in pictures
        ]
        embeddings = np.concatenate(parts)
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        if not np.all(np.isfinite(lengths) & (lengths > 0)):
            raise ModelError(f"{self.path}: gives embeddings that are zero or not numbers")
        return np.asarray(embeddings / lengths, dtype=np.float32)

    @property
    def embedding_size(self) -> int:
        """The length of an embedding, E, determined with a grey picture."""
        size = self.preprocessing.size
        return int(self(np.full((1, size, size, 3), 127, dtype=np.uint8)).shape[1])

    def _can_batch(self, session: Any) -> bool:
        """Return whether pictures in a batch give the same embeddings as one by one."""
        size = self.preprocessing.size
        crops = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
        pictures = self.preprocessing(crops)
        try:
            together = _embed(session, pictures)
        except ModelError:
            return False
        alone = _embed(session, pictures[1:2])
        close = np.abs(together[1:2] - alone).max() <= _TOLERANCE * np.abs(alone).max()
        return len(together) == len(pictures) and bool(close)


def doubt_of(recogniser: OnnxRecogniser, crops: NDArray[np.uint8]) -> str | None:
    """Say so where a recogniser hardly tells faces from what is none, as wrong settings have it.

    A network that is shown pictures of another scale gives embeddings all the same, of which each
    is like every other, and similarities that mean nothing.

    Args:
        crops: faces, RGB uint8 [N, 112, 112, 3]; the first few are shown.
    """
    if not len(crops):
        return None
    faces = recogniser(crops[:_SHOWN_CROPS])
    others = recogniser(_no_faces(crops[0]))
    likeness = float((faces @ others.T).mean())
    if likeness < _LIKELY:
        return None
    return (
        f"{recogniser.path.name}: its embeddings hardly differ (similarity {likeness:.2f} between "
        "faces and pictures of none, expected about 0), so similarities mean nothing; check "
        "--recogniser-mean, --recogniser-std, --recogniser-color and --recogniser-size"
    )


def _no_faces(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey, noise, a ramp, coarse colours, and a face as a negative and on its head."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, crop.shape, dtype=np.uint8)
    ramp = np.linspace(0, 255, crop.shape[1]).astype(np.uint8)[None, :, None]
    tiles = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
    coarse = cv2.resize(tiles, crop.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return np.stack(
        [
            np.full_like(crop, 127), noise, np.broadcast_to(ramp, crop.shape),
            coarse, 255 - crop, crop[::-1],
        ]
    ).astype(np.uint8)  # fmt: skip


def _session(content: bytes, path: Path, threads: int | None) -> Any:
    onnxruntime = runtime()
    options = onnxruntime.SessionOptions()
    # What fails is raised as well, and told in our words.
    options.log_severity_level = 4
    if threads is not None:
        options.intra_op_num_threads = threads
    # Threads that spin between batches would take processor time from the training.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        with _denormals_as_zero():
            return onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
    except Exception as error:  # the runtime's own exceptions share no base class
        raise ModelError(f"{path}: no usable ONNX model: {_first_line(error)}") from error


def runtime() -> Any:
    """Return the module onnxruntime, which then keeps to itself what it raises anyway.

    Raises:
        ModelError: it is not installed.
    """
    try:
        with _silent_stderr():
            import onnxruntime  # noqa: PLC0415 # belongs to an extra
    except ImportError as error:
        raise ModelError("ONNX models need: pip install 'streamgate[distill]'") from error
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what native code writes: while it is loaded, the runtime looks for devices aloud."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _denormals_as_zero() -> Iterator[None]:
    """Give the calling thread its arithmetic back: the runtime, once told, leaves it changed."""
    before = _TINY * 1.0 == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _embed(session: Any, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    try:
        with _denormals_as_zero():
            output = session.run(None, {session.get_inputs()[0].name: pictures})[0]
    except Exception as error:  # as above
        raise ModelError(f"the ONNX model refuses its input: {_first_line(error)}") from error
    return np.asarray(output, dtype=np.float32).reshape(len(output), -1)


def _with_free_batch(content: bytes, path: Path) -> bytes:
    """Return the model with a free batch dimension wherever it is fixed to one."""
    try:
        import onnx  # noqa: PLC0415 # belongs to an extra
    except ImportError as error:
        raise ModelError("ONNX models need: pip install 'streamgate[distill]'") from error
    try:
        model = onnx.load_from_string(content)
    except Exception as error:  # the parser's own, of a package without types
        raise ModelError(f"{path}: no ONNX model: {_first_line(error)}") from error
    graph = model.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    for value in values:
        shape = value.type.tensor_type.shape
        if shape.dim and shape.dim[0].dim_value == 1:
            shape.dim[0].dim_param = "batch"
    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for initializer in graph.initializer:
        if initializer.name in targets:
            shape_values = onnx.numpy_helper.to_array(initializer)
            freed = _free_first(shape_values.tolist())
            array = np.array(freed, dtype=shape_values.dtype)
            initializer.CopyFrom(onnx.numpy_helper.from_array(array, initializer.name))
    return bytes(model.SerializeToString())


def _free_first(shape: Sequence[int]) -> list[int]:
    """Return a target shape whose first dimension follows from the rest, if it can."""
    if len(shape) >= 2 and shape[0] == 1 and -1 not in shape:
        return [-1, *shape[1:]]
    # 0 means: as in the input.
    return [0, *shape[1:]] if len(shape) >= 2 and shape[0] == 1 else list(shape)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
