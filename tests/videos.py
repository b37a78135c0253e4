"""Videos for tests: each frame is of one grey, which tells its number."""

import numpy as np

STEP = 12  # of grey between frames


def write_video(path, n=12, rate=10, codec="mpeg4", size=(64, 48), first=0):
    """Write a video whose frame i is of the grey 20 + 12 i; return its path as str."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 4_000_000
        for i in range(first, first + n):
            pixels = np.full((size[1], size[0], 3), 20 + STEP * i, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


def number_of(image):
    """Return which frame an image is."""
    return round((np.asarray(image).mean() - 20) / STEP)
