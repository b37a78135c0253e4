"""What is made of scores: folders of maps, the report, measures of agreement."""

import contextlib
import hashlib
import json
import os
import shlex
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin
from tqdm.auto import tqdm

from skclipad._exceptions import ImageReadError
from skclipad._images.reading import head_size
from skclipad._storage.files import atomic_write
from skclipad.cli._console import echo
from skclipad.cli._pictures import MAP_MARK, is_map
from skclipad.metrics import aupr, auroc, f1_max
from skclipad.report import describe_run, write_report
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


def small_maps_of_some(detector, paths, rows, n_maps):
    """Make the small maps that the report shows, see `choose_for_maps`.

    Returns one a row, an ndarray of shape (32, 32), or None for the others.
    """
    maps = [None] * len(rows)
    scored = [i for i, row in enumerate(rows) if "score" in row]
    places = choose_for_maps([rows[i]["score"] for i in scored], n_maps)
    chosen = [scored[place] for place in places]

    bar = tqdm(total=len(chosen), desc="Heat maps", unit="image", disable=None)
    with bar as progress:
        for first in range(0, len(chosen), BLOCK):
            block = chosen[first : first + BLOCK]
            made = detector.anomaly_map([paths[i] for i in block], size=MAP_SIDE)
            for i, values in zip(block, made, strict=True):
                maps[i] = None if np.isnan(values).any() else values
            progress.update(len(block))
    return maps


def report_scores(target, detector, paths, rows, maps, boxes, args):
    """Write the report of `skclipad score`; `boxes` are `BoxedImages` or None."""

    def column(name, missing=np.nan):
        return [row.get(name, missing) for row in rows]

    names = [n for n in ("s_pr", "s_fnn", "s_img") if any(n in r for r in rows)]
    labels = _folder_labels(rows, args.good) if args.labels_from_folders else None
    settings = describe_run(detector, command=shlex.join(args.command_line))
    if boxes is not None:
        settings["Run"]["boxes where maps are above"] = boxes.level

    with atomic_write(target) as path:
        write_report(
            path,
            paths,
            column("score"),
            names=column("path"),
            components={name: column(name) for name in names},
            labels=labels,
            maps=maps,
            boxes=None if boxes is None else boxes.of_rows,
            errors=column("error", None),
            reference=args.reference,
            region=detector.embedder.region,
            threshold=detector.threshold,
            settings=settings,
        )
    echo(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


def _folder_labels(rows, good):
    return [int(Path(row["path"]).parent.name != good) for row in rows]


def agreement_with_folders(rows, good):
    """Say how well scores agree with folders: a table, or why there is none."""
    y_true = _folder_labels(rows, good)
    if len(set(y_true)) < 2:
        return (
            f"No figures: of {len(rows)} scored pictures {sum(y_true)} lie outside "
            f"folders named {good!r}, and both kinds are needed."
        )

    others = {Path(row["path"]).parent.name for row in rows} - {good}
    said = (
        f"\n{y_true.count(0):,} normal pictures, in {good}; {sum(y_true):,} anomalous "
        f"ones, in {', '.join(sorted(others))}"
    )

    names = [name for name in ("s_pr", "s_fnn", "s_img", "score") if name in rows[0]]
    columns = {name: [row[name] for row in rows] for name in names}
    if auroc(y_true, columns["score"]) < 0.5:
        said += "\nBelow 0.5 is worse than chance: normal pictures have higher scores."
    return f"{said}\n{metrics_table(y_true, columns)}\n{_best_cut(y_true, columns)}"


def _best_cut(y_true, columns):
    """Say which threshold has the largest F1, in digits that read back to the same."""
    _, threshold = f1_max(y_true, columns["score"], return_threshold=True)
    if threshold < 0:  # the lowest score is 0, and no share lies below it
        return "F1-max of score is reached when every picture is called anomalous"
    return f"F1-max of score is reached with --threshold {threshold!r}"


def metrics_table(y_true, columns):
    """Return a table of AUROC, AUPR and F1-max of each column of scores, to print."""
    width = max(12, *map(len, columns))
    lines = [f"{'':<{width}} {'AUROC':>7} {'AUPR':>7} {'F1-max':>7}"]
    for name, scores in columns.items():
        values = [metric(y_true, scores) for metric in (auroc, aupr, f1_max)]
        lines.append(f"{name:<{width}} " + " ".join(f"{v:7.3f}" for v in values))
    return "\n".join(lines)
