"""Videos for tests: each frame is of one grey, which tells its number."""

import struct
from pathlib import Path

import numpy as np

STEP = 12  # of grey between frames


def write_video(path, n=12, rate=10, codec="mpeg4", size=(64, 48), first=0, white=0):
    """Write a video whose frame i is of the grey 20 + 12 i; return its path as str.

    As many columns on the left as `white` says are white.
    """
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 4_000_000
        for i in range(first, first + n):
            pixels = np.full((size[1], size[0], 3), 20 + STEP * i, np.uint8)
            pixels[:, :white] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


# What a video says of how it is to be shown: across and down of each axis.
UPRIGHT = (1, 0, 0, 1)
TURNS = {"right": (0, 1, -1, 0), "over": (-1, 0, 0, -1), "left": (0, -1, 1, 0)}


def turn_video(path, turn):
    """Have a video shown turned, as phones write it, without another word in it."""
    content = Path(path).read_bytes()
    upright, turned = (
        struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
        for a, b, c, d in (UPRIGHT, TURNS[turn])
    )
    place = content.index(upright, content.index(b"tkhd"))
    Path(path).write_bytes(content[:place] + turned + content[place + len(turned) :])


def number_of(image):
    """Return which frame an image is."""
    return round((np.asarray(image).mean() - 20) / STEP)
