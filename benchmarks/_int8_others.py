"""Image towers in 8 bits by other libraries, for ``int8.py``.

Each function of `OTHERS` brings the image tower of a backbone in single precision to 8
bits and returns what embeds normalised images with it, tensor to array. It raises
ImportError where its library is not installed.
"""

import copy
import functools
import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from skclipad._clip.int8 import Int8Attention
from skclipad._clip.transformer import is_plain
from skclipad._clip.vision import normalized
from skclipad.datasets import make_defect_images

N_CALIBRATION = 16
"""Painted images on which activations are looked at, where a library asks for some."""


def painted(backbone, n_images, seed=0):
    """Return painted images of the size that a tower reads, (n, height, width, 3)."""
    height, width = backbone.image_size
    images = make_defect_images(n_images, image_size=256, random_state=seed).images
    resized = [Image.fromarray(image).resize((width, height)) for image in images]
    return torch.from_numpy(np.stack(resized))


def by_onnxruntime(backbone):
    """Weights rounded beforehand, activations as they come, one scale for a batch."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Threads that wait for work by spinning would slow down whoever has the next turn.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.TemporaryDirectory() as folder:
        exact, rounded = Path(folder, "exact.onnx"), Path(folder, "int8.onnx")
        _write_graph(backbone, exact)
        quantize_dynamic(exact, rounded, weight_type=QuantType.QInt8, per_channel=True)
        session = onnxruntime.InferenceSession(str(rounded), options)
    return lambda x: session.run(None, {"x": x.numpy()})[0]


def by_torch(backbone):
    """Weights rounded beforehand, activations as they come, one scale for a batch."""
    settings = torch.ao.quantization.per_channel_dynamic_qconfig
    tower = torch.ao.quantization.quantize_dynamic(
        _tower_of_linears(backbone), {nn.Linear: settings}, inplace=True
    )
    return _by_tower(tower)


def by_torchao(backbone, compiled=False):
    """Weights rounded beforehand, activations as they come, one scale for a token."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    tower = _tower_of_linears(backbone)
    quantize_(tower, Int8DynamicActivationInt8WeightConfig())
    return _by_tower(torch.compile(tower, dynamic=False) if compiled else tower)


def by_nncf_weights(backbone, rest=None):
    """Weights rounded beforehand, activations as they come, one scale for a token.

    A layer that reads more channels than the tower is wide has one for each such part.
    What is not in 8 bits is computed in the format `rest`; None is OpenVINO's choice,
    bfloat16 on processors that have units for it.
    """
    import nncf

    layers = backbone.model.visual.modules()
    width = min(x.in_features for x in layers if isinstance(x, nn.Linear))
    # OpenVINO's own choice, a scale for 32 channels, is slower.
    settings = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": width}
    settings |= {} if rest is None else {"INFERENCE_PRECISION_HINT": rest}
    return _by_openvino(nncf.compress_weights(_openvino_graph(backbone)), settings)


def by_nncf(backbone):
    """Weights and activations by scales that calibration images have set."""
    import nncf

    x = normalized(backbone, painted(backbone, N_CALIBRATION, seed=1)).numpy()
    graph = nncf.quantize(
        _openvino_graph(backbone),
        nncf.Dataset([x[i : i + 1] for i in range(len(x))]),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(x),
    )
    return _by_openvino(graph)


OTHERS = {
    "onnxruntime, dynamic int8": by_onnxruntime,
    "torch, quantize_dynamic int8": by_torch,
    "torchao, dynamic int8": by_torchao,
    "torchao, compiled, dynamic int8": functools.partial(by_torchao, compiled=True),
    "OpenVINO, dynamic int8": by_nncf_weights,
    "OpenVINO, dynamic int8, rest fp32": functools.partial(by_nncf_weights, rest="f32"),
    "OpenVINO, calibrated int8": by_nncf,
}


def other_towers(backbone, word):
    """Yield the names of other ways that hold a word, and what embeds images so."""
    logging.disable()
    for name in [name for name in OTHERS if word in name]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run = OTHERS[name](backbone)
        except ImportError as e:
            print(f"{name}: left out, since {e.name} is not installed.\n")
        else:
            yield name, lambda x, run=run: run(normalized(backbone, x))


def _tower_of_linears(backbone):
    """Copy an image tower; its plain blocks attend by linear layers, as others expect.

    These libraries round linear layers. open_clip's attention is torch's, which holds
    its weights by itself, and would stay in single precision.
    """
    tower = copy.deepcopy(backbone.model.visual)
    for block in [module for module in tower.modules() if hasattr(module, "attn")]:
        if is_plain(block):
            theirs, block.attn = block.attn, Int8Attention(block.attn)
            block.attn.in_proj = _linear(theirs.in_proj_weight, theirs.in_proj_bias)
            out_proj = theirs.out_proj
            block.attn.out_proj = _linear(out_proj.weight, out_proj.bias)
    return tower


def _linear(weight, bias):
    layer = nn.Linear(*reversed(weight.shape), device="meta")
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return layer


def _by_tower(tower):
    def run(x):
        with torch.no_grad():
            return tower(x).numpy()

    return run


def _openvino_graph(backbone):
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "exact.onnx")
        _write_graph(backbone, path)
        return openvino.convert_model(path)


def _by_openvino(graph, settings=()):
    import openvino

    threads = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "NUM_STREAMS": 1}
    settings = threads | dict(settings)
    compiled = openvino.Core().compile_model(graph, "CPU", settings)
    return lambda x: compiled(x.numpy())[0]


def _write_graph(backbone, path):
    """Write open_clip's image tower as an ONNX graph."""
    torch.backends.mha.set_fastpath_enabled(False)  # ONNX has no word for it
    torch.onnx.export(
        backbone.model.visual,
        (normalized(backbone, painted(backbone, 2)),),
        str(path),
        input_names=["x"],
        dynamic_axes={"x": {0: "n"}},
        opset_version=17,
        dynamo=False,
    )
