"""Opens a network in the ONNX format on the CPU."""

from __future__ import annotations

from typing import Any

_ERRORS_ONLY = 3


def open_session(network: str | bytes, threads: int) -> Any:
    """onnxruntime's InferenceSession of a file's path or of its bytes, with so many threads.

    Raises onnxruntime's own exceptions for what is no network.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
