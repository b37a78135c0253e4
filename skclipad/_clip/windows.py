"""Pictures to features of their parts: patches, and windows of 2x2 and 3x3 patches."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from skclipad._clip.backbone import Backbone
from skclipad._clip.transformer import run_blocks, run_last_block
from skclipad._clip.vision import (
    count_threads,
    encode_pixels,
    normalized,
    patch_tokens,
    reads_class_token,
    run_ahead,
    with_progress,
)
from skclipad._exceptions import ImageReadError
from skclipad._images.crops import resize_image, seen_box
from skclipad._images.reading import (
    BitDepth,
    image_identity,
    read_image,
    snapshot,
)
from skclipad._storage.store import EmbeddingStore, store_key

WINDOWS = (2, 3)
"""Sides of the windows in patches, WinCLIP's small and middle scale."""

CROP_GRID = 6
"""Cells along a side of a picture that is cut into crops; two or three make a window.
Our choice: crops of a third and a half of the side, 41 in all."""

FEATURES = 1
"""Version of the features, a part of the keys under which a store keeps them. To be
raised with each change of the code here that gives other ones."""

TOKENS_PER_BATCH = {"cpu": 4096, "cuda": 131072, "mps": 8192}


@dataclass(frozen=True)
class WindowFeatures:
    """What the image tower saw of one picture and of its parts.

    Attributes
    ----------
    image : ndarray of shape (C_e,), dtype float32
        Raw embedding of the whole picture.
    parts : dict of int to ndarray of shape (n_down, n_right, C), dtype float32
        For each side of a window, in patches, the raw features at each place: with 2
        and 3 embeddings of width ``C_e``; with 1, where they were asked for and the
        tower has them, the patch tokens before projection.
    size : tuple of (int, int)
        Width and height of the picture in pixels.
    box : tuple of 4 numbers
        Left, top, right and bottom, in pixels, of what the grid of patches covers.
    """

    image: np.ndarray
    parts: dict
    size: tuple
    box: tuple


@dataclass(frozen=True)
class _Views:
    """A picture on its way to the tower: the whole, then windows if they are crops."""

    pixels: np.ndarray  # (n_views, height, width, 3)
    size: tuple
    box: tuple
    key: str | None = None


@dataclass(frozen=True)
class _Preparation:
    """All that is done to an image before the model sees it, in any thread."""

    backbone: Backbone
    patches: bool
    resize_mode: str
    on_error: str
    store: EmbeddingStore | None
    depth: BitDepth

    def __call__(self, row, item):
        """Return views, or features that are kept, or None for a bad image."""
        try:
            return self._prepare(row, item)
        except ImageReadError:
            if self.on_error == "raise":
                raise
            return None

    def _prepare(self, row, item):
        if self.store is None:
            return self._views(read_image(item, row, depth=self.depth))

        item = snapshot(item, row)
        identity = image_identity(item, row)
        how = (self.resize_mode, self.patches, FEATURES, WINDOWS, CROP_GRID)
        how += (self.depth.bits,)
        key = store_key("parts", identity, self.backbone.cache_name, *how)
        known = self._look_up(key)
        if known is not None:
            return known
        return self._views(read_image(item, row, depth=self.depth), key)

    def _look_up(self, key):
        sides = list(self._sides())
        found = self.store.get_many(_part_keys(key, sides))
        if any(array is None for array in found):
            return None

        size, image, *parts = found
        size = tuple(map(int, size))
        return WindowFeatures(
            image, dict(zip(sides, parts, strict=True)), size, self._seen(size)
        )

    def _sides(self):
        """Yield the sides of windows that this tower gives features of."""
        visual = self.backbone.model.visual
        if not self.has_tokens:
            yield from WINDOWS
            return
        if self.patches:
            yield 1
        yield from (side for side in WINDOWS if side <= min(_grid(visual)))

    @property
    def has_tokens(self):
        return reads_class_token(self.backbone.model.visual)

    def _seen(self, size):
        """Return the box of the image that the grid of patches covers."""
        # Crops are cut out of the image itself, whatever becomes of the whole view.
        if not self.has_tokens:
            return 0, 0, *size
        return seen_box(*size, self.backbone.image_size, self.resize_mode)

    def _views(self, image, key=None):
        boxes = [(0, 0, *image.size)]
        if not self.has_tokens:
            boxes += [b for side in WINDOWS for b in _window_boxes(image.size, side)]
        size, interpolation = self.backbone.image_size, self.backbone.interpolation
        pixels = [
            resize_image(image, box, size, self.resize_mode, interpolation)
            for box in boxes
        ]
        return _Views(np.stack(pixels), image.size, self._seen(image.size), key)


def stream_windows(
    backbone,
    images,
    *,
    patches=False,
    resize_mode="squash",
    batch_size=32,
    n_jobs=None,
    on_error="raise",
    store=None,
    bit_depth=None,
    warn=True,
    verbose=False,
):
    """Yield the features of windows, picture by picture.

    A plain ViT sees a window as WinCLIP has it: the class token and the tokens of the
    window, with the positions that they have in the picture, run through all blocks
    on their own. Towers without tokens that could be left out (ResNets, most towers of
    timm) see crops instead: the picture is cut into 6 x 6 cells, and each square of
    2 x 2 or 3 x 3 cells is resized and run through the whole tower. These have no
    patch tokens.

    Parameters
    ----------
    backbone : Backbone
        The frozen CLIP.
    images : iterable of images
        From `skclipad._inputs.as_image_list`.
    patches : bool, default=False
        Whether to yield patch tokens too.
    resize_mode : {"squash", "shortest", "longest"}, default="squash"
        How a picture is brought to the size that the tower reads.
    batch_size : int, default=32
        Pictures, or views, that the model computes at once.
    n_jobs : int or None, default=None
        Threads that decode; None is one a core, eight at most, -1 one a core.
    on_error : {"raise", "nan"}, default="raise"
        What an image that cannot be read does: raise, or yield None.
    store : EmbeddingStore or None, default=None
        Where the features of known images are kept, as float32: of a ViT-B-16-plus-240
        1.7 MB an image with patch tokens, 0.9 MB without.
    bit_depth : int or None, default=None
        Bits that hold values in 16-bit images; None is all 16, with a warning at the
        end if no image comes near to using them.
    warn : bool, default=True
        Whether to warn so; False where the same images were read just before.
    verbose : bool, default=False
        Show a progress bar.

    Yields
    ------
    WindowFeatures or None
        Features of one picture, in the order of the images.

    Raises
    ------
    ImageReadError
        If an image cannot be read and `on_error` is "raise".
    """
    depth = BitDepth(bit_depth)
    prepare = _Preparation(backbone, patches, resize_mode, on_error, store, depth)
    n_decoders = count_threads(n_jobs)
    pool = ThreadPoolExecutor(n_decoders, thread_name_prefix="skclipad-decode")
    try:
        ahead = run_ahead(pool, prepare, images, batch_size + n_decoders)
        prepared = iter(with_progress(ahead, images, verbose))
        while batch := list(islice(prepared, batch_size)):
            new = [views for views in batch if isinstance(views, _Views)]
            if prepare.has_tokens and new:
                features = iter(_token_windows(backbone, new, patches))
            else:
                features = (_crop_windows(backbone, v, batch_size) for v in new)
            for one in batch:
                if isinstance(one, _Views):
                    one = _kept(store, one.key, next(features))
                yield one
        if warn:
            depth.warn_if_dark(stacklevel=2)
    finally:
        pool.shutdown(cancel_futures=True)


def _kept(store, key, features):
    """Keep the features of an image, if there is a store, and return them."""
    if store is not None:
        arrays = [features.size, features.image, *features.parts.values()]
        store.put_many(_part_keys(key, features.parts), arrays)
    return features


def _part_keys(key, sides):
    """Return the keys of an image's size, of its embedding, and of its parts."""
    return [store_key(key, part) for part in ("size", "image", *sides)]


def _window_boxes(size, side):
    """Return the boxes of all windows of `side` cells, row by row."""
    columns, rows = (length / CROP_GRID for length in size)
    places = range(CROP_GRID - side + 1)
    return [
        (
            right * columns,
            down * rows,
            # What rounding adds must not leave the picture.
            min((right + side) * columns, size[0]),
            min((down + side) * rows, size[1]),
        )
        for down in places
        for right in places
    ]


def _crop_windows(backbone, views, batch_size):
    pixels = torch.from_numpy(views.pixels)
    batches = [encode_pixels(backbone, batch) for batch in pixels.split(batch_size)]
    encoded = torch.cat(batches).cpu().numpy()
    parts, start = {}, 1
    for side in WINDOWS:
        n = CROP_GRID - side + 1
        parts[side] = encoded[start : start + n * n].reshape(n, n, -1)
        start += n * n
    return WindowFeatures(encoded[0], parts, views.size, views.box)


def _token_windows(backbone, batch, patches):
    """Return the WindowFeatures of pictures for a plain ViT, as a list."""
    visual = backbone.model.visual
    pixels = torch.from_numpy(np.concatenate([views.pixels for views in batch]))
    limit = TOKENS_PER_BATCH[backbone.device.type]
    with torch.inference_mode():
        tokens = patch_tokens(visual, normalized(backbone, pixels))
        grid = _grid(visual)
        images, parts = _whole(visual, tokens, grid, limit, patches)
        for side in WINDOWS:
            if side <= min(grid):
                parts[side] = _windows(visual, tokens, grid, side, limit)
    arrays = {side: part.float().cpu().numpy() for side, part in parts.items()}
    images = images.float().cpu().numpy()
    return [
        WindowFeatures(
            images[i], {side: a[i] for side, a in arrays.items()}, v.size, v.box
        )
        for i, v in enumerate(batch)
    ]


def _grid(visual):
    """Return how many patches of a ViT stand below and beside each other."""
    return tuple(visual.grid_size)


def _whole(visual, tokens, grid, limit, patches):
    """Run whole pictures, the last block for all tokens only if patches are wanted."""
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
    index = _window_tokens(grid, side).to(tokens.device)  # (n_windows, 1 + side**2)
    n_windows, n_tokens = index.shape
    places = torch.arange(len(tokens) * n_windows, device=tokens.device)
    n_pieces = -(-len(places) * n_tokens // limit)
    embedded = [
        _read_class_token(
            visual, tokens[(piece // n_windows)[:, None], index[piece % n_windows]]
        )
        for piece in places.tensor_split(min(n_pieces, len(places)))
    ]
    n_down, n_right = (length - side + 1 for length in grid)
    return torch.cat(embedded).view(len(tokens), n_down, n_right, -1)


def _window_tokens(grid, side):
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
