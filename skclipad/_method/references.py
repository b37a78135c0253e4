"""The references of a detector: which they are, and what is kept of them."""

import numpy as np


def choose_references(images, y, n_shots, seed, most=None):
    """Draw the normal images that others are compared with: their rows, and themselves.

    Those of a smaller `n_shots` are among those of a larger one with the same seed.
    Without `y` all images are taken for normal. "all" are all of these, in their
    order, and as many as `most` says, drawn, if there are more. A ValueError says that
    there are too few of them.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._method.references import choose_references
    >>> y = np.array([1, 0, 1, 0])
    >>> rows, images = choose_references(list("abcd"), y, 2, seed=0)
    >>> sorted(images)
    ['b', 'd']
    >>> choose_references(list("abcd"), y, "all", seed=0)[1]
    ['b', 'd']
    """
    normal = candidates(images, y)
    if len(normal) < (1 if n_shots == "all" else n_shots):
        raise ValueError(
            f"Got {len(normal)} normal images among the {len(images)} of X, but "
            f"n_shots={n_shots} needs {_at_least(n_shots)}. Pass more images with "
            "y == 0, or set a smaller n_shots."
        )

    n_taken = n_shots
    if n_shots == "all":
        n_taken = len(normal) if most is None else min(len(normal), most)

    rows = normal
    if n_shots != "all" or n_taken < len(normal):
        rows = np.random.default_rng(seed).permutation(normal)[:n_taken]
    return rows, [images[row] for row in rows]


def candidates(images, y):
    """Return the rows of the images that references are drawn from."""
    return np.arange(len(images)) if y is None else np.flatnonzero(y == 0)


def _at_least(n_shots):
    return "at least one" if n_shots == "all" else "as many references"


def stack_features(stream):
    """Stack the features of references by the side of the window.

    The arrays have the shape (n_references, n_down, n_right, C); see
    `ImageFeatures.parts`.
    """
    parts = [features.parts for features in stream]
    return {side: np.stack([part[side] for part in parts]) for side in parts[0]}


def leave_out(references, row):
    """Return the features of all references but one, by the side of the window."""
    return {side: np.delete(part, row, axis=0) for side, part in references.items()}
