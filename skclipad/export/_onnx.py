"""From a fitted detector to an ONNX file, step by step."""

import copy
import json
import os
import tempfile
from pathlib import Path

from sklearn.base import clone
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from skclipad._embedder import checked_embedder, embedder_of, load_clip
from skclipad._optional import import_optional
from skclipad._storage.files import atomic_write, atomic_write_text
from skclipad.export._agreement import as_input, compared_pixels, measure_agreement
from skclipad.export._graph import ScoringGraph
from skclipad.export._int8 import quantize
from skclipad.export._preparation import description
from skclipad.export._references import without_digests
from skclipad.export._write import takes_dynamo, write_graph

TOLERANCE = 1e-4  # between graph and detector
LARGEST = 1_900_000_000  # bytes: a protobuf message ends at 2 GB


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
        needs onnxscript; False, the one that traces, some seconds faster, which torch
        has deprecated. None traces as long as torch can. Both are held to the
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
    dynamo = takes_dynamo(dynamo)
    check_is_fitted(detector)

    detector = without_digests(_on_cpu(detector))
    backbone = load_clip(checked_embedder(detector))
    graph = ScoringGraph(detector, backbone, maps)
    _check_size(graph)
    pixels = compared_pixels(detector.embedder, backbone, images)

    path = Path(path)
    with (
        atomic_write(path) as partial,
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder,
    ):
        made = Path(folder, "graph.onnx")
        write_graph(graph, as_input(pixels[:2]), made, dynamo)
        agreement = measure_agreement(onnxruntime, made, detector, pixels)

        worst = max(agreement["max_difference"].values())
        if not worst <= TOLERANCE:
            raise RuntimeError(
                f"The graph's scores differ from the detector's by {worst:.2g}, more "
                f"than {TOLERANCE:g}, so it was not kept. Please report it, with "
                "model_name, pretrained and the output of `skclipad info`."
            )

        if int8:
            made = quantize(onnx, made, Path(folder, "int8.onnx"))
            agreement = measure_agreement(onnxruntime, made, detector, pixels)
        os.replace(made, partial)

    preprocess_path = path.with_suffix(".preprocess.json")
    how = description(detector, backbone, graph, int8, agreement)
    atomic_write_text(preprocess_path, json.dumps(how, indent=2) + "\n")
    return Bunch(path=path, preprocess_path=preprocess_path, agreement=agreement)


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
