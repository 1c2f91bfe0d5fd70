"""The operations of the score as the nodes of a graph, for a CPU.

onnxruntime keeps pictures in blocks of channels, in which its convolutions are fast, for as long as
every operator on the way knows that order. PRelu does not, and reordering there and back costs a
third of a small network; convolutions of single channels (scale and shift), Relu and HardSigmoid
do, and PRelu is made of these:

    prelu(x) = slope · x + (1 - slope) · relu(x) = x · (slope + (1 - slope) · step(x))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from streamgate.models.onnx_format import GraphBuilder, Shape, Value
from streamgate.quality.grafiqs import GROUPS, Grafiqs, Group, embedding_head
from streamgate.quality.layout import FINAL_SIZE, INPUT_SIZE, Layout
from streamgate.quality.operations import Array, Statistics
from streamgate.quality.parameters import FloatArray, Parameters

__all__ = [
    "EMBEDDING",
    "FEATURES",
    "SALIENCY",
    "GraphOperations",
    "grafiqs_graph",
    "head_graph",
]

EMBEDDING, FEATURES, SALIENCY = "embedding", "features", "saliency"
"""Names of outputs; each group's score has the group's name."""
_FLOAT32 = 1
_STEEP = 1e30
_BATCH = "N"


def grafiqs_graph(  # noqa: PLR0913 # one name per choice
    tensors: Mapping[str, FloatArray],
    layout: Layout,
    tap: Group,
    *,
    batch: int | None = None,
    blocked: bool = True,
    alone: bool = False,
    head: bool = True,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Return the score of one group and of every later one as an ONNX file.

    Its input is `crops`, RGB uint8 [N, 112, 112, 3]; its outputs are `block4` [N] and the groups
    before it as far as the tap, `embedding` [N, E] and, where the tap is the image, `saliency`
    [N, 112, 112], float32.

    Args:
        tensors: the network's, by published name.
        layout: which network it is.
        tap: the earliest group that is wanted.
        batch: N, where it is always the same.
        blocked: prefer operators that know blocks of channels; without, a graph of the operators
            that every runtime calls by these names.
        head: give the embedding; without, `features` [N, C, 7, 7], of which `head_graph` makes it,
            and `saliency` whatever the tap, in its own size.
        alone: give the tap's score only, under the name `raw`.
        metadata: written into the file.
    """
    graph = GraphBuilder()
    count: int | str = batch or _BATCH
    operations = GraphOperations(graph, blocked=blocked)
    grafiqs = Grafiqs(operations, Parameters(tensors), layout, tap)
    crops = graph.input("crops", "uint8", [count, INPUT_SIZE, INPUT_SIZE, 3])
    saliency = tap is Group.IMAGE or not head
    scores = grafiqs(operations.normalised(crops), head=head, saliency=saliency)
    named = {"raw": scores.raw[tap]} if alone else dict(scores.raw)
    for name, value in named.items():
        graph.output(value, name, "float32", [count])
    if scores.features is not None:
        shape = [count, layout.widths[-1], FINAL_SIZE, FINAL_SIZE]
        graph.output(scores.features, FEATURES, "float32", shape)
    if scores.embedding is not None:
        graph.output(scores.embedding, EMBEDDING, "float32", [count, layout.embedding_size])
    if scores.saliency is not None:
        size = INPUT_SIZE >> GROUPS.index(tap)
        graph.output(scores.saliency, SALIENCY, "float32", [count, size, size])
    return graph.model(metadata)


def head_graph(tensors: Mapping[str, FloatArray], layout: Layout) -> bytes:
    """Return the layers from `features` [N, C, 7, 7] to `embedding` [N, E] as an ONNX file.

    Most of a small network's weights lie here, and many pictures at once read them once.
    """
    graph = GraphBuilder()
    operations = GraphOperations(graph, blocked=True)
    shape: Shape = [_BATCH, layout.widths[-1], FINAL_SIZE, FINAL_SIZE]
    features = graph.input(FEATURES, "float32", shape)
    embedding = embedding_head(operations, Parameters(tensors))(features)
    graph.output(embedding, EMBEDDING, "float32", [_BATCH, layout.embedding_size])
    return graph.model()


class GraphOperations:
    """Operations that add nodes to a graph; see `grafiqs_graph` for `blocked`."""

    def __init__(self, graph: GraphBuilder, *, blocked: bool) -> None:
        self._graph = graph
        self._blocked = blocked
        self._positions = graph.constant(np.array([2, 3], np.int64))
        self._channels = graph.constant(np.array([1], np.int64))
        self._all = graph.constant(np.array([1, 2, 3], np.int64))

    def normalised(self, crops: Value) -> Value:
        """Return pictures [N, 3, 112, 112] in -1..1 for uint8 crops [N, 112, 112, 3]."""
        node = self._graph.node
        pictures = node("Transpose", node("Cast", crops, to=_FLOAT32), perm=[0, 3, 1, 2])
        return node("Sub", node("Div", pictures, self._scalar(127.5)), self._scalar(1.0))

    def convolution(
        self, weight: Array, bias: Array | None, *, stride: int, size: int, differentiable: bool
    ) -> _Convolution:
        """See `Operations`."""
        del size
        return _Convolution(self._graph, weight, bias, stride, differentiable)

    def affine(self, scale: Array, shift: Array) -> _Affine:
        """See `Operations`."""
        return _Affine(self, scale, shift)

    def prelu(self, slope: Array, *, differentiable: bool) -> _Prelu:
        """See `Operations`."""
        return _Prelu(self, slope, differentiable)

    def linear(self, weight: Array, bias: Array) -> _Linear:
        """See `Operations`."""
        return _Linear(self._graph, weight.reshape(len(weight), -1), bias)

    def constant(self, values: Array) -> Value:
        """See `Operations`."""
        return self._graph.constant(values.astype(np.float32)[None, :, None, None])

    def statistics(self, x: Value) -> Statistics[Value]:
        """See `Operations`."""
        node = self._graph.node
        mean = node("ReduceMean", x, self._positions, keepdims=1)
        centred = node("Sub", x, mean)
        variance = node("ReduceMean", node("Mul", centred, centred), self._positions, keepdims=1)
        return Statistics(mean, variance, centred, x)

    def scaled_difference(self, x: Value, y: Value, factor: float) -> Value:
        """See `Operations`."""
        node = self._graph.node
        return node("Mul", node("Sub", x, y), self._scalar(factor))

    def multiply_add(self, base: Value, x: Value, y: Value) -> Value:
        """See `Operations`."""
        return self._graph.node("Add", self._graph.node("Mul", x, y), base)

    def add(self, x: Value, y: Value) -> Value:
        """See `Operations`."""
        return self._graph.node("Add", x, y)

    def magnitude(self, x: Value) -> Value:
        """See `Operations`."""
        return self._graph.node("ReduceL1", x, self._all, keepdims=0)

    def saliency(self, x: Value) -> Value:
        """See `Operations`."""
        return self._graph.node("ReduceL1", x, self._channels, keepdims=0)

    def unit_length(self, x: Value) -> Value:
        """See `Operations`."""
        return self._graph.node("LpNormalization", x, axis=1, p=2)

    def scaled(self, x: Value, scale: Array, shift: Array | None = None) -> Value:
        """Return scale · x + shift, both [C], as a convolution of single channels."""
        inputs = [x, self._graph.constant(scale.astype(np.float32)[:, None, None, None])]
        if shift is not None:
            inputs.append(self._graph.constant(shift.astype(np.float32)))
        return self._graph.node("Conv", *inputs, kernel_shape=[1, 1], group=len(scale))

    def _scalar(self, value: float) -> Value:
        return self._graph.constant(np.array(value, np.float32))

    @property
    def graph(self) -> GraphBuilder:
        """The graph that they add to."""
        return self._graph

    @property
    def blocked(self) -> bool:
        """As given."""
        return self._blocked


@dataclass(frozen=True, slots=True, eq=False)
class _Convolution:
    graph: GraphBuilder
    weight: Array
    bias: Array | None
    stride: int
    differentiable: bool

    def __call__(self, x: Value, /, *, add: Value | None = None) -> Value:
        out = self._convolve(x, self.weight, self.bias, self.stride)
        return out if add is None else self.graph.node("Add", out, add)

    def input_gradient(self, gradient: Value, /) -> Value:
        assert self.differentiable
        if self.stride == 1:
            flipped = self.weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
            return self._convolve(gradient, flipped, None, 1)
        side = self.weight.shape[-1]
        padding = side // 2
        # The input is even: output padding asks for the last row, which the stride skipped.
        return self.graph.node(
            "ConvTranspose",
            gradient,
            self.graph.constant(self.weight.astype(np.float32)),
            kernel_shape=[side, side],
            pads=[padding] * 4,
            strides=[self.stride] * 2,
            output_padding=[self.stride - 1] * 2,
        )

    def _convolve(self, x: Value, weight: Array, bias: Array | None, stride: int) -> Value:
        side = weight.shape[-1]
        inputs = [x, self.graph.constant(weight.astype(np.float32))]
        if bias is not None:
            inputs.append(self.graph.constant(bias.astype(np.float32)))
        return self.graph.node(
            "Conv",
            *inputs,
            kernel_shape=[side, side],
            pads=[side // 2] * 4,
            strides=[stride] * 2,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Affine:
    operations: GraphOperations
    scale: Array
    shift: Array

    def __call__(self, x: Value, /) -> Value:
        return self.operations.scaled(x, self.scale, self.shift)

    def of(self, statistics: Statistics[Value], /) -> Value:
        assert statistics.original is not None
        return self(statistics.original)

    def add_scaled(self, base: Value, gradient: Value, /) -> Value:
        return self.operations.add(self.operations.scaled(gradient, self.scale), base)


@dataclass(frozen=True, slots=True, eq=False)
class _Prelu:
    operations: GraphOperations
    slope: Array
    differentiable: bool

    def __call__(self, x: Value, /) -> Value:
        operations, node = self.operations, self.operations.graph.node
        if not operations.blocked:
            return node("PRelu", x, self._shaped(self.slope))
        if self.differentiable:
            # The way back needs the factor anyway.
            return node("Mul", x, self._factor(x))
        right = operations.scaled(node("Relu", x), 1.0 - self.slope)
        return operations.add(operations.scaled(x, self.slope), right)

    def gradient(self, gradient: Value, x: Value, /) -> Value:
        return self.operations.graph.node("Mul", gradient, self._factor(x))

    def _factor(self, x: Value) -> Value:
        """Return 1 right of zero and the slope elsewhere."""
        operations, graph = self.operations, self.operations.graph
        if operations.blocked:
            # From 0 to 1 at zero, as steeply as single precision can tell.
            copy = operations.scaled(x, np.ones_like(self.slope))
            step = graph.node("HardSigmoid", copy, alpha=_STEEP, beta=0.0)
            return operations.scaled(step, 1.0 - self.slope, self.slope)
        zero, one = (graph.constant(np.array(value, np.float32)) for value in (0, 1))
        return graph.node("Where", graph.node("Greater", x, zero), one, self._shaped(self.slope))

    def _shaped(self, values: Array) -> Value:
        return self.operations.graph.constant(values.astype(np.float32)[:, None, None])


@dataclass(frozen=True, slots=True, eq=False)
class _Linear:
    graph: GraphBuilder
    weight: Array
    bias: Array

    def __call__(self, x: Value, /) -> Value:
        weight = self.graph.constant(np.ascontiguousarray(self.weight.astype(np.float32)))
        bias = self.graph.constant(self.bias.astype(np.float32))
        return self.graph.node("Gemm", self.graph.node("Flatten", x), weight, bias, transB=1)
