"""Images to features: threads decode ahead while the model computes.

Whatever is asked of an image, the embeddings of its views or the features of its parts,
comes from one reading of it.
"""

import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import joblib
import numpy as np
import torch
from tqdm.auto import tqdm

from skclipad._clip.backbone import Backbone
from skclipad._clip.parts import check_parts, joined, see_parts
from skclipad._clip.places import embed_windows, places_grid
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
from skclipad._images.reading import (
    MARGIN,
    image_identity,
    read_image,
    read_reduced,
    snapshot,
)
from skclipad._images.regions import Region, cut_images
from skclipad._storage.store import EmbeddingStore, store_key

FEATURES = 3
"""Version of the features of parts, in the keys under which a store keeps them. To be
raised with each change of the code that gives other ones."""

WHOLE = ("size", "digest", "image")
"""What is kept of an image beside the features of its parts."""


@dataclass(frozen=True)
class ImageOptions:
    """How images are read, and what is computed of them.

    Attributes
    ----------
    crops, resize_mode, bit_depth, decode, batch_size, n_jobs, on_error, verbose
        The parameters of `CLIPImageEmbedder` of these names. An image that cannot be
        read with ``on_error="nan"`` has one view of NaN and no parts.
    store : EmbeddingStore or None
        Where features of known images are kept, as float32: with a ViT-B-16-plus-240
        the windows of an image take 0.9 MB, its patches 0.8 MB, its depths 3.2 MB.
    parts : tuple of {"windows", "patches", "depths"}
        Features of parts to compute, of the whole image, whatever `crops`.
    region : Region or None
        What is seen of each image, in place of all of it.
    """

    crops: str | Callable = "whole"
    resize_mode: str = "squash"
    bit_depth: int | None = None
    decode: str = "full"
    batch_size: int = 32
    n_jobs: int | None = None
    on_error: str = "raise"
    verbose: bool = False
    store: EmbeddingStore | None = None
    parts: tuple = ()
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
        2 and 3, for "windows", embeddings of width ``C_e``; with 1, for "patches",
        the patch tokens before projection, or the depths of a tower without these.
    depths : ndarray of shape (n_down, n_right, width), dtype float16, or None
        For "depths", the features of parts at several depths of the tower side by
        side, each of unit length: see `skclipad._clip.parts`.
    digest : ndarray of shape (16,), dtype uint8, or None
        With parts, tells images of other content apart: of the pixels that the model
        saw of the whole image.
    size : tuple of (int, int), or None
        With parts, width and height of the image in pixels.
    box : tuple of 4 numbers, or None
        With parts, left, top, right and bottom, in pixels, of what the model saw of
        the whole image, and `depths` cover.
    window_box : tuple of 4 numbers, or None
        The same of what the windows cover.
    error : str or None
        Why the image could not be read.
    """

    views: np.ndarray
    image: np.ndarray | None = None
    parts: dict = field(default_factory=dict)
    depths: np.ndarray | None = None
    digest: np.ndarray | None = None
    size: tuple | None = None
    box: tuple | None = None
    window_box: tuple | None = None
    error: str | None = None


def reference_parts(clip):
    """Return the parts that WinCLIP's comparison with references takes of a tower.

    These are patches and windows of a plain ViT, and what stands for patches of any
    other: crops, which are all that could stand for its windows, are worth less than
    they cost.

    Parameters
    ----------
    clip : Backbone
        The frozen CLIP.

    Returns
    -------
    tuple of str
        As `ImageOptions` has them.
    """
    has_tokens = reads_class_token(clip.model.visual)
    return ("windows", "patches") if has_tokens else ("patches",)


def stream_features(clip, images, options):
    """Yield the features of images, one by one.

    A plain ViT sees a window as WinCLIP has it: the class token and the tokens of the
    window, with the positions that they have in the image, run through all blocks on
    their own. Of a tower that ends in average pooling and a linear map (``lite``) a
    window is the mean of its places. Other towers (ResNets, most of timm's) see crops
    instead: the image is cut into 6 x 6 cells, and each square of 2 x 2 or 3 x 3 cells
    is resized and run through the whole tower. What stands for patches of these, and
    the depths of every tower, come from inside it, in one pass.

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
    ValueError
        If the tower has none of the parts asked for.
    """
    if _look_inside(clip, options):
        check_parts(clip)
    depth = BitDepth(options.bit_depth)
    prepare = _Preparation(clip, options, depth)
    n_threads = count_threads(options.n_jobs)
    errors, n_images = [], 0
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="skclipad-decode")
    try:
        shown = cut_images(images, options.region)
        ahead = prefetch(pool, prepare, shown, 2 * options.batch_size + n_threads)
        ahead = _with_progress(ahead, images, options.verbose)
        for features in _computed(prepare, ahead):
            n_images += 1
            if features.error is not None:
                errors.append(features.error)
            yield features
    finally:
        pool.shutdown(cancel_futures=True)

    _warn_of(errors, n_images)
    depth.warn_if_dark()


def _look_inside(clip, options):
    """Tell whether features are wanted that `see_parts` gives."""
    patches = "patches" in options.parts and not reads_class_token(clip.model.visual)
    return patches or "depths" in options.parts


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
    digest: np.ndarray | None = None
    size: tuple | None = None
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
        needs_parts = bool(self.options.parts) and prepared.whole is None
        if needs_views or needs_parts:
            image, boxes = self._read(item, row)
            if needs_views:
                prepared.view_pixels = self._pixels(image, boxes)
            if needs_parts:
                prepared.size = image.size
                prepared.part_pixels = self._pixels(image, self._part_boxes(image))
                prepared.digest = _digest(prepared.part_pixels[0])
        return prepared

    def _read(self, item, row):
        """Return an image and the boxes of its views."""
        boxes_of = partial(crop_boxes, crops=self.options.crops)
        if self.reduces:
            size = self.clip.image_size
            return read_reduced(item, boxes_of, size, row, self.depth)
        image = read_image(item, row, depth=self.depth)
        return image, boxes_of(*image.size) if self.wants_views else []

    @property
    def reduces(self):
        """Whether large JPEGs are decoded small: never where parts are wanted."""
        return self.options.decode == "reduced" and not self.options.parts

    @property
    def wants_views(self):
        # The features of parts bring the embedding of the whole image along.
        return not self.options.parts or self.options.crops != "whole"

    @property
    def window_grid(self):
        """Rows and columns that windows are made of; None if they are crops."""
        if reads_class_token(self.clip.model.visual):
            return grid_of(self.clip.model.visual)
        return places_grid(self.clip)

    def _look_up(self, prepared, identity):
        """Find what the store keeps of an image, and name what it shall keep."""
        options, name = self.options, self.clip.cache_name
        # A callable has no name that would stay the same, so nothing is kept for it.
        if self.wants_views and isinstance(options.crops, str):
            how = (options.crops, GEOMETRY, options.resize_mode, self.depth.bits)
            how += (self.options.decode, MARGIN) if self.reduces else ()
            prepared.views_key = store_key("views", identity, name, *how)
            (prepared.views,) = options.store.get_many([prepared.views_key])

        if options.parts:
            how = (options.resize_mode, tuple(sorted(options.parts)), self.depth.bits)
            how += (FEATURES, WINDOWS, CROP_GRID)
            prepared.parts_key = store_key("parts", identity, name, *how)
            prepared.whole = self._known_parts(prepared.parts_key)

    def _known_parts(self, key):
        names = [*WHOLE, *self._sides()]
        names += ["depths"] if "depths" in self.options.parts else []
        found = self.options.store.get_many(_part_keys(key, names))
        if any(array is None for array in found):
            return None

        kept = dict(zip(names, found, strict=True))
        size, digest, image = (kept.pop(name) for name in WHOLE)
        depths = kept.pop("depths", None)
        return self.finished(
            image,
            parts=kept,
            depths=None if depths is None else depths.astype(np.float16),
            digest=digest.astype(np.uint8),
            size=tuple(map(int, size)),
        )

    def finished(self, image, *, size, **features):
        """Return the features of an image's parts, and say what they cover."""
        box = seen_box(*size, self.clip.image_size, self.options.resize_mode)
        return ImageFeatures(
            image[None],
            image,
            size=size,
            box=box,
            # Crops are cut out of the image itself, whatever becomes of the whole view.
            window_box=(0, 0, *size) if self.window_grid is None else box,
            **features,
        )

    def _sides(self):
        """Yield the sides of windows that are features of this tower."""
        if "patches" in self.options.parts:
            yield 1
        if "windows" in self.options.parts:
            grid = self.window_grid or (CROP_GRID, CROP_GRID)
            yield from (side for side in WINDOWS if side <= min(grid))

    def _part_boxes(self, image):
        boxes = [(0, 0, *image.size)]
        if "windows" in self.options.parts and self.window_grid is None:
            boxes += [box for side in WINDOWS for box in window_boxes(image.size, side)]
        return boxes

    def _pixels(self, image, boxes):
        size, interpolation = self.clip.image_size, self.clip.interpolation
        mode = self.options.resize_mode
        views = [resize_image(image, box, size, mode, interpolation) for box in boxes]
        return np.stack(views)  # (n_views, height, width, 3)


def _digest(pixels):
    """Return what tells pixels apart, as numbers that a store keeps."""
    digest = hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
    return np.frombuffer(digest, np.uint8)


# The model ---------------------------------------------------------------------------


def _computed(preparation, prepared):
    """Yield the features of prepared images, computed batch by batch.

    A GPU computes a batch while the next one is put together, so results are fetched
    one batch late.
    """
    options, launched = preparation.options, deque()
    for batch in _batches(prepared, options.batch_size):
        launched.append(_launch(preparation, batch))
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


def _launch(preparation, batch):
    """Have what is not known of a batch computed, and drop the pixels.

    The embeddings of views stay on the model's device, which may still compute them.
    """
    clip, batch_size = preparation.clip, preparation.options.batch_size
    new = [one for one in batch if one.view_pixels is not None]
    n_views = [len(one.view_pixels) for one in new]
    embedded = _embed(clip, [one.view_pixels for one in new], batch_size)

    with_parts = [one for one in batch if one.part_pixels is not None]
    pixels = [one.part_pixels for one in with_parts]
    seen = _parts(clip, pixels, preparation.options)
    for one, features in zip(with_parts, seen, strict=True):
        known = {"size": one.size, "digest": one.digest}
        one.whole = preparation.finished(**features, **known)

    for one in batch:
        one.view_pixels = one.part_pixels = None
    return batch, (new, n_views, embedded), with_parts


def _parts(clip, pixels, options):
    """Return what is known of the parts of each image, as `ImageFeatures` has it."""
    if not pixels:
        return []
    found = [{"parts": {}} for _ in pixels]
    if _look_inside(clip, options):
        for one, (image, depths) in zip(found, _inside(clip, pixels), strict=True):
            one |= {"image": image, "depths": depths}

    if reads_class_token(clip.model.visual):
        _add_tokens(clip, pixels, options, found)
    else:
        _add_inside(options, found)
        if "windows" in options.parts and places_grid(clip) is not None:
            _add_places(clip, pixels, found)
        elif "windows" in options.parts:
            _add_crops(clip, pixels, options, found)
    if "depths" not in options.parts:
        for one in found:
            one.pop("depths", None)
    return found


def _add_tokens(clip, pixels, options, found):
    """Add the windows and patches of a plain ViT to what is known of each image."""
    wanted = {name: name in options.parts for name in ("windows", "patches")}
    if any(wanted.values()):
        features = token_features(clip, pixels, **wanted)
        for one, (image, parts) in zip(found, features, strict=True):
            one |= {"image": image, "parts": parts}


def _add_inside(options, found):
    """Add what stands for the patches of other towers."""
    if "patches" in options.parts:
        for one in found:
            one["parts"][1] = one["depths"].astype(np.float32)


def _add_places(clip, pixels, found):
    """Add windows of places."""
    whole = torch.from_numpy(np.stack([views[0] for views in pixels]))
    sides = [side for side in WINDOWS if side <= min(places_grid(clip))]
    images, windows = embed_windows(clip, whole, sides)
    for i, one in enumerate(found):
        one["image"] = images[i]
        one["parts"] |= {side: window[i] for side, window in windows.items()}


def _add_crops(clip, pixels, options, found):
    """Add crops for windows."""
    for one, views in zip(found, pixels, strict=True):
        embedded = torch.cat(_embed(clip, [views], options.batch_size))
        one["image"], windows = crop_features(embedded.cpu().numpy())
        one["parts"] |= windows


def _inside(clip, pixels):
    """Yield the embedding and the depths of each image, from one pass."""
    seen = see_parts(clip, torch.from_numpy(np.stack([views[0] for views in pixels])))
    images = seen.images.cpu().numpy()
    yield from zip(images, joined(seen.depths).half().cpu().numpy(), strict=True)


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
        kept = {name: getattr(one.whole, name) for name in WHOLE} | one.whole.parts
        if one.whole.depths is not None:
            kept["depths"] = one.whole.depths
        store.put_many(_part_keys(one.parts_key, kept), list(kept.values()))


def _part_keys(key, names):
    """Return the keys of what is kept of an image with parts."""
    return [store_key(key, name) for name in names]


def _finished(one):
    if one.whole is None:
        return ImageFeatures(one.views, error=one.error)
    return one.whole if one.views is None else replace(one.whole, views=one.views)
