"""Maps of large images, made tile by tile.

CLIP reads a few hundred pixels: a map made at once of an image of four thousand tells
little. So the image is cut into tiles that overlap, each has a map of its own, and
where they overlap these are blended.

What one image takes is bounded: its pixels (3 bytes each), its map (4 bytes each), and
of a few tiles at a time another 15 bytes for each of their pixels.
"""

import numpy as np

from skclipad._images.bit_depth import BitDepth
from skclipad._images.reading import read_image

OVERLAP = 4  # of a tile's side: neighbours share a fourth
TOGETHER = 4  # tiles whose maps are made at a time


def check_tiles(detector):
    """Refuse a detector that knows things by their size or place in whole images."""
    if getattr(detector.embedder, "region", None) is not None:
        raise ValueError(
            "Got --map-tiles and a region, which is a place in whole images, not in "
            "tiles. Leave one of them out."
        )
    if detector.references_ is not None:
        raise ValueError(
            "Got --map-tiles and a detector with references, but these show things at "
            "the size that they have in whole images, not in tiles. Fit one without "
            "--references or --unlabelled (words alone), or leave --map-tiles out."
        )


def tiled_map(detector, path, side):
    """Return the map of an image, of its own size, made of tiles.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector without references.
    path : str
        The image.
    side : int
        Longest side of a tile in pixels. An image that fits into one is mapped at once.

    Returns
    -------
    ndarray of shape (height, width), dtype float32
        The map.

    Raises
    ------
    ImageReadError
        If the image cannot be read.
    """
    image = read_image(path, depth=BitDepth(detector.embedder.bit_depth))
    rows, columns = (_weights(length, side) for length in image.size[::-1])
    total = np.zeros(image.size[::-1], np.float32)
    tiles = [(row, column) for row in rows for column in columns]

    for i in range(0, len(tiles), TOGETHER):
        some = tiles[i : i + TOGETHER]
        crops = [image.crop((x[0], y[0], x[1], y[1])) for y, x in some]
        for (y, x), values in zip(some, detector.anomaly_map(crops), strict=True):
            values *= y[2][:, None]
            values *= x[2]
            total[y[0] : y[1], x[0] : x[1]] += values
    return total


def _weights(length, side):
    """Cut one side of an image into tiles: a list of start, end and weight of pixels.

    The weights of a pixel in all its tiles have the sum 1; they fall towards the ends
    of a tile where another one begins.
    """
    if length <= side:
        return [(0, length, np.ones(length, np.float32))]

    n_tiles = -(-(length - side) // (side - side // OVERLAP)) + 1
    starts = np.linspace(0, length - side, n_tiles).round().astype(int)
    # Half a pixel, so that no weight is 0 where a tile stands alone.
    ramp = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5)

    total = np.zeros(length)
    for start in starts:
        total[start : start + side] += ramp
    return [
        (start, start + side, (ramp / total[start : start + side]).astype(np.float32))
        for start in starts.tolist()
    ]
