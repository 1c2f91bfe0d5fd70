"""From a client's bytes to a checked call, and from scores to an answer: pure.

Nothing that a client sends is believed: every refusal has gRPC's exact status and says what was
wanted. Texts of a client are not repeated in messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from streamgate.quality.layout import INPUT_SIZE
from streamgate.quality.remote.messages import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataResponse,
)
from streamgate.quality.remote.tensors import CAMERA, DEADLINE_MS, MODEL_HASH
from streamgate.values import Scores
from streamgate.values.reasons import ServiceRefusal

__all__ = [
    "CROP_BYTES",
    "EXTENSIONS",
    "INPUT",
    "OUTPUTS",
    "InferCall",
    "RefusedError",
    "ServedModel",
    "describe",
    "encode_scores",
    "read_call",
    "require_model",
]

CROP_BYTES = INPUT_SIZE * INPUT_SIZE * 3
INPUT = "crops"
OUTPUTS = ("raw", "quality", "embedding")
EXTENSIONS: tuple[str, ...] = ()
VERSION = "1"
_CAMERA = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LONGEST_ID = 256


class RefusedError(Exception):
    """A request is not answered with scores.

    Attributes:
        code: gRPC's status.
        reason: the label of the metric.
    """

    def __init__(self, code: grpc.StatusCode, reason: ServiceRefusal, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What the service scores with.

    Attributes:
        name: in the protocol.
        model_hash: sha256 of the weights.
        group: where the gradient is taken.
        calibration: sha256 of the calibration, or "none".
        batch_size: the most crops of a request.
        embedding_size: E.
        backbone: the published name of the network's layout, or its depths.
        precision: of the network.
    """

    name: str
    model_hash: str
    group: str
    calibration: str
    batch_size: int
    embedding_size: int
    backbone: str
    precision: str


@dataclass(frozen=True, slots=True, eq=False)
class InferCall:
    """A checked request.

    Attributes:
        crops: RGB uint8 [N, 112, 112, 3], 1 ≤ N ≤ batch_size.
        camera: who asks; empty where it was not said.
        deadline_ms: how long an answer is of use; None where it was not said.
        request_id: repeated in the answer.
        outputs: wanted outputs, in order.
    """

    crops: NDArray[np.uint8]
    camera: str
    deadline_ms: int | None
    request_id: str
    outputs: tuple[str, ...]


def require_model(model: ServedModel, name: str, version: str) -> None:
    """Raise unless the model of this name and version is served."""
    if name != model.name:
        raise RefusedError(
            grpc.StatusCode.NOT_FOUND,
            ServiceRefusal.UNKNOWN_MODEL,
            f"no model of this name is served; wanted {model.name}",
        )
    if version not in ("", VERSION):
        raise RefusedError(
            grpc.StatusCode.NOT_FOUND,
            ServiceRefusal.UNKNOWN_MODEL,
            f"no such version of {model.name} is served; wanted {VERSION}, or none",
        )


def describe(model: ServedModel) -> bytes:
    """Return the model's metadata."""
    told = ModelMetadataResponse(
        name=model.name, versions=[VERSION], platform=f"streamgate_{model.backbone}"
    )
    told.inputs.add(name=INPUT, datatype="UINT8", shape=[-1, INPUT_SIZE, INPUT_SIZE, 3])
    told.outputs.add(name="raw", datatype="FP32", shape=[-1])
    told.outputs.add(name="quality", datatype="FP32", shape=[-1])
    told.outputs.add(name="embedding", datatype="FP32", shape=[-1, model.embedding_size])
    told.properties["model_hash"] = model.model_hash
    told.properties["group"] = model.group
    told.properties["calibration"] = model.calibration
    told.properties["batch_size"] = str(model.batch_size)
    told.properties["precision"] = model.precision
    encoded: bytes = told.SerializeToString()
    return encoded


def read_call(data: bytes, model: ServedModel) -> InferCall:
    """Read and check a request.

    Raises:
        RefusedError: with the status that the client is given.
    """
    try:
        request = ModelInferRequest.FromString(data)
    except DecodeError:
        raise _malformed("wanted a ModelInferRequest of the Open Inference Protocol") from None
    require_model(model, request.model_name, request.model_version)
    wanted_hash = _parameter(request, MODEL_HASH, "string_param") or model.model_hash
    if wanted_hash != model.model_hash:
        raise RefusedError(
            grpc.StatusCode.FAILED_PRECONDITION,
            ServiceRefusal.OTHER_MODEL,
            f"these weights are {model.model_hash[:12]}…, and the request expects others",
        )
    camera = _parameter(request, CAMERA, "string_param") or ""
    if camera and not _CAMERA.fullmatch(camera):
        raise _malformed(
            f"parameter {CAMERA}: wanted letters, digits, '.', '_' and '-', at most 63"
        )
    deadline_ms = _parameter(request, DEADLINE_MS, "int64_param")
    if deadline_ms is not None and deadline_ms < 0:
        raise _malformed(f"parameter {DEADLINE_MS}: wanted 0 or more")
    if len(request.id) > _LONGEST_ID:
        raise _malformed(f"id: wanted at most {_LONGEST_ID} characters")
    return InferCall(
        crops=_crops(request, model),
        camera=camera,
        deadline_ms=deadline_ms,
        request_id=request.id,
        outputs=_outputs(request),
    )


def encode_scores(call: InferCall, scores: Scores, model: ServedModel) -> bytes:
    """Return the answer with the outputs that were asked for."""
    arrays = {"raw": scores.raw, "quality": scores.quality, "embedding": scores.embedding}
    told = ModelInferResponse(model_name=model.name, model_version=VERSION, id=call.request_id)
    for name in call.outputs:
        array = np.ascontiguousarray(arrays[name], "<f4")
        told.outputs.add(name=name, datatype="FP32", shape=array.shape)
        told.raw_output_contents.append(array.tobytes())
    encoded: bytes = told.SerializeToString()
    return encoded


def _parameter(request: Any, name: str, kind: str) -> Any:
    if name not in request.parameters:
        return None
    parameter = request.parameters[name]
    if parameter.WhichOneof("parameter_choice") != kind:
        raise _malformed(f"parameter {name}: wanted a {kind}")
    return getattr(parameter, kind)


def _crops(request: Any, model: ServedModel) -> NDArray[np.uint8]:
    if len(request.inputs) != 1 or request.inputs[0].name != INPUT:
        raise _malformed(f"inputs: wanted one, called {INPUT}")
    tensor, raw = request.inputs[0], request.raw_input_contents
    if tensor.datatype != "UINT8":
        raise _malformed(f"input {INPUT}: wanted datatype UINT8")
    shape = list(tensor.shape)
    if len(shape) != 4 or shape[1:] != [INPUT_SIZE, INPUT_SIZE, 3]:
        raise _malformed(f"input {INPUT}: wanted shape [N, {INPUT_SIZE}, {INPUT_SIZE}, 3]")
    count = shape[0]
    if not 1 <= count <= model.batch_size:
        raise _malformed(f"input {INPUT}: wanted 1 to {model.batch_size} crops")
    if len(raw) != 1 or len(raw[0]) != count * CROP_BYTES:
        raise _malformed(
            f"raw_input_contents: wanted one entry of {count} × {CROP_BYTES} bytes, RGB"
        )
    return np.frombuffer(raw[0], np.uint8).reshape(shape)


def _outputs(request: Any) -> tuple[str, ...]:
    names = tuple(output.name for output in request.outputs)
    if not names:
        return OUTPUTS
    if len(set(names)) != len(names) or not set(names) <= set(OUTPUTS):
        raise _malformed(f"outputs: wanted some of {', '.join(OUTPUTS)}, each once")
    return names


def _malformed(message: str) -> RefusedError:
    return RefusedError(grpc.StatusCode.INVALID_ARGUMENT, ServiceRefusal.MALFORMED, message)
