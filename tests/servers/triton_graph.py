# mypy: ignore-errors
# ruff: noqa: T201 # the test reads what it prints
"""Serve an exported graph by Triton's core; run by a Python that has pytriton, not by the tests'.

    python triton_graph.py GRAPH MODEL_NAME GRPC_PORT HTTP_PORT

Every batch's size is printed, one a line.
"""

import sys

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

_, graph, name, grpc_port, http_port = sys.argv
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
size = session.get_outputs()[1].shape[-1]


@batch
def infer(crops):
    print(f"batch {len(crops)}", flush=True)
    raw, embedding = session.run(["raw", "embedding"], {"crops": crops})
    return {"raw": raw.reshape(-1, 1), "embedding": embedding}


config = TritonConfig(grpc_port=int(grpc_port), http_port=int(http_port), allow_metrics=False)
with Triton(config=config) as triton:
    triton.bind(
        model_name=name,
        infer_func=infer,
        inputs=[Tensor(name="crops", dtype=np.uint8, shape=(112, 112, 3))],
        outputs=[
            Tensor(name="raw", dtype=np.float32, shape=(1,)),
            Tensor(name="embedding", dtype=np.float32, shape=(int(size),)),
        ],
        # Triton's default of no delay; what waits while a batch is computed goes together.
        config=ModelConfig(max_batch_size=16, batcher=DynamicBatcher()),
    )
    print("serving", flush=True)
    triton.serve()
