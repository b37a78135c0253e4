"""The references of a few-shot detector: which they are, and how pictures compare."""

import numpy as np

from skclipad._method.maps import reference_map


def choose_references(images, y, n_shots, seed):
    """Draw the normal pictures that others are compared with.

    The pictures of a smaller `n_shots` are among those of a larger one with the same
    seed.

    Parameters
    ----------
    images : list
        Pictures.
    y : ndarray of shape (n_samples,) or None
        Labels, as `check_labels` gives them. None takes all as normal.
    n_shots : int
        Number of references, at least 1.
    seed : int
        Seed of the draw.

    Returns
    -------
    rows : ndarray of shape (n_shots,), dtype int
        Which rows were drawn.
    images : list of length n_shots
        The pictures.

    Raises
    ------
    ValueError
        If there are too few normal pictures.

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
            f"Got {len(normal)} normal pictures among the {len(images)} of X, but "
            f"n_shots={n_shots} needs as many references. Pass more pictures with "
            "y == 0, or set a smaller n_shots."
        )
    rows = np.random.default_rng(seed).permutation(normal)[:n_shots]
    return rows, [images[row] for row in rows]


def stack_features(stream):
    """Put the features of references into arrays.

    Parameters
    ----------
    stream : iterable of WindowFeatures
        Features of the references.

    Returns
    -------
    dict of int to ndarray of shape (n_references, n_down, n_right, C)
        Raw features by the side of the window; see `WindowFeatures.parts`.
    """
    parts = [features.parts for features in stream]
    return {side: np.stack([part[side] for part in parts]) for side in parts[0]}


def reference_scores(stream, references):
    """Compare pictures with the references (``s_img``).

    Parameters
    ----------
    stream : iterable of WindowFeatures or None
        Features of pictures; None for one that could not be read.
    references : dict of int to ndarray
        As `stack_features` makes them.

    Returns
    -------
    ndarray of shape (n_pictures,)
        Maximum of each picture's map, in [0, 1]; NaN for None.
    """
    return np.array(
        [
            np.nan if one is None else reference_map(one.parts, references).max()
            for one in stream
        ],
        dtype=np.float64,
    )
