"""The references of a few-shot detector: which they are, and how images compare."""

import numpy as np


def choose_references(images, y, n_shots, seed):
    """Draw the normal images that others are compared with: their rows, and themselves.

    Those of a smaller `n_shots` are among those of a larger one with the same seed.
    Without `y` all images are normal. A ValueError says that there are too few of them.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._method.references import choose_references
    >>> y = np.array([1, 0, 1, 0])
    >>> rows, images = choose_references(list("abcd"), y, 2, seed=0)
    >>> sorted(images)
    ['b', 'd']
    """
    normal = np.arange(len(images)) if y is None else np.flatnonzero(y == 0)
    if len(normal) < n_shots:
        raise ValueError(
            f"Got {len(normal)} normal images among the {len(images)} of X, but "
            f"n_shots={n_shots} needs as many references. Pass more images with "
            "y == 0, or set a smaller n_shots."
        )

    rows = np.random.default_rng(seed).permutation(normal)[:n_shots]
    return rows, [images[row] for row in rows]


def stack_features(stream):
    """Stack the features of references by the side of the window.

    The arrays have the shape (n_references, n_down, n_right, C); see
    `ImageFeatures.parts`.
    """
    parts = [features.parts for features in stream]
    return {side: np.stack([part[side] for part in parts]) for side in parts[0]}
