"""The image tower in the graph: pixels to embeddings, and to features of parts."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from skclipad._clip.parts import parts_of_any_tower, parts_of_tokens
from skclipad._clip.transformer import run_blocks
from skclipad._clip.vision import reads_class_token
from skclipad._clip.windows import WINDOWS, grid_of, window_tokens
from skclipad.export._tensors import keep


class Seen(NamedTuple):
    """What a tower sees in images."""

    embeddings: Any  # (n, C_e)
    depths: Any = None  # features of parts at several depths
    parts: dict | None = None  # of patches and windows, by side


class Tower(nn.Module):
    """The image tower of a backbone, for any number of images.

    `grid` is that of its patches, and `windows` the sides of windows that fit into it:
    None and none of a tower that is no plain ViT.
    """

    def __init__(self, backbone):
        super().__init__()
        visual = backbone.model.visual
        self.reads_tokens = reads_class_token(visual)
        # Only the part that is used: the text tower would be written too.
        self.clip = visual if self.reads_tokens else backbone.model
        self.sees_inside = partial(parts_of_any_tower, backbone)

        keep(self, "colour_mean", np.reshape(backbone.mean, (3, 1, 1)))
        keep(self, "colour_std", np.reshape(backbone.std, (3, 1, 1)))
        self.grid = grid_of(visual) if self.reads_tokens else None
        self.windows = [n for n in WINDOWS if self.grid and n <= min(self.grid)]

    def forward(self, pixels, sides, inside):
        """Return what is seen in pixels, (n, 3, height, width).

        `sides` are those of the patches and windows that are asked for, `inside` says
        whether the depths are.
        """
        x = (pixels - self.colour_mean) / self.colour_std
        if self.reads_tokens:
            tokens = self._tokens(x)
            seen = parts_of_tokens(self.clip, tokens)
            parts = self._parts(tokens, seen.depths[-1], sides)
            return Seen(seen.images, seen.depths, parts)
        if inside:
            seen = self.sees_inside(x)
            return Seen(seen.images, seen.depths)
        return Seen(self.clip.encode_image(x, normalize=False))

    def _tokens(self, x):
        """As `skclipad._clip.vision.patch_tokens`, for any number of images."""
        x = self.clip.conv1(x).flatten(2).transpose(1, 2)  # (n, n_patches, width)
        class_token = self.clip.class_embedding.expand(x.shape[0], 1, -1)
        x = torch.cat([class_token, x], dim=1)
        return self.clip.ln_pre(x + self.clip.positional_embedding)

    def _parts(self, tokens, patches, sides):
        """Return the features of patches and windows, by side."""
        parts = {side: self._windows(tokens, side) for side in sorted(sides - {1})}
        if 1 in sides:
            parts[1] = self.clip.ln_post(patches)
        return parts

    def _windows(self, tokens, side):
        """Embed all windows: (n, n_down, n_right, C_e)."""
        index = window_tokens(self.grid, side)  # (n_windows, 1 + side**2)
        x = tokens[:, index.flatten()].reshape(-1, index.shape[1], tokens.shape[2])
        x = run_blocks(self.clip.transformer.resblocks, x)[:, 0]
        x = self.clip.ln_post(x)
        x = x if self.clip.proj is None else x @ self.clip.proj
        positions = [length - side + 1 for length in self.grid]
        return x.reshape(-1, *positions, x.shape[-1])
