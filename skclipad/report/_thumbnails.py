"""Pictures and maps made small enough that thousands fit into one page."""

import base64
import io

import numpy as np
from PIL import Image

from skclipad._exceptions import ImageReadError
from skclipad._images.reading import read_image

# A heat map's colours, from nothing through purple and orange to yellow: stops of
# matplotlib's inferno. Where a map is low, the picture under it shows.
STOPS = [(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)]
LEVELS = 32  # of a heat map: smooth to the eye, and two hundred bytes of palette
QUALITIES = (82, 70, 55, 40)


def thumbnail(image, row, side, n_bytes):
    """Make a small JPEG of a picture.

    Parameters
    ----------
    image : str, PIL.Image.Image, ndarray, ...
        The picture, as the estimators take it.
    row : int
        Its row.
    side : int
        Longer side in pixels, at most; a smaller picture keeps its size.
    n_bytes : int
        Size to stay below: quality and, in the end, pixels are given up for it.

    Returns
    -------
    dict or None
        Width and height of the picture, "w" and "h", and the file in base64, "jpg";
        None if the picture cannot be read.
    """
    try:
        picture = read_image(image, row, draft_size=side)
    except ImageReadError:
        return None
    small = picture.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    while True:
        for quality in QUALITIES:
            data = _encoded(small, "JPEG", quality=quality, optimize=True)
            if len(data) <= n_bytes:
                return {
                    "w": small.width,
                    "h": small.height,
                    "jpg": base64.b64encode(data).decode(),
                }
        if max(small.size) < 32:
            return None  # no room at all was left
        small = small.reduce(2)


def heat_map(values, low, high):
    """Colour a map, as a small PNG to lie over a picture.

    Parameters
    ----------
    values : ndarray of shape (height, width)
        The map.
    low, high : float
        Ends of the scale: nothing, and the strongest colour.

    Returns
    -------
    str
        The file in base64.
    """
    share = (np.asarray(values, dtype=float) - low) / max(high - low, 1e-12)
    share = np.nan_to_num(share)
    levels = np.rint(share.clip(0, 1) * (LEVELS - 1)).astype(np.uint8)
    image = Image.fromarray(levels)
    image.putpalette(PALETTE)
    data = _encoded(image, "PNG", optimize=True, transparency=ALPHA)
    return base64.b64encode(data).decode()


def _encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def _palette():
    places = np.linspace(0, len(STOPS) - 1, LEVELS)
    channels = zip(*STOPS, strict=True)
    columns = [np.interp(places, range(len(STOPS)), channel) for channel in channels]
    return np.rint(np.stack(columns, axis=1)).astype(np.uint8).tobytes()


PALETTE = _palette()
ALPHA = bytes(np.rint(np.linspace(0, 1, LEVELS) ** 1.5 * 255).astype(np.uint8))
