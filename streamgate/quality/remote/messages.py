"""The messages of the Open Inference Protocol v2 and of gRPC's health checking.

They are described here field by field and built when this module is imported. Generated code would
be tied to one major version of protobuf, which other libraries in the same process decide; numbers
and types of the fields are fixed by the protocols. The pool is our own, so that another library's
description of the same messages cannot collide with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = [
    "HEALTH_SERVICE",
    "SERVICE",
    "HealthCheckRequest",
    "HealthCheckResponse",
    "ModelInferRequest",
    "ModelInferResponse",
    "ModelMetadataRequest",
    "ModelMetadataResponse",
    "ModelReadyRequest",
    "ModelReadyResponse",
    "ServerLiveResponse",
    "ServerMetadataResponse",
    "ServerReadyResponse",
]

SERVICE: Final = "inference.GRPCInferenceService"
HEALTH_SERVICE: Final = "grpc.health.v1.Health"

_Field = descriptor_pb2.FieldDescriptorProto
_TYPES: Mapping[str, int] = {
    "bool": _Field.TYPE_BOOL,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
    "float": _Field.TYPE_FLOAT,
    "double": _Field.TYPE_DOUBLE,
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
}

# A field is "name type number"; "*" after the type repeats it, "map" maps texts to messages.
_NAME_AND_VERSION = ("name string 1", "version string 2")
_PARAMETERS = "parameters map:InferParameter"
_TENSOR = ("name string 1", "datatype string 2", "shape int64* 3")
_INFERENCE: Mapping[str, tuple[str, ...]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("live bool 1",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("ready bool 1",),
    "ModelReadyRequest": _NAME_AND_VERSION,
    "ModelReadyResponse": ("ready bool 1",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": (*_NAME_AND_VERSION, "extensions string* 3"),
    "ModelMetadataRequest": _NAME_AND_VERSION,
    "TensorMetadata": _TENSOR,
    "ModelMetadataResponse": (
        "name string 1",
        "versions string* 2",
        "platform string 3",
        "inputs TensorMetadata* 4",
        "outputs TensorMetadata* 5",
        "properties map:string 6",
    ),
    "InferParameter": (
        "bool_param bool 1 parameter_choice",
        "int64_param int64 2 parameter_choice",
        "string_param string 3 parameter_choice",
        "double_param double 4 parameter_choice",
        "uint64_param uint64 5 parameter_choice",
    ),
    "InferTensorContents": (
        "bool_contents bool* 1",
        "int_contents int32* 2",
        "int64_contents int64* 3",
        "uint_contents uint32* 4",
        "uint64_contents uint64* 5",
        "fp32_contents float* 6",
        "fp64_contents double* 7",
        "bytes_contents bytes* 8",
    ),
    "InferInputTensor": (*_TENSOR, f"{_PARAMETERS} 4", "contents InferTensorContents 5"),
    "InferRequestedOutputTensor": ("name string 1", f"{_PARAMETERS} 2"),
    "ModelInferRequest": (
        "model_name string 1",
        "model_version string 2",
        "id string 3",
        f"{_PARAMETERS} 4",
        "inputs InferInputTensor* 5",
        "outputs InferRequestedOutputTensor* 6",
        "raw_input_contents bytes* 7",
    ),
    "InferOutputTensor": (*_TENSOR, f"{_PARAMETERS} 4", "contents InferTensorContents 5"),
    "ModelInferResponse": (
        "model_name string 1",
        "model_version string 2",
        "id string 3",
        f"{_PARAMETERS} 4",
        "outputs InferOutputTensor* 5",
        "raw_output_contents bytes* 6",
    ),
}
_HEALTH: Mapping[str, tuple[str, ...]] = {
    "HealthCheckRequest": ("service string 1",),
    # An enumeration on the wire: 0 unknown, 1 serving, 2 not serving, 3 service unknown.
    "HealthCheckResponse": ("status int32 1",),
}


def _describe(
    file: str, package: str, messages: Mapping[str, tuple[str, ...]]
) -> descriptor_pb2.FileDescriptorProto:
    described = descriptor_pb2.FileDescriptorProto(name=file, package=package, syntax="proto3")
    for name, fields in messages.items():
        message = described.message_type.add(name=name)
        for field in fields:
            _add_field(message, package, field)
    return described


def _add_field(message: descriptor_pb2.DescriptorProto, package: str, text: str) -> None:
    name, kind, number, *oneof = text.split()
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if kind.endswith("*"):
        kind = kind.removesuffix("*")
        field.label = _Field.LABEL_REPEATED
    if kind.startswith("map:"):
        # On the wire a map is a repeated message of keys and values.
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _add_field(entry, package, "key string 1")
        _add_field(entry, package, f"value {kind.removeprefix('map:')} 2")
        field.label = _Field.LABEL_REPEATED
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{package}.{message.name}.{entry.name}"
    elif kind in _TYPES:
        field.type = _TYPES[kind]  # type: ignore[assignment] # an enumeration's number
    else:
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{package}.{kind}"
    if oneof:
        if not message.oneof_decl:
            message.oneof_decl.add(name=oneof[0])
        field.oneof_index = 0


def _built(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(name))


_pool = descriptor_pool.DescriptorPool()
_pool.Add(_describe("inference.proto", "inference", _INFERENCE))
_pool.Add(_describe("health.proto", "grpc.health.v1", _HEALTH))

ServerLiveResponse: Any = _built("inference.ServerLiveResponse")
ServerReadyResponse: Any = _built("inference.ServerReadyResponse")
ServerMetadataResponse: Any = _built("inference.ServerMetadataResponse")
ModelReadyRequest: Any = _built("inference.ModelReadyRequest")
ModelReadyResponse: Any = _built("inference.ModelReadyResponse")
ModelMetadataRequest: Any = _built("inference.ModelMetadataRequest")
ModelMetadataResponse: Any = _built("inference.ModelMetadataResponse")
ModelInferRequest: Any = _built("inference.ModelInferRequest")
ModelInferResponse: Any = _built("inference.ModelInferResponse")
HealthCheckRequest: Any = _built("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse: Any = _built("grpc.health.v1.HealthCheckResponse")
