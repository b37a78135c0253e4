"""A graph whose image tower has weights of 8 bits."""

import logging
from contextlib import contextmanager

import numpy as np

from skclipad._clip.backbone import quiet_root_logger
from skclipad.export._graph import DECISIVE


def quantize(onnx, path, target):
    """Write the graph with the image tower's weights in 8 bits, and return its path."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    _use_weights_directly(model.graph)
    onnx.save(model, path)
    size = path.stat().st_size

    # The few numbers after the image tower decide: they keep their digits.
    nodes = model.graph.node
    exact = [n.name for n in nodes if any(i.startswith(DECISIVE) for i in n.input)]
    with quiet_root_logger(), _without_advice():
        quantize_dynamic(
            path,
            target,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_exclude=exact,
            per_channel=True,
        )

    model = onnx.load(target)
    _quantize_convolutions(onnx, model.graph)
    onnx.save(model, target)
    if (small := target.stat().st_size) >= size:
        raise ValueError(
            f"Got int8=True, but the graph has {small} bytes in 8 bits and {size} in "
            "32: this image tower has too few weights that can be quantised. Export it "
            "with int8=False."
        )
    return target


def _use_weights_directly(graph):
    """Take out the Identity nodes between a weight and what reads it.

    The exporter gives a weight that several layers share to all but one of them through
    such nodes. Quantisation does not look through them, and would keep the weight in
    32 bits beside the one in 8 bits.
    """
    weights = {tensor.name for tensor in graph.initializer}
    outputs = {output.name for output in graph.output}
    sources = {}
    for node in list(graph.node):
        source = sources.get(node.input[0], node.input[0]) if node.input else None
        is_copy = node.op_type == "Identity" and source in weights
        if is_copy and node.output[0] not in outputs:
            sources[node.output[0]] = source
            graph.node.remove(node)

    for node in graph.node:
        node.input[:] = [sources.get(name, name) for name in node.input]


def _quantize_convolutions(onnx, graph):
    """Keep the weights of convolutions in 8 bits, with a scale for each channel.

    Only the weights: they become floats again before they are used, because onnxruntime
    has no fast convolution of activations quantised while running.
    """
    convolved = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    for tensor in [t for t in graph.initializer if t.name in convolved]:
        weight = onnx.numpy_helper.to_array(tensor)
        axes = tuple(range(1, weight.ndim))
        scale = np.abs(weight).max(axis=axes, keepdims=True).astype(np.float32) / 127
        scale[scale == 0] = 1
        rounded = np.rint(weight / scale).astype(np.int8)

        name = tensor.name
        parts = {f"{name}_quantized": rounded, f"{name}_scale": scale.ravel()}
        graph.initializer.remove(tensor)
        graph.initializer.extend(
            onnx.numpy_helper.from_array(array, part) for part, array in parts.items()
        )
        graph.node.insert(
            0, onnx.helper.make_node("DequantizeLinear", [*parts], [name], axis=0)
        )


@contextmanager
def _without_advice():
    """Keep onnxruntime from telling users how to prepare a graph that is ready."""

    def is_wanted(record):
        return not record.getMessage().startswith("Please consider to run pre-")

    root = logging.getLogger()
    root.addFilter(is_wanted)
    try:
        yield
    finally:
        root.removeFilter(is_wanted)
