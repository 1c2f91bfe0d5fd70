"""Graphs that are written, and files of others that are amended."""

from __future__ import annotations

import numpy as np
import pytest

from streamgate.models.onnx_format import FormatError, GraphBuilder, with_dynamic_input
from streamgate.models.runtime import open_graph


def doubling(shape: list[int | str]) -> bytes:
    graph = GraphBuilder()
    x = graph.input("x", "float32", shape)
    graph.output(
        graph.node("Mul", x, graph.constant(np.array(2, np.float32))), "y", "float32", shape
    )
    return graph.model({"made": "for a test"})


def test_a_graph_runs_and_holds_what_was_written() -> None:
    """Constants, attributes of every kind, inputs of any size and facts about the file."""
    graph = GraphBuilder()
    x = graph.input("x", "float32", ["rows", 300])
    axes = graph.constant(np.array([-1], np.int64))
    shifted = graph.node("HardSigmoid", x, alpha=0.5, beta=0.25)
    total = graph.node("ReduceSum", graph.node("Transpose", shifted, perm=[1, 0]), axes, keepdims=0)
    graph.output(total, "y", "float32", [300])
    session = open_graph(graph.model({"made": "for a test"}), threads=1)
    values = np.linspace(-1, 1, 900, dtype=np.float32).reshape(3, 300)
    (found,) = session.run(None, {"x": values})
    expected = np.clip(0.5 * values + 0.25, 0, 1).sum(axis=0)
    assert found == pytest.approx(expected, rel=1e-5)
    assert session.get_modelmeta().custom_metadata_map == {"made": "for a test"}


def test_what_is_asked_for_twice_is_there_once() -> None:
    """Constants and nodes alike; other attributes make another node."""
    graph = GraphBuilder()
    x = graph.input("x", "float32", [1])
    assert graph.constant(np.ones(3)) == graph.constant(np.ones(3))
    assert graph.constant(np.ones(3)) != graph.constant(np.ones(3, np.float32))
    assert graph.node("Elu", x, alpha=1.0) == graph.node("Elu", x, alpha=1.0)
    assert graph.node("Elu", x, alpha=1.0) != graph.node("Elu", x, alpha=2.0)


def test_an_input_declared_anew_takes_other_sizes() -> None:
    """And no shape is left that followed from the old one."""
    amended = with_dynamic_input(doubling([2, 2]), ["n", 2])
    (found,) = open_graph(amended, threads=1).run(None, {"x": np.ones((5, 2), np.float32)})
    assert np.array_equal(found, np.full((5, 2), 2.0))


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.6, 0.99])
def test_a_file_cut_short_is_refused(share: float) -> None:
    """Wherever it was cut."""
    whole = doubling([2, 2])
    with pytest.raises(FormatError):
        with_dynamic_input(whole[: int(len(whole) * share)], ["n", 2])


def test_bytes_of_anything_else_are_refused() -> None:
    """Whatever they look like."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        with pytest.raises(FormatError):
            with_dynamic_input(rng.bytes(int(rng.integers(0, 60))), ["n", 2])
