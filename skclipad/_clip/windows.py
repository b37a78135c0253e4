"""Parts of images: patches, and windows of 2 x 2 and 3 x 3 patches, as WinCLIP's."""

import numpy as np
import torch

from skclipad._clip.transformer import run_blocks, run_last_block
from skclipad._clip.vision import normalized, patch_tokens

WINDOWS = (2, 3)
"""Sides of the windows in patches, WinCLIP's small and middle scale."""

CROP_GRID = 6
"""Cells along a side of an image that is cut into crops; two or three make a window.
Our choice: crops of a third and a half of the side, 41 in all."""

TOKENS_PER_BATCH = {"cpu": 4096, "cuda": 131072, "mps": 8192}


def window_boxes(size, side):
    """Return the boxes of all windows of `side` cells, row by row."""
    columns, rows = (length / CROP_GRID for length in size)
    positions = range(CROP_GRID - side + 1)
    return [
        (
            right * columns,
            down * rows,
            # What rounding adds must not leave the image.
            min((right + side) * columns, size[0]),
            min((down + side) * rows, size[1]),
        )
        for down in positions
        for right in positions
    ]


def crop_features(encoded):
    """Sort the embeddings of an image and of its crops.

    Parameters
    ----------
    encoded : ndarray of shape (1 + n_crops, C_e)
        Of the whole image, then of the crops of `window_boxes`, side by side.

    Returns
    -------
    image : ndarray of shape (C_e,)
        Embedding of the whole image.
    parts : dict of int to ndarray of shape (n_down, n_right, C_e)
        Embeddings of its windows, by their side.
    """
    parts, start = {}, 1
    for side in WINDOWS:
        n = CROP_GRID - side + 1
        parts[side] = encoded[start : start + n * n].reshape(n, n, -1)
        start += n * n
    return encoded[0], parts


def token_features(clip, pixels, *, windows=True, patches=False):
    """Compute the features of images and of their parts with a plain ViT.

    Parameters
    ----------
    clip : Backbone
        The frozen CLIP.
    pixels : list of ndarray of shape (1, height, width, 3)
        Images of the size that the tower reads.
    windows : bool, default=True
        Whether windows are features, under their sides.
    patches : bool, default=False
        Whether the tokens of patches are features too, under the side 1.

    Returns
    -------
    list of (ndarray of shape (C_e,), dict of int to ndarray)
        As `crop_features` gives them, for each image.
    """
    visual, limit = clip.model.visual, TOKENS_PER_BATCH[clip.device.type]
    with torch.inference_mode():
        x = normalized(clip, torch.from_numpy(np.concatenate(pixels)))
        tokens, grid = patch_tokens(visual, x), grid_of(visual)

        images, parts = _whole(visual, tokens, grid, limit, patches)
        for side in WINDOWS if windows else ():
            if side <= min(grid):
                parts[side] = _windows(visual, tokens, grid, side, limit)

    arrays = {side: part.float().cpu().numpy() for side, part in parts.items()}
    images = images.float().cpu().numpy()
    return [
        (image, {side: array[i] for side, array in arrays.items()})
        for i, image in enumerate(images)
    ]


def grid_of(visual):
    """Return how many patches of a ViT stand below and beside each other."""
    return tuple(visual.grid_size)


def _whole(visual, tokens, grid, limit, patches):
    """Run whole images, the last block for all tokens only if patches are wanted."""
    images, tokens_out = [], []
    for x in _pieces(tokens, limit):
        if patches:
            x = visual.ln_post(run_blocks(visual.transformer.resblocks, x))
            tokens_out.append(x[:, 1:].unflatten(1, grid))
            images.append(_projected(visual, x[:, 0]))
        else:
            images.append(_read_class_token(visual, x))
    return torch.cat(images), {1: torch.cat(tokens_out)} if patches else {}


def _windows(visual, tokens, grid, side, limit):
    """Embed every window of one side: shape (n, n_down, n_right, C_e).

    Only what is needed is computed: the tokens of the windows, no others and no
    masks, and of the last block the class token.
    """
    index = window_tokens(grid, side).to(tokens.device)  # (n_windows, 1 + side**2)
    n_windows, n_tokens = index.shape
    positions = torch.arange(len(tokens) * n_windows, device=tokens.device)
    n_pieces = -(-len(positions) * n_tokens // limit)
    embedded = [
        _read_class_token(
            visual, tokens[(piece // n_windows)[:, None], index[piece % n_windows]]
        )
        for piece in positions.tensor_split(min(n_pieces, len(positions)))
    ]
    n_down, n_right = (length - side + 1 for length in grid)
    return torch.cat(embedded).view(len(tokens), n_down, n_right, -1)


def window_tokens(grid, side):
    """Return which tokens make each window, the class token first, row by row."""
    rows, columns = grid
    patches = torch.arange(rows * columns).view(rows, columns)
    # (n_down, n_right, side, side)
    windows = patches.unfold(0, side, 1).unfold(1, side, 1)
    windows = windows.reshape(-1, side * side) + 1
    return torch.cat([torch.zeros(len(windows), 1, dtype=torch.long), windows], dim=1)


def _pieces(tokens, limit):
    """Cut tokens of shape (n, n_tokens, width) into even batches of about `limit`."""
    n_pieces = -(-tokens.shape[0] * tokens.shape[1] // limit)
    return tokens.tensor_split(min(n_pieces, len(tokens)))


def _read_class_token(visual, x):
    *blocks, last = visual.transformer.resblocks
    x = run_blocks(blocks, x)
    first = torch.zeros(len(x), dtype=torch.long, device=x.device)
    return _projected(visual, visual.ln_post(run_last_block(last, x, first)))


def _projected(visual, x):
    return x if visual.proj is None else x @ visual.proj
