"""``skclipad info --check-precision``: what another number format does to a folder."""

import sys
from time import perf_counter
from types import SimpleNamespace

import numpy as np
from scipy.stats import spearmanr

from skclipad._embedder import load_clip
from skclipad.cli._console import ALL_SCORED, NOTHING_SCORED, echo
from skclipad.cli._detectors import load_detector, new_detector
from skclipad.cli._pictures import find_images

N_IMAGES = 64
"""Images looked at, evenly spread over all that are found."""

N_PAIRS = 1000
"""Of the detectors that are fitted where none is given; ten times fewer than usual."""

FEWEST = 3
"""Images of which an order can be compared."""


def run(args):
    """Print how embeddings, scores, speed and memory differ from those in fp32."""
    paths = find_images(args.pictures)
    chosen = np.linspace(0, len(paths) - 1, min(N_IMAGES, len(paths)))
    sample = [paths[round(i)] for i in chosen]
    # What may be refused comes first.
    low, exact = (_measured(args, p, sample) for p in (args.check_precision, "fp32"))

    is_read = np.isfinite(exact.embeddings).all(axis=1)
    if is_read.sum() < FEWEST:
        echo(
            f"{is_read.sum()} of {len(sample)} pictures could be read, but expected at "
            f"least {FEWEST}, to compare their order. Name more."
        )
        return NOTHING_SCORED
    _tell("compared", f"{args.check_precision} with fp32, {exact.model}")
    _tell("pictures", f"{is_read.sum():,} of {len(paths):,}")
    _tell("pictures/second", _beside(low.rate, exact.rate, "{:.1f}"))
    _tell("weights, MB", _beside(low.n_bytes / 1e6, exact.n_bytes / 1e6, "{:.0f}"))
    _tell_cosines(low.embeddings[is_read], exact.embeddings[is_read])
    for name, scores in low.scores.items():
        _tell_scores(name, scores[is_read], exact.scores[name][is_read])
    _tell_labels(low, exact, is_read)
    return ALL_SCORED


def _measured(args, precision, sample):
    """Embed and score images in one number format."""
    detector = _detector(args, precision)
    embedder = detector.embedder
    clip = load_clip(embedder)
    embedder.transform(sample[:2])  # the first time takes longer

    start = perf_counter()
    embeddings = embedder.transform(sample)
    rate = len(sample) / (perf_counter() - start)

    # Embeddings are scores of whole images alone: see score_components.
    is_enough = detector.references_ is None and embedder.crops == "whole"
    X = embeddings if is_enough else sample
    scores = detector.score_components(X)
    combined = detector.combine_components(scores)
    return SimpleNamespace(
        model=clip.model_name,
        embeddings=embeddings,
        scores={**scores, "score": combined},
        labels=combined > detector.threshold,
        rate=rate,
        n_bytes=clip.n_bytes,
    )


def _detector(args, precision):
    """Load the detector that was asked for, or fit one in a number format."""
    how = {"precision": precision, "memory": None, "on_error": "nan", "verbose": False}
    how = {f"embedder__{name}": value for name, value in how.items()}
    if args.detector is not None:
        return load_detector(args).set_params(**how)
    if sys.stderr.isatty():
        echo(f"fits a detector of {N_PAIRS:,} pairs of prompts in {precision}")
    return new_detector(args).set_params(N_p=N_PAIRS, **how).fit()


def _tell_cosines(A, B):
    norms = np.linalg.norm(A, axis=1) * np.linalg.norm(B, axis=1)
    cosines = (A.astype(float) * B).sum(axis=1) / norms
    _tell("cosine", f"{cosines.min():.5f} at least, median {np.median(cosines):.5f}")


def _tell_scores(name, A, B):
    differences = np.abs(A - B)
    _tell(
        name,
        f"differs by {differences.max():.4f} at most, median "
        f"{np.median(differences):.4f}; rank correlation {spearmanr(A, B)[0]:.4f}",
    )


def _tell_labels(low, exact, is_read):
    n_other = (low.labels != exact.labels)[is_read].sum()
    _tell("label", f"{n_other:,} of {is_read.sum():,} pictures get the other one")


def _beside(low, exact, form):
    pair = " against ".join(form.format(value) for value in (low, exact))
    return f"{pair} in fp32, {low / exact:.2f} times"


def _tell(name, value):
    print(f"{name:<16} {value}")
