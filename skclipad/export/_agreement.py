"""How far a graph's scores and maps are from the detector's own."""

import copy

import numpy as np
from PIL import Image
from scipy.stats import spearmanr
from sklearn.base import clone

from skclipad._images.bit_depth import BitDepth
from skclipad._images.crops import resize_image
from skclipad._images.reading import read_image
from skclipad._inputs import as_image_list
from skclipad._method.maps import pixel_map

N_IMAGES = 16  # that graph and detector are compared on, if none are given
N_MAPS = 16  # of them that maps are compared on: a map takes as long as many scores
BATCH = 8


def compared_pixels(embedder, backbone, images):
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


def as_input(pixels):
    """Turn images into what the graph reads: (n, 3, height, width), 0..1."""
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32) / 255


def measure_agreement(onnxruntime, path, detector, pixels):
    """Run a graph on images of its size, and compare it with the detector."""
    return _compare(detector, _run(onnxruntime, path, pixels), pixels)


def _run(onnxruntime, path, pixels):
    session = onnxruntime.InferenceSession(
        str(path), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    # Batches of unequal size: the number of images must not have become a constant.
    batches = np.split(pixels, [1, *range(1 + BATCH, len(pixels), BATCH)])
    parts = [session.run(names, {"pixels": as_input(b)}) for b in batches if len(b)]
    columns = map(np.concatenate, zip(*parts, strict=True))
    return dict(zip(names, columns, strict=True))


def _compare(detector, found, pixels):
    """Say how far the graph's scores are from the detector's own."""
    expected = dict(detector.score_components(pixels))
    expected["score"] = detector.combine_components(expected)
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
