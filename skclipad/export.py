"""A detector as one ONNX graph: pixels in, scores out, without Python or torch."""

import copy
import json
import logging
import os
import tempfile
import warnings
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from inspect import signature
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.special import logit
from scipy.stats import spearmanr
from sklearn.base import clone
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skclipad._clip.backbone import quiet_root_logger
from skclipad._clip.parts import joined, parts_of_any_tower, parts_of_tokens
from skclipad._clip.transformer import run_blocks
from skclipad._clip.vision import reads_class_token
from skclipad._clip.windows import WINDOWS, grid_of, window_tokens
from skclipad._detector import SCORES
from skclipad._embedder import checked_embedder, embedder_of, load_clip
from skclipad._images.bit_depth import BitDepth
from skclipad._images.crops import resize_image
from skclipad._images.reading import read_image
from skclipad._inputs import as_image_list
from skclipad._method.maps import pixel_map
from skclipad._method.mutual import REFERENCES_AT_ONCE, number_of, pooled
from skclipad._method.scores import (
    MANY_SPREADS,
    MOST_OF_WORDS,
    TINY,
    WORDS_WEIGH,
    unit,
)
from skclipad._optional import import_optional
from skclipad._references import is_standardized
from skclipad._storage.files import atomic_write, atomic_write_text

__all__ = ["export_onnx"]

OPSET = 18  # read by onnxruntime 1.14 and later
TOLERANCE = 1e-4  # between graph and detector
LARGEST = 1_900_000_000  # bytes: a protobuf message ends at 2 GB
N_IMAGES = 16  # that graph and detector are compared on, if none are given
N_MAPS = 16  # of them that maps are compared on: a map takes as long as many scores
BATCH = 8
NEEDED = "dynamic_shapes", "dynamic_axes"  # by which torch's exporters are told
LOWEST = 1e-12  # scores of windows below it count as it
LARGEST_ODDS = float(logit(1 - TINY))  # logarithms; beyond them scores count as these

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


# What a program has to do with the map of patches
DRAWING = [
    "the map has a value for each patch; together they cover a box of the upright "
    "image, in its own pixels",
    "pixels have the value that lies on a straight line between the centres of the "
    "patches beside them, first along the rows, then along the columns; beyond the "
    "outermost centres they have the value of the nearest patch",
]
BOXES = {
    "squash": "the whole image",
    "shortest": "the box that is cut out: see `resize`",
    "longest": "the canvas: beyond the image by its padding, in pixels of the image "
    "(side of the image / inner)",
}


def export_onnx(detector, path, *, int8=False, images=None, maps=None, dynamo=None):
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
    maps : bool, default=None
        Whether the graph gives the anomaly map, too, which costs many times what the
        scores do; a program that asks onnxruntime for scores alone with
        ``only_execute_path_to_fetches`` does not pay for it. None gives it if the image
        tower is a plain ViT: the windows of others are crops of the image itself.
    dynamo : bool, default=None
        Which of torch's exporters to use: True, the one through ``torch.export``, which
        needs onnxscript; False, the one that traces, ten times faster or more, which
        torch has deprecated. None traces as long as torch can. Both are held to the
        same agreement.

    Returns
    -------
    sklearn.utils.Bunch
        ``path`` and ``preprocess_path``, the files; ``agreement``, a dict with the
        number of images compared ("n_pictures"), the largest difference of each
        output ("max_difference"; of maps on 16 images at most), the share of equal
        labels ("same_label") and Spearman's correlation of the combined scores
        ("rank_correlation", None if they are all the same).

    Raises
    ------
    ImportError
        If onnx or onnxruntime is not installed.
    ValueError
        If the detector cannot become one graph: it looks at crops or a region, has
        references that are compared as WinCLIP does but no plain ViT, or has an image
        tower that torch cannot export or that is larger than 2 GB. With `maps`, if the
        image tower is no plain ViT. With `int8`, if the graph does not get smaller.
    RuntimeError
        If the graph's scores differ from the detector's by more than 1e-4 (without
        `int8`).
    BackboneMismatchError
        If the embedder holds another CLIP than `fit` used.

    Notes
    -----
    The input is ``pixels``, float32 of shape (n, 3, height, width), RGB in 0..1, for
    any n. Outputs, each of shape (n,), are ``s_pr``, ``s_fnn``, with references
    ``s_img``, and ``score``, their mean as `predict_proba` gives it; with maps also
    ``map``, of shape (n, rows, columns), a value for each patch of the tower, of which
    `anomaly_map` interpolates pixels. Everything else, normalisation of colours
    included, is inside.

    With `int8` activations are scaled batch by batch, so a score depends a little on
    which images share its batch.

    The detector never compares an image with a reference of the very same content, with
    ``reference_method="mutual"``. A graph cannot tell contents apart: it compares an
    image with all references, so that one that is among them scores lower than the
    detector says. Graph and detector are compared as if the detector did so, too.

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
    write_graph = _write_program if _takes_dynamo(dynamo) else _write_trace
    check_is_fitted(detector)

    detector = _without_digests(_on_cpu(detector))
    backbone = load_clip(checked_embedder(detector))
    graph = ScoringGraph(detector, backbone, maps)
    _check_size(graph)
    pixels = _compared_pixels(detector.embedder, backbone, images)

    path = Path(path)
    with (
        atomic_write(path) as partial,
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder,
    ):
        made = Path(folder, "graph.onnx")
        _write_graph(write_graph, graph, pixels[:2], made)
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
    how = _description(detector, backbone, graph, int8, agreement)
    atomic_write_text(preprocess_path, json.dumps(how, indent=2) + "\n")
    return Bunch(path=path, preprocess_path=preprocess_path, agreement=agreement)


class ScoringGraph(nn.Module):
    """All that a detector computes, from pixels to scores, as one torch module.

    The equations are those of `skclipad._method`, scores and maps, without branches
    that depend on values. The backbone is the detector's CLIP, in float32 on the CPU.
    """

    def __init__(self, detector, backbone, maps=None):
        super().__init__()
        visual = backbone.model.visual
        self.reads_tokens = reads_class_token(visual)
        # Only the part that is used: the text tower would be written too.
        self.tower = visual if self.reads_tokens else backbone.model
        self.sees_inside = partial(parts_of_any_tower, backbone)
        _check_references(detector, backbone.model_name, self.reads_tokens)
        if maps and not self.reads_tokens:
            raise ValueError(
                f"Got maps={maps}, but the image tower of {backbone.model_name!r} is "
                "no plain ViT: its windows are not in the graph. Export without maps."
            )

        self._keep("colour_mean", np.reshape(backbone.mean, (3, 1, 1)))
        self._keep("colour_std", np.reshape(backbone.std, (3, 1, 1)))

        normal, anomaly = unit(detector.prompt_embeddings_)
        self._keep("direction", (anomaly - normal) / detector.temperature)

        self._keep_network(detector)
        self.is_mutual = _is_mutual(detector)
        if self.is_mutual:
            self._keep_mutual(detector)
        else:
            self._keep_windows(detector)
        self._keep_combination(detector)

        shortest = min(grid_of(visual)) if self.reads_tokens else 0
        self.windows = [side for side in WINDOWS if side <= shortest]
        self.gives_map = bool(self.windows) if maps is None else maps
        compared = [] if self.is_mutual else self.sides
        for side in {*self.windows, *compared} - {1}:
            covered = _covered(grid_of(visual), side)
            self._keep(f"covered_{side}", covered, self.dtype_of_maps)

    def _keep_network(self, detector):
        self.normalize = detector.fit_params_["normalize"]
        self.n_layers = len(detector.coefs_)
        for i in range(self.n_layers):
            self._keep(f"coef_{i}", detector.coefs_[i])
            self._keep(f"intercept_{i}", detector.intercepts_[i])

    def _keep_combination(self, detector):
        """Keep which scores are combined, and the scales if they are standardized."""
        everything = ["prompt", "fnn", *(["reference"] if self.sides else [])]
        chosen = everything if isinstance(detector.scores, str) else detector.scores
        self.combined = [SCORES[name] for name in chosen]

        n_references = len(detector.reference_rows_) if self.sides else 0
        standardized = is_standardized(detector, n_references)
        self.scales = detector.reference_scales_ if standardized else None
        # Odds are made again of scores in maps: those near 1 need more digits.
        self.dtype_of_maps = torch.float64 if self.scales else torch.float32

    def _keep_windows(self, detector):
        """Keep patches and windows of references, by side."""
        self.sides = sorted(detector.references_ or {})
        for side in self.sides:
            references = detector.references_[side]
            references = unit(references.reshape(-1, references.shape[-1]))
            self._keep(f"reference_{side}", references.T)  # (C, n_references)

    def _keep_mutual(self, detector):
        """Keep what `skclipad._method.mutual.MutualComparison` reads, but digests."""
        state = detector.references_
        self.sides = state["sides"].tolist()
        n, *self.grid, _ = state["parts"].shape
        self.n_nearest = number_of(detector.reference_share, n)
        self.n_worst = number_of(detector.reference_top, self.grid[0] * self.grid[1])

        self._keep("reference_basis", state["basis"])
        parts = torch.from_numpy(state["parts"]).split(REFERENCES_AT_ONCE)
        self.n_pieces = len(parts)
        for side in self.sides:
            for i, some in enumerate(parts):
                # (width, n_references * n_parts)
                self._keep(f"reference_{side}_{i}", pooled(some, side).flatten(0, 1).T)

    def _keep(self, name, array, dtype=torch.float32):
        tensor = torch.tensor(np.asarray(array), dtype=dtype)
        self.register_buffer(name, tensor)

    @property
    def outputs(self):
        """Names of what `forward` returns, in order."""
        references = ["s_img"] if self.sides else []
        return ["s_pr", "s_fnn", *references, "score", *self.map_outputs]

    @property
    def map_outputs(self):
        """Names of the maps among the outputs."""
        return ["map"] if self.gives_map else []

    def forward(self, pixels):
        """Return what `outputs` names of pixels, (n, 3, height, width)."""
        x = (pixels - self.colour_mean) / self.colour_std
        if not self.reads_tokens and not self.sides:
            embeddings = self.tower.encode_image(x, normalize=False)
            return self._ordered(self._score(self._odds(embeddings)))

        if self.reads_tokens:
            tokens = self._tokens(x)
            seen = parts_of_tokens(self.tower, tokens)
            parts = self._parts(tokens, seen.depths[-1])
        else:
            seen, parts = self.sees_inside(x), {}

        by_references = None
        if self.sides:
            compare = self._mutual_map if self.is_mutual else self._reference_map
            by_references = compare(seen.depths if self.is_mutual else parts)
        odds = self._odds(seen.images)
        found = self._score(odds, by_references)
        return self._ordered(found | self._map(found, odds, parts, by_references))

    def _ordered(self, found):
        return tuple(found[name] for name in self.outputs)

    def _score(self, odds, by_references=None):
        """Return all scores: of words by their odds, of references by their map."""
        scores = {name: torch.sigmoid(one) for name, one in odds.items()}
        if by_references is not None:
            n = self.n_worst if self.is_mutual else 1
            worst = by_references.flatten(1).topk(n, dim=1).values
            scores["s_img"] = worst.mean(dim=1)
        return scores | {"score": self._combined(scores | odds, scores)}

    def _combined(self, measured, scores):
        """Combine scores or maps: see `skclipad._method.scores`.

        `measured` has what is standardized, `scores` what is averaged else.
        """
        if self.scales is None:
            return torch.stack([scores[name] for name in self.combined]).mean(dim=0)
        chosen = {name: measured[name] for name in self.combined}
        return _standardized(chosen, self.scales)

    def _odds(self, embeddings):
        """Score embeddings, (..., C_e), by prompts and network, as logarithms of odds.

        These, not scores near 1, keep their digits in single precision.
        """
        seen = _unit(embeddings)
        logits = self._logits(seen if self.normalize else embeddings)
        odds = {"s_pr": seen @ self.direction, "s_fnn": logits}
        return {
            name: one.clamp(-LARGEST_ODDS, LARGEST_ODDS) for name, one in odds.items()
        }

    def _logits(self, x):
        for i in range(self.n_layers):
            x = x @ getattr(self, f"coef_{i}") + getattr(self, f"intercept_{i}")
            if i < self.n_layers - 1:
                x = torch.relu(x)
        return x[..., 0]

    def _tokens(self, x):
        """As `skclipad._clip.vision.patch_tokens`, for any number of images."""
        x = self.tower.conv1(x).flatten(2).transpose(1, 2)  # (n, n_patches, width)
        class_token = self.tower.class_embedding.expand(x.shape[0], 1, -1)
        x = torch.cat([class_token, x], dim=1)
        return self.tower.ln_pre(x + self.tower.positional_embedding)

    def _projected(self, x):
        return x if self.tower.proj is None else x @ self.tower.proj

    def _parts(self, tokens, patches):
        """Return the features of patches and windows that are asked for, by side."""
        grid = grid_of(self.tower)
        compared = [] if self.is_mutual else self.sides
        wanted = {*compared, *(self.windows if self.gives_map else [])}
        parts = {
            side: self._windows(tokens, grid, side) for side in sorted(wanted - {1})
        }
        if 1 in wanted:
            parts[1] = self.tower.ln_post(patches)
        return parts

    def _windows(self, tokens, grid, side):
        """Embed all windows: (n, n_down, n_right, C_e)."""
        index = window_tokens(grid, side)  # (n_windows, 1 + side**2)
        x = tokens[:, index.flatten()].reshape(-1, index.shape[1], tokens.shape[2])
        x = run_blocks(self.tower.transformer.resblocks, x)[:, 0]
        x = self._projected(self.tower.ln_post(x))
        positions = [length - side + 1 for length in grid]
        return x.reshape(-1, *positions, x.shape[-1])

    def _reference_map(self, parts):
        """Compare parts with references: see `skclipad._method.maps.reference_map`."""
        maps = []
        for side in self.sides:
            cosines = _unit(parts[side]) @ getattr(self, f"reference_{side}")
            scores = ((1 - cosines.amax(dim=-1)) / 2).clamp(0, 1)
            maps.append(self._window_map(scores, side))
        return torch.stack(maps).mean(dim=0).float()

    def _mutual_map(self, depths):
        """Compare parts as `skclipad._method.mutual.MutualComparison` does."""
        # The detector keeps features of parts in 16 bits, and so does the graph.
        parts = joined(depths).half().float() @ self.reference_basis
        maps = []
        for side in self.sides:
            distances = self._mutual_distances(pooled(parts, side), side)
            nearest = distances.topk(self.n_nearest, dim=-1, largest=False).values
            maps.append(nearest.mean(dim=-1))
        scores = torch.stack(maps).mean(dim=0).clamp(0, 1)
        return scores.reshape(-1, *self.grid)

    def _mutual_distances(self, parts, side):
        """Return each part's distance to each reference: (n, n_parts, n_references)."""
        n_parts, nearest = self.grid[0] * self.grid[1], []
        for i in range(self.n_pieces):
            references = getattr(self, f"reference_{side}_{i}")
            n = references.shape[1] // n_parts
            cosines = (parts @ references).reshape(-1, n_parts, n, n_parts)
            nearest.append(cosines.amax(dim=-1))
        return (1 - torch.cat(nearest, dim=-1)) / 2

    def _window_map(self, scores, side):
        """As `skclipad._method.maps.window_map`, for many images at once."""
        if side == 1:
            return scores
        covered = getattr(self, f"covered_{side}")
        inverse = _inverse(scores.to(covered.dtype))
        total = inverse.flatten(1) @ covered  # (n, n_patches)
        found = covered.sum(dim=0) / total
        return found.reshape(-1, *grid_of(self.tower))

    def _map(self, found, odds, parts, by_references):
        """Make the map of patches: see `skclipad._method.maps.image_map`."""
        if not self.gives_map:
            return {}
        of_windows = {side: self._odds(parts[side]) for side in self.windows}
        maps = {"s_img": by_references}
        for name in self.combined:
            if name == "s_img":
                continue
            drawn = [
                self._window_map(self._precise(of_windows[side][name]), side)
                for side in self.windows
            ]
            image = self._precise(odds[name])[:, None, None]
            inverse = [_inverse(image), *map(_inverse, drawn)]
            maps[name] = len(inverse) / sum(inverse)

        measured = {name: maps[name] for name in self.combined}
        if self.scales is not None:
            words = set(measured) - {"s_img"}
            measured |= {name: _odds_of(measured[name]) for name in words}
        return {"map": self._combined(measured, maps).float()}

    def _precise(self, odds):
        return torch.sigmoid(odds.to(self.dtype_of_maps))


def _unit(x):
    return x / x.norm(dim=-1, keepdim=True).clamp_min(1e-30)


def _standardized(measured, scales):
    """As `skclipad._method.scores.standardized_score`, of what that has measured."""
    z = {
        name: (values - scales[name][0]) / scales[name][1]
        for name, values in measured.items()
    }
    total = z.pop("s_img", None)
    words = torch.stack([*z.values()]).mean(dim=0) if z else 0
    if total is None:
        total = words
    elif z:
        total = total + WORDS_WEIGH * words.clamp(0, MOST_OF_WORDS)

    over = total - MANY_SPREADS
    return (1 + over / (1 + over.abs())) / 2


def _odds_of(scores):
    scores = scores.clamp(TINY, 1 - TINY)
    return torch.log(scores) - torch.log(1 - scores)


def _inverse(scores):
    # A score of 0 would be infinite, and infinity times 0 no number.
    return 1 / scores.clamp_min(LOWEST)


def _covered(grid, side):
    """Return which patches each window covers: (n_windows, n_patches), 0 and 1."""
    index = window_tokens(grid, side)[:, 1:] - 1  # without the class token
    covered = torch.zeros(len(index), grid[0] * grid[1])
    return covered.scatter_(1, index, 1.0)


# Steps


def _check_references(detector, model_name, reads_tokens):
    """Refuse references whose comparison is not in the graph."""
    if detector.references_ is None or _is_mutual(detector) or reads_tokens:
        return
    raise ValueError(
        f"Got a detector with n_shots={detector.n_shots} whose image tower, of "
        f"{model_name!r}, is no plain ViT: what stands for its patches is not in the "
        "graph. Export a detector with reference_method='mutual', or with n_shots=0."
    )


def _is_mutual(detector):
    if detector.references_ is None:
        return False
    return detector.fit_params_["reference_method"] == "mutual"


def _without_digests(detector):
    """Return the detector as the graph has it: no image is known by its content."""
    if not _is_mutual(detector):
        return detector
    detector = copy.copy(detector)
    unknown = np.zeros_like(detector.references_["digests"])
    detector.references_ = detector.references_ | {"digests": unknown}
    return detector


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
    if embedder.region is not None:
        raise ValueError(
            f"Got a detector with region={embedder.region!r}, but a graph reads all "
            "of an image. Use set_params(embedder__region=None), and cut the region "
            "out of each image before the graph."
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


def _takes_dynamo(dynamo):
    """Say which exporter to use, and refuse the one that torch has not."""
    parameters = signature(torch.onnx.export).parameters
    has_dynamo, has_tracing = (name in parameters for name in NEEDED)
    if dynamo is None:
        dynamo = not has_tracing
    if dynamo and not has_dynamo:
        raise ValueError(
            "Got dynamo=True, but this torch exports by tracing alone. Use a newer "
            "torch (2.6 or later), or dynamo=None."
        )
    if dynamo:
        import_optional("onnxscript", "onnx")
    return dynamo


def _write_graph(write, graph, pixels, path):
    """Write a graph of the detector with one of torch's exporters."""
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    with warnings.catch_warnings(), torch.enable_grad(), quiet_root_logger():
        # The exporters warn about their own workings. With gradients the blocks run
        # in separate steps, not in place.
        warnings.simplefilter("ignore")
        torch.backends.mha.set_fastpath_enabled(False)  # ONNX has no word for it
        try:
            write(graph.eval(), (torch.from_numpy(_as_input(pixels)),), str(path))
        except Exception as error:  # whatever the exporter meets in a model
            raise ValueError(
                "The image tower could not be exported by torch.onnx "
                f"({type(error).__name__}: {error}). Plain ViTs and ResNets can be; "
                "please report which model this was."
            ) from error
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_attention)


def _write_trace(graph, example, path):
    """Write what one run computes, which torch calls tracing."""
    # Where torch knows two exporters, it is to be told; older ones know no other.
    knows_others = "dynamo" in signature(torch.onnx.export).parameters
    torch.onnx.export(
        graph,
        example,
        path,
        input_names=["pixels"],
        output_names=graph.outputs,
        dynamic_axes=dict.fromkeys(["pixels", *graph.outputs], {0: "n"}),
        opset_version=OPSET,
        **({"dynamo": False} if knows_others else {}),
    )


def _write_program(graph, example, path):
    """Write what ``torch.export`` makes of the module, into one file."""
    torch.onnx.export(
        graph,
        example,
        path,
        dynamo=True,
        input_names=["pixels"],
        output_names=graph.outputs,
        dynamic_shapes=({0: torch.export.Dim("n")},),
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )


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
        name: float(np.abs(found[name] - expected[name]).max()) for name in expected
    }
    if "map" in found:
        differences["map"] = _map_difference(detector, found["map"], pixels[:N_MAPS])

    labels = [scores["score"] > detector.threshold for scores in (found, expected)]
    varied = min(np.ptp(found["score"]), np.ptp(expected["score"])) > 0
    ranks = spearmanr(found["score"], expected["score"]).statistic if varied else np.nan

    return {
        "n_pictures": len(pixels),
        "max_difference": differences,
        "same_label": float(np.mean(labels[0] == labels[1])),
        "rank_correlation": None if np.isnan(ranks) else float(ranks),
    }


def _map_difference(detector, patches, pixels):
    """Return how far maps of pixels, of the images as the graph reads them, differ."""
    detector = copy.copy(detector)
    # They have the model's size already, and so are neither cut nor padded.
    detector.embedder = clone(detector.embedder).set_params(resize_mode="squash")
    maps = detector.anomaly_map(pixels)
    size = pixels.shape[2], pixels.shape[1]
    return max(
        float(np.abs(pixel_map(one, size) - expected).max())
        for one, expected in zip(patches, maps, strict=False)
    )


def _quantize(onnx, path, target):
    """Write the graph with the image tower's weights in 8 bits, and return its path."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    _use_weights_directly(model.graph)
    onnx.save(model, path)
    size = path.stat().st_size

    # The few numbers after the image tower decide: they keep their digits.
    ours = ("coef_", "reference_", "direction", "covered_")
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


def _description(detector, backbone, graph, int8, agreement):
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
        "outputs": [name for name in graph.outputs if name not in graph.map_outputs],
        "map": _drawing(embedder.resize_mode) if graph.gives_map else None,
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


def _drawing(resize_mode):
    """Say how the map of patches becomes one of pixels."""
    return {"output": "map", "box": BOXES[resize_mode], "steps": DRAWING}


def _as_json(value):
    try:
        json.dumps(value)
    except TypeError:
        return repr(value)
    return value
