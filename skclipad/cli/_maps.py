"""Anomaly maps: a folder of them, and the small ones that a report shows."""

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from skclipad._exceptions import ImageReadError
from skclipad._images.reading import head_size
from skclipad._storage.files import atomic_write
from skclipad.cli._console import echo
from skclipad.cli._pictures import MAP_MARK, is_map
from skclipad.cli._progress import echo_pace, progress_bar
from skclipad.scoring._tiles import tiled_map

BLOCK = 16  # images whose maps are made at once
BLOCK_PIXELS = 16_000_000  # of these maps together, if it is more than one
MAP_SIDE = 32  # pixels of a heat map in the report, which shows it smoothly
N_USUAL = 12  # usual images with a heat map, beside which others stand out


class MapFolder:
    """A folder of anomaly maps, laid out as the images are.

    Each map carries a mark: a digest of what determines the scores, and of the path,
    size and time of its image. A map with another mark is none of this run's.

    Parameters
    ----------
    folder : str
        The folder; it is made if it is not there.
    stamps : dict of str to (list or None)
        Size and time of all images, by path.
    identity : dict of str to str
        What determines the scores.
    shown : bool, default=False
        Whether to keep small maps in memory, for the report.
    tiles : int, default=None
        Side of the tiles, in pixels, of which the maps of larger images are made.

    Attributes
    ----------
    folder : pathlib.Path
        See above.
    done : set of str
        The images whose maps are in place.
    """

    def __init__(self, folder, stamps, identity, shown=False, tiles=None):
        self.folder, self.done = Path(folder), set()
        self._stamps, self._tiles = stamps, tiles
        self._identity = identity if tiles is None else {**identity, "tiles": tiles}
        self._small = {} if shown else None

        folders = {os.path.dirname(os.path.abspath(path)) for path in stamps}
        try:
            self._root = os.path.commonpath(folders)
        except ValueError as error:  # Windows: images on several drives
            raise ValueError(f"--maps: {error}; score one drive at a time.") from error
        self.folder.mkdir(parents=True, exist_ok=True)

    def has(self, path):
        """Tell whether this run's map of an image, as it is now, is in place."""
        values = self.read(path)
        if np.isnan(values).any():
            return False

        self._note(path, values)
        return True

    def read(self, path):
        """Return this run's map of an image, of NaN in one pixel if it is not there."""
        missing = np.full((1, 1), np.nan, np.float32)
        try:
            with Image.open(self._place(path)) as image:
                if image.info.get(MAP_MARK) != self._mark(path):
                    return missing
                return np.asarray(image, dtype=np.float32) / 65535
        except (OSError, SyntaxError, ValueError):  # not there, or damaged
            return missing

    def make(self, detector, paths, rows):
        """Write the maps of images; one whose row has no score gets none."""
        scored = []
        for path, row in zip(paths, rows, strict=True):
            if "score" in row:
                scored.append(path)
            else:
                self._discard(path)

        for block in _blocks_of_maps(scored):
            maps = self._maps_of(detector, block)
            for path, values in zip(block, maps, strict=True):
                if np.isnan(values).any():  # the image was readable a moment ago
                    self._discard(path)
                else:
                    self._write(path, values)
                    self._note(path, values)

    def small_maps(self, paths):
        """Return the maps of images as the report shows them, None where there is none.

        Each is an ndarray of shape (32, 32).
        """
        return [None if self._small is None else self._small.get(p) for p in paths]

    def _maps_of(self, detector, block):
        """Yield the map of each image, NaN if it cannot be read any more."""
        if self._tiles is None:
            yield from detector.anomaly_map(block)
            return
        for path in block:
            try:
                yield tiled_map(detector, path, self._tiles)
            except ImageReadError:
                yield np.full((1, 1), np.nan, np.float32)

    def _write(self, path, values):
        target = self._place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        about = PngImagePlugin.PngInfo()
        about.add_text(MAP_MARK, self._mark(path))
        with atomic_write(target) as partial:
            image = Image.fromarray(_as_16_bits(values))
            image.save(partial, format="PNG", pnginfo=about)

    def _discard(self, path):
        """Remove what an earlier run left as the map of an image without a score."""
        place = self._place(path)
        if is_map(place):
            with contextlib.suppress(FileNotFoundError):
                place.unlink()

    def _note(self, path, values):
        self.done.add(path)
        if self._small is not None:
            self._small[path] = _shrunk(values)

    def _place(self, path):
        name = os.path.relpath(os.path.abspath(path), self._root)
        return self.folder / f"{name}.png"

    def _mark(self, path):
        about = [self._identity, os.path.abspath(path), self._stamps[path]]
        text = json.dumps(about, sort_keys=True).encode()
        return hashlib.blake2b(text, digest_size=16).hexdigest()


def _blocks_of_maps(paths):
    """Yield images whose maps are made at once: few enough to hold these in memory."""
    block, n_pixels = [], 0
    for path in paths:
        # Of one without a size the detector says what is wrong.
        width, height = head_size(path) or (0, 0)
        if block and (len(block) == BLOCK or n_pixels + width * height > BLOCK_PIXELS):
            yield block
            block, n_pixels = [], 0
        block.append(path)
        n_pixels += width * height
    if block:
        yield block


def _as_16_bits(values):
    """Return a map as it is written, made band by band: large ones have one copy."""
    pixels = np.empty(values.shape, np.uint16)
    for first in range(0, len(values), 256):
        pixels[first : first + 256] = np.rint(values[first : first + 256] * 65535)
    return pixels


def _shrunk(values):
    return np.asarray(Image.fromarray(values).resize((MAP_SIDE, MAP_SIDE)))


def choose_for_maps(scores, n_maps):
    """Choose the images whose heat maps are shown: their positions, a list of int.

    They are those with the highest scores, `n_maps` at most, and a few from the lower
    half, which say what a map of nothing looks like.
    """
    order = np.argsort(-np.asarray(scores), kind="stable").tolist()
    usual = order[max(n_maps, len(order) // 2) :]
    spread = np.linspace(0, len(usual) - 1, min(N_USUAL, len(usual)) if n_maps else 0)
    return order[:n_maps] + [usual[int(place)] for place in spread]


def small_maps(detector, paths, side, what):
    """Yield maps of `side` x `side` pixels, of NaN for an image that cannot be read.

    `what` stands beside the bar that shows how far it has come. After the first block
    it is said how long the rest takes.
    """
    n, begun = len(paths), time.perf_counter()
    with progress_bar(n, what) as bar:
        for first in range(0, n, BLOCK):
            block = paths[first : first + BLOCK]
            maps = detector.anomaly_map(block, size=side)
            bar.update(len(block))
            if first == 0 and n > BLOCK:
                echo_pace(f"{what.lower()} drawn", BLOCK, n, begun)
            yield from maps


def small_maps_of_some(detector, paths, rows, n_maps):
    """Make the small maps that the report shows, see `choose_for_maps`.

    Returns one a row, an ndarray of shape (32, 32), or None for the others.
    """
    scored = [i for i, row in enumerate(rows) if "score" in row]
    places = choose_for_maps([rows[i]["score"] for i in scored], n_maps)
    chosen = [scored[place] for place in places]
    if chosen:
        maps = "map" if len(chosen) == 1 else "maps"
        echo(
            f"drawing {len(chosen):,} heat {maps} for the report, which may take "
            "longer than the scores (--heat-maps N for fewer)"
        )

    maps = [None] * len(rows)
    made = small_maps(detector, [paths[i] for i in chosen], MAP_SIDE, "Heat maps")
    for i, values in zip(chosen, made, strict=True):
        maps[i] = None if np.isnan(values).any() else values
    return maps
