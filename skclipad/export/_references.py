"""Comparisons with references in torch: WinCLIP's, and that of many with each other."""

import copy

import numpy as np
import torch
from torch import nn

from skclipad._clip.parts import joined
from skclipad._method.mutual import REFERENCES_AT_ONCE, number_of, pooled
from skclipad._method.scores import unit
from skclipad.export._tensors import keep, unit_length


def comparison_with_references(detector):
    """Return the module that compares, None for a detector without references."""
    if detector.references_ is None:
        return None
    if is_mutual(detector):
        return MutualComparison(detector)
    return WindowComparison(detector.references_)


def is_mutual(detector):
    """Tell whether a detector has references that it compares with each other."""
    if detector.references_ is None:
        return False
    return detector.fit_params_["reference_method"] == "mutual"


def without_digests(detector):
    """Return the detector as the graph has it: no image is known by its content."""
    if not is_mutual(detector):
        return detector
    detector = copy.copy(detector)
    unknown = np.zeros_like(detector.references_["digests"])
    detector.references_ = detector.references_ | {"digests": unknown}
    return detector


class WindowComparison(nn.Module):
    """As `skclipad._method.maps.reference_score`, of patches and windows."""

    n_worst = 1  # parts of an image that make its score

    def __init__(self, references):
        super().__init__()
        self.sides = sorted(references)
        for side in self.sides:
            others = references[side]
            others = unit(others.reshape(-1, others.shape[-1]))
            keep(self, f"windows_{side}", others.T)  # (C, n_references)

    def forward(self, parts):
        """Return scores at each place, by side, of the features of parts by side."""
        scores = {}
        for side in self.sides:
            cosines = unit_length(parts[side]) @ getattr(self, f"windows_{side}")
            scores[side] = ((1 - cosines.amax(dim=-1)) / 2).clamp(0, 1)
        return scores


class MutualComparison(nn.Module):
    """As `skclipad._method.mutual.MutualComparison`, but for digests."""

    def __init__(self, detector):
        super().__init__()
        state = detector.references_
        self.sides = state["sides"].tolist()
        n, *self.grid, _ = state["parts"].shape
        self.n_parts = self.grid[0] * self.grid[1]
        self.n_nearest = number_of(detector.reference_share, n)
        self.n_worst = number_of(detector.reference_top, self.n_parts)

        keep(self, "basis", state["basis"])
        pieces = torch.from_numpy(state["parts"]).split(REFERENCES_AT_ONCE)
        self.n_pieces = len(pieces)
        for side in self.sides:
            for i, some in enumerate(pieces):
                # (width, n_references * n_parts)
                keep(self, f"parts_{side}_{i}", pooled(some, side).flatten(0, 1).T)

    def forward(self, depths):
        """Return the map of patches of images seen at several depths."""
        # The detector keeps features of parts in 16 bits, and so does the graph.
        parts = joined(depths).half().float() @ self.basis
        maps = []
        for side in self.sides:
            distances = self._distances(pooled(parts, side), side)
            nearest = distances.topk(self.n_nearest, dim=-1, largest=False).values
            maps.append(nearest.mean(dim=-1))
        scores = torch.stack(maps).mean(dim=0).clamp(0, 1)
        return scores.reshape(-1, *self.grid)

    def _distances(self, parts, side):
        """Return each part's distance to each reference: (n, n_parts, n_references)."""
        nearest = []
        for i in range(self.n_pieces):
            references = getattr(self, f"parts_{side}_{i}")
            n = references.shape[1] // self.n_parts
            cosines = (parts @ references).reshape(-1, self.n_parts, n, self.n_parts)
            nearest.append(cosines.amax(dim=-1))
        return (1 - torch.cat(nearest, dim=-1)) / 2
