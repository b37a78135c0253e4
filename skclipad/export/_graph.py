"""All that a detector computes, from pixels to scores and maps, as one torch module."""

import torch
from torch import nn

from skclipad._clip.windows import window_tokens
from skclipad.export._references import comparison_with_references, is_mutual
from skclipad.export._scores import Combination, WordScores, odds_of
from skclipad.export._tensors import inverse, keep
from skclipad.export._tower import Tower

DECISIVE = ("words.", "references.", "window_map.")
"""How the names of tensors begin that are read after the image tower."""


class ScoringGraph(nn.Module):
    """A detector as a torch module.

    The equations are those of `skclipad._method`, scores and maps, without branches
    that depend on values. The backbone is the detector's CLIP, in float32 on the CPU.
    With `maps` None there is a map if the image tower is a plain ViT.
    """

    def __init__(self, detector, backbone, maps=None):
        super().__init__()
        self.tower = Tower(backbone)
        if not self.tower.reads_tokens:
            _check_tower(detector, backbone.model_name, maps)
        self.words, self.combine = WordScores(detector), Combination(detector)
        self.references = comparison_with_references(detector)
        self.is_mutual = is_mutual(detector)

        self.gives_map = bool(self.tower.windows) if maps is None else maps
        self.windows = self.tower.windows if self.gives_map else []
        # Patches and windows whose features are asked for
        has_sides = self.references is not None and not self.is_mutual
        self.sides = {*self.windows, *(self.references.sides if has_sides else [])}
        # Odds are made again of scores in maps: those near 1 need more digits.
        self.dtype_of_maps = torch.float64 if self.combine.scales else torch.float32
        self.window_map = WindowMap(self.tower.grid, self.sides, self.dtype_of_maps)

    @property
    def score_outputs(self):
        """Names of the scores that `forward` returns, in order."""
        references = [] if self.references is None else ["s_img"]
        return ["s_pr", "s_fnn", *references, "score"]

    @property
    def outputs(self):
        """Names of all that `forward` returns, in order."""
        return [*self.score_outputs, *(["map"] if self.gives_map else [])]

    def forward(self, pixels):
        """Return what `outputs` names of pixels, (n, 3, height, width)."""
        inside = self.references is not None
        seen = self.tower(pixels, self.sides, inside)
        odds = self.words(seen.embeddings)
        by_references = self._reference_map(seen) if inside else None

        found = self._score(odds, by_references)
        if self.gives_map:
            found["map"] = self._map(odds, seen.parts, by_references)
        return tuple(found[name] for name in self.outputs)

    def _reference_map(self, seen):
        """Compare patches: see `skclipad._method.maps.reference_map`."""
        if self.is_mutual:
            return self.references(seen.depths)
        scores = self.references(seen.parts)
        maps = [self.window_map(one, side) for side, one in scores.items()]
        return torch.stack(maps).mean(dim=0).float()

    def _score(self, odds, by_references):
        """Return all scores: of words by their odds, of references by their map."""
        scores = {name: torch.sigmoid(one) for name, one in odds.items()}
        if by_references is not None:
            n_worst = self.references.n_worst
            worst = by_references.flatten(1).topk(n_worst, dim=1).values
            scores["s_img"] = worst.mean(dim=1)
        return scores | {"score": self.combine(scores | odds, scores)}

    def _map(self, odds, parts, by_references):
        """Make the map of patches: see `skclipad._method.maps.image_map`."""
        of_windows = {side: self.words(parts[side]) for side in self.windows}
        maps, measured = {}, {}
        for name in self.combine.names:
            if name == "s_img":
                maps[name] = measured[name] = by_references
                continue
            drawn = {side: one[name] for side, one in of_windows.items()}
            maps[name] = self._word_map(odds[name], drawn)
            if self.combine.scales is not None:
                measured[name] = odds_of(maps[name])
        return self.combine(measured, maps).float()

    def _word_map(self, odds, of_windows):
        """Return the harmonic mean of an image's score and the maps of its windows."""
        maps = [self._precise(odds)[:, None, None]]
        for side, one in of_windows.items():
            maps.append(self.window_map(self._precise(one), side))
        return len(maps) / sum(map(inverse, maps))

    def _precise(self, odds):
        return torch.sigmoid(odds.to(self.dtype_of_maps))


class WindowMap(nn.Module):
    """As `skclipad._method.maps.window_map`, for many images at once."""

    def __init__(self, grid, sides, dtype):
        super().__init__()
        self.grid = grid
        for side in sides - {1}:
            keep(self, f"covered_{side}", _covered(grid, side), dtype)

    def forward(self, scores, side):
        """Return the map of scores of windows with so many patches a side."""
        if side == 1:
            return scores
        covered = getattr(self, f"covered_{side}")
        total = inverse(scores.to(covered.dtype)).flatten(1) @ covered  # (n, n_patches)
        return (covered.sum(dim=0) / total).reshape(-1, *self.grid)


def _covered(grid, side):
    """Return which patches each window covers: (n_windows, n_patches), 0 and 1."""
    index = window_tokens(grid, side)[:, 1:] - 1  # without the class token
    covered = torch.zeros(len(index), grid[0] * grid[1])
    return covered.scatter_(1, index, 1.0)


def _check_tower(detector, model_name, maps):
    """Refuse what a graph cannot do with an image tower that is no plain ViT."""
    if detector.references_ is not None and not is_mutual(detector):
        raise ValueError(
            f"Got a detector with n_shots={detector.n_shots} whose image tower, of "
            f"{model_name!r}, is no plain ViT: what stands for its patches is not in "
            "the graph. Fit one with reference_method='mutual', or one without "
            "references, and export that."
        )
    if maps:
        raise ValueError(
            f"Got maps={maps}, but the image tower of {model_name!r} is no plain ViT: "
            "its windows are not in the graph. Export without maps."
        )
