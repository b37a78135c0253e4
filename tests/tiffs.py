"""TIFF files of layouts that Pillow does not write."""

import struct
import zlib

import numpy as np

SHORT, LONG = 3, 4
GREY_INVERTED, GREY, RGB, CMYK = 0, 1, 2, 5


def tiff(
    pixels,
    *,
    planar=False,
    big_endian=False,
    compressed=False,
    photometric=None,
    extra=(),
    rows_per_strip=None,
    bits=None,
    orientation=1,
):
    """Write pixels of shape (height, width, channels), uint8 or uint16, as a TIFF.

    `extra` names the meaning of channels beyond those of the photometric
    interpretation: 0 is none, 1 alpha already multiplied in, 2 alpha.
    """
    order = ">" if big_endian else "<"
    height, width, n_channels = pixels.shape
    bits = bits or 8 * pixels.itemsize
    if photometric is None:
        photometric = RGB if n_channels >= 3 else GREY
    rows = rows_per_strip or height
    planes = np.moveaxis(pixels, -1, 0) if planar else pixels[None]
    starts = range(0, height, rows)
    strips = [
        _packed(plane[y : y + rows], order, bits) for plane in planes for y in starts
    ]
    if compressed:
        strips = [zlib.compress(strip) for strip in strips]
    tags = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [bits] * n_channels),
        259: (SHORT, [8 if compressed else 1]),
        262: (SHORT, [photometric]),
        273: (LONG, [0] * len(strips)),  # filled in below, when its length is known
        274: (SHORT, [orientation]),
        277: (SHORT, [n_channels]),
        278: (LONG, [rows]),
        279: (LONG, [len(strip) for strip in strips]),
        284: (SHORT, [2 if planar else 1]),
    }
    if extra:
        tags[338] = (SHORT, list(extra))
    start = len(_directory(tags, order))
    tags[273] = (LONG, [start + sum(map(len, strips[:i])) for i in range(len(strips))])
    return _directory(tags, order) + b"".join(strips)


def _packed(rows, order, bits):
    if bits != 12:
        return rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    high, low = rows.reshape(-1, 2).astype(np.uint16).T  # two values make three bytes
    three = [high >> 4, (high & 15) << 4 | low >> 8, low & 255]
    return np.stack(three, axis=1).astype(np.uint8).tobytes()


def _directory(tags, order):
    """Return header, directory and the values that do not fit into it."""
    mark = b"MM\0*" if order == ">" else b"II*\0"
    entries, values = b"", b""
    base = 8 + 2 + 12 * len(tags) + 4
    for tag, (kind, numbers) in sorted(tags.items()):
        letter = "H" if kind == SHORT else "I"
        data = struct.pack(f"{order}{len(numbers)}{letter}", *numbers).ljust(4, b"\0")
        if len(data) > 4:
            place = struct.pack(f"{order}I", base + len(values))
            values += data + b"\0" * (len(data) % 2)
            data = place
        entries += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + data
    header = mark + struct.pack(f"{order}IH", 8, len(tags))
    return header + entries + struct.pack(f"{order}I", 0) + values
