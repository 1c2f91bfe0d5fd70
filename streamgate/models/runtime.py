"""onnxruntime as a camera wants it: as many threads as it was given, and none that spins."""

from __future__ import annotations

import onnxruntime

__all__ = ["open_graph"]

_ERRORS_ONLY = 3


def open_graph(model: bytes, *, threads: int, packed: bool = True) -> onnxruntime.InferenceSession:
    """Load an ONNX file to run on the CPU.

    Args:
        model: its bytes.
        threads: for one operator; one is the caller's own. Those that wait sleep.
        packed: keep weights in a second order, faster for many rows at a time, beside the first.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not packed:
        options.add_session_config_entry("session.disable_prepacking", "1")
    # A plan of all activations for each size that was met makes nothing faster here, and takes as
    # much memory again as the activations themselves.
    options.enable_mem_pattern = False
    # Not session.set_denormal_as_zero: it changes the calling thread's arithmetic for good.
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # It keeps the file for the day on which it falls back to another provider; there is none, and
    # most of a file is weights.
    session._model_bytes = None
    return session
