"""What a run over many images will take, measured on a few of them."""

import io
import json
import sys
import time
from dataclasses import dataclass

import numpy as np
from PIL import Image

from skclipad._clip.features import count_threads
from skclipad._images.reading import head_size
from skclipad.scoring._rows import score_rows
from skclipad.scoring._tiles import tiled_map

try:
    import resource
except ImportError:  # Windows
    resource = None

LOOKED_AT = 1000  # images whose size is read
N_MAPS = 3  # maps that are made to see what one takes
# Of an image while a run goes on: its row, its name, and what the journal knows of it
# (benchmarks/scoring_scale.py).
ROW_MEMORY = 3_500
DECODED = 6  # bytes of a pixel while it is decoded: the image, and a copy
OF_MAP = 15  # bytes of a pixel while its map is made and written
MAP_PIXELS = 16_000_000  # of maps that are made together


@dataclass(frozen=True)
class Probe:
    """What a few images took.

    Attributes
    ----------
    n_images : int
        How many were scored.
    seconds : float
        Of scoring one of them.
    row_bytes, journal_bytes : float
        Of the row of one in a CSV table and in the journal.
    sizes : list of (int, int)
        Width and height of the images that were looked at.
    map_seconds, map_bytes : float or None
        Of one map, if some were made.
    peak : int or None
        Bytes of memory that the process has had at most; None where that is not known.
    """

    n_images: int
    seconds: float
    row_bytes: float
    journal_bytes: float
    sizes: list
    map_seconds: float | None
    map_bytes: float | None
    peak: int | None

    @property
    def largest(self):
        """Width and height of the largest image."""
        return max(self.sizes, key=lambda size: size[0] * size[1], default=(0, 0))

    def memory(self, n_images, n_threads, tiles=None):
        """Return the bytes of memory that a run takes at most, None if not known."""
        if self.peak is None:
            return None
        pixels = self.largest[0] * self.largest[1]
        needed = self.peak + n_images * ROW_MEMORY + n_threads * DECODED * pixels
        if self.map_seconds is not None:
            of_maps = OF_MAP * max(pixels, MAP_PIXELS)
            if tiles is not None:
                of_maps = 9 * pixels + 4 * OF_MAP * tiles**2
            needed += of_maps
        return needed


def probe(detector, paths, *, maps=False, tiles=None):
    """Score one batch of images, spread over all, and see what that takes.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        One that gives images it cannot read no score.
    paths : list of str
        All images of the run, one at least.
    maps : bool, default=False
        Whether maps will be made.
    tiles : int, default=None
        Side of the tiles of which they will be.

    Returns
    -------
    Probe
        What was measured.
    """
    sample = spread(paths, detector.embedder.batch_size)
    score_rows(detector, sample[:1])  # what comes first takes longer

    begun = time.perf_counter()
    rows = score_rows(detector, sample)
    seconds = (time.perf_counter() - begun) / len(sample)
    seen = [path for path, row in zip(sample, rows, strict=True) if "score" in row]
    map_seconds, map_bytes = None, None
    if maps and seen:
        map_seconds, map_bytes = _probe_maps(detector, spread(seen, N_MAPS), tiles)

    return Probe(
        len(sample),
        seconds,
        np.mean([len(",".join(map(str, row.values()))) + 3 for row in rows]),
        np.mean([len(json.dumps(row)) + len(str(row["path"])) + 60 for row in rows]),
        [size for size in map(head_size, spread(paths, LOOKED_AT)) if size is not None],
        map_seconds,
        map_bytes,
        peak_memory(),
    )


def spread(items, n):
    """Return `n` items, or all if they are fewer, evenly spread."""
    positions = np.linspace(0, len(items) - 1, min(n, len(items))).round().astype(int)
    return [items[i] for i in positions]


def n_threads(detector):
    """Return how many images are decoded at a time."""
    return count_threads(detector.embedder.n_jobs)


def peak_memory():
    """Return the bytes of memory that this process has had at most, None if unknown."""
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _probe_maps(detector, paths, tiles):
    """Return seconds and bytes of one map."""
    begun, n_bytes = time.perf_counter(), 0
    for path in paths:
        if tiles is None:
            values = detector.anomaly_map([path])[0]
        else:
            values = tiled_map(detector, path, tiles)
        file = io.BytesIO()
        Image.fromarray(np.rint(values * 65535).astype(np.uint16)).save(file, "PNG")
        n_bytes += file.tell()
    return (time.perf_counter() - begun) / len(paths), n_bytes / len(paths)
