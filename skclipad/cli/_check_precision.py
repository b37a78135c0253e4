"""``skclipad info --check-precision``: what another number format does to a folder."""

import copy
import sys
from time import perf_counter
from types import SimpleNamespace

import numpy as np
from scipy.stats import spearmanr
from sklearn.base import clone

from skclipad._embedder import load_clip
from skclipad._exceptions import ImageReadError
from skclipad._images.bit_depth import BitDepth
from skclipad._images.crops import resize_image
from skclipad._images.reading import read_image
from skclipad.cli._console import ALL_SCORED, NOTHING_SCORED, echo, print_aligned
from skclipad.cli._decoding import would_gain
from skclipad.cli._detectors import load_detector, new_detector
from skclipad.cli._pictures import find_images
from skclipad.cli._weights import check_weights
from skclipad.scoring._plan import spread

N_IMAGES = 64
"""Images looked at, evenly spread over all that are found."""

N_PAIRS = 1000
"""Of the detectors that are fitted where none is given; ten times fewer than usual."""

FEWEST = 3
"""Images of which an order can be compared."""

MUCH_READING = 0.3
"""Share of the time from which on it is worth a hint that reading can be faster."""


def run(args):
    """Print how embeddings, scores, speed and memory differ from those in fp32."""
    paths = find_images(args.pictures)
    if not paths:
        echo(f"skclipad info: no pictures found in {', '.join(args.pictures)}")
        return NOTHING_SCORED
    sample = spread(paths, N_IMAGES)

    # What may be refused comes first.
    detector = _detector(args)
    low, exact = (
        _measured(detector, p, sample) for p in (args.check_precision, "fp32")
    )

    is_read = np.isfinite(exact.embeddings).all(axis=1)
    if is_read.sum() < FEWEST:
        echo(
            f"{is_read.sum()} of {len(sample)} pictures could be read, but expected at "
            f"least {FEWEST}, to compare their order. Name more."
        )
        return NOTHING_SCORED
    print_aligned(
        [
            ("compared", f"{args.check_precision} with fp32, {exact.model}"),
            ("pictures", f"{is_read.sum():,} of {len(paths):,}"),
            *_speed_lines(low, exact, would_gain(exact.detector, sample)),
            *_difference_lines(low, exact, is_read),
        ]
    )
    return ALL_SCORED


def _detector(args):
    """Load the detector that was asked for, or make one that is still to be fitted."""
    if args.detector is not None:
        return load_detector(args)
    check_weights(args)
    return new_detector(args).set_params(N_p=N_PAIRS)


def _measured(detector, precision, sample):
    """Embed and score images in one number format."""
    detector = _in_format(detector, precision)
    embedder = detector.embedder
    clip = load_clip(embedder)
    embedder.transform(sample[:2])  # the first time takes longer
    model_pace = _pace_of_model(embedder, clip, sample)  # and brings files into memory

    start = perf_counter()
    embeddings = embedder.transform(sample)
    pace = (perf_counter() - start) / len(sample)

    # Embeddings are scores of whole images alone: see score_components.
    is_enough = detector.references_ is None and embedder.crops == "whole"
    X = embeddings if is_enough else sample
    scores = detector.score_components(X)
    combined = detector.combine_components(scores)
    return SimpleNamespace(
        precision=precision,
        detector=detector,
        model=clip.model_name,
        embeddings=embeddings,
        scores={**scores, "score": combined},
        labels=combined > detector.threshold,
        pace=pace,
        model_pace=min(pace, model_pace),
        n_bytes=clip.n_bytes,
    )


def _in_format(detector, precision):
    """Return a detector in a number format, fitted if it is not yet."""
    how = {"precision": precision, "memory": None, "on_error": "nan", "verbose": False}
    how = {f"embedder__{name}": value for name, value in how.items()}
    detector = copy.deepcopy(detector).set_params(**how)
    try:
        load_clip(detector.embedder)
    except ValueError as error:  # of the format
        said = str(error).replace("Got precision=", "Got --check-precision ")
        raise ValueError(said) from error

    if hasattr(detector, "backbone_"):
        return detector
    if sys.stderr.isatty():
        echo(f"fits a detector of {N_PAIRS:,} pairs of prompts in {precision}")
    return detector.fit()


def _pace_of_model(embedder, clip, sample):
    """Return the seconds that the model takes for an image that is read already."""
    how = clip.image_size, embedder.resize_mode, clip.interpolation
    depth, pixels = BitDepth(embedder.bit_depth), []
    for path in sample:
        try:
            image = read_image(path, depth=depth)
        except ImageReadError:
            continue
        pixels.append(resize_image(image, (0, 0, *image.size), *how))
    if not pixels:
        return 0.0

    start = perf_counter()
    clone(embedder).set_params(region=None).transform(pixels)
    return (perf_counter() - start) / len(pixels)


def _speed_lines(low, exact, is_large):
    """Yield speed, how much of it is reading, which no format changes, and size."""
    yield "pictures/second", _beside(1 / low.pace, 1 / exact.pace, "{:.1f}")
    reading, of_exact = (1 - one.model_pace / one.pace for one in (low, exact))
    yield (
        "reading",
        f"{reading:.0%} of the time, {of_exact:.0%} in fp32; without it "
        f"{exact.model_pace / low.model_pace:.2f} times as fast",
    )
    if is_large and reading > MUCH_READING:
        yield (
            "hint",
            f"with --decode reduced, which reads these JPEGs faster, {low.precision} "
            "gains more",
        )
    yield "weights, MB", _beside(low.n_bytes / 1e6, exact.n_bytes / 1e6, "{:.0f}")


def _difference_lines(low, exact, is_read):
    """Yield how far embeddings, scores and labels differ."""
    yield "cosine", _cosines(low.embeddings[is_read], exact.embeddings[is_read])
    for name, scores in low.scores.items():
        yield name, _differences(scores[is_read], exact.scores[name][is_read])
    yield "labels", _changes(low.labels[is_read], exact.labels[is_read])


def _cosines(A, B):
    norms = np.linalg.norm(A, axis=1) * np.linalg.norm(B, axis=1)
    cosines = (A.astype(float) * B).sum(axis=1) / norms
    return f"{cosines.min():.5f} at least, median {np.median(cosines):.5f}"


def _differences(A, B):
    differences = np.abs(A - B)
    return (
        f"differs by {differences.max():.2g} at most, median "
        f"{np.median(differences):.2g}; rank correlation {spearmanr(A, B)[0]:.4f}"
    )


def _changes(others, labels):
    told = f"{(labels != others).sum():,} of {len(labels):,} change"
    if labels.all() or not labels.any():
        side = "above" if labels.all() else "below"
        told += f"; in fp32 all scores lie {side} the threshold, so this says little"
    return told


def _beside(low, exact, form):
    pair = " against ".join(form.format(value) for value in (low, exact))
    return f"{pair} in fp32, {low / exact:.2f} times"
