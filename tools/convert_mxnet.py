"""Convert an MXNet recogniser (symbol and parameters) to ONNX, without MXNet.

An independent recogniser is needed to judge quality scores, and some that may be used freely exist
in MXNet's format only, which has not been installable for years. Plain convolutional networks need
nine operators, each of which has a twin in ONNX.

    python tools/convert_mxnet.py net-symbol.json net.params net.onnx --size 112
"""

from __future__ import annotations

import argparse
import ast
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_LIST_MAGIC = 0x112
_ARRAY_MAGIC = 0xF993FAC9
# MXNet's type flags; others do not occur in recognisers.
_DTYPES: dict[int, np.dtype[Any]] = {0: np.dtype("<f4"), 1: np.dtype("<f8"), 2: np.dtype("<f2")}
# What MXNet takes where a BatchNorm names no eps.
_BATCH_NORM_EPS = 1e-3
_OPSET = 17


class _Reader:
    """Little-endian values, one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        part = self._content[self._at : self._at + size]
        if len(part) < size:
            raise SystemExit("the parameters end too early: fetch the file again")
        self._at += size
        return part

    def number(self, form: str) -> int:
        """Return the next integer, in a format of `struct`."""
        return int(struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0])


def read_parameters(content: bytes) -> dict[str, NDArray[np.float32]]:
    """Return the arrays of a `.params` file by name, without the prefixes `arg:` and `aux:`."""
    reader = _Reader(content)
    if reader.number("Q") != _LIST_MAGIC:
        raise SystemExit("not a list of MXNet arrays: expected the magic number 0x112")
    reader.take(8)
    arrays = [_read_array(reader) for _ in range(reader.number("Q"))]
    names = [reader.take(reader.number("Q")).decode() for _ in range(reader.number("Q"))]
    return {name.split(":", 1)[-1]: array for name, array in zip(names, arrays, strict=True)}


def _read_array(reader: _Reader) -> NDArray[np.float32]:
    if reader.number("I") != _ARRAY_MAGIC or reader.number("i") != 0:
        raise SystemExit("an array is sparse or of another version: only dense arrays are read")
    shape = [reader.number("q") for _ in range(reader.number("I"))]
    reader.take(8)  # the device that it was saved from
    dtype = _DTYPES[reader.number("i")]
    content = reader.take(int(np.prod(shape)) * dtype.itemsize)
    return np.asarray(np.frombuffer(content, dtype).reshape(shape), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Operator:
    """One node of the symbol's graph."""

    name: str
    inputs: list[str]
    attributes: Mapping[str, Any]

    def pair(self, key: str, default: int) -> list[int]:
        """Return a pair of integers, written as a tuple's text."""
        return list(ast.literal_eval(self.attributes.get(key, f"({default}, {default})")))

    def flag(self, key: str) -> bool:
        """Return a switch."""
        return self.attributes.get(key, "False") in ("True", "1")


class Graph:
    """The ONNX graph while it grows."""

    def __init__(self, parameters: dict[str, NDArray[np.float32]]) -> None:
        self.parameters = parameters
        self.nodes: list[onnx.NodeProto] = []

    def add(self, kind: str, operator: _Operator, inputs: list[str], **attributes: Any) -> None:
        """Append a node whose output has the operator's name."""
        self.nodes.append(
            helper.make_node(kind, inputs, [operator.name], name=operator.name, **attributes)
        )

    def constant(self, operator: _Operator) -> str:
        """Store the operator's scalar and return its name."""
        name = f"{operator.name}_scalar"
        self.parameters[name] = np.array(float(operator.attributes["scalar"]), np.float32)
        return name

    def convolution(self, operator: _Operator) -> None:
        """Convolution, perhaps with groups."""
        self.add(
            "Conv",
            operator,
            operator.inputs,
            kernel_shape=operator.pair("kernel", 1),
            strides=operator.pair("stride", 1),
            pads=operator.pair("pad", 0) * 2,
            group=int(operator.attributes.get("num_group", 1)),
        )

    def batch_norm(self, operator: _Operator) -> None:
        """BatchNorm with its running statistics."""
        if operator.attributes.get("fix_gamma", "True") == "True":
            gamma = operator.inputs[1]
            self.parameters[gamma] = np.ones_like(self.parameters[gamma])
        epsilon = float(operator.attributes.get("eps", _BATCH_NORM_EPS))
        self.add("BatchNormalization", operator, operator.inputs, epsilon=epsilon)

    def fully_connected(self, operator: _Operator) -> None:
        """A linear layer; MXNet keeps its weight as [out, in]."""
        self.add("Gemm", operator, operator.inputs, transB=1)

    def scalar(self, kind: str) -> Callable[[_Operator], None]:
        """Return the rule for an operation with a number."""
        return lambda operator: self.add(
            kind, operator, [operator.inputs[0], self.constant(operator)]
        )

    def rules(self) -> Mapping[str, Callable[[_Operator], None]]:
        """Return how each MXNet operator is written in ONNX."""
        return {
            "_minus_scalar": self.scalar("Sub"),
            "_mul_scalar": self.scalar("Mul"),
            "_maximum_scalar": self.scalar("Max"),
            "_minimum_scalar": self.scalar("Min"),
            "Convolution": self.convolution,
            "BatchNorm": self.batch_norm,
            "FullyConnected": self.fully_connected,
            "elemwise_add": lambda operator: self.add("Add", operator, operator.inputs),
            "Flatten": lambda operator: self.add("Flatten", operator, operator.inputs, axis=1),
        }


def convert(
    symbol: Mapping[str, Any], parameters: dict[str, NDArray[np.float32]], size: int
) -> onnx.ModelProto:
    """Return the network as ONNX: `data` [N, 3, size, size] to its first head."""
    nodes = symbol["nodes"]
    graph = Graph(dict(parameters))
    rules = graph.rules()
    for node in nodes:
        if node["op"] == "null":
            continue
        if node["op"] not in rules:
            raise SystemExit(f"operator {node['op']} is not known here: add its rule")
        inputs = [nodes[index[0]]["name"] for index in node["inputs"]]
        rules[node["op"]](_Operator(node["name"], inputs, node.get("attrs", {})))
    output = nodes[symbol["heads"][0][0]]["name"]
    used = {name for node in graph.nodes for name in node.input}
    initializers = [
        numpy_helper.from_array(array, name)
        for name, array in graph.parameters.items()
        if name in used
    ]
    picture = helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, size, size])
    embedding = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", None])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "recogniser", [picture], [embedding], initializers),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return model


def main() -> None:
    """Convert the files that are named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("symbol", type=Path, help="network description, JSON")
    parser.add_argument("parameters", type=Path, help="its .params file")
    parser.add_argument("output", type=Path, help="the ONNX file to write")
    parser.add_argument("--size", type=int, default=112, help="height and width of the input")
    arguments = parser.parse_args()
    parameters = read_parameters(arguments.parameters.read_bytes())
    symbol = json.loads(arguments.symbol.read_text())
    onnx.save(convert(symbol, parameters, arguments.size), arguments.output)


if __name__ == "__main__":
    main()
