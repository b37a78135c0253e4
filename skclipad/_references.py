"""What a detector compares images with: chosen, embedded, compared."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from skclipad._clip.features import reference_parts, stream_features
from skclipad._clip.parts import neighbourhoods
from skclipad._embedder import image_options, load_clip
from skclipad._inputs import check_labels
from skclipad._method.maps import reference_map
from skclipad._method.mutual import MutualComparison, highest_mean, reference_state
from skclipad._method.progress import nobody
from skclipad._method.references import (
    candidates,
    choose_references,
    leave_out,
    stack_features,
)

REFERENCE_METHODS = ("winclip", "mutual")

FEW = 8
"""References whose spread says little: with fewer, "auto" combines scores by their sum.
Our choice."""


def draw_references(detector, inputs, y, seed):
    """Draw the references of a detector out of what `fit` was given.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        Says how many, as `n_shots` and `max_references`.
    inputs : Inputs
        X.
    y : ndarray of shape (n_samples,), or None
        Labels.
    seed : int
        Draws.

    Returns
    -------
    rows : ndarray of shape (n_references,), or None
        Which images of X; None without `n_shots`.
    images : list or None
        These images.
    n_offered : int
        How many they were drawn from.

    Raises
    ------
    ValueError
        If X holds embeddings, or too few normal images.
    TypeError
        If X is None.
    """
    n_shots = detector.n_shots
    if n_shots == 0:
        return None, None, 0
    if inputs.embeddings is not None:
        raise ValueError(
            f"Got embeddings with n_shots={n_shots}, but references are compared patch "
            "by patch, which needs the images themselves. Pass these, or set n_shots=0."
        )
    if inputs.source is None:
        wanted = "images" if n_shots == "all" else "as many normal images at least"
        raise TypeError(
            f"Got X=None with n_shots={n_shots}, but expected {wanted}. Pass them to "
            "fit, or set n_shots=0 for a detector that needs no image."
        )

    images = inputs.images()
    if not isinstance(images, Sequence):  # which may make an image when asked for it
        images = list(images)
    y = check_labels(y, images)
    rows, chosen = choose_references(
        images, y, n_shots, seed, most=detector.max_references
    )
    return rows, chosen, len(candidates(images, y))


def embed_references(detector, embedder, images, rows, tell=nobody):
    """Compute the features of references, their views and their parts, in one pass.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        Says what is compared, as `reference_method`.
    embedder : CLIPImageEmbedder
        Says how images are read. With ``on_error="nan"`` and ``n_shots="all"`` those
        that cannot be read are no references.
    images : list or None
        The references.
    rows : ndarray of shape (n_references,), or None
        Where they are in X.
    tell : callable
        Hears of each image: see `nobody`.

    Returns
    -------
    rows : ndarray of shape (n_readable,), or None
        Which of them could be read.
    features : list of ImageFeatures
        Of these.

    Raises
    ------
    ImageReadError
        If one cannot be read, and must be.
    ValueError
        If none could be read, or the image tower shows no parts.
    """
    if images is None:
        return None, []
    clip = load_clip(embedder)
    parts = parts_compared(detector.reference_method, clip)
    on_error = embedder.on_error if detector.n_shots == "all" else "raise"
    options = image_options(embedder, parts=parts, on_error=on_error)
    features = []
    with tell("embed-references", len(images)) as done:
        for one in stream_features(clip, images, options):
            features.append(one)
            done(1)

    readable = [one.error is None for one in features]
    if not any(readable):
        raise ValueError(
            f"Got {len(images)} images to be references, but none of them can be read: "
            f"{features[0].error}"
        )
    return rows[readable], [one for one in features if one.error is None]


def parts_compared(method, clip):
    """Return the features of parts that a method compares.

    Parameters
    ----------
    method : {"winclip", "mutual"}
        How parts are compared.
    clip : Backbone
        What sees them.

    Returns
    -------
    tuple of str
        As `ImageOptions` has them.
    """
    return ("depths",) if method == "mutual" else reference_parts(clip)


def keep_references(method, clip, features):
    """Return what is kept of references; see ``references_`` of the detector.

    Parameters
    ----------
    method : {"winclip", "mutual"}
        How parts are compared.
    clip : Backbone
        What saw them.
    features : list of ImageFeatures
        Of the references; there may be none.

    Returns
    -------
    dict of ndarray, or None
        What others are compared with.
    """
    if not features:
        return None
    if method == "winclip":
        return stack_features(features)
    return reference_state(features, neighbourhoods(clip, features[0].depths.shape[:2]))


def comparison(detector, clip):
    """Return what compares an image with the references of a fitted detector.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector with references.
    clip : Backbone
        Its CLIP, on whose device the comparison runs.

    Returns
    -------
    callable
        Takes `ImageFeatures`, and gives a map of patches in [0, 1].
    """
    references = detector.references_
    if detector.fit_params_["reference_method"] == "mutual":
        return MutualComparison(references, detector.reference_share, clip.device)
    return partial(_compare_with, references)


def image_score(detector, patches):
    """Return the score of an image from its map of patches.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector with references.
    patches : ndarray of shape (n_down, n_right)
        What `comparison` gives.

    Returns
    -------
    float
        ``s_img``.
    """
    if detector.fit_params_["reference_method"] == "mutual":
        return highest_mean(patches, detector.reference_top)
    return patches.max()


def compare_references(detector, clip, features):
    """Score the references of a detector, each by the others.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector with two references or more.
    clip : Backbone
        Its CLIP.
    features : list of ImageFeatures
        Of the references.

    Returns
    -------
    ndarray of shape (n_references,)
        Their scores ``s_img``.
    """
    if detector.fit_params_["reference_method"] == "mutual":
        compare = comparison(detector, clip)
        return np.array([image_score(detector, compare(one)) for one in features])
    others = (leave_out(detector.references_, i) for i in range(len(features)))
    pairs = zip(features, others, strict=True)
    return np.array([reference_map(one.parts, some).max() for one, some in pairs])


def is_standardized(detector, n_references):
    """Tell whether scores of so many references are put on one scale.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        Says it, as `combine`.
    n_references : int
        References.

    Returns
    -------
    bool
        If not, the mean of scores is taken.
    """
    if detector.combine != "auto":
        return detector.combine == "standardized"
    return detector.reference_method == "mutual" and n_references >= FEW


def describe_references(detector):
    """Say how many references a detector has and how large they are, for people.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector with references.

    Returns
    -------
    str
        One line, such as "200 of 10,000 images, 310 MB".
    """
    n, n_offered = len(detector.reference_rows_), detector.n_references_offered_
    return f"{number_of_references(n, n_offered)}, {size_of_references([detector])}"


def number_of_references(n, n_offered):
    """Say how many references there are of the images that they are taken from.

    Examples
    --------
    >>> from skclipad._references import number_of_references
    >>> number_of_references(200, 10_000)
    '200 of 10,000 images'
    """
    of = f" of {n_offered:,}" if n_offered > n else ""
    images = "image" if max(n, n_offered) == 1 else "images"
    return f"{n:,}{of} {images}"


def size_of_references(detectors):
    """Say how much fitted detectors keep of their references."""
    kept = [detector.references_.values() for detector in detectors]
    size = sum(array.nbytes for arrays in kept for array in arrays) / 1e6
    return f"{size:,.0f} MB" if size >= 10 else f"{size:.2g} MB"


def _compare_with(references, features):
    return reference_map(features.parts, references)
