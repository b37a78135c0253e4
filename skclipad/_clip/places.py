"""Embeddings of places: what a tower with average pooling says of each of them.

Where the embedding of an image is a linear map of the mean of features at all places,
it is the mean of the same map of the features at each. One pass then gives the
embedding of every window, as the mean of its places.
"""

from weakref import WeakKeyDictionary

import torch
from torch.nn import functional as F

from skclipad._clip.vision import normalized, pieces

TOLERANCE = 1e-3
"""How far the mean of places may be from the embedding, for one of length 1."""

_grids = WeakKeyDictionary()  # rows and columns of places, or None, by model


def places_grid(clip):
    """Return how many rows and columns of places a tower embeds, None if it has none.

    It is measured once, on noise.
    """
    if clip.model not in _grids:
        _grids[clip.model] = _measured_grid(clip)
    return _grids[clip.model]


def embed_windows(clip, pixels, sides):
    """Embed images, and their windows of places, in one pass.

    Parameters
    ----------
    clip : Backbone
        The frozen CLIP, with a `places_grid`.
    pixels : torch.Tensor of shape (n, height, width, 3), dtype uint8
        Images of the size that the tower reads.
    sides : sequence of int
        Of the windows, in places.

    Returns
    -------
    images : ndarray of shape (n, C_e), dtype float32
        Raw embeddings.
    windows : dict of int to ndarray of shape (n, n_down, n_right, C_e), dtype float32
        Raw embeddings of the windows at each position, by their side.
    """
    with torch.inference_mode():
        embedded = [
            _places(clip.model.visual, normalized(clip, piece))
            for piece in pieces(clip, pixels)
        ]
        places = torch.cat(embedded).float()
        images = places.mean(dim=(1, 2)).cpu().numpy()
        grids = places.permute(0, 3, 1, 2)
        windows = {side: F.avg_pool2d(grids, side, stride=1) for side in sides}
    return images, {
        side: window.permute(0, 2, 3, 1).cpu().numpy()
        for side, window in windows.items()
    }


def _places(visual, x):
    """Embed the places of images: (n, n_down, n_right, C_e)."""
    return visual.head(visual.trunk.forward_features(x).permute(0, 2, 3, 1))


def _measured_grid(clip):
    visual = clip.model.visual
    if not hasattr(visual, "trunk") or not hasattr(visual, "head"):
        return None

    noise = torch.Generator().manual_seed(0)
    x = torch.randn(1, 3, *clip.image_size, generator=noise)
    x = x.to(device=clip.device, dtype=clip.dtype)
    with torch.inference_mode():
        expected = visual(x).float()
        try:
            places = _places(visual, x).float()
            error = (places.mean(dim=(1, 2)) - expected).norm() / expected.norm()
        except Exception:  # whatever a tower of another build may raise
            return None
    return tuple(places.shape[1:3]) if error < TOLERANCE else None
