"""Images and maps made small enough that thousands fit into one page."""

import base64
import io

import numpy as np
from PIL import Image

from skclipad._exceptions import ImageReadError
from skclipad._images.reading import read_image

# A heat map's colours, from nothing through purple and orange to yellow: stops of
# matplotlib's inferno. Where a map is low, the image under it shows.
STOPS = [(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)]
LEVELS = 32  # of a heat map: smooth to the eye, and two hundred bytes of palette
QUALITIES = (82, 70, 55, 40)


def thumbnail(image, row, side, n_bytes):
    """Make a JPEG of an image, at most so many pixels a side and so many bytes.

    Quality and, in the end, pixels are given up to stay below `n_bytes`. Returns width,
    height and the file in base64, or None if the image cannot be read.
    """
    try:
        small = read_image(image, row, draft_size=side).copy()
    except ImageReadError:
        return None
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
    """Colour a map from clear at `low` to yellow at `high`: a PNG in base64."""
    share = (np.asarray(values, dtype=float) - low) / max(high - low, 1e-12)
    share = np.nan_to_num(share).clip(0, 1)
    levels = np.rint(share * (LEVELS - 1)).astype(np.uint8)

    image = Image.fromarray(levels)
    image.putpalette(PALETTE)
    data = _encoded(image, "PNG", optimize=True, transparency=ALPHA)
    return base64.b64encode(data).decode()


def _encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def _palette():
    positions = np.linspace(0, len(STOPS) - 1, LEVELS)
    channels = zip(*STOPS, strict=True)
    columns = [np.interp(positions, range(len(STOPS)), channel) for channel in channels]
    return np.rint(np.stack(columns, axis=1)).astype(np.uint8).tobytes()


PALETTE = _palette()
ALPHA = bytes(np.rint(np.linspace(0, 1, LEVELS) ** 1.5 * 255).astype(np.uint8))
