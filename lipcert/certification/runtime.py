"""The deployed model: predictions from ONNX Runtime, whatever its batch dimension."""

from __future__ import annotations

import numpy as np

from lipcert.certification.deployed import FOLDER_KEY, needed_part
from lipcert.errors import InputError, LipcertError
from lipcert.graph import Graph


class Runtime:
    """An ONNX Runtime session on the CPU for one model file; ``threads`` 0 leaves it the choice.

    ``as_written`` runs the nodes as they stand in the file, none merged or rewritten.  Raises
    InputError when ONNX Runtime refuses the file.
    """

    def __init__(
        self,
        graph: Graph,
        model: str | bytes,
        *,
        output: str,
        threads: int = 0,
        as_written: bool = False,
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        if as_written:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._graph = graph
        self._output = output
        model, folder = needed_part(model, output)
        if isinstance(model, bytes) and folder:
            options.add_session_config_entry(FOLDER_KEY, folder)
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise InputError(
                graph.name,
                f"ONNX Runtime refuses the model: {_first_line(error)}",
                "check it with onnx.checker",
            ) from error
        self._input = self._session.get_inputs()[0]
        declared = self._input.shape[0] if self._input.shape else None
        self.batch = declared if graph.batched and isinstance(declared, int) else None
        if not graph.batched:
            self.batch = 0
        self._dtype = {"tensor(double)": np.float64, "tensor(float16)": np.float16}.get(
            self._input.type, np.float32
        )

    def run(self, x: np.ndarray) -> np.ndarray:
        """Outputs ``(N, outputs)`` of samples ``(N, *sample_shape)``."""
        x = x.astype(self._dtype, copy=False)
        try:
            if self.batch is None:
                return self._call(x).reshape(len(x), -1)
            if self.batch == 0:
                return np.stack([self._call(sample).reshape(-1) for sample in x])
            return self._in_batches(x, self.batch)
        except LipcertError:
            raise
        except Exception as error:
            raise InputError(
                self._graph.name, f"ONNX Runtime cannot run it: {_first_line(error)}"
            ) from error

    def _call(self, batch: np.ndarray) -> np.ndarray:
        result: np.ndarray = self._session.run([self._output], {self._input.name: batch})[0]
        return result

    def _in_batches(self, x: np.ndarray, size: int) -> np.ndarray:
        """A fixed batch: the last one is filled up with its first sample."""
        outputs = []
        for start in range(0, len(x), size):
            batch = x[start : start + size]
            missing = size - len(batch)
            if missing:
                batch = np.concatenate((batch, np.repeat(batch[:1], missing, axis=0)))
            outputs.append(self._call(batch).reshape(size, -1)[: size - missing])
        return np.concatenate(outputs)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
