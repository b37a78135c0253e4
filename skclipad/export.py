"""A detector as one ONNX graph: pixels in, scores out, without Python or torch."""

import copy
import json
import logging
import os
import tempfile
import warnings
from contextlib import contextmanager
from importlib.metadata import version
from inspect import signature
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skclipad._clip.backbone import quiet_root_logger
from skclipad._clip.transformer import run_blocks
from skclipad._clip.vision import reads_class_token
from skclipad._clip.windows import grid_of, window_tokens
from skclipad._detector import SCORES
from skclipad._embedder import checked_embedder, embedder_of, load_clip
from skclipad._images.bit_depth import BitDepth
from skclipad._images.crops import resize_image
from skclipad._images.reading import read_image
from skclipad._inputs import as_image_list
from skclipad._method.scores import unit
from skclipad._optional import import_optional
from skclipad._storage.files import atomic_write, atomic_write_text

__all__ = ["export_onnx"]

OPSET = 17  # read by onnxruntime 1.12 and later
TOLERANCE = 1e-4  # between graph and detector
LARGEST = 1_900_000_000  # bytes: a protobuf message ends at 2 GB
N_IMAGES = 16  # that graph and detector are compared on, if none are given
BATCH = 8

# What a program has to do before it runs the graph
PREPARATION = [
    "open the file; turn it upright by its EXIF orientation",
    "bring it to 8 bits: `value_ranges` says what each PIL mode calls white",
    "put what is transparent on `background`; make it RGB",
    "resize it to `size`, (width, height), as `resize` says",
    "divide by 255; put the channels first: (n, 3, height, width), float32",
]
RESIZING = {
    "squash": ["resize the image to `size`, whatever its shape"],
    "shortest": [
        "scale = max(width / image width, height / image height)",
        "resized = scale * side of the image, rounded as `rounding` says, and at least "
        "the side of `size`",
        "offset = (resized - side of `size`) / 2, rounded half to even",
        "cut the box from offset to offset + side of `size` out of the resized image: "
        "in one step, as the box of the image from offset * unit to (offset + side of "
        "`size`) * unit, unit = side of the image / resized, resized to `size`",
    ],
    "longest": [
        "scale = min(width / image width, height / image height)",
        "inner = scale * side of the image, rounded as `rounding` says, and at least 1",
        "resize the image to inner",
        "paste it on a canvas of `size` in `padding_color`; its left upper corner lies "
        "at (side of `size` - inner) / 2, rounded down",
    ],
}


def export_onnx(detector, path, *, int8=False, images=None):
    """Write a fitted detector as an ONNX graph.

    The graph reads images that already have the model's size. How they get it stands in
    a JSON file beside the graph, for whatever program will run it;
    ``examples/score_with_onnxruntime.py`` is one that needs Pillow and onnxruntime
    alone. Before the file takes its name, the graph is run in onnxruntime and compared
    with the detector.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector that looks at whole images (``crops="whole"``). Its
        references, if it has any, are in the graph.
    path : str or path
        The file to write, by convention ending in ``.onnx``.
    int8 : bool, default=False
        Keep the weights of the image tower in 8 bits, and quantise what is multiplied
        with them while running. The file gets about a third of its size or less; the
        network and references keep their digits. Scores change; by how much,
        `agreement` says.
    images : sequence of images, default=None
        Images to compare graph and detector on, as the estimators take them; a few
        hundred of yours for a useful value with `int8`. None compares on random
        patterns, enough to see that the graph is right.

    Returns
    -------
    sklearn.utils.Bunch
        ``path`` and ``preprocess_path``, the files; ``agreement``, a dict with the
        number of images compared ("n_pictures"), the largest difference of each
        output ("max_difference"), the share of equal labels ("same_label") and
        Spearman's correlation of the combined scores ("rank_correlation", None if they
        are all the same).

    Raises
    ------
    ImportError
        If onnx or onnxruntime is not installed.
    ValueError
        If the detector cannot become one graph: it looks at crops, has references that
        are not compared as WinCLIP does with a plain ViT, standardizes scores, or has
        an image tower that torch cannot export or that is larger than 2 GB. With
        `int8`, if the graph does not get smaller.
    RuntimeError
        If the graph's scores differ from the detector's by more than 1e-4 (without
        `int8`).
    BackboneMismatchError
        If the embedder holds another CLIP than `fit` used.

    Notes
    -----
    The input is ``pixels``, float32 of shape (n, 3, height, width), RGB in 0..1, for
    any n. Outputs, each of shape (n,), are ``s_pr``, ``s_fnn``, with references
    ``s_img``, and ``score``, their mean as `predict_proba` gives it. Everything else,
    normalisation of colours included, is inside.

    With `int8` activations are scaled batch by batch, so a score depends a little on
    which images share its batch.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
    >>> from skclipad.export import export_onnx
    >>> detector = RandomWordCLIPDetector(
    ...     N_p=200, embedder=CLIPImageEmbedder(model_name="tiny"), random_state=0
    ... ).fit()
    >>> result = export_onnx(detector, Path(tempfile.mkdtemp(), "detector.onnx"))
    >>> result.agreement["same_label"]
    1.0
    """
    onnx, onnxruntime = (import_optional(n, "onnx") for n in ("onnx", "onnxruntime"))
    check_is_fitted(detector)

    detector = _on_cpu(detector)
    backbone = load_clip(checked_embedder(detector))
    graph = ScoringGraph(detector, backbone)
    _check_size(graph)
    pixels = _compared_pixels(detector.embedder, backbone, images)

    path = Path(path)
    with (
        atomic_write(path) as partial,
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder,
    ):
        made = Path(folder, "graph.onnx")
        _write_graph(graph, pixels[:2], made)
        agreement = _compare(detector, _run(onnxruntime, made, pixels), pixels)

        worst = max(agreement["max_difference"].values())
        if not worst <= TOLERANCE:
            raise RuntimeError(
                f"The graph's scores differ from the detector's by {worst:.2g}, more "
                f"than {TOLERANCE:g}, so it was not kept. Please report it, with "
                "model_name, pretrained and the output of `skclipad info`."
            )

        if int8:
            made = _quantize(onnx, made, Path(folder, "int8.onnx"))
            agreement = _compare(detector, _run(onnxruntime, made, pixels), pixels)
        os.replace(made, partial)

    preprocess_path = path.with_suffix(".preprocess.json")
    how = _description(detector, backbone, graph.outputs, int8, agreement)
    atomic_write_text(preprocess_path, json.dumps(how, indent=2) + "\n")
    return Bunch(path=path, preprocess_path=preprocess_path, agreement=agreement)


class ScoringGraph(nn.Module):
    """All that a detector computes, from pixels to scores, as one torch module.

    The equations are those of `skclipad._method`, scores and maps, without branches
    that depend on values. The backbone is the detector's CLIP, in float32 on the CPU.
    """

    def __init__(self, detector, backbone):
        super().__init__()
        visual = backbone.model.visual
        self.reads_tokens = reads_class_token(visual)
        # Only the part that is used: the text tower would be written too.
        self.tower = visual if self.reads_tokens else backbone.model
        _check_references(detector, backbone, self.reads_tokens)

        self._keep("mean", np.reshape(backbone.mean, (3, 1, 1)))
        self._keep("std", np.reshape(backbone.std, (3, 1, 1)))

        normal, anomaly = unit(detector.prompt_embeddings_)
        self._keep("direction", (anomaly - normal) / detector.temperature)

        self.normalize = detector.fit_params_["normalize"]
        self.n_layers = len(detector.coefs_)
        for i in range(self.n_layers):
            self._keep(f"coef_{i}", detector.coefs_[i])
            self._keep(f"intercept_{i}", detector.intercepts_[i])

        self.sides = sorted(detector.references_ or {})
        for side in self.sides:
            references = detector.references_[side]
            references = unit(references.reshape(-1, references.shape[-1]))
            self._keep(f"reference_{side}", references.T)  # (C, n_references)

        everything = ["prompt", "fnn", *(["reference"] if self.sides else [])]
        chosen = everything if isinstance(detector.scores, str) else detector.scores
        self.combined = [SCORES[name] for name in chosen]

    def _keep(self, name, array):
        tensor = torch.tensor(np.asarray(array), dtype=torch.float32)
        self.register_buffer(name, tensor)

    @property
    def outputs(self):
        """Names of what `forward` returns, in order."""
        return ["s_pr", "s_fnn", *(["s_img"] if self.sides else []), "score"]

    def forward(self, pixels):
        """Return the scores of pixels, (n, 3, height, width), that `outputs` names."""
        x = (pixels - self.mean) / self.std
        scores = {}
        if self.reads_tokens:
            tokens = self._tokens(x)
            embeddings, patches = self._whole_image(tokens)
            if self.sides:
                scores["s_img"] = self._reference_score(tokens, patches)
        else:
            embeddings = self.tower.encode_image(x, normalize=False)

        seen = _unit(embeddings)
        scores["s_pr"] = torch.sigmoid(seen @ self.direction)
        scores["s_fnn"] = self._network_score(seen if self.normalize else embeddings)
        chosen = torch.stack([scores[name] for name in self.combined])
        scores["score"] = chosen.mean(dim=0)
        return tuple(scores[name] for name in self.outputs)

    def _network_score(self, x):
        for i in range(self.n_layers):
            x = x @ getattr(self, f"coef_{i}") + getattr(self, f"intercept_{i}")
            if i < self.n_layers - 1:
                x = torch.relu(x)
        return torch.sigmoid(x[:, 0])

    def _tokens(self, x):
        """As `skclipad._clip.vision.patch_tokens`, for any number of images."""
        x = self.tower.conv1(x).flatten(2).transpose(1, 2)  # (n, n_patches, width)
        class_token = self.tower.class_embedding.expand(x.shape[0], 1, -1)
        x = torch.cat([class_token, x], dim=1)
        return self.tower.ln_pre(x + self.tower.positional_embedding)

    def _whole_image(self, tokens):
        x = self.tower.ln_post(run_blocks(self.tower.transformer.resblocks, tokens))
        return self._projected(x[:, 0]), x[:, 1:]

    def _projected(self, x):
        return x if self.tower.proj is None else x @ self.tower.proj

    def _reference_score(self, tokens, patches):
        """Compute ``s_img``: see `skclipad._method.maps.reference_map`."""
        grid = grid_of(self.tower)
        maps = []
        for side in self.sides:
            if side == 1:
                features = patches.reshape(-1, *grid, patches.shape[-1])
            else:
                features = self._windows(tokens, grid, side)

            cosines = _unit(features) @ getattr(self, f"reference_{side}")
            scores = ((1 - cosines.amax(dim=-1)) / 2).clamp(0, 1)
            maps.append(_window_map(scores, side))
        return torch.stack(maps).mean(dim=0).amax(dim=(1, 2))

    def _windows(self, tokens, grid, side):
        """Embed all windows: (n, n_down, n_right, C_e)."""
        index = window_tokens(grid, side)  # (n_windows, 1 + side**2)
        x = tokens[:, index.flatten()].reshape(-1, index.shape[1], tokens.shape[2])
        x = run_blocks(self.tower.transformer.resblocks, x)[:, 0]
        x = self._projected(self.tower.ln_post(x))
        positions = [length - side + 1 for length in grid]
        return x.reshape(-1, *positions, x.shape[-1])


def _unit(x):
    return x / x.norm(dim=-1, keepdim=True).clamp_min(1e-30)


def _window_map(scores, side):
    """As `skclipad._method.maps.window_map`, for many images at once."""
    inverse, total, count = 1 / scores, 0, 0
    for down in range(side):
        for right in range(side):
            around = (right, side - 1 - right, down, side - 1 - down)
            total = total + nn.functional.pad(inverse, around)
            count = count + nn.functional.pad(torch.ones_like(inverse), around)
    return count / total


# Steps


def _check_references(detector, backbone, reads_tokens):
    """Refuse references whose comparison is not in the graph."""
    if detector.references_ is None:
        return
    if detector.fit_params_["reference_method"] != "winclip":
        raise ValueError(
            f"Got a detector with reference_method={detector.reference_method!r}, "
            "whose comparison with many images one graph does not hold. Export one "
            "with reference_method='winclip', or with n_shots=0; joblib and skops keep "
            "this one."
        )
    if not reads_tokens:
        raise ValueError(
            f"Got a detector with n_shots={detector.n_shots} whose image tower, of "
            f"{backbone.model_name!r}, is no plain ViT: what stands for its patches is "
            "not in the graph. Export a detector with n_shots=0."
        )
    if detector.reference_scales_ is not None and detector.combine != "sum":
        raise ValueError(
            f"Got a detector with combine={detector.combine!r}, but the graph's score "
            "is the mean of its components. Export one with combine='sum'."
        )


def _on_cpu(detector):
    """Return the detector with an embedder of its own, which computes in float32."""
    embedder = embedder_of(detector)
    if embedder.crops != "whole":
        raise ValueError(
            f"Got a detector with crops={embedder.crops!r}, but a graph from pixels "
            "looks at one view of an image. Use set_params(embedder__crops='whole'), "
            "or run the graph on each crop and combine its scores as `combine_views` "
            "says."
        )
    detector = copy.copy(detector)
    detector.embedder = clone(embedder).set_params(
        device="cpu", precision="fp32", memory=None, on_error="raise", verbose=False
    )
    return detector


def _check_size(graph):
    tensors = [*graph.parameters(), *graph.buffers()]
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    if size > LARGEST:
        raise ValueError(
            f"The image tower has {size / 1e9:.1f} GB of weights, but an ONNX file "
            "holds less than 2 GB. Export a detector with a smaller CLIP."
        )


def _compared_pixels(embedder, backbone, images):
    """Return images of the model's size: (n, height, width, 3), uint8."""
    height, width = backbone.image_size
    if images is None:
        # From coarse patterns to noise: scores from both ends, and all in between.
        rng = np.random.default_rng(0)
        sides = rng.integers(1, min(height, width), N_IMAGES)
        coarse = [rng.integers(0, 256, (side, side, 3), np.uint8) for side in sides]
        smooth = (Image.fromarray(c).resize((width, height)) for c in coarse)
        return np.stack([np.asarray(image) for image in smooth])

    how = (backbone.image_size, embedder.resize_mode, backbone.interpolation)
    pixels, depth = [], BitDepth(embedder.bit_depth)
    for row, item in enumerate(as_image_list(images)):
        image = read_image(item, row, depth=depth)
        pixels.append(resize_image(image, (0, 0, *image.size), *how))
    return np.stack(pixels)


def _write_graph(graph, pixels, path):
    # The tracing exporter is twenty times faster than the one through torch.export, and
    # there in every torch that this package supports. Older ones know no other.
    knows_others = "dynamo" in signature(torch.onnx.export).parameters
    tracing = {"dynamo": False} if knows_others else {}
    any_number = dict.fromkeys(["pixels", *graph.outputs], {0: "n"})

    fast_attention = torch.backends.mha.get_fastpath_enabled()
    with warnings.catch_warnings(), torch.enable_grad():
        # The exporter warns about its own workings. With gradients the blocks run
        # in separate steps, not in place.
        warnings.simplefilter("ignore")
        torch.backends.mha.set_fastpath_enabled(False)  # ONNX has no word for it
        try:
            torch.onnx.export(
                graph.eval(),
                (torch.from_numpy(_as_input(pixels)),),
                str(path),
                input_names=["pixels"],
                output_names=graph.outputs,
                dynamic_axes=any_number,
                opset_version=OPSET,
                **tracing,
            )
        except Exception as error:  # whatever the exporter meets in a model
            raise ValueError(
                "The image tower could not be exported by torch.onnx "
                f"({type(error).__name__}: {error}). Plain ViTs and ResNets can be; "
                "please report which model this was."
            ) from error
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_attention)


def _as_input(pixels):
    """Turn images into what the graph reads: (n, 3, height, width), 0..1."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32) / 255


def _run(onnxruntime, path, pixels):
    session = onnxruntime.InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    # Batches of unequal size: the number of images must not have become a constant.
    batches = np.split(pixels, [1, *range(1 + BATCH, len(pixels), BATCH)])
    parts = [session.run(names, {"pixels": _as_input(b)}) for b in batches if len(b)]
    columns = map(np.concatenate, zip(*parts, strict=True))
    return dict(zip(names, columns, strict=True))


def _compare(detector, found, pixels):
    """Say how far the graph's scores are from the detector's own."""
    expected = dict(detector.score_components(pixels))
    expected["score"] = detector.predict_proba(pixels)[:, 1]
    differences = {
        name: float(np.abs(scores - expected[name]).max())
        for name, scores in found.items()
    }

    labels = [scores["score"] > detector.threshold for scores in (found, expected)]
    varied = min(np.ptp(found["score"]), np.ptp(expected["score"])) > 0
    ranks = spearmanr(found["score"], expected["score"]).statistic if varied else np.nan

    return {
        "n_pictures": len(pixels),
        "max_difference": differences,
        "same_label": float(np.mean(labels[0] == labels[1])),
        "rank_correlation": None if np.isnan(ranks) else float(ranks),
    }


def _quantize(onnx, path, target):
    """Write the graph with the image tower's weights in 8 bits, and return its path."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    size = path.stat().st_size
    _use_weights_directly(model.graph)
    onnx.save(model, path)

    # The few numbers after the image tower decide: they keep their digits.
    ours = ("coef_", "reference_", "direction")
    nodes = model.graph.node
    exact = [n.name for n in nodes if any(i.startswith(ours) for i in n.input)]
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


def _description(detector, backbone, outputs, int8, agreement):
    """Say how an image becomes the graph's input, and where the graph comes from."""
    embedder = detector.embedder
    parameters = detector.get_params(deep=False)
    parameters.pop("embedder")

    height, width = backbone.image_size
    preparation = {
        "steps": PREPARATION,
        "value_ranges": {"I": 2 ** (embedder.bit_depth or 16) - 1, "F": 1.0},
        "background": [255, 255, 255],
        "size": [width, height],
        "resize_mode": embedder.resize_mode,
        "interpolation": backbone.interpolation,
        "resize": _resizing(embedder.resize_mode, width, height),
        "input": "pixels",
    }
    model = ("model_name", "pretrained", "fingerprint")
    return preparation | {
        "outputs": outputs,
        "threshold": float(detector.threshold),
        "int8": bool(int8),
        "agreement": agreement,
        "model": {name: getattr(backbone, name) for name in model},
        "detector": {name: _as_json(value) for name, value in parameters.items()},
        "versions": {name: version(name) for name in ("skclipad", "torch", "onnx")},
    }


def _resizing(resize_mode, width, height):
    """Describe what `skclipad._images.crops.resize_image` does to a whole image."""
    how = {"steps": RESIZING[resize_mode]}
    if resize_mode == "shortest":
        # As in `skclipad._images.crops`: open_clip rounds the sides of oblong input.
        how["rounding"] = "down" if width == height else "half to even"
    elif resize_mode == "longest":
        how |= {"rounding": "half to even", "padding_color": [0, 0, 0]}
    return how


def _as_json(value):
    try:
        json.dumps(value)
    except TypeError:
        return repr(value)
    return value
