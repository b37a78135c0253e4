"""Where the damage is: from scores of windows to a map of a picture's own size.

WinCLIP's equations [1]_ in plain numpy. A window is a square of patches; its map is an
array over the grid of patches, and only the last step knows pixels.

References
----------
.. [1] J. Jeong et al., "WinCLIP: Zero-/Few-Shot Anomaly Classification and
   Segmentation", CVPR 2023.
"""

import numpy as np

from skclipad._method.scores import unit


def reference_score(features, references):
    """Score features by their distance to those of normal pictures.

    Parameters
    ----------
    features : ndarray of shape (..., C)
        Features of patches or windows of one picture, of any length.
    references : ndarray of shape (n_references, C)
        Features of normal pictures, at any place, of any length.

    Returns
    -------
    ndarray of shape (...)
        Half of one minus the cosine to the most similar reference, in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._method.maps import reference_score
    >>> references = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> reference_score(np.array([[2.0, 0.0], [-1.0, 0.0], [-3.0, -4.0]]), references)
    array([0. , 0.5, 0.8])
    """
    cosines = unit(features) @ unit(references).T  # (..., n_references)
    return np.clip((1 - cosines.max(axis=-1)) / 2, 0, 1)


def harmonic_mean(scores, axis=0):
    """Average scores so that a low one pulls the mean down to it.

    Parameters
    ----------
    scores : ndarray
        Scores of at least 0.
    axis : int, default=0
        The axis along which to average.

    Returns
    -------
    ndarray
        Number of scores over the sum of their inverses; 0 where a score is 0.
    """
    # A score of 0 has the inverse infinity, whose inverse is the 0 that it asks for.
    with np.errstate(divide="ignore", over="ignore"):
        return 1 / np.mean(1 / np.asarray(scores), axis=axis)


def window_map(scores, window):
    """Spread scores of windows over the patches that they cover.

    Parameters
    ----------
    scores : ndarray of shape (rows - window + 1, columns - window + 1)
        Score of the window at each place, 0 or more.
    window : int
        Side of the window in patches; 1 is a patch alone.

    Returns
    -------
    ndarray of shape (rows, columns)
        For each patch the harmonic mean of the scores of all windows that cover it.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._method.maps import window_map
    >>> window_map(np.array([[0.2, 0.6]]), 2).round(3)
    array([[0.2, 0.3, 0.6],
           [0.2, 0.3, 0.6]])
    """
    n_down, n_right = scores.shape
    total = np.zeros((n_down + window - 1, n_right + window - 1))
    count = np.zeros_like(total)
    with np.errstate(divide="ignore", over="ignore"):
        inverse = 1 / scores
        for down in range(window):
            for right in range(window):
                covered = np.s_[down : down + n_down, right : right + n_right]
                total[covered] += inverse
                count[covered] += 1
        return count / total


def zero_shot_map(image_score, window_scores):
    """Combine what one scorer says of a picture and of its windows.

    Parameters
    ----------
    image_score : float
        Score of the whole picture.
    window_scores : dict of int to ndarray
        For each side of a window, in patches, the scores at each place; see
        :func:`window_map`.

    Returns
    -------
    ndarray of shape (rows, columns)
        Harmonic mean of the image's score and the maps of the windows.
    """
    maps = [window_map(scores, window) for window, scores in window_scores.items()]
    return harmonic_mean([np.full_like(maps[0], image_score), *maps])


def reference_map(features, references):
    """Compare a picture with normal ones, patch by patch and window by window.

    Parameters
    ----------
    features : dict of int to ndarray of shape (n_down, n_right, C)
        For each side of a window, in patches, the features at each place. A side of
        1 stands for the patch tokens.
    references : dict of int to ndarray of shape (n_references, n_down, n_right, C)
        The same of normal pictures.

    Returns
    -------
    ndarray of shape (rows, columns)
        Mean of the maps of all sides. Its maximum is the score ``s_img``.
    """
    return np.mean(
        [
            window_map(
                reference_score(found, references[window].reshape(-1, found.shape[-1])),
                window,
            )
            for window, found in features.items()
        ],
        axis=0,
    )


def patch_map(features, score, references=None):
    """Score every patch of a picture by all methods together.

    Parameters
    ----------
    features : WindowFeatures
        What the image tower saw of the picture and of its windows.
    score : callable
        Turns embeddings of shape (n, C_e) into a list of scores of shape (n,), one
        array for each method that reads embeddings.
    references : dict of int to ndarray, default=None
        Features of normal pictures; see :func:`reference_map`.

    Returns
    -------
    ndarray of shape (rows, columns)
        Mean of the zero-shot maps of all methods and, with references, their map: as
        the scores of a picture are combined.
    """
    windows = {side: part for side, part in features.parts.items() if side > 1}
    shapes = [(), *(part.shape[:2] for part in windows.values())]
    embeddings = [part.reshape(-1, part.shape[-1]) for part in windows.values()]
    ends = np.cumsum([1, *map(len, embeddings)])[:-1]
    maps = []
    for scores in score(np.concatenate([features.image[None], *embeddings])):
        whole, *placed = (
            part.reshape(shape)
            for part, shape in zip(np.split(scores, ends), shapes, strict=True)
        )
        maps.append(zero_shot_map(whole, dict(zip(windows, placed, strict=True))))
    if references is not None:
        maps.append(reference_map(features.parts, references))
    return np.mean(maps, axis=0)


def picture_map(features, score, references=None, size=None):
    """Make the map of one picture.

    Parameters
    ----------
    features : WindowFeatures or None
        What the image tower saw of the picture; None if it could not be read.
    score, references
        As in :func:`patch_map`.
    size : tuple of (int, int), default=None
        Height and width of the map in pixels; None is the picture's own size.

    Returns
    -------
    ndarray of shape (height, width), dtype float32
        The map; NaN without features, of one pixel if `size` is None.
    """
    if features is None:
        return np.full(size or (1, 1), np.nan, np.float32)
    patches = patch_map(features, score, references)
    return pixel_map(patches, features.size, size, features.box)


def height_and_width(size):
    """Return the size of a map as a pair, or None for a picture's own size.

    Parameters
    ----------
    size : int, tuple of (int, int) or None
        Pixels along both sides, or height and width.

    Returns
    -------
    tuple of (int, int) or None
        Height and width.

    Raises
    ------
    ValueError
        If there are not one or two positive integers.
    """
    if size is None:
        return None
    pair = tuple(np.atleast_1d(size).tolist())
    pair = pair if len(pair) == 2 else 2 * pair
    if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
        raise ValueError(
            f"Got size={size!r} but expected a positive number of pixels, or two: "
            "(height, width)."
        )
    return pair


def pixel_map(patch_map, picture_size, size=None, box=None):
    """Interpolate a map of patches to pixels, bilinearly.

    Parameters
    ----------
    patch_map : ndarray of shape (rows, columns)
        One value a patch.
    picture_size : tuple of (int, int)
        Width and height of the picture.
    size : tuple of (int, int), default=None
        Height and width of the result, which shows all of the picture; None is the
        picture's own.
    box : tuple of 4 numbers, default=None
        Left, top, right and bottom, in pixels of the picture, of what the patches
        cover; None is the whole picture. Pixels outside have the value of the
        nearest patch.

    Returns
    -------
    ndarray of shape (height, width), dtype float32
        The map. Values at the centres of patches are those of `patch_map`.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._method.maps import pixel_map
    >>> pixel_map(np.array([[0.0, 1.0]]), (8, 1)).round(3)
    array([[0.   , 0.   , 0.125, 0.375, 0.625, 0.875, 1.   , 1.   ]], dtype=float32)
    """
    width, height = picture_size
    left, top, right, bottom = (0, 0, width, height) if box is None else box
    n_down, n_right = (height, width) if size is None else size
    rows, columns = patch_map.shape
    down = _interpolation(n_down, height, top, bottom, rows)
    across = _interpolation(n_right, width, left, right, columns)
    return (down @ patch_map @ across.T).astype(np.float32)


def _interpolation(n_pixels, length, start, end, n_patches):
    """Return the weight of each patch in each pixel along one side, as a matrix."""
    pixels = (np.arange(n_pixels) + 0.5) * length / n_pixels  # their centres
    places = (pixels - start) / (end - start) * n_patches - 0.5
    places = np.clip(places, 0, n_patches - 1)
    # A straight line between neighbours: a tent one patch wide on each side.
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(n_patches)))
