"""Fixtures: small torch models exported by every exporter, with what ONNX Runtime makes of them."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

FOLDER = Path(__file__).parent
PANEL = 40
"""Models of one input shape that are exported together by the slow exporter."""


def _load(folder: str) -> ModuleType:
    """A package beside this file, whatever folder pytest runs in."""
    name = f"lipcert_test_{folder}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name,
            FOLDER / folder / "__init__.py",
            submodule_search_locations=[str(FOLDER / folder)],
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


zoo = _load("zoo")
single_models = _load("singles")
_load("builders")  # test modules import lipcert_test_builders

EXPORTERS = {
    "legacy-11-one": (zoo.export_legacy, 11, False),
    "legacy-13-any": (zoo.export_legacy, 13, True),
    "legacy-17-one": (zoo.export_legacy, 17, False),
    "legacy-17-any": (zoo.export_legacy, 17, True),
    "dynamo-18-any": (zoo.export_dynamo, 18, True),
    "dynamo-20-one": (zoo.export_dynamo, 20, False),
}


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Written:
    """One or several modules in an ONNX file, and random inputs for them."""

    modules: list[torch.nn.Module]
    path: Path
    inputs: np.ndarray

    @cached_property
    def output_names(self) -> list[str]:
        return [value.name for value in onnx.load(self.path).graph.output]

    @cached_property
    def outputs(self) -> list[np.ndarray]:
        """What ONNX Runtime computes, without rewriting the graph."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(
            str(self.path), options, providers=["CPUExecutionProvider"]
        )
        return session.run(None, {session.get_inputs()[0].name: self.inputs})

    def torch_output(self, position: int) -> np.ndarray:
        with torch.no_grad():
            return self.modules[position](torch.from_numpy(self.inputs)).numpy()


@dataclass(frozen=True)
class Exported:
    """A case of the zoo in a file that may hold others beside it."""

    written: Written
    position: int
    oracle: str

    @property
    def path(self) -> Path:
        return self.written.path

    @property
    def output(self) -> str:
        return self.written.output_names[self.position]

    @property
    def inputs(self) -> np.ndarray:
        return self.written.inputs

    @property
    def expected(self) -> np.ndarray:
        """Outputs ``(N, outputs)``."""
        if self.oracle == "torch":
            return self.written.torch_output(self.position).reshape(len(self.inputs), -1)
        return self.written.outputs[self.position].reshape(len(self.inputs), -1)


def _write(modules, shape, exporter, path) -> Written:
    export, opset, dynamic = EXPORTERS[exporter]
    module = modules[0] if len(modules) == 1 else zoo.Panel(modules)
    export(module, shape, path, opset, dynamic=dynamic)
    random = np.random.default_rng(11)
    inputs = 2.0 * random.standard_normal((4 if dynamic else 1, *shape))
    return Written(modules, path, inputs.astype(np.float32))


def _panels(exporter: str) -> list[list]:
    """The cases that an exporter can write, in groups of one input shape."""
    by_shape: dict[tuple[int, ...], list] = {}
    for case in zoo.CASES:
        if not case.failure(exporter):
            by_shape.setdefault(case.shape, []).append(case)
    return [
        group[start : start + PANEL]
        for group in by_shape.values()
        for start in range(0, len(group), PANEL)
    ]


@pytest.fixture(scope="session")
def panels(tmp_path_factory):
    """Finds a case among models exported together, which are written at the first call."""
    folder = tmp_path_factory.mktemp("panels")
    written: dict[tuple[str, int], Written] = {}

    def find(case, exporter: str) -> Exported:
        for number, group in enumerate(_panels(exporter)):
            if case in group:
                if (exporter, number) not in written:
                    written[exporter, number] = _write(
                        [member.module() for member in group],
                        case.shape,
                        exporter,
                        folder / f"{exporter}-{number}.onnx",
                    )
                return Exported(written[exporter, number], group.index(case), case.oracle)
        raise LookupError(case.name)

    return find


@pytest.fixture
def exported(case, exporter, panels, tmp_path) -> Exported:
    """The case as ``exporter`` writes it; skipped, with the reason, where it cannot."""
    reason = case.failure(exporter)
    alone = exporter.startswith("legacy")
    if reason:
        if alone:
            with pytest.raises(Exception, match=r"(?s).+"):
                _write([case.module()], case.shape, exporter, tmp_path / "model.onnx")
        pytest.skip(f"not exported: {reason}")
    if not alone:
        return panels(case, exporter)
    written = _write([case.module()], case.shape, exporter, tmp_path / "model.onnx")
    return Exported(written, 0, case.oracle)


@pytest.fixture(scope="session")
def singles() -> ModuleType:
    """Makers of models of one operator."""
    return single_models


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every case with every exporter, and every operator, for tests that ask for them."""
    if "op_type" in metafunc.fixturenames:
        metafunc.parametrize("op_type", sorted(single_models.MAKERS))
    if "exporter" in metafunc.fixturenames:
        metafunc.parametrize("exporter", EXPORTERS)
    if "case" in metafunc.fixturenames and "exporter" in metafunc.fixturenames:
        metafunc.parametrize("case", zoo.CASES, ids=lambda case: case.name)
