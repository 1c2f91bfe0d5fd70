"""A tiny recogniser as an ONNX file, exported for a batch of one as many are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

EMBEDDING_SIZE = 16


def write_teacher(folder: Path, *, frozen_batch: bool = True, denormal: bool = False) -> Path:
    """Write a network of one convolution and one linear layer; its input is [1, 3, 28, 28]."""
    rng = np.random.default_rng(3)
    kernel = rng.normal(0, 0.3, (8, 3, 4, 4)).astype(np.float32)
    if denormal:
        kernel[0] = 1e-40
    linear = rng.normal(0, 0.1, (8 * 49, EMBEDDING_SIZE)).astype(np.float32)
    batch = 1 if frozen_batch else "n"
    nodes = [
        helper.make_node("Conv", ["picture", "kernel"], ["maps"], strides=[4, 4]),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node("Reshape", ["active", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "linear"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [batch, 3, 28, 28])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, EMBEDDING_SIZE])],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(linear, "linear"),
            numpy_helper.from_array(np.array([1, 8 * 49], dtype=np.int64), "shape"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "teacher.onnx"
    onnx.save(model, path)
    return path


def write_crops(folder: Path, *, people: int, pictures_each: int) -> Path:
    """Write a folder of crops, one subfolder for each person: blobs that keep their places."""
    for person in range(people):
        rng = np.random.default_rng(person)
        face = cv2.resize(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8), (112, 112))
        for picture in range(pictures_each):
            grain = np.random.default_rng((person, picture)).normal(0, 8, face.shape)
            path = folder / f"person{person}" / f"{picture}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.clip(face + grain, 0, 255).astype(np.uint8))
    return folder
