"""ONNX files in onnxruntime, without TensorFlow or rnnzoo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Tensors = dict[str, np.ndarray]


def onnx_session(path: Path, threads: int) -> Any:
    """A session of so many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def onnx_run(session: Any) -> Callable[[Tensors], Tensors]:
    """Named arrays to named arrays; those that the graph does not take are left out."""
    names = [value.name for value in session.get_outputs()]
    given = [value.name for value in session.get_inputs()]

    def run(tensors: Tensors) -> Tensors:
        return dict(zip(names, session.run(names, {n: tensors[n] for n in given}), strict=True))

    return run
