"""From crops to a request of the protocol, and from an answer to scores: pure, without a network.

How a server wants its crops is read from its metadata, by the type and shape of its one input:
`UINT8 [-1, 112, 112, 3]` are the crops as they are, `FP32 [-1, 3, 112, 112]` the normalised
picture that a network takes, (value / 127.5) - 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from streamgate.errors import ScoreError
from streamgate.quality.layout import INPUT_SIZE
from streamgate.quality.remote.messages import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataResponse,
)

__all__ = [
    "CAMERA",
    "DEADLINE_MS",
    "MODEL_HASH",
    "TOO_LATE",
    "InputLayout",
    "RawScores",
    "RemoteModel",
    "decode_scores",
    "encode_crops",
    "read_metadata",
    "tensor_of",
]

# Parameters of a request.
CAMERA = "camera"
DEADLINE_MS = "deadline_ms"
MODEL_HASH = "model_hash"

TOO_LATE = "not scored by the deadline"
"""What a service says that is there, but too slow; gRPC has one status for it and for silence."""

_FLOATS: Mapping[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "FP16": np.dtype("<f2"),
}
_HASH_DIGITS = 12


class InputLayout(StrEnum):
    """How a server wants its crops."""

    CROPS = "UINT8 [N, 112, 112, 3]"
    NORMALISED = "FP32 [N, 3, 112, 112]"


@dataclass(frozen=True, slots=True)
class RemoteModel:
    """What a server says of its model.

    Attributes:
        name: in the protocol.
        version: the one to ask for; empty where the server has none.
        layout: how it wants its crops.
        input_name: the name of its input.
        model_hash: sha256 of its weights, or None where it does not tell.
        group: where the gradient is taken; the same.
        batch_size: the most crops of a request; the same.
        calibration: sha256 of its calibration, for people; the same.
    """

    name: str
    version: str
    layout: InputLayout
    input_name: str
    model_hash: str | None
    group: str | None
    batch_size: int | None
    calibration: str | None

    def difference(self, model_hash: str, group: str) -> str | None:
        """Say how it differs from the model that is expected, or None."""
        told = self.model_hash
        if told is None:
            if not self.name.endswith(model_hash[:_HASH_DIGITS]):
                return (
                    f"the server does not tell the hash of its weights, and its model is called "
                    f"{self.name}; wanted a name that ends in {model_hash[:_HASH_DIGITS]}"
                )
        elif told != model_hash:
            return (
                f"it scores with other weights ({told[:_HASH_DIGITS]}…) than quality.weights "
                f"({model_hash[:_HASH_DIGITS]}…)"
            )
        if self.group is not None and self.group != group:
            return f"it scores group {self.group}, and quality.group is {group}"
        return None


@dataclass(frozen=True, slots=True, eq=False)
class RawScores:
    """Scores as they came.

    Attributes:
        raw: lower is better, float64 [N].
        embedding: L2-normalised, float32 [N, E].
    """

    raw: NDArray[np.float64]
    embedding: NDArray[np.float32]


def read_metadata(answer: bytes) -> RemoteModel:
    """Read what a server says of its model.

    Raises:
        ScoreError: it cannot score crops.
    """
    try:
        told = ModelMetadataResponse.FromString(answer)
    except DecodeError:
        raise ScoreError("the server's metadata are no message of the protocol") from None
    properties = dict(told.properties)
    outputs = {output.name for output in told.outputs}
    if not outputs >= {"raw", "embedding"}:
        shown = ", ".join(sorted(outputs)[:8]) or "none"
        raise ScoreError(f"model {told.name}: wanted outputs raw and embedding, found {shown}")
    if len(told.inputs) != 1:
        raise ScoreError(f"model {told.name}: wanted one input, found {len(told.inputs)}")
    tensor = told.inputs[0]
    shape, found = list(tensor.shape), f"{tensor.datatype} {list(tensor.shape)[:8]}"
    if tensor.datatype == "UINT8" and shape[1:] == [INPUT_SIZE, INPUT_SIZE, 3]:
        layout = InputLayout.CROPS
    elif tensor.datatype == "FP32" and shape[1:] == [3, INPUT_SIZE, INPUT_SIZE]:
        layout = InputLayout.NORMALISED
    else:
        wanted = " or ".join(InputLayout)
        raise ScoreError(f"model {told.name}: wanted an input {wanted}, found {found}")
    size = properties.get("batch_size", "")
    return RemoteModel(
        name=told.name,
        version=told.versions[-1] if told.versions else "",
        layout=layout,
        input_name=tensor.name,
        model_hash=properties.get("model_hash"),
        group=properties.get("group"),
        batch_size=int(size) if size.isascii() and size.isdigit() else None,
        calibration=properties.get("calibration"),
    )


def encode_crops(
    crops: NDArray[np.uint8], model: RemoteModel, *, camera: str, deadline_ms: int, model_hash: str
) -> bytes:
    """Return the request that scores RGB uint8 crops [N, 112, 112, 3].

    Args:
        deadline_ms: how long an answer is of use, milliseconds.
        model_hash: sha256 of the weights that are expected.
    """
    request = ModelInferRequest(model_name=model.name, model_version=model.version)
    request.parameters[CAMERA].string_param = camera
    request.parameters[DEADLINE_MS].int64_param = deadline_ms
    request.parameters[MODEL_HASH].string_param = model_hash
    if model.layout is InputLayout.CROPS:
        content, datatype = np.ascontiguousarray(crops), "UINT8"
    else:
        pictures = crops.transpose(0, 3, 1, 2).astype("<f4")
        content, datatype = np.ascontiguousarray(pictures / np.float32(127.5) - 1), "FP32"
    request.inputs.add(name=model.input_name, datatype=datatype, shape=content.shape)
    for name in ("raw", "embedding"):
        request.outputs.add(name=name)
    request.raw_input_contents.append(content.tobytes())
    encoded: bytes = request.SerializeToString()
    return encoded


def decode_scores(answer: bytes, count: int) -> RawScores:
    """Read the scores of `count` crops.

    Raises:
        ScoreError: the answer holds no scores of so many crops.
    """
    try:
        told = ModelInferResponse.FromString(answer)
    except DecodeError:
        raise ScoreError("the server's answer is no message of the protocol") from None
    arrays: dict[str, NDArray[Any]] = {}
    for number, output in enumerate(told.outputs):
        raw = told.raw_output_contents[number] if told.raw_output_contents else None
        if output.name in ("raw", "embedding"):
            arrays[output.name] = tensor_of(output, raw)
    if set(arrays) != {"raw", "embedding"}:
        raise ScoreError("the server's answer lacks raw or embedding")
    # Some servers give every output a second dimension.
    scores, embedding = arrays["raw"].reshape(-1), arrays["embedding"]
    if len(scores) != count or embedding.ndim != 2 or len(embedding) != count:
        raise ScoreError(
            f"the server's answer holds {len(scores)} scores and embeddings of shape "
            f"{list(embedding.shape)}; wanted {count}"
        )
    return RawScores(scores.astype(np.float64), embedding.astype(np.float32))


def tensor_of(output: Any, raw: bytes | None) -> NDArray[Any]:
    """Return a tensor of floats, from its raw bytes or from its typed contents.

    Raises:
        ScoreError: its shape and its content do not fit.
    """
    dtype = _FLOATS.get(output.datatype)
    shape = tuple(output.shape)
    if dtype is None or any(size < 0 for size in shape):
        raise ScoreError(f"output {output.name}: wanted floats, found {output.datatype} {shape}")
    if raw is None:
        contents = output.contents
        values = contents.fp64_contents if output.datatype == "FP64" else contents.fp32_contents
        array: NDArray[Any] = np.asarray(values, dtype)
    else:
        if len(raw) % dtype.itemsize:
            raise ScoreError(f"output {output.name}: {len(raw)} bytes are no {output.datatype}")
        array = np.frombuffer(raw, dtype)
    try:
        return array.reshape(shape)
    except ValueError:
        raise ScoreError(
            f"output {output.name}: {array.size} values do not fit shape {list(shape)}"
        ) from None
