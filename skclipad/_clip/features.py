"""Images to features: threads decode ahead while the model computes.

Whatever is asked of an image, the embeddings of its views or the features of its parts,
comes from one reading of it.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import joblib
import numpy as np
import torch
from tqdm.auto import tqdm

from skclipad._clip.backbone import Backbone
from skclipad._clip.vision import encode_pixels, reads_class_token
from skclipad._clip.windows import (
    CROP_GRID,
    WINDOWS,
    crop_features,
    grid_of,
    token_features,
    window_boxes,
)
from skclipad._exceptions import ImageReadError, warn_user
from skclipad._images.bit_depth import BitDepth
from skclipad._images.crops import GEOMETRY, crop_boxes, resize_image, seen_box
from skclipad._images.reading import image_identity, read_image, snapshot
from skclipad._images.regions import Region, cut_images
from skclipad._storage.store import EmbeddingStore, store_key

FEATURES = 1
"""Version of the features of parts, in the keys under which a store keeps them. To be
raised with each change of the code that gives other ones."""


@dataclass(frozen=True)
class ImageOptions:
    """How images are read, and what is computed of them.

    Attributes
    ----------
    crops, resize_mode, bit_depth, batch_size, n_jobs, on_error, verbose
        The parameters of `CLIPImageEmbedder` of these names. An image that cannot be
        read with ``on_error="nan"`` has one view of NaN and no parts.
    store : EmbeddingStore or None
        Where features of known images are kept, as float32: the parts of an image take
        1.7 MB with the patch tokens of a ViT-B-16-plus-240 and 0.9 MB without.
    parts : {None, "windows", "patches"}
        Features of parts to compute: of none, of the windows, or of those and of the
        patches. They are of the whole image, whatever `crops`.
    region : Region or None
        What is seen of each image, in place of all of it.
    """

    crops: str | Callable = "whole"
    resize_mode: str = "squash"
    bit_depth: int | None = None
    batch_size: int = 32
    n_jobs: int | None = None
    on_error: str = "raise"
    verbose: bool = False
    store: EmbeddingStore | None = None
    parts: str | None = None
    region: Region | None = None


@dataclass(frozen=True)
class ImageFeatures:
    """What the image tower saw of one image.

    Attributes
    ----------
    views : ndarray of shape (n_views, C_e), dtype float32
        Raw embeddings ``e`` of its views.
    image : ndarray of shape (C_e,), dtype float32, or None
        With parts, the raw embedding of the whole image.
    parts : dict of int to ndarray of shape (n_down, n_right, C), dtype float32
        For each side of a window, in patches, the raw features at each position: with
        2 and 3 embeddings of width ``C_e``; with 1 the patch tokens before projection,
        where they were asked for and the tower has them.
    size : tuple of (int, int), or None
        With parts, width and height of the image in pixels.
    box : tuple of 4 numbers, or None
        With parts, left, top, right and bottom, in pixels, of what they cover.
    error : str or None
        Why the image could not be read.
    """

    views: np.ndarray
    image: np.ndarray | None = None
    parts: dict = field(default_factory=dict)
    size: tuple | None = None
    box: tuple | None = None
    error: str | None = None


def stream_features(clip, images, options):
    """Yield the features of images, one by one.

    A plain ViT sees a window as WinCLIP has it: the class token and the tokens of the
    window, with the positions that they have in the image, run through all blocks on
    their own. Towers without tokens that could be left out (ResNets, most towers of
    timm) see crops instead: the image is cut into 6 x 6 cells, and each square of 2 x 2
    or 3 x 3 cells is resized and run through the whole tower. These have no patch
    tokens.

    Parameters
    ----------
    clip : Backbone
        The frozen CLIP.
    images : iterable
        Images, as `read_image` takes them.
    options : ImageOptions
        How they are read, and what is computed.

    Yields
    ------
    ImageFeatures
        Of each image, in order.

    Raises
    ------
    ImageReadError
        If an image cannot be read and `on_error` is "raise".
    """
    depth = BitDepth(options.bit_depth)
    prepare = _Preparation(clip, options, depth)
    n_threads = count_threads(options.n_jobs)
    errors, n_images = [], 0
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="skclipad-decode")
    try:
        shown = cut_images(images, options.region)
        ahead = prefetch(pool, prepare, shown, 2 * options.batch_size + n_threads)
        ahead = _with_progress(ahead, images, options.verbose)
        for features in _computed(clip, ahead, options):
            n_images += 1
            if features.error is not None:
                errors.append(features.error)
            yield features
    finally:
        pool.shutdown(cancel_futures=True)

    _warn_of(errors, n_images)
    depth.warn_if_dark()


def prefetch(pool, function, items, depth):
    """Yield ``function(i, item)`` in order, computed at most `depth` items ahead."""
    pending = deque()
    for i, item in enumerate(items):
        pending.append(pool.submit(function, i, item))
        if len(pending) >= depth:
            yield pending.popleft().result()

    while pending:
        yield pending.popleft().result()


def count_threads(n_jobs):
    """Return how many threads decode: None is one a core, eight at most."""
    cores = joblib.cpu_count()
    if n_jobs is None:
        return min(8, cores)
    return n_jobs if n_jobs > 0 else max(1, cores + 1 + n_jobs)


def _with_progress(prepared, images, verbose):
    if not verbose:
        return prepared  # tqdm has a lock of its own, which a fork could catch held
    total = len(images) if hasattr(images, "__len__") else None
    return tqdm(prepared, desc="Encoding images", unit="image", total=total)


def _warn_of(errors, n_images):
    if errors:
        warn_user(
            f"{len(errors)} of {n_images} images could not be read and have no "
            f"embedding (rows of NaN). The first: {errors[0]}",
        )


# Before the model --------------------------------------------------------------------


@dataclass
class _Prepared:
    """An image on its way: what is known of it, and the pixels of what is not."""

    views: np.ndarray | None = None  # embeddings, (n_views, C_e)
    view_pixels: np.ndarray | None = None  # (n_views, height, width, 3)
    whole: ImageFeatures | None = None  # with parts
    part_pixels: np.ndarray | None = None  # the whole, then windows if they are crops
    size: tuple | None = None
    box: tuple | None = None
    views_key: str | None = None
    parts_key: str | None = None
    error: str | None = None

    @property
    def n_views(self):
        """Number of views, those of parts too, that the model has to see."""
        pixels = (self.view_pixels, self.part_pixels)
        return sum(len(views) for views in pixels if views is not None)


@dataclass(frozen=True)
class _Preparation:
    """All that is done to an image before the model sees it, in any thread."""

    clip: Backbone
    options: ImageOptions
    depth: BitDepth

    def __call__(self, row, item):
        try:
            return self._prepare(row, item)
        except ImageReadError as error:
            if self.options.on_error == "raise":
                raise
            nothing = np.full((1, self.clip.embed_dim), np.nan, np.float32)
            # The words alone: the exception would hold on to the image.
            reason = f"{error.image} cannot be read: {error.reason}."
            return _Prepared(views=nothing, error=reason)

    def _prepare(self, row, item):
        prepared = _Prepared()
        if self.options.store is not None:
            item = snapshot(item, row)
            self._look_up(prepared, image_identity(item, row))

        needs_views = self.wants_views and prepared.views is None
        needs_parts = self.options.parts is not None and prepared.whole is None
        if needs_views or needs_parts:
            image = read_image(item, row, depth=self.depth)
            if needs_views:
                boxes = crop_boxes(*image.size, self.options.crops)
                prepared.view_pixels = self._pixels(image, boxes)
            if needs_parts:
                prepared.size, prepared.box = image.size, self._seen(image.size)
                prepared.part_pixels = self._pixels(image, self._part_boxes(image))
        return prepared

    @property
    def wants_views(self):
        # The features of parts bring the embedding of the whole image along.
        return self.options.parts is None or self.options.crops != "whole"

    @property
    def has_tokens(self):
        return reads_class_token(self.clip.model.visual)

    def _look_up(self, prepared, identity):
        """Find what the store keeps of an image, and name what it shall keep."""
        options, name = self.options, self.clip.cache_name
        # A callable has no name that would stay the same, so nothing is kept for it.
        if self.wants_views and isinstance(options.crops, str):
            how = (options.crops, GEOMETRY, options.resize_mode, self.depth.bits)
            prepared.views_key = store_key("views", identity, name, *how)
            (prepared.views,) = options.store.get_many([prepared.views_key])

        if options.parts is not None:
            how = (options.resize_mode, options.parts == "patches", self.depth.bits)
            how += (FEATURES, WINDOWS, CROP_GRID)
            prepared.parts_key = store_key("parts", identity, name, *how)
            prepared.whole = self._known_parts(prepared.parts_key)

    def _known_parts(self, key):
        sides = list(self._sides())
        found = self.options.store.get_many(_part_keys(key, sides))
        if any(array is None for array in found):
            return None

        size, image, *parts = found
        size = tuple(map(int, size))
        parts = dict(zip(sides, parts, strict=True))
        return ImageFeatures(image[None], image, parts, size, self._seen(size))

    def _sides(self):
        """Yield the sides of windows that this tower gives features of."""
        if not self.has_tokens:
            yield from WINDOWS
            return
        if self.options.parts == "patches":
            yield 1
        shortest = min(grid_of(self.clip.model.visual))
        yield from (side for side in WINDOWS if side <= shortest)

    def _seen(self, size):
        """Return the box of the image that the features of its parts cover."""
        # Crops are cut out of the image itself, whatever becomes of the whole view.
        if not self.has_tokens:
            return 0, 0, *size
        return seen_box(*size, self.clip.image_size, self.options.resize_mode)

    def _part_boxes(self, image):
        boxes = [(0, 0, *image.size)]
        if not self.has_tokens:
            boxes += [box for side in WINDOWS for box in window_boxes(image.size, side)]
        return boxes

    def _pixels(self, image, boxes):
        size, interpolation = self.clip.image_size, self.clip.interpolation
        mode = self.options.resize_mode
        views = [resize_image(image, box, size, mode, interpolation) for box in boxes]
        return np.stack(views)  # (n_views, height, width, 3)


# The model ---------------------------------------------------------------------------


def _computed(clip, prepared, options):
    """Yield the features of prepared images, computed batch by batch.

    A GPU computes a batch while the next one is put together, so results are fetched
    one batch late.
    """
    launched = deque()
    for batch in _batches(prepared, options.batch_size):
        launched.append(_launch(clip, batch, options))
        if len(launched) > 1:
            yield from _fetch(*launched.popleft(), options.store)

    while launched:
        yield from _fetch(*launched.popleft(), options.store)


def _batches(prepared, batch_size):
    """Yield lists of images that have about `batch_size` views to be computed."""
    batch, n_views = [], 0
    for one in prepared:
        batch.append(one)
        n_views += one.n_views
        # Known images pass through at once, a batch of them at a time.
        if n_views >= batch_size or len(batch) >= 2 * batch_size:
            yield batch
            batch, n_views = [], 0
    if batch:
        yield batch


def _launch(clip, batch, options):
    """Have what is not known of a batch computed, and drop the pixels.

    The embeddings of views stay on the model's device, which may still compute them.
    """
    new = [one for one in batch if one.view_pixels is not None]
    n_views = [len(one.view_pixels) for one in new]
    embedded = _embed(clip, [one.view_pixels for one in new], options.batch_size)

    with_parts = [one for one in batch if one.part_pixels is not None]
    parts = _parts(clip, [one.part_pixels for one in with_parts], options)
    for one, (image, of_sides) in zip(with_parts, parts, strict=True):
        one.whole = ImageFeatures(image[None], image, of_sides, one.size, one.box)

    for one in batch:
        one.view_pixels = one.part_pixels = None
    return batch, (new, n_views, embedded), with_parts


def _parts(clip, pixels, options):
    """Return the whole embedding and the features of parts of each image."""
    if not pixels:
        return []
    if reads_class_token(clip.model.visual):
        return token_features(clip, pixels, patches=options.parts == "patches")
    embedded = (_embed(clip, [views], options.batch_size) for views in pixels)
    return [crop_features(torch.cat(views).cpu().numpy()) for views in embedded]


def _embed(clip, pixels, batch_size):
    """Return the embeddings of views, batch by batch, on the model's device."""
    if not pixels:
        return []
    views = torch.from_numpy(np.concatenate(pixels))
    return [encode_pixels(clip, some) for some in views.split(batch_size)]


def _fetch(batch, launched, with_parts, store):
    """Yield the features of a batch that was launched, and keep them."""
    new, n_views, embedded = launched
    if new:
        views = torch.cat(embedded).cpu().split(n_views)
        for one, of_one in zip(new, views, strict=True):
            one.views = of_one.numpy()

    if store is not None:
        _keep(store, new, with_parts)
    for one in batch:
        yield _finished(one)


def _keep(store, with_views, with_parts):
    keyed = [one for one in with_views if one.views_key is not None]
    if keyed:
        store.put_many([one.views_key for one in keyed], [one.views for one in keyed])

    for one in with_parts:
        arrays = [one.whole.size, one.whole.image, *one.whole.parts.values()]
        store.put_many(_part_keys(one.parts_key, one.whole.parts), arrays)


def _part_keys(key, sides):
    """Return the keys of an image's size, of its embedding, and of its parts."""
    return [store_key(key, part) for part in ("size", "image", *sides)]


def _finished(one):
    whole = one.whole
    if whole is None:
        return ImageFeatures(one.views, error=one.error)
    views = whole.views if one.views is None else one.views
    return ImageFeatures(views, whole.image, whole.parts, whole.size, whole.box)
