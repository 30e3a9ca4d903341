"""Reading ONNX models into graphs."""

from lipcert.onnx_import.loader import build_graph, load_graph, parse_model

__all__ = ["build_graph", "load_graph", "parse_model"]
