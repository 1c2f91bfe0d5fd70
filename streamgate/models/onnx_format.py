"""As much of the ONNX file format as a graph needs that is made, or amended, at run time.

A file in this format is nested protocol-buffer messages: fields of a number, a wire type and a
value. Writing one takes a few lines, and a camera that does so needs neither the `onnx` package nor
what that brings along. Field numbers are those of onnx.proto (ONNX IR version 10).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["AnyArray", "FormatError", "GraphBuilder", "Shape", "Value", "with_dynamic_input"]

AnyArray: TypeAlias = (
    NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int64] | NDArray[np.uint8]
)
Shape: TypeAlias = Sequence[int | str]
"""Sizes; a text names one that is only known when the graph runs."""
Value: TypeAlias = str
"""The name of what flows along an edge of a graph."""

_IR_VERSION = 10
_OPSET_VERSION = 18
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ELEMENT_TYPES = {"float32": 1, "uint8": 2, "int64": 7, "float64": 11}
_FLOAT_ATTRIBUTE, _INT_ATTRIBUTE, _TEXT_ATTRIBUTE, _INTS_ATTRIBUTE = 1, 2, 3, 7
_GRAPH_OF_MODEL = 7
_INPUTS, _OUTPUTS, _VALUE_INFO = 11, 12, 13


class FormatError(ValueError):
    """Bytes that are no ONNX file."""


@dataclass(slots=True, eq=False)
class GraphBuilder:
    """A graph under construction; every method that adds to it returns the new value's name.

    What is asked for twice, constants included, is there once.
    """

    _nodes: list[bytes] = field(default_factory=list)
    _initializers: list[bytes] = field(default_factory=list)
    _inputs: list[bytes] = field(default_factory=list)
    _outputs: list[bytes] = field(default_factory=list)
    _known: dict[tuple[object, ...], Value] = field(default_factory=dict)

    def input(self, name: str, dtype: str, shape: Shape) -> Value:
        """Declare an input."""
        self._inputs.append(_value_info(name, dtype, shape))
        return name

    def output(self, value: Value, name: str, dtype: str, shape: Shape) -> None:
        """Declare an output, and give `value` its name."""
        self._nodes.append(_node("Identity", [value], name, {}))
        self._outputs.append(_value_info(name, dtype, shape))

    def constant(self, values: AnyArray) -> Value:
        """Add a tensor that is part of the graph."""
        digest = hashlib.sha256(values.tobytes()).digest()
        key = ("constant", values.dtype.name, values.shape, digest)
        if key not in self._known:
            self._known[key] = f"c{len(self._known)}"
            self._initializers.append(_tensor(self._known[key], values))
        return self._known[key]

    def node(
        self, operator: str, *inputs: Value, **attributes: float | str | Sequence[int]
    ) -> Value:
        """Add an operator of one output; an empty name leaves an optional input out."""
        key = ("node", operator, inputs, repr(sorted(attributes.items())))
        if key not in self._known:
            self._known[key] = f"v{len(self._known)}"
            self._nodes.append(_node(operator, inputs, self._known[key], attributes))
        return self._known[key]

    def model(self, metadata: Mapping[str, str] | None = None) -> bytes:
        """Return the file's bytes."""
        graph = [_bytes(1, node) for node in self._nodes]
        graph.append(_text(2, "grafiqs"))
        graph += [_bytes(5, tensor) for tensor in self._initializers]
        graph += [_bytes(_INPUTS, value) for value in self._inputs]
        graph += [_bytes(_OUTPUTS, value) for value in self._outputs]
        opset = _text(1, "") + _integer(2, _OPSET_VERSION)
        return b"".join(
            [
                _integer(1, _IR_VERSION),
                _text(2, "streamgate"),
                _bytes(_GRAPH_OF_MODEL, b"".join(graph)),
                _bytes(8, opset),
                *(_bytes(14, _text(1, k) + _text(2, v)) for k, v in (metadata or {}).items()),
            ]
        )


def with_dynamic_input(model: bytes, shape: Shape) -> bytes:
    """Return a model of one float32 input with that input's shape declared anew.

    What the file says about the shapes of outputs and of all between follows from the old shape,
    so it is left out; a runtime finds it out itself.

    Raises:
        FormatError: the bytes are no ONNX file, or its graph has not one input.
    """
    fields = list(_fields(model))
    graphs = [value for number, _, value in fields if number == _GRAPH_OF_MODEL]
    if len(graphs) != 1 or not isinstance(graphs[0], bytes):
        raise FormatError("no graph")
    amended, inputs = [], 0
    for number, raw, value in _fields(graphs[0]):
        if number == _VALUE_INFO:
            continue
        if number in (_INPUTS, _OUTPUTS):
            if not isinstance(value, bytes):
                raise FormatError("an input or output of the wrong kind")
            name = _name_of(value)
            inputs += number == _INPUTS
            raw = _bytes(number, _value_info(name, "float32", shape if number == _INPUTS else None))  # noqa: PLW2901 # the field itself is replaced
        amended.append(raw)
    if inputs != 1:
        raise FormatError(f"{inputs} inputs")
    return b"".join(
        _bytes(number, b"".join(amended)) if number == _GRAPH_OF_MODEL else raw
        for number, raw, _ in fields
    )


def _name_of(value_info: bytes) -> str:
    for number, _, value in _fields(value_info):
        if number == 1 and isinstance(value, bytes):
            return value.decode("utf-8", errors="strict")
    raise FormatError("a value without a name")


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes | int]]:
    """Yield number, whole field and value of each field of a message."""
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        number, wire_type = key >> 3, key & 7
        value: bytes | int
        if wire_type == _VARINT:
            value, at = _read_varint(message, at)
        elif wire_type == _BYTES:
            size, at = _read_varint(message, at)
            value, at = message[at : at + size], at + size
        elif wire_type in (_FIXED32, _FIXED64):
            size = 4 if wire_type == _FIXED32 else 8
            value, at = message[at : at + size], at + size
        else:
            raise FormatError(f"wire type {wire_type}")
        if at > len(message):
            raise FormatError("cut short")
        yield number, message[start:at], value


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(message):
            raise FormatError("cut short")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise FormatError("a number of more than 64 bits")


def _node(
    operator: str,
    inputs: Sequence[Value],
    output: Value,
    attributes: Mapping[str, float | str | Sequence[int]],
) -> bytes:
    parts = [_text(1, name) for name in inputs]
    parts += [_text(2, output), _text(3, output), _text(4, operator)]
    parts += [_bytes(5, _attribute(name, value)) for name, value in attributes.items()]
    return b"".join(parts)


def _attribute(name: str, value: float | str | Sequence[int]) -> bytes:
    head = _text(1, name)
    if isinstance(value, str):
        return head + _text(4, value) + _integer(20, _TEXT_ATTRIBUTE)
    if isinstance(value, float):
        return head + _key(2, _FIXED32) + struct.pack("<f", value) + _integer(20, _FLOAT_ATTRIBUTE)
    if isinstance(value, int):
        return head + _integer(3, value) + _integer(20, _INT_ATTRIBUTE)
    return head + b"".join(_integer(8, item) for item in value) + _integer(20, _INTS_ATTRIBUTE)


def _tensor(name: str, values: AnyArray) -> bytes:
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    return b"".join(
        [
            *(_integer(1, size) for size in values.shape),
            _integer(2, _ELEMENT_TYPES[values.dtype.name]),
            _text(8, name),
            _bytes(9, little.tobytes()),
        ]
    )


def _value_info(name: str, dtype: str, shape: Shape | None) -> bytes:
    tensor = _integer(1, _ELEMENT_TYPES[dtype])
    if shape is not None:
        sizes = (
            _bytes(1, _text(2, size) if isinstance(size, str) else _integer(1, size))
            for size in shape
        )
        tensor += _bytes(2, b"".join(sizes))
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _integer(number: int, value: int) -> bytes:
    return _key(number, _VARINT) + _varint(value)


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _bytes(number: int, value: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(value)) + value


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
