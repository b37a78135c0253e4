"""What references are worth on photographs: a few good ones, or the unlabelled folder.

Of each set, draws of a folder: all good images, and damaged ones so that they are a
tenth of all. The folder is scored with itself as reference; few shots are good images,
drawn each time, which are then not scored.
"""

import warnings

import numpy as np
from _common import print_table

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector

SHARE = 1 / 10
"""Damaged images in a folder."""

MUTUAL = {"reference_method": "mutual"}
FOLDER = {"n_shots": "all", **MUTUAL}
WORDS = {"scores": ("prompt", "fnn"), "combine": "sum"}
ALONE = {"scores": ("reference",)}
COLUMNS = {
    # name: what is fitted, and how its scores are combined
    "words": (FOLDER, WORDS),
    "1, winclip": ({"n_shots": 1}, ALONE),
    "1, mutual": ({"n_shots": 1, **MUTUAL}, ALONE),
    "4, winclip": ({"n_shots": 4}, ALONE),
    "4, mutual": ({"n_shots": 4, **MUTUAL}, ALONE),
    "unlabelled": (FOLDER, ALONE),
    "with words": (FOLDER, {}),
    "summed": (FOLDER, {"combine": "sum"}),
}


class FolderMeasurement:
    """Scores draws of each set by detectors with references.

    Parameters
    ----------
    sets : list of PhotoSet
        What to judge.
    model : str
        As ``CLIPImageEmbedder(model_name=...)``.
    n_draws : int
        Folders of each set, and seeds of the detector.
    memory : path
        Where embeddings are kept.
    base : dict
        Parameters of every detector.
    """

    def __init__(self, sets, model, n_draws, memory, base):
        self.sets, self.n_draws, self.base = sets, n_draws, base
        self.embedder = CLIPImageEmbedder(model_name=model, memory=memory)
        self.memory, self.measured = memory, {}

    def __call__(self, fitted, combined):
        """Measure one setting of references.

        Parameters
        ----------
        fitted, combined : dict
            Parameters of the detector, for `fit` and after it.

        Returns
        -------
        list of ndarray of shape (n_draws, n_damaged, n_good)
            Of each set, 1 where the damaged image scores above the good one, 0.5 where
            they score alike, and NaN where one of them is not scored.
        """
        draws = range(self.n_draws)
        return [
            np.stack([self._won(photos, draw, fitted, combined) for draw in draws])
            for photos in self.sets
        ]

    def _won(self, photos, draw, fitted, combined):
        key = photos.name, draw, repr(fitted)
        if key not in self.measured:
            self.measured[key] = self._components(photos, draw, fitted)
        detector, rows, components = self.measured[key]

        detector.set_params(scores="auto", combine="auto").set_params(**combined)
        scores = np.full(len(photos.target), np.nan)
        scores[rows] = detector.combine_components(components)
        damaged, good = scores[photos.target == 1, None], scores[photos.target == 0]
        won = (damaged > good) + 0.5 * (damaged == good)
        return np.where(np.isnan(damaged + good), np.nan, won)

    def _components(self, photos, draw, fitted):
        """Return a detector, what it scored, and the scores."""
        detector = RandomWordCLIPDetector(
            embedder=self.embedder,
            memory=self.memory,
            random_state=draw,
            **self.base | fitted,
        )
        rows = folder_rows(photos.target, draw)
        paths = [photos.paths[row] for row in rows]
        if detector.n_shots == "all":
            detector.fit(paths)
        else:
            detector.fit(paths, photos.target[rows])
            rows = np.delete(rows, detector.reference_rows_)
        components = detector.score_components([photos.paths[row] for row in rows])
        return detector, rows, components


def folder_rows(target, draw, n_good=None):
    """Return rows of good images, all or the first, and of a draw of damaged ones."""
    good, damaged = np.flatnonzero(target == 0)[:n_good], np.flatnonzero(target == 1)
    n_damaged = max(1, round(len(good) * SHARE / (1 - SHARE)))
    rng = np.random.default_rng(draw)
    return np.r_[good, rng.choice(damaged, n_damaged, replace=False)]


def area(won):
    """Return the AUROC of a set, averaged over its draws."""
    return np.nanmean(won, axis=(1, 2)).mean()


def interval(sets, n_resamples):
    """Return the 95 % interval of the mean over sets, drawing their images again."""
    rng, total = np.random.default_rng(0), np.zeros(n_resamples)
    for won in sets:
        n_draws, *sizes = won.shape
        weights = [rng.multinomial(n, [1 / n] * n, n_resamples) for n in sizes]
        counted = ~np.isnan(won)
        shares = [
            [((weights[0] @ one) * weights[1]).sum(1) for one in (filled, mask)]
            for filled, mask in zip(np.where(counted, won, 0), counted, strict=True)
        ]
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            warnings.simplefilter("ignore")  # a folder none of whose damaged was drawn
            total += np.nanmean([won / n for won, n in shares], axis=0)
    return np.nanquantile(total / len(sets), (0.025, 0.975))


def print_references(measure, columns=COLUMNS, n_resamples=2000):
    """Print the AUROC of each set by each setting, then means and intervals.

    Parameters
    ----------
    measure : FolderMeasurement
        Measures.
    columns : dict of str to (dict, dict)
        Settings by name.
    n_resamples : int
        For the intervals.
    """
    found = {name: measure(*setting) for name, setting in columns.items()}
    rows = [
        [photos.name, photos.half, *(f"{area(sets[i]):.3f}" for sets in found.values())]
        for i, photos in enumerate(measure.sets)
    ]
    for half in sorted({photos.half for photos in measure.sets}):
        kept = [i for i, photos in enumerate(measure.sets) if photos.half == half]
        means = [np.mean([area(sets[i]) for i in kept]) for sets in found.values()]
        rows.append([f"mean of half {half}", "", *(f"{mean:.3f}" for mean in means)])

    means = [np.mean([area(won) for won in sets]) for sets in found.values()]
    spans = [interval(sets, n_resamples) for sets in found.values()]
    rows.append(["mean", "", *(f"{mean:.3f}" for mean in means)])
    rows.append(["95 % over images", "", *(f"[{a:.2f}, {b:.2f}]" for a, b in spans)])
    print_table(["set", "half", *columns], rows)
