"""A recogniser that is shown pictures of another scale than it wants is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from streamgate.lab.crops import read_crops
from streamgate.lab.recogniser import OnnxRecogniser, Preprocessing, doubt_of
from tests import needs
from tests.cli.crops import invoke
from tests.lab.distill.teachers import write_crops
from tests.quality import cases

_SIDE = 28
_SIZE = 64


def write_projection(folder: Path) -> Path:
    """Write a network that projects the centred picture, and adds what it learnt to add."""
    rng = np.random.default_rng(5)
    weight = rng.normal(0, 1, (3 * _SIDE * _SIDE, _SIZE)).astype(np.float32)
    bias = rng.normal(0, 1, _SIZE).astype(np.float32)
    nodes = [
        helper.make_node("Flatten", ["picture"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["projected"]),
        helper.make_node("Add", ["projected", "bias"], ["embedding"]),
    ]
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["n", 3, _SIDE, _SIDE])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", _SIZE])
    values = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")]
    graph = helper.make_graph(nodes, "projection", [picture], [embedding], values)
    path = folder / "projection.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def faces() -> NDArray[np.uint8]:
    return cases.pictures(12, 3)


def test_right_settings_are_not_doubted(tmp_path: Path) -> None:
    """Faces are unlike grey, noise and their own negatives."""
    recogniser = OnnxRecogniser(write_projection(tmp_path), Preprocessing(size=_SIDE))
    assert doubt_of(recogniser, faces()) is None


def test_a_picture_scaled_to_nothing_is_noticed(tmp_path: Path) -> None:
    """Every embedding is then what the network adds to nothing."""
    settings = Preprocessing(size=_SIDE, std=127.5**2)
    doubt = doubt_of(OnnxRecogniser(write_projection(tmp_path), settings), faces())
    assert doubt is not None
    assert "embeddings hardly differ" in doubt
    assert "--recogniser-std" in doubt


@pytest.mark.parametrize(
    ("mean", "std", "doubted"), [(127.5, 127.5, False), (0.0, 1.0, True), (0.5, 0.5, True)]
)
def test_a_published_network_is_doubted_only_where_it_is_shown_another_scale(
    mean: float, std: float, doubted: bool
) -> None:
    """Measured 0.0 with its own, 0.81 with pictures of 0 to 255."""
    path = needs.reference_data("models/teacher-faceplugin-512d.onnx")
    crops = needs.reference_data("data/faces-aligned.tar")
    recogniser = OnnxRecogniser(path, Preprocessing(mean=mean, std=std))
    assert (doubt_of(recogniser, read_crops(crops).images[:12]) is not None) == doubted


def test_calibrate_warns_and_skips_what_is_no_crop(tmp_path: Path) -> None:
    """The scale is that of the others, and the exit code says so."""
    crops = write_crops(tmp_path / "crops", people=6, pictures_each=4)
    (crops / "person0" / "0.png").write_bytes(b"no picture")
    weights = cases.save(tmp_path, cases.TINY, seed=1)
    result = invoke(
        "calibrate", "--images", crops, "--weights", weights, "--out", tmp_path / "c.json",
        "--device", "cpu", "--errors", "--fmr", "0.1", "--recogniser", write_projection(tmp_path),
        "--recogniser-size", _SIDE, "--recogniser-std", 127.5**2,
    )  # fmt: skip
    assert result.exit_code == 1, result.output
    assert "person0/0.png is no crop" in result.stderr
    assert "1 crops were left out" in result.stderr
    assert "warning: projection.onnx: its embeddings hardly differ" in result.stderr
    assert (tmp_path / "c.json").exists()
