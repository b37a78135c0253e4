"""A detector as one ONNX graph: pixels in, scores out, without Python or torch."""

from skclipad.export._onnx import export_onnx

__all__ = ["export_onnx"]
