"""How an image differs from many others that may hold damaged ones themselves.

Parts of an image are compared with those of other images of the same kind, as MuSc [1]_
does, but with references that are fixed: what an image scores depends on no other image
that is scored with it.

References
----------
.. [1] X. Li et al., "MuSc: Zero-Shot Industrial Anomaly Classification and Segmentation
   with Mutual Scoring of the Unlabeled Images", ICLR 2024.
"""

import numpy as np
import torch
from scipy.linalg import eigh
from torch.nn import functional as F

WIDTH = 128
"""Width that features of parts are brought to. Our choice: half of what is left is
enough, and a comparison with wider ones takes as much longer."""

REFERENCES_AT_ONCE = 32
"""References that are worked on together, so that memory stays small."""


def reference_state(stream, sides):
    """Keep of references what others are compared with.

    Parameters
    ----------
    stream : iterable of ImageFeatures
        With depths.
    sides : tuple of int
        Squares of how many parts a side are compared: see
        `skclipad._clip.parts.neighbourhoods`.

    Returns
    -------
    dict of str to ndarray
        "parts", float16 of shape (n_references, n_down, n_right, width);
        "basis", float32 of shape (width of depths, width), which brings features to
        this width; "sides"; and "digests", uint8 of shape (n_references, 16), which
        tell their contents apart.
    """
    parts, digests = zip(*((one.depths, one.digest) for one in stream), strict=True)
    parts, digests = np.stack(parts), np.stack(digests)
    # In an order of their own, so that the order of images makes no difference.
    basis = principal_axes(parts[np.lexsort(digests.T)], WIDTH)
    parts = np.stack([(one.astype(np.float32) @ basis) for one in parts])
    return {
        "parts": parts.astype(np.float16),
        "basis": basis,
        "sides": np.array(sides),
        "digests": digests,
    }


def principal_axes(parts, width):
    """Return the axes that hold most of the squared length of features.

    Parameters
    ----------
    parts : ndarray of shape (n, n_down, n_right, width of parts)
        Features.
    width : int
        Number of axes at most.

    Returns
    -------
    ndarray of shape (width of parts, width), dtype float32
        Orthonormal columns; features times these keep their cosines as well as so few
        numbers can.
    """
    wide = parts.shape[-1]
    moments = np.zeros((wide, wide), np.float64)
    for start in range(0, len(parts), REFERENCES_AT_ONCE):
        some = parts[start : start + REFERENCES_AT_ONCE]
        flat = some.reshape(-1, wide).astype(np.float32)
        moments += flat.T @ flat
    # Only these axes: all of 3,584 take ten times as long.
    _, axes = eigh(moments, subset_by_index=(max(0, wide - width), wide - 1))
    return np.ascontiguousarray(axes, dtype=np.float32)


def number_of(share, n):
    """Return how many a share of `n` are: at least one.

    Examples
    --------
    >>> from skclipad._method.mutual import number_of
    >>> number_of(0.3, 20), number_of(0.03, 4)
    (6, 1)
    """
    return max(1, round(share * n))


def highest_mean(scores, share):
    """Return the mean of the highest of all scores: a `share` of them, at least one.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._method.mutual import highest_mean
    >>> highest_mean(np.array([[0.5, 0.1], [0.3, 0.9]]), 0.5)
    0.7
    """
    n = number_of(share, scores.size)
    return float(np.sort(scores, axis=None)[-n:].mean())


def lowest_mean(distances, share):
    """Return the mean of the lowest of some distances, along the last axis.

    Parameters
    ----------
    distances : torch.Tensor of shape (..., n)
        Distances.
    share : float
        How many of them, as a share of `n`; at least one.

    Returns
    -------
    torch.Tensor of shape (...)
        The mean.

    Examples
    --------
    >>> import torch
    >>> from skclipad._method.mutual import lowest_mean
    >>> lowest_mean(torch.tensor([0.5, 0.1, 0.3, 0.9]), 0.5)
    tensor(0.2000)
    """
    n = number_of(share, distances.shape[-1])
    return distances.topk(n, dim=-1, largest=False).values.mean(dim=-1)


class MutualComparison:
    """Compares images with references, part by part.

    For a part ``p`` of an image and each reference ``j`` that has another content,
    ``d_j(p)`` is ``(1 - cos) / 2`` to the most similar part of ``j``, anywhere in it;
    the part's score is the mean of the lowest `share` of the ``d_j``. Parts averaged
    over squares of several sides are scored each, and their scores averaged.

    Parameters
    ----------
    state : dict of str to ndarray
        What `reference_state` keeps.
    share : float
        Share of references that a part may be like.
    device : torch.device
        Where the comparison runs.
    """

    def __init__(self, state, share, device):
        self.share, self.device = share, device
        self.digests, self.basis = state["digests"], state["basis"]
        parts = torch.from_numpy(state["parts"])
        self.references = {
            side: torch.cat(
                [
                    pooled(some.to(device), side)
                    for some in parts.split(REFERENCES_AT_ONCE)
                ]
            )
            for side in state["sides"].tolist()
        }  # each (n_references, n_parts, width), of unit length

    def __call__(self, features):
        """Return the map of one image.

        Parameters
        ----------
        features : ImageFeatures
            With depths.

        Returns
        -------
        ndarray of shape (n_down, n_right), dtype float64
            The score of each part, in [0, 1]; 0 where nothing else is among the
            references than the image itself.
        """
        grid = features.depths.shape[:2]
        others = (self.digests != features.digest).any(axis=1)
        if not others.any():
            return np.zeros(grid)

        parts = features.depths.astype(np.float32) @ self.basis
        parts = torch.from_numpy(parts).to(self.device)[None]
        others = torch.from_numpy(others).to(self.device)
        maps = []
        for side, references in self.references.items():
            distances = self._distances(pooled(parts, side)[0], references)
            maps.append(lowest_mean(distances[:, others], self.share))
        scores = torch.stack(maps).mean(dim=0).cpu().numpy().astype(np.float64)
        return scores.clip(0, 1).reshape(grid)

    def _distances(self, parts, references):
        """Return each part's distance to each reference: (n_parts, n_references)."""
        nearest = []
        for some in references.split(REFERENCES_AT_ONCE):
            cosines = parts @ some.flatten(0, 1).T
            nearest.append(cosines.unflatten(1, some.shape[:2]).amax(dim=2))
        return (1 - torch.cat(nearest, dim=1)) / 2


def pooled(parts, side):
    """Average parts over squares of neighbours.

    At the border a square has fewer neighbours.

    Parameters
    ----------
    parts : torch.Tensor of shape (n, n_down, n_right, width)
        Features of parts.
    side : int
        Of the squares, in parts; odd.

    Returns
    -------
    torch.Tensor of shape (n, n_parts, width), dtype float32
        Of unit length.
    """
    x = parts.float()
    if side > 1:
        x = F.avg_pool2d(
            x.permute(0, 3, 1, 2),
            side,
            stride=1,
            padding=side // 2,
            count_include_pad=False,
        ).permute(0, 2, 3, 1)
    return F.normalize(x.flatten(1, 2), dim=-1)
