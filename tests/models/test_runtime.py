"""onnxruntime as a camera wants it."""

from __future__ import annotations

import gc
import sys

import numpy as np

from streamgate.models.onnx_format import GraphBuilder
from streamgate.models.runtime import open_graph


def test_a_session_does_not_keep_its_file() -> None:
    """Most of a file is weights, which the session holds in an order of its own."""
    graph = GraphBuilder()
    given = graph.input("given", "float32", [1, 64])
    weights = graph.constant(np.eye(64, dtype=np.float32))
    graph.output(graph.node("MatMul", given, weights), "got", "float32", [1, 64])
    model = graph.model()
    alone = sys.getrefcount(model)
    session = open_graph(model, threads=1)
    gc.collect()
    assert sys.getrefcount(model) == alone
    (got,) = session.run(["got"], {"given": np.ones((1, 64), np.float32)})
    assert np.array_equal(got, np.ones((1, 64), np.float32))
