"""Pictures for tests, and what they are read as."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from skclipad._images.reading import read_image

RED, WHITE = (255, 0, 0), (255, 255, 255)
# Four flat quarters: a turned or mirrored picture shows at the corners, and JPEG
# keeps them within a few levels.
CORNERS = {
    "top left": (200, 40, 40),
    "top right": (40, 160, 40),
    "bottom left": (40, 40, 200),
    "bottom right": (230, 220, 60),
}


def shades(dtype=np.uint8):
    """Return 4 x 4 grey values 0, 17, ... 255."""
    return (np.arange(16).reshape(4, 4) * 17).astype(dtype)


def pixels_of(item, **options):
    image = read_image(item, 0, **options)
    assert isinstance(image, Image.Image)
    assert image.mode == "RGB"
    return np.asarray(image)


def rgb(grey):
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=-1)


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(width, height, depth, colour_type, scanlines, transparent=None):
    """Write a PNG by hand, as Pillow writes no 16-bit colour and no bombs."""

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (b"" if transparent is None else chunk(b"tRNS", transparent))
        + chunk(b"IDAT", zlib.compress(scanlines))
        + chunk(b"IEND", b"")
    )


def fill(folder, images, start=0):
    """Save images in a folder as 00.png, 01.png ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images, start):
        Image.fromarray(image).save(folder / f"{i:02d}.png")


class Hostile:
    """Nothing about this object works."""

    def __fspath__(self):
        raise RuntimeError("no path")

    def __repr__(self):
        raise RuntimeError("no name")
