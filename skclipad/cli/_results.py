"""What is made of scores: folders of maps, the report, figures."""

import contextlib
import hashlib
import json
import os
import shlex
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin
from tqdm.auto import tqdm

from skclipad.cli._files import whole
from skclipad.cli._pictures import MAP_MARK, is_map
from skclipad.cli._talk import say
from skclipad.metrics import aupr, auroc, f1_max
from skclipad.report import describe_run, write_report

BLOCK = 16  # pictures whose maps are made at once
MAP_SIDE = 32  # pixels of a heat map in the report, which shows it smoothly


class MapFolder:
    """A folder of anomaly maps, laid out as the pictures are.

    Each map carries a mark: a digest of what determines the scores, and of the path,
    size and time of its picture. A map with another mark is none of this run's.

    Parameters
    ----------
    folder : str
        The folder; it is made if it is not there.
    stamps : skclipad.cli._resume.FileStamps
        All pictures.
    identity : dict of str to str
        What determines the scores.
    shown : bool, default=False
        Whether to keep small maps in memory, for the report.

    Attributes
    ----------
    folder : pathlib.Path
        See above.
    done : set of str
        The pictures whose maps are in place.
    small : dict of str to ndarray of shape (32, 32)
        Their small maps, if these are kept.

    Raises
    ------
    ValueError
        If the pictures have no folder in common.
    """

    def __init__(self, folder, stamps, identity, shown=False):
        self.folder = Path(folder)
        folders = {os.path.dirname(os.path.abspath(path)) for path in stamps.paths}
        try:
            self.root = os.path.commonpath(folders)
        except ValueError as error:  # Windows: pictures on several drives
            raise ValueError(f"--maps: {error}; score one drive at a time.") from error
        self.done, self.small = set(), {}
        self._paths, self._stamps = stamps.paths, stamps.of
        self._identity, self._shown = identity, shown
        self.folder.mkdir(parents=True, exist_ok=True)

    def has(self, path):
        """Tell whether this run's map of a picture is in place.

        Parameters
        ----------
        path : str
            The picture.

        Returns
        -------
        bool
            True if a whole map of the picture as it is now is there, made by a detector
            with the same scores.
        """
        try:
            with Image.open(self._place(path)) as image:
                if image.info.get(MAP_MARK) != self._mark(path):
                    return False
                values = np.asarray(image, dtype=np.float32) / 65535
        except (OSError, SyntaxError, ValueError):  # not there, or damaged
            return False
        self._note(path, values)
        return True

    def map_blocks(self, detector, paths, blocks):
        """Write the maps of pictures, and only then hand on their rows.

        A row that is kept while its map is not would pass for done.

        Parameters
        ----------
        detector : RandomWordCLIPDetector
            Makes the maps.
        paths : sequence of str
            The pictures.
        blocks : iterable of list of dict
            Their rows; one without a score gets no map.

        Yields
        ------
        list of dict
            The blocks.
        """
        paths = iter(paths)
        for block in blocks:
            here = [(next(paths), "score" in row) for row in block]
            for path in (path for path, scored in here if not scored):
                self._discard(path)
            scored = [path for path, scored in here if scored]
            for first in range(0, len(scored), BLOCK):
                self._make(detector, scored[first : first + BLOCK])
            yield block

    def small_maps(self):
        """Return the maps as the report shows them.

        Returns
        -------
        list of ndarray of shape (32, 32), or None
            One a picture; None for a picture without.
        """
        return [self.small.get(path) for path in self._paths]

    def _make(self, detector, paths):
        maps = detector.anomaly_map(paths)
        for path, values in zip(paths, maps, strict=True):
            if np.isnan(values).any():  # the picture was readable a moment ago
                self._discard(path)
                continue
            self._write(path, values)
            self._note(path, values)

    def _write(self, path, values):
        target = self._place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        about = PngImagePlugin.PngInfo()
        about.add_text(MAP_MARK, self._mark(path))
        with whole(target) as partial:
            image = Image.fromarray(np.rint(values * 65535).astype(np.uint16))
            image.save(partial, format="PNG", pnginfo=about)

    def _discard(self, path):
        """Remove what an earlier run left as the map of a picture without a score."""
        place = self._place(path)
        if is_map(place):
            with contextlib.suppress(FileNotFoundError):
                place.unlink()

    def _note(self, path, values):
        self.done.add(path)
        if self._shown:
            self.small[path] = _shrunk(values)

    def _place(self, path):
        name = os.path.relpath(os.path.abspath(path), self.root)
        return self.folder / f"{name}.png"

    def _mark(self, path):
        about = [self._identity, os.path.abspath(path), self._stamps[path]]
        text = json.dumps(about, sort_keys=True).encode()
        return hashlib.blake2b(text, digest_size=16).hexdigest()


def _shrunk(values):
    return np.asarray(Image.fromarray(values).resize((MAP_SIDE, MAP_SIDE)))


def most_anomalous_maps(detector, paths, rows, n_maps):
    """Make small maps of the pictures with the highest scores.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        Makes the maps.
    paths : sequence of str
        The pictures.
    rows : list of dict
        Their rows.
    n_maps : int
        How many, at most.

    Returns
    -------
    list of ndarray of shape (32, 32), or None
        One a picture; None for the others.
    """
    maps = [None] * len(rows)
    scored = [i for i, row in enumerate(rows) if "score" in row]
    chosen = sorted(scored, key=lambda i: -rows[i]["score"])[:n_maps]
    bar = tqdm(total=len(chosen), desc="Heat maps", unit="image", disable=None)
    with bar as progress:
        for first in range(0, len(chosen), BLOCK):
            block = chosen[first : first + BLOCK]
            made = detector.anomaly_map([paths[i] for i in block], size=MAP_SIDE)
            for i, values in zip(block, made, strict=True):
                maps[i] = None if np.isnan(values).any() else values
            progress.update(len(block))
    return maps


def report_scores(target, detector, paths, rows, maps, args):
    """Write the report of `skclipad score`.

    Parameters
    ----------
    target : pathlib.Path
        The page to write.
    detector : RandomWordCLIPDetector
        What scored.
    paths : sequence of str
        The pictures.
    rows : list of dict
        Their rows.
    maps : list of ndarray, or None
        Their maps.
    args : argparse.Namespace
        Parsed arguments.
    """

    def column(name, missing=np.nan):
        return [row.get(name, missing) for row in rows]

    names = [
        name for name in ("s_pr", "s_fnn", "s_img") if any(name in r for r in rows)
    ]
    with whole(target) as path:
        write_report(
            path,
            paths,
            column("score"),
            names=column("path"),
            components={name: column(name) for name in names},
            labels=_folder_labels(rows, args.good)
            if args.labels_from_folders
            else None,
            maps=maps,
            errors=column("error", None),
            threshold=detector.threshold,
            settings=describe_run(detector, command=shlex.join(args.command_line)),
        )
    say(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


def _folder_labels(rows, good):
    return [int(Path(row["path"]).parent.name != good) for row in rows]


def agreement_with_folders(rows, good):
    """Say how well scores agree with labels that the folders give.

    Parameters
    ----------
    rows : list of dict
        Rows with a score.
    good : str
        Name of the folders of normal pictures.

    Returns
    -------
    str
        Which folders count as what and a table of figures, or why there is none.
    """
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
    return f"{said}\n{figures_table(y_true, columns)}\n{_best_cut(y_true, columns)}"


def _best_cut(y_true, columns):
    """Say which threshold has the largest F1, in digits that read back to the same."""
    _, threshold = f1_max(y_true, columns["score"], return_threshold=True)
    if threshold < 0:  # the lowest score is 0, and no share lies below it
        return "F1-max of score is reached when every picture is called anomalous"
    return f"F1-max of score is reached with --threshold {threshold!r}"


def figures_table(y_true, columns):
    """Return the three figures of each column of scores, ready to print.

    Parameters
    ----------
    y_true : sequence of int
        1 for anomalous pictures.
    columns : dict of str to sequence of float
        Scores by name.

    Returns
    -------
    str
        A table of AUROC, AUPR and F1-max.
    """
    width = max(12, *map(len, columns))
    lines = [f"{'':<{width}} {'AUROC':>7} {'AUPR':>7} {'F1-max':>7}"]
    for name, scores in columns.items():
        figures = [metric(y_true, scores) for metric in (auroc, aupr, f1_max)]
        lines.append(f"{name:<{width}} " + " ".join(f"{f:7.3f}" for f in figures))
    return "\n".join(lines)
