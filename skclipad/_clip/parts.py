"""Features of an image's parts, from inside any image tower.

A plain ViT or another tower of tokens gives them at four depths; a convolutional one
from the stages that see an eighth and a sixteenth of the image's pixels a side.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from skclipad._clip.backbone import Backbone
from skclipad._clip.transformer import run_blocks
from skclipad._clip.vision import normalized, patch_tokens, pieces, reads_class_token

DEPTHS = 4
"""Depths that tokens are taken at: a quarter, a half, three quarters, and the end."""

REDUCTIONS = (8, 16)
"""Pixels a side that a place of a stage stands for, of the stages that are taken."""


SIDES = (1, 3, 5)
"""Sides of the squares that tokens are averaged over; MuSc's."""


@dataclass(frozen=True)
class SeenParts:
    """What one pass through an image tower gives.

    Attributes
    ----------
    images : torch.Tensor of shape (n, C_e)
        Raw embeddings.
    depths : list of torch.Tensor of shape (n, n_down, n_right, width)
        Raw features of parts, from the shallowest depth to the deepest. They have one
        grid; the width may differ.
    """

    images: torch.Tensor
    depths: list


def see_parts(clip, pixels):
    """Run an image tower once, for the embeddings of images and features of parts.

    Stages of convolutional towers are brought to the grid of the coarsest one: finer
    features are averaged over 3 x 3 neighbours first, so that none falls between two
    places of that grid.

    Parameters
    ----------
    clip : Backbone
        The frozen CLIP.
    pixels : torch.Tensor of shape (n, height, width, 3), dtype uint8
        Images of the size that the tower reads.

    Returns
    -------
    SeenParts
        On the clip's device, in its number format.

    Raises
    ------
    ValueError
        If the tower shows nothing of its inside.
    """
    with torch.inference_mode():
        seen = [
            _see_piece(clip, normalized(clip, piece)) for piece in pieces(clip, pixels)
        ]
        return SeenParts(
            torch.cat([one.images for one in seen]),
            [torch.cat(depth) for depth in zip(*(s.depths for s in seen), strict=True)],
        )


def _see_piece(clip, x):
    visual = clip.model.visual
    if reads_class_token(visual):
        return parts_of_tokens(visual, patch_tokens(visual, x))
    return parts_of_any_tower(clip, x)


def joined(depths):
    """Put the features of all depths side by side, each of unit length.

    Parameters
    ----------
    depths : list of torch.Tensor of shape (n, n_down, n_right, width)
        Features of parts.

    Returns
    -------
    torch.Tensor of shape (n, n_down, n_right, sum of widths), dtype float32
        Their length is the same everywhere: the root of the number of depths.
    """
    return torch.cat([F.normalize(depth.float(), dim=-1) for depth in depths], dim=-1)


def neighbourhoods(clip, grid):
    """Return the sides of the squares of neighbours that parts are averaged over.

    Tokens of a ViT speak of their patch, so that squares of 3 and 5 of them, MuSc's,
    see what is larger; none is longer than a third of the image. What a convolutional
    tower gives has seen its surroundings: wider averages lose small damage.

    Parameters
    ----------
    clip : Backbone
        The frozen CLIP.
    grid : tuple of (int, int)
        How many parts stand below and beside each other.

    Returns
    -------
    tuple of int
        Odd numbers, 1 first.
    """
    visual = clip.model.visual
    if not reads_class_token(visual) and len(set(_reductions(visual))) > 1:
        return (1,)
    return tuple(side for side in SIDES if side == 1 or 3 * side <= min(grid))


def check_parts(clip):
    """Refuse an image tower without features of parts.

    Parameters
    ----------
    clip : Backbone
        The frozen CLIP.

    Raises
    ------
    ValueError
        If the tower shows nothing of its inside.
    """
    if not reads_class_token(clip.model.visual):
        _indices(clip)


def spread_depths(n_blocks):
    """Return which blocks are a quarter, a half, three quarters and all of the way.

    Examples
    --------
    >>> from skclipad._clip.parts import spread_depths
    >>> spread_depths(12), spread_depths(3)
    ([2, 5, 8, 11], [0, 1, 2])
    """
    ends = (np.arange(1, DEPTHS + 1) * n_blocks / DEPTHS).round().astype(int)
    return sorted({max(int(end), 1) - 1 for end in ends})


def parts_of_tokens(visual, x):
    """Run the blocks of a plain ViT, and keep the patch tokens at each depth.

    Parameters
    ----------
    visual : torch.nn.Module
        A plain ViT of open_clip: see `skclipad._clip.vision.reads_class_token`.
    x : torch.Tensor of shape (n, 1 + n_patches, width)
        Class token and patch tokens before the first block.

    Returns
    -------
    SeenParts
        The last of the depths is behind the last block.
    """
    blocks, start, depths = list(visual.transformer.resblocks), 0, []
    for last in spread_depths(len(blocks)):
        x = run_blocks(blocks[start : last + 1], x)
        depths.append(x[:, 1:].unflatten(1, tuple(visual.grid_size)))
        start = last + 1
    image = visual.ln_post(x[:, 0])
    image = image if visual.proj is None else image @ visual.proj
    return SeenParts(image.float(), depths)


def parts_of_any_tower(clip, x):
    """Run an image tower by what open_clip and timm offer for its inside.

    Parameters
    ----------
    clip : Backbone
        The frozen CLIP.
    x : torch.Tensor of shape (n, 3, height, width)
        Normalised images.

    Returns
    -------
    SeenParts
        On one grid, the coarsest.

    Raises
    ------
    ValueError
        If the tower shows nothing of its inside.
    """
    visual, wanted = clip.model.visual, _indices(clip)
    # open_clip's ResNet stops after the last one asked for.
    last = len(_reductions(visual)) - 1
    found = visual.forward_intermediates(x, indices=sorted({*wanted, last}))
    # each (n, width, n_down, n_right)
    stages = found["image_intermediates"][: len(wanted)]
    # Plain numbers: in a graph they are constants.
    grid = min((_grid_of(stage) for stage in stages), key=np.prod)
    depths = [_on_grid(stage, grid).permute(0, 2, 3, 1) for stage in stages]
    return SeenParts(found["image_features"].float(), depths)


def _grid_of(stage):
    return int(stage.shape[-2]), int(stage.shape[-1])


def _on_grid(stage, grid):
    if _grid_of(stage) == grid:
        return stage
    stage = F.avg_pool2d(stage, 3, stride=1, padding=1, count_include_pad=False)
    return F.adaptive_avg_pool2d(stage, grid)


def _indices(clip: Backbone):
    """Return which intermediate features are the parts, by the tower's own numbers."""
    visual = clip.model.visual
    reductions = _reductions(visual)
    if reductions is None:
        raise ValueError(
            f"The image tower of {clip.model_name!r}, {type(visual).__name__}, shows "
            "no features of an image's parts, so images cannot be compared part by "
            "part. Choose a ViT, ResNet, ConvNeXt, EfficientNet or another model "
            "whose tower has `forward_intermediates`, or set n_shots=0."
        )
    if len(set(reductions)) == 1:
        return spread_depths(len(reductions))
    stages = [i for i, found in enumerate(reductions) if found in REDUCTIONS]
    return stages or spread_depths(len(reductions))


def _reductions(visual):
    """Return how many pixels a side each intermediate feature stands for, or None."""
    tower = getattr(visual, "trunk", visual)
    if not hasattr(tower, "forward_intermediates"):
        return None
    if hasattr(visual, "trunk"):
        infos = getattr(tower, "feature_info", None)
        if not infos:
            return None
        infos = infos if isinstance(infos, list) else infos.info
        return [info["reduction"] for info in infos]
    if hasattr(visual, "layer4"):  # open_clip's ModifiedResNet: a stem and four layers
        return [4, 4, 8, 16, 32]
    return [visual.patch_size[0]] * len(visual.transformer.resblocks)
