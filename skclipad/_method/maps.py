"""Where the damage is: from scores of windows to a map of an image's own size.

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
    """Return half of one minus the cosine to the most similar reference, in [0, 1].

    Features have the shape (..., C), references (n_references, C); they may lie
    anywhere in a normal image, and be of any length.
    """
    cosines = unit(features) @ unit(references).T  # (..., n_references)
    return np.clip((1 - cosines.max(axis=-1)) / 2, 0, 1)


def harmonic_mean(scores):
    """Average scores of at least 0 so that a low one pulls the mean down to it."""
    # A score of 0 has the inverse infinity, whose inverse is the 0 that it asks for.
    with np.errstate(divide="ignore", over="ignore"):
        return 1 / np.mean(1 / np.asarray(scores), axis=0)


def window_map(scores, window):
    """Return for each patch the harmonic mean of the scores of windows that cover it.

    `window` is a window's side in patches, `scores` those of the window at each place:
    of shape (rows - window + 1, columns - window + 1), 0 or more.

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
    """Return the harmonic mean of an image's score and the maps of its windows.

    `window_scores` are the scores at each place by the side of the window.
    """
    maps = [window_map(scores, window) for window, scores in window_scores.items()]
    return harmonic_mean([np.full_like(maps[0], image_score), *maps])


def reference_map(features, references):
    """Compare an image with normal ones, patch by patch and window by window.

    `features` has by the side of the window, 1 for patch tokens, those at each place:
    (n_down, n_right, C); `references` the same of all references, of the sides that
    are compared. The result is the mean of the maps of all sides; its maximum is the
    score ``s_img``.
    """
    maps = []
    for window, others in references.items():
        scores = reference_score(features[window], others.reshape(-1, others.shape[-1]))
        maps.append(window_map(scores, window))
    return np.mean(maps, axis=0)


def word_maps(features, score):
    """Score every patch of an image by each method that reads embeddings.

    `score` turns embeddings of shape (n, C_e) into scores of shape (n,), one array for
    each method. The result are their zero-shot maps, one a method.
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
    return maps


def image_map(features, maps, combine, size=None):
    """Make the map of one image, float32 of shape (height, width).

    `maps` are pairs of a map of patches and the box of the image that it covers;
    `combine` makes one array of several. Maps that lie on different places are
    combined pixel by pixel. Without features the map is NaN, of one pixel if `size` is
    None.
    """
    if features is None:
        return np.full(size or (1, 1), np.nan, np.float32)
    patches, boxes = zip(*maps, strict=True)
    if len({(one.shape, box) for one, box in maps}) == 1:
        return pixel_map(combine(patches), features.size, size, boxes[0])
    layers = [pixel_map(one, features.size, size, box) for one, box in maps]
    return combine(layers).astype(np.float32)


def height_and_width(size):
    """Return the size of a map as height and width, or None for the image's own.

    A ValueError says that there are not one or two positive integers.
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


def pixel_map(patch_map, image_size, size=None, box=None):
    """Interpolate a map of patches to pixels, bilinearly.

    The patches cover `box` (left, top, right, bottom) of the image, all of it if None;
    pixels outside have the value of the nearest patch. The result shows all of the
    image in `size` (height, width), or in its own, `image_size` (width, height).

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._method.maps import pixel_map
    >>> pixel_map(np.array([[0.0, 1.0]]), (8, 1)).round(3)
    array([[0.   , 0.   , 0.125, 0.375, 0.625, 0.875, 1.   , 1.   ]], dtype=float32)
    """
    width, height = image_size
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
