"""The region of images that is looked at: a box, or what a mask shows white.

What lies outside is cut off, and inside the box of a mask it is covered with one grey:
whatever is there, the model sees the same.
"""

import hashlib
import os
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

# CLIP's own mean colour, which its normalisation turns to nearly nothing.
COVER = (123, 117, 104)


@dataclass(frozen=True, eq=False)
class Region:
    """A part of images, in pixels of an upright image.

    Attributes
    ----------
    box : tuple of (int, int, int, int)
        Left, top, right and bottom.
    mask : ndarray of shape (height, width), dtype bool, or None
        Of a region that is no box, what belongs to it inside the box.
    size : tuple of (int, int), or None
        Width and height that images must have; None is any that the box fits into.
    """

    box: tuple
    mask: np.ndarray | None = None
    size: tuple | None = None

    @property
    def name(self):
        """A text that is the same for the same region, and for no other."""
        if self.mask is None:
            left, top, right, bottom = self.box
            return f"{left},{top},{right - left},{bottom - top}"
        digest = hashlib.blake2b(repr((self.box, self.size)).encode(), digest_size=12)
        digest.update(np.packbits(self.mask).tobytes())
        return f"mask {digest.hexdigest()}"

    def cut(self, image):
        """Return the region of an image, a PIL image of mode RGB.

        A ValueError says that the image has another size than the region is of.
        """
        width, height = image.size
        if self.size is not None and self.size != image.size:
            raise ValueError(
                f"it has {width} x {height} pixels, but the mask of the region "
                "{} x {}; both must have as many".format(*self.size)
            )
        left, top, right, bottom = self.box
        if right > width or bottom > height:
            raise ValueError(
                f"it has {width} x {height} pixels, but the region reaches to {right} "
                f"x {bottom}; give one that lies inside"
            )

        region = image.crop(self.box)
        if self.mask is not None:
            outside = Image.fromarray((~self.mask).astype(np.uint8) * 255)
            region.paste(COVER, mask=outside)
        return region

    def place(self, size, image_size):
        """Return where the box lies in a map of an image: slices of rows and columns.

        `size` is (height, width) of the map, `image_size` (width, height) of the image.
        A box that is smaller than a pixel of the map has one.
        """
        left, top, right, bottom = self.box
        rows = _span(top, bottom, image_size[1], size[0])
        return rows, _span(left, right, image_size[0], size[1])

    def spread(self, values, size, image_size):
        """Return a map of the image of one of its region: outside it is 0.

        `values` have the size of `place`.
        """
        rows, columns = self.place(size, image_size)
        if self.mask is not None:
            shape = values.shape[::-1]
            shown = Image.fromarray(self.mask).resize(shape, Image.Resampling.NEAREST)
            values = np.where(np.asarray(shown), values, 0)
        full = np.zeros(size, np.float32)
        full[rows, columns] = values
        return full


def _span(start, end, length, n_pixels):
    first = min(int(start * n_pixels / length), n_pixels - 1)
    last = max(first + 1, min(round(end * n_pixels / length), n_pixels))
    return slice(first, last)


@dataclass(frozen=True, eq=False)
class Cut:
    """An image of which only a region is read; it remembers the size of the image."""

    item: object
    region: Region
    _size: list = field(default_factory=list)

    def of(self, item):
        """Return the same for another form of the image, with the same memory."""
        return Cut(item, self.region, self._size)

    def cut(self, image):
        """Return the region of the image when it has been read."""
        self._size[:] = image.size
        return self.region.cut(image)

    @property
    def size(self):
        """Width and height of the image; None before it has been read."""
        return tuple(self._size) or None


def cut_images(images, region):
    """Return images as those of a region, one by one; of None as they are."""
    return images if region is None else (Cut(item, region) for item in images)


def blank_image(value):
    """Return an empty image that a region fits, an array of dtype uint8."""
    region = parse_region(value)
    width, height = (8, 8) if region is None else region.size or region.box[2:]
    return np.zeros((height, width, 3), np.uint8)


def parse_region(value):
    """Return the region that a user means.

    Parameters
    ----------
    value : str, path, sequence of 4 int, array of shape (height, width), Region or None
        ``"x,y,width,height"`` or four numbers; a mask as an array, or as the path of
        an image, whose light half (of 0..255 from 128) belongs to the region.

    Returns
    -------
    Region or None
        The region; None of None.

    Raises
    ------
    ValueError
        If it is none of these, is empty, or the mask cannot be read.

    Examples
    --------
    >>> from skclipad._images.regions import parse_region
    >>> parse_region("10,20,300,200").box
    (10, 20, 310, 220)
    """
    if value is None or isinstance(value, Region):
        return value
    if isinstance(value, (str, os.PathLike)):
        numbers = str(value).split(",")
        if len(numbers) == 4 and not os.path.lexists(value):
            return _box(numbers, value)
        return _mask(_read_mask(value), value)

    array = np.asarray(value)
    if array.shape == (4,):
        return _box(array.tolist(), value)
    if array.ndim == 2 and array.dtype.kind in "bu":
        return _mask(array if array.dtype.kind == "b" else array >= 128, "an array")
    raise ValueError(
        f"Got a region of type {type(value).__name__} and shape {array.shape}, but "
        "expected 'x,y,width,height', the path of a mask, or a mask of dtype bool or "
        "uint8 and shape (height, width)."
    )


def _box(numbers, value):
    try:
        x, y, width, height = (int(str(number)) for number in numbers)
    except ValueError as error:
        raise ValueError(
            f"Got region={value!r}, but expected four whole numbers of pixels: x, y, "
            "width and height."
        ) from error
    if min(x, y) < 0 or min(width, height) < 1:
        raise ValueError(
            f"Got region={value!r}, but expected x and y of 0 or more and a width and "
            "a height of 1 or more: an empty region shows nothing."
        )
    return Region((x, y, x + width, y + height))


def _read_mask(path):
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L")) >= 128
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(
            f"Got region={os.fspath(path)!r}, but it cannot be read as a mask "
            f"({error}). Expected 'x,y,width,height', or the path of an image that is "
            "white where to look and black elsewhere."
        ) from error


def _mask(mask, value):
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        raise ValueError(
            f"Got region={value!r}, a mask without any light pixel, but expected one "
            "that is white where to look: an empty region shows nothing."
        )
    left, right = int(columns[0]), int(columns[-1]) + 1
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    inside = np.array(mask[top:bottom, left:right], dtype=bool)
    return Region((left, top, right, bottom), inside, mask.shape[::-1])
