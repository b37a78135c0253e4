"""What is done to an image before the model sees it: reading, cutting, looking up."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from skclipad._clip.backbone import Backbone
from skclipad._clip.places import places_grid
from skclipad._clip.vision import reads_class_token
from skclipad._clip.windows import CROP_GRID, WINDOWS, grid_of, window_boxes
from skclipad._exceptions import ImageReadError
from skclipad._images.bit_depth import BitDepth
from skclipad._images.crops import GEOMETRY, crop_boxes, resize_image, seen_box
from skclipad._images.reading import (
    MARGIN,
    image_identity,
    read_image,
    read_reduced,
    snapshot,
)
from skclipad._images.regions import Region
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


@dataclass
class Prepared:
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
class Preparation:
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
            return Prepared(views=nothing, error=reason)

    def _prepare(self, row, item):
        prepared = Prepared()
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
        found = self.options.store.get_many(part_keys(key, names))
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


def part_keys(key, names):
    """Return the keys of what is kept of an image with parts."""
    return [store_key(key, name) for name in names]
