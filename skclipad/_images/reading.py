"""One image of any kind, read as 8-bit RGB, and the name of its content."""

import hashlib
import io
import math
import os
import stat
from functools import partial

import numpy as np
from PIL import Image, UnidentifiedImageError

from skclipad._exceptions import ImageReadError
from skclipad._images.bit_depth import (
    BITS_PER_SAMPLE,
    PHOTOMETRIC,
    BitDepth,
    all_bits,
    loses_bits,
    mend_layout,
    raw_mode,
    tiff_tag,
)
from skclipad._images.regions import Cut
from skclipad._images.rgb import array_to_image, upright_rgb
from skclipad._images.video import is_video, read_frame, split_frame
from skclipad._storage.forks import ForkSafeLock

# Version of the code that reads, a part of every name that `image_identity` gives, so
# that caches forget what was read in another way. Raise it with each change in this
# folder that gives any readable item other pixels.
READING = 1

CHUNK = 1 << 20  # bytes of a file that are hashed at a time
_LONGEST_NAME = 300  # letters of a path that a message repeats

JPEG_FORMATS = ("JPEG", "MPO")  # MPO: several JPEGs in one file, as phones write them
SCALES = (8, 4, 2)  # at 1 / which of its size Pillow can have a JPEG decoded
MARGIN = 2  # times the size that is needed which a reduced image has at least

# EXIF tag 274 -> what turns the image upright; 1 is upright already.
ORIENTATION_TAG = 0x0112
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap width and height
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# A PIL image opened and not yet loaded decodes when first used, and Pillow does not
# guard that: two threads with the same object (a list may name it twice) would read
# one file at once. A few locks shared out by id serve any number of objects.
_LOADING = tuple(ForkSafeLock() for _ in range(32))


def is_tensor(X):
    """Tell whether X is a tensor of torch."""
    # By name: this file must work, and load fast, where torch is not needed.
    return any(
        cls.__name__ == "Tensor" and cls.__module__.split(".")[0] == "torch"
        for cls in type(X).__mro__
    )


def read_image(item, row=None, depth=None):
    """Read one image of any kind as 8-bit RGB.

    Files and PIL images are turned upright by their EXIF orientation; animated files
    show their first frame; transparent pixels lie on white; grey becomes RGB.

    Parameters
    ----------
    item : str, os.PathLike, PIL.Image.Image, ndarray or torch.Tensor
        A file in any format that Pillow reads (EPS excepted: it is a program); a frame
        of a video, such as "clip.mp4#t=12.480", if PyAV is there; a PIL image of any
        mode; an array of shape (H, W) or (H, W, C) or a tensor of shape (H, W) or
        (C, H, W), C in 1, 3, 4, of dtype uint8 (0..255), uint16 (0..65535), bool or
        float (0..1). Images of 16 bits, PIL's mode I among them, use their
        full range 0..65535 unless `depth` says less, PIL's mode F uses 0..1.
    row : int, default=None
        Row of the item in X, for the message of the error.
    depth : BitDepth, default=None
        How many bits the values of 16-bit images have; it learns how bright they are.
        All 16 if None.

    Returns
    -------
    PIL.Image.Image
        In mode RGB. A PIL image that is upright RGB already is returned itself: do not
        write to it.

    Raises
    ------
    ImageReadError
        Whatever is wrong with the item: missing, truncated, out of range...
    """
    if isinstance(item, Cut):
        return _read_cut(item, row, depth)
    return _read(item, row, depth)


def read_reduced(item, boxes_of, size, row=None, depth=None):
    """Read an image as `read_image` does, a large JPEG file in fewer pixels.

    Its decoder gives 1/2, 1/4 or 1/8 of its width and height, in less time than all of
    it, and with nearly the same pixels.

    Parameters
    ----------
    item : str, os.PathLike, PIL.Image.Image, ndarray or torch.Tensor
        As for `read_image`. All but JPEG files, and every image of a region, outside
        of which nothing is to be seen, are read in full.
    boxes_of : callable
        Returns the boxes that will be cut out, from width and height of the image.
    size : tuple of (int, int)
        Pixels that each of them will have in the end. It has at least twice as many a
        side before, if it has so many in the file.
    row, depth : int and BitDepth, default=None
        As for `read_image`.

    Returns
    -------
    image : PIL.Image.Image
        In mode RGB.
    boxes : list of tuple of 4 numbers
        The boxes, in pixels of `image`.

    Raises
    ------
    ImageReadError
        As by `read_image`.
    """
    full_size = _jpeg_size(item)
    if full_size is None:
        image = read_image(item, row, depth)
        return image, boxes_of(*image.size)

    boxes = boxes_of(*full_size)
    image = _read(item, row, depth, scale=_reduction(boxes, size))
    x, y = (n / full for n, full in zip(image.size, full_size, strict=True))
    right, bottom = image.size
    return image, [
        (left * x, top * y, min(end * x, right), min(foot * y, bottom))
        for left, top, end, foot in boxes
    ]


def is_reducible(item, boxes_of, size):
    """Tell whether `read_reduced`, given the same, reads an image in fewer pixels."""
    full_size = _jpeg_size(item)
    return full_size is not None and _reduction(boxes_of(*full_size), size) > 1


def _reduction(boxes, size):
    """Return by how much an image may be decoded smaller: the one rule for it."""
    sides = (min(right - left, foot - top) for left, top, right, foot in boxes)
    most = min(sides) / (MARGIN * max(size))
    return next((scale for scale in SCALES if scale <= most), 1)


def image_size(item):
    """Return width and height of an image as `read_image` gives it.

    Of a JPEG file only the beginning is read. An `ImageReadError` says that it cannot
    be.
    """
    return _jpeg_size(item) or read_image(item).size


def _jpeg_size(item):
    """Return width and height of a JPEG file as it is upright, else None."""
    try:
        if isinstance(item, (str, os.PathLike)):
            with _open(item) as file, Image.open(file) as image:
                if image.format in JPEG_FORMATS:
                    turn = image.getexif().get(ORIENTATION_TAG)
                    return image.size[::-1] if turn in SIDEWAYS else image.size
    except Exception:
        pass  # a broken beginning: what `read_image` makes of it counts
    return None


def image_identity(item, row=None):
    """Return a name for the content of an image: equal content, equal name.

    A file is named by its bytes, so copies and links share a name and a changed file
    gets another. Nothing is decoded but PIL images, so that a file may have a name and
    be no image.
    """
    digest = hashlib.blake2b(f"{READING}\0".encode(), digest_size=20)
    if isinstance(item, Cut):
        digest.update(f"{image_identity(item.item, row)} {item.region.name}".encode())
        return digest.hexdigest()

    try:
        if (frame := _frame_of(item)) is not None:
            item = read_frame(*frame)
        if isinstance(item, (str, os.PathLike)):
            digest.update(b"file\0")
            with _open(item) as file:
                for chunk in iter(partial(file.read, CHUNK), b""):
                    digest.update(chunk)
        elif isinstance(item, Image.Image):
            turn = _load(item)
            about = (
                None if turn is None else int(turn),
                item.mode,
                item.size,
                item.getpalette(None) if item.mode in ("P", "PA") else None,
                item.info.get("transparency"),
                tiff_tag(item, PHOTOMETRIC) + tiff_tag(item, BITS_PER_SAMPLE),
            )
            digest.update(f"PIL\0{about!r}\0".encode())
            digest.update(item.tobytes())
        else:
            array, channels_first = _pixels(item)
            about = (channels_first, array.dtype.str, array.shape)
            digest.update(f"array\0{about!r}\0".encode())
            digest.update(np.ascontiguousarray(array).data)
    except Exception as error:
        raise _read_error(item, row, error) from error

    return digest.hexdigest()


class _ReadFile(os.PathLike):
    """A file whose bytes were read: opened again, it gives the same."""

    def __init__(self, item):
        self.path = _path(item)
        with _open(item) as file:
            Image.open(file)  # refuses other files, such as films, before they are read
            file.seek(0)
            self.content = file.read()

    def __fspath__(self):
        return self.path


def snapshot(item, row=None):
    """Return an item of the same kind that keeps the content it has now.

    A file or an array may change between two looks at it; of a snapshot,
    `image_identity` names the very content that `read_image` decodes. PIL images and
    objects of other classes are returned as they are.
    """
    if isinstance(item, Cut):
        return item.of(snapshot(item.item, row))
    if isinstance(item, (str, os.PathLike)):
        try:
            frame = _frame_of(item)
            return _ReadFile(item) if frame is None else read_frame(*frame)
        except Exception as error:
            raise _read_error(item, row, error) from error
    if isinstance(item, np.ndarray):
        return item.copy()
    return item.detach().clone() if is_tensor(item) else item


def head_size(path):
    """Return width and height of a file by its head, None if it is no image.

    Of a frame the video is decoded; an orientation in the EXIF data is not considered.
    """
    try:
        if (frame := _frame_of(path)) is not None:
            return read_frame(*frame).size
        with Image.open(path) as image:
            return image.size
    except Exception:  # whatever a broken file makes of its reader
        return None


def describe_item(item):
    """Say in a few printable words what an item is, for a message."""
    try:
        if isinstance(item, (str, os.PathLike)):
            name = repr(_path(item))  # escapes what is not UTF-8
            if len(name) > _LONGEST_NAME:
                half = _LONGEST_NAME // 2
                name = f"{name[:half]}...{name[-half:]}"
            return name

        if isinstance(item, Image.Image):
            width, height = item.size
            return f"PIL image of mode {item.mode} and size {width}x{height}"
        if isinstance(item, np.ndarray) or is_tensor(item):
            kind = "tensor" if is_tensor(item) else "array"
            return f"{kind} of shape {tuple(item.shape)} and dtype {item.dtype}"

        if item is None or (isinstance(item, float) and math.isnan(item)):
            return f"{item}, a missing value"
    except Exception:
        pass  # a class that cannot even say its path is still named below
    return f"object of type {type(item).__name__}"


def _read_error(item, row, error):
    """Return the ImageReadError that tells what `error` means for the user."""
    if isinstance(error, UnidentifiedImageError):
        reason = "it is not an image in a format that Pillow reads"
        if isinstance(item, (str, os.PathLike)) and is_video(_path(item)):
            reason = "it is a video; name its frames, as `skclipad score --every` does"
    elif isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    elif isinstance(error, (OSError, ValueError, TypeError)) and str(error):
        reason = str(error)
    else:
        reason = f"{type(error).__name__}: {error}"

    reason = reason.rstrip(".")
    image = f"Image{'' if row is None else f' {row}'} ({describe_item(item)})"
    remedy = "Correct the item"
    if isinstance(item, (str, os.PathLike)):
        remedy = "Replace the file"

    error = ImageReadError(
        f"{image} cannot be read: {reason}. {remedy}, or set "
        'on_error="nan" to give its row NaN.'
    )
    error.image, error.reason = image, reason
    return error


def spread_map(make, cut, size=None):
    """Return a map of an image of which ``make(size)`` makes that of its region.

    Outside the region it is 0. `size` is its height and width, None the image's own.
    """
    image_size = whole_size(cut)
    size = size or image_size[::-1]
    rows, columns = cut.region.place(size, image_size)
    values = make((rows.stop - rows.start, columns.stop - columns.start))
    return cut.region.spread(values, size, image_size)


def whole_size(cut):
    """Return width and height of the image of which a region was read, or is to be."""
    if cut.size is None:  # what a store keeps of it was enough
        cut.cut(read_image(cut.item))
    return cut.size


def _read(item, row, depth, scale=1):
    depth = BitDepth() if depth is None else depth
    try:
        if (frame := _frame_of(item)) is not None:
            return read_frame(*frame)
        if isinstance(item, (str, os.PathLike)):
            return _read_file(item, depth, scale)
        if isinstance(item, Image.Image):
            return upright_rgb(item, _load(item), depth)
        return upright_rgb(array_to_image(*_pixels(item), depth=depth))
    # Broken files make Pillow raise about every type there is, and so may an object
    # of somebody else's class.
    except Exception as error:
        raise _read_error(item, row, error) from error


def _read_cut(cut, row, depth):
    image = read_image(cut.item, row, depth=depth)
    try:
        return cut.cut(image)
    except ValueError as error:
        raise _read_error(cut.item, row, error) from error


def _frame_of(item):
    """Return the video and the time that an item names, None if it is no frame."""
    is_name = isinstance(item, (str, os.PathLike)) and not isinstance(item, _ReadFile)
    return split_frame(_path(item)) if is_name else None


def _path(item):
    return os.fsdecode(os.fspath(item))


def _open(item):
    """Open a file for reading, if it is one that ends."""
    if isinstance(item, _ReadFile):
        return io.BytesIO(item.content)
    path = _path(item)
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise OSError("it is a folder; pass the files in it")
    if not stat.S_ISREG(status.st_mode):
        # Opening a named pipe waits for ever, reading a device may never end.
        raise OSError("it is not a regular file")
    if status.st_size == 0:
        raise OSError("the file is empty")
    return open(path, "rb")


def _read_file(item, depth, scale):
    # Pillow gets an open file, not the path: of a path it maps raw formats into
    # memory, and a mapped file that shrinks ends the process.
    with _open(item) as file, Image.open(file) as image:
        _check_before_decoding(image)
        if scale > 1 and image.format in JPEG_FORMATS:
            width, height = image.size
            image.draft(None, (width // scale, height // scale))
        return _decode(image, file, depth)


def _decode(image, file, depth):
    """Return the image of an open file as upright RGB, all of its bits considered."""
    # Once it is decoded Pillow has forgotten these.
    raw, clear = raw_mode(image), image.info.get("transparency")
    turn = _load(image)
    if loses_bits(image, raw):
        image = _all_of_16_bits(image, raw, clear, file, depth)
    return upright_rgb(image, turn, depth)


def _all_of_16_bits(image, raw, clear, file, depth):
    """Return 16-bit colour as the image of 8 bits that it should be."""
    brightest = int(np.ravel(image.getextrema())[:6].max())
    # Where the upper bits say enough, the file is not decoded twice.
    enough = depth.top == 65535 and clear is None
    if enough and (brightest > 0 or image.mode == "CMYK"):
        if image.mode != "CMYK":
            depth.note(brightest << 8 | 255)
        return image

    values = all_bits(image, raw, file)
    if values is None:
        if depth.top == 65535:
            return image
        raise ValueError(
            f"it has 16-bit pixels ({raw}) of which Pillow keeps the upper 8 bits "
            f"alone, too few for bit_depth={depth.bits}; pass it as an array of dtype "
            "uint16"
        )

    image = Image.frombytes(image.mode, image.size, depth.to_uint8(values).tobytes())
    if clear is not None:
        shown = (values != clear).any(axis=-1)
        image.putalpha(Image.fromarray(shown.astype(np.uint8) * 255))
    return image


def _check_before_decoding(image):
    if image.format == "EPS":
        raise OSError("EPS files are programs and are not run; convert it to PNG")
    width, height = image.size
    limit = Image.MAX_IMAGE_PIXELS  # None switches the check off, as in Pillow
    if limit is not None and width * height > limit:
        raise OSError(
            f"it has {width} x {height} pixels, more than PIL.Image.MAX_IMAGE_PIXELS "
            f"= {limit} (a decompression bomb?); raise that limit if you trust it"
        )


def _load(image):
    """Decode a PIL image; return what turns it upright, None for nothing."""
    with _LOADING[id(image) // 16 % len(_LOADING)]:
        mend_layout(image)
        image.load()
        try:
            # After load(): there TIFF turns the pixels itself and drops the tag.
            return UPRIGHT.get(image.getexif().get(ORIENTATION_TAG))
        except Exception:
            return None  # broken EXIF does not spoil the pixels


def _pixels(item):
    """Return an array-like as an ndarray and whether its channels come first."""
    if is_tensor(item):
        if item.is_floating_point() and item.element_size() < 4:
            item = item.float()  # numpy has no bfloat16
        return item.numpy(force=True), True
    if isinstance(item, bytes) or not hasattr(item, "__array__"):
        raise TypeError("expected a path, a PIL image, an array or a tensor")
    return np.asarray(item), False
