"""How well a model tells damaged from good things on photographs, set by set.

AUROC of every set and their mean, over several seeds of the detector, for "CLIP" (the
prompt score), "ours" (the network trained on random words) and "CLIP + ours", at the
default and at the recommended settings, with 95 % intervals: images are drawn again
within each class of each set::

    python benchmarks/photos.py --photos FOLDER --data FOLDER --model tiny

A question compares settings on the same seeds and images, the first one against each
of the others; a row more in `QUESTIONS` is a setting more::

    python benchmarks/photos.py --photos FOLDER --question input_noise n_networks

The question "references" compares words with references: a few good images by either
method, and a folder, a tenth of it damaged, that is its own reference (see
``_folders.py``)::

    python benchmarks/photos.py --photos FOLDER --question references \
        --base recommended --seeds 5

Folders hold SET/good and SET/KIND, or SET/test/good and SET/test/KIND; ``index.tsv`` in
a folder or beside it may name the object of each file. The sets are split in two
halves, so that what is chosen on one can be reported on the other. Images are embedded
once.
"""

import argparse
import csv
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
from _common import describe_machine, print_table
from _folders import FolderMeasurement, print_references
from scipy import stats

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._clip.features import stream_features
from skclipad._embedder import image_options, load_clip
from skclipad._method.scores import combine_views

METHODS = ("CLIP", "ours", "CLIP + ours")
SUFFIXES = (".jpg", ".jpeg", ".png")
RESAMPLES = 2000
KNOWN = "each image's own"
"""As `object_name`: what the index, or else the name of the set, says it shows."""

RECOMMENDED = {"input_noise": 1.0, "n_networks": 5}  # as in docs/beyond.rst
WINCLIP = {"prompt_set": "winclip"}
MULTI = {"embedder__crops": "multi"}


def alternatives(name, values):
    """Return a setting for each value of one parameter."""
    return {f"{name} = {value}": {name: value} for value in values}


QUESTIONS = {
    "recommended": {"default": {}, "recommended": RECOMMENDED},
    "N_p": {
        "N_p = 10000": {},
        **alternatives("N_p", (100, 300, 1000, 3000, 30000)),
    },
    "crops": {
        "whole": {},
        "multi, max": MULTI,
        "multi, mean": MULTI | {"combine_views": "mean"},
        "multi, embeddings": MULTI | {"combine_views": "embeddings"},
    },
    "combine_views": {
        "multi, max": MULTI,
        "multi, mean": MULTI | {"combine_views": "mean"},
        "multi, embeddings": MULTI | {"combine_views": "embeddings"},
    },
    "prompts": {"two prompts": {}, "WinCLIP's": WINCLIP},
    "objects": {
        '"object"': {},
        "known": {"object_name": KNOWN},
        "known, WinCLIP's prompts": {"object_name": KNOWN, **WINCLIP},
    },
    "input_noise": {
        "input_noise = 0": {},
        **alternatives("input_noise", (0.25, 0.5, 1.0, 2.0)),
    },
    "n_networks": {"n_networks = 1": {}, **alternatives("n_networks", (3, 5, 10))},
    "normalize": {"normalize = True": {}, **alternatives("normalize", (False,))},
    "prompt_average": {
        "WinCLIP's, unit": WINCLIP,
        "WinCLIP's, raw": WINCLIP | {"prompt_average": "raw"},
    },
    "temperature": {
        "temperature = 0.01": {},
        **alternatives("temperature", (0.003, 0.03, 0.1, 0.3)),
    },
    "lengths": {
        "5 to 10 letters": {},
        "1 to 3": {"l_min": 1, "l_max": 3},
        "2 to 5": {"l_min": 2, "l_max": 5},
        "8 to 12": {"l_min": 8, "l_max": 12},
    },
    "hidden_layer_sizes": {
        "128, 32, 16": {},
        "none": {"hidden_layer_sizes": ()},
        "64, 32, 16": {"hidden_layer_sizes": (64, 32, 16)},
        "64, 64, 64": {"hidden_layer_sizes": (64, 64, 64)},
        "128, 64, 32": {"hidden_layer_sizes": (128, 64, 32)},
        "512, 128, 32": {"hidden_layer_sizes": (512, 128, 32)},
    },
    "dropout": {"dropout = 0.5": {}, **alternatives("dropout", (0.0, 0.3, 0.7))},
    "lr_decay": {"lr_decay = 0.1": {}, **alternatives("lr_decay", (0.03, 0.3, 1.0))},
    "resize_mode": {"squash": {}, "shortest": {"embedder__resize_mode": "shortest"}},
    "levers": {
        "default": {},
        "input noise": {"input_noise": 1.0},
        "5 networks": {"n_networks": 5},
        "recommended": RECOMMENDED,
    },
    # The last, since towers that convolve refuse 8 bits.
    "precision": alternatives("embedder__precision", ("fp32", "bf16", "int8")),
}
BASES = {"default": {}, "recommended": RECOMMENDED}


# Photographs -------------------------------------------------------------------------


class PhotoSet(NamedTuple):
    """A set of photographs of one kind of thing.

    Attributes
    ----------
    name : str
        Name of its folder.
    paths : list of Path
        Its files.
    target : ndarray of shape (n_images,), int
        0 for good, 1 for damaged.
    objects : list of str
        What each one shows.
    half : {"a", "b"}
        Sets of a folder go to either by turns, in the order of their names.
    """

    name: str
    paths: list
    target: np.ndarray
    objects: list
    half: str


def find_sets(folder):
    """Find the sets of a folder that hold both good and damaged things.

    Parameters
    ----------
    folder : Path
        Holds SET/good and SET/KIND, or SET/test/good and SET/test/KIND.

    Returns
    -------
    list of PhotoSet
        By name.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    objects, sets = read_objects(folder), []
    for top in sorted(path for path in folder.iterdir() if path.is_dir()):
        inner = top / "test" if (top / "test").is_dir() else top
        paths = sorted(p for p in inner.glob("*/*") if p.suffix.lower() in SUFFIXES)
        target = np.array([path.parent.name != "good" for path in paths], dtype=int)
        if 0 < target.sum() < len(target):
            name = top.name.replace("_", " ")
            shown = [objects.get(path.resolve(), name) for path in paths]
            half = "ab"[len(sets) % 2]
            sets.append(PhotoSet(top.name, paths, target, shown, half))
    if not sets:
        raise FileNotFoundError(
            f"{str(folder)!r} holds no set of photographs. Expected SET/good and "
            "SET/KIND, or SET/test/good and SET/test/KIND, with images in both."
        )
    return sets


def read_objects(folder):
    """Read what each file shows from ``index.tsv``: {path: object}."""
    for root in (folder, folder.parent):
        if (root / "index.tsv").is_file():
            with (root / "index.tsv").open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file, delimiter="\t"))
            return {(root / row["file"]).resolve(): row["object"] for row in rows}
    return {}


# Scores ------------------------------------------------------------------------------


class Measurement:
    """Scores the images of all sets under any setting, embedding them once.

    Parameters
    ----------
    sets : list of PhotoSet
        What to judge.
    model : str
        As ``CLIPImageEmbedder(model_name=...)``.
    n_seeds : int
        Random states of the detector: 0, 1, ...
    memory : path
        Where embeddings are kept.
    base : dict, default={}
        Parameters of every setting that does not say otherwise.
    """

    def __init__(self, sets, model, n_seeds, memory, base=None):
        self.sets, self.model, self.n_seeds = sets, model, n_seeds
        self.memory, self.base = memory, base or {}
        self.embedded, self.measured = {}, {}

    def __call__(self, setting):
        """Measure a setting, or return what was measured before.

        Parameters
        ----------
        setting : dict
            Parameters of the detector; ``embedder__`` begins those of the embedder.

        Returns
        -------
        dict of str to list of ndarray of shape (n_seeds, n_damaged, n_good)
            For each method and set, `wins` of every seed.
        """
        setting = self.base | setting
        key = repr(sorted(setting.items()))
        if key not in self.measured:
            scores = [self._score(seed, setting) for seed in range(self.n_seeds)]
            self.measured[key] = {
                method: self._wins(np.stack([s[i] for s in scores]))
                for i, method in enumerate(METHODS)
            }
        return self.measured[key]

    def _wins(self, scores):
        ends = np.cumsum([len(photos.target) for photos in self.sets])[:-1]
        parts = np.split(scores, ends, axis=1)
        return [wins(p.target, s) for p, s in zip(self.sets, parts, strict=True)]

    def _score(self, seed, setting):
        """Return the score of all images by each method: (3, n_images)."""
        start = "embedder__"
        for_embedder = {k: v for k, v in setting.items() if k.startswith(start)}
        rest = {k: v for k, v in setting.items() if k not in for_embedder}
        embedder = CLIPImageEmbedder(
            model_name=self.model,
            memory=self.memory,
            **{k.removeprefix(start): v for k, v in for_embedder.items()},
        )
        detector = RandomWordCLIPDetector(
            embedder=embedder, memory=self.memory, random_state=seed, **rest
        )
        views, n_views = self._embed(embedder)
        if detector.combine_views == "embeddings":
            starts = np.cumsum([0, *n_views[:-1]])
            views = np.add.reduceat(views, starts) / np.array(n_views)[:, None]
            n_views = [1] * len(n_views)
        parts = self._components(detector, views, n_views)
        return np.stack([*parts, parts.mean(0)])

    def _embed(self, embedder):
        """Return embeddings of all views, and how many each image has."""
        key = embedder.crops, embedder.resize_mode, embedder.precision
        if key not in self.embedded:
            paths = [path for photos in self.sets for path in photos.paths]
            views = [
                one.views
                for one in stream_features(
                    load_clip(embedder), paths, image_options(embedder)
                )
            ]
            n_views = [len(each) for each in views]
            self.embedded[key] = np.concatenate(views), n_views
        return self.embedded[key]

    def _components(self, detector, views, n_views):
        """Return prompt and network score of all images: (2, n_images)."""
        names = np.array([name for photos in self.sets for name in photos.objects])
        is_known = detector.object_name == KNOWN
        parts = np.empty((2, len(names)))
        for name in np.unique(names) if is_known else [detector.object_name]:
            # All objects share one training: only their prompts differ.
            fitted = detector.set_params(object_name=str(name)).fit()
            scores = fitted.score_components(views)
            rows = names == name if is_known else slice(None)
            # Whoever averages embeddings has one view left of each image.
            how = "mean" if detector.combine_views == "mean" else "max"
            for i, values in enumerate((scores.s_pr, scores.s_fnn)):
                parts[i, rows] = combine_views(values, n_views, how)[rows]
        return parts


# Figures -----------------------------------------------------------------------------


def wins(target, scores):
    """Tell which damaged image scores above which good one; their mean is the AUROC.

    Parameters
    ----------
    target : ndarray of shape (n_images,)
        0 for good, 1 for damaged.
    scores : ndarray of shape (n_seeds, n_images)
        Scores.

    Returns
    -------
    ndarray of shape (n_seeds, n_damaged, n_good)
        1 where the damaged one is above, 0.5 where they are equal.
    """
    damaged, good = scores[:, target == 1, None], scores[:, None, target == 0]
    return (damaged > good) + 0.5 * (damaged == good)


def seed_means(sets):
    """Return the AUROC of each seed, averaged over sets: (n_seeds,)."""
    return np.mean([won.mean((1, 2)) for won in sets], axis=0)


def resampled(sets, n_resamples=RESAMPLES):
    """Draw the images of each class of each set again; return the means over sets.

    Parameters
    ----------
    sets : list of ndarray of shape (n_seeds, n_damaged, n_good)
        `wins`, or differences of two, which are then paired.
    n_resamples : int
        How often.

    Returns
    -------
    ndarray of shape (n_resamples,)
        Means over sets and seeds.
    """
    rng, total = np.random.default_rng(0), np.zeros(n_resamples)
    for won in sets:
        won = won.mean(0)
        shares = [rng.multinomial(n, [1 / n] * n, n_resamples) / n for n in won.shape]
        total += ((shares[0] @ won) * shares[1]).sum(1)
    return total / len(sets)


def image_interval(sets):
    """Return the 95 % interval over images."""
    return np.quantile(resampled(sets), (0.025, 0.975))


def seed_interval(values):
    """Return the 95 % interval of a mean over seeds (Student's t)."""
    if len(values) < 2:
        return np.nan, np.nan
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return values.mean() - half, values.mean() + half


def differences(setting, baseline):
    """Subtract the wins of two settings, set by set."""
    return [a - b for a, b in zip(setting, baseline, strict=True)]


# Tables ------------------------------------------------------------------------------


def span(bounds, form="{:.3f}"):
    """Write an interval."""
    return "[" + ", ".join(form.format(bound) for bound in bounds) + "]"


def print_sets(measure, settings):
    """Print the AUROC of every set under some settings, then means and intervals."""
    columns = {
        f"{method}, {name}" if name else method: measure(setting)[method]
        for name, setting in settings.items()
        for method in METHODS
        if not (name and method == "CLIP")
    }
    rows = [
        [photos.name, photos.half, (photos.target == 0).sum(), photos.target.sum()]
        + [f"{sets[i].mean():.3f}" for sets in columns.values()]
        for i, photos in enumerate(measure.sets)
    ]
    blank = ["", "", ""]
    for half in "ab":
        kept = [i for i, photos in enumerate(measure.sets) if photos.half == half]
        if 0 < len(kept) < len(measure.sets):
            means = [np.mean([s[i].mean() for i in kept]) for s in columns.values()]
            rows.append([f"mean of half {half}", *blank, *(f"{m:.3f}" for m in means)])
    means = [seed_means(sets) for sets in columns.values()]
    rows += [
        ["mean", *blank, *(f"{m.mean():.3f}" for m in means)],
        ["95 % over images", *blank, *map(span, map(image_interval, columns.values()))],
        ["deviation over seeds", *blank, *(f"{m.std():.3f}" for m in means)],
    ]
    print_table(["set", "half", "good", "damaged", *columns], rows)


def print_paired(found):
    """Print what training on texts gains over CLIP alone, on the same images."""
    print()
    for method in METHODS[1:]:
        gain = differences(found[method], found["CLIP"])
        by_seed = seed_means(gain)
        print(
            f"{method} over CLIP: {by_seed.mean():+.4f}, 95 % over images "
            f"{span(image_interval(gain), '{:+.4f}')}, over seeds "
            f"{span(seed_interval(by_seed), '{:+.4f}')}, "
            f"p = {stats.ttest_1samp(by_seed, 0).pvalue:.3f} (t test over seeds)"
        )


def print_question(name, measure, settings, bar):
    """Print what each setting gains over the first one, on the same seeds."""
    baseline, *_ = (measure(setting) for setting in settings.values())
    rows = []
    for row, setting in settings.items():
        found = measure(setting)
        for method in METHODS:
            mean = seed_means(found[method])
            cells = [row, method, f"{mean.mean():.3f}", f"{mean.std():.3f}"]
            gain = differences(found[method], baseline[method])
            rows.append(cells + ([""] * 5 if found is baseline else gains(gain, bar)))
    print(f"{name}: gain in mean AUROC over {next(iter(settings))!r}\n", flush=True)
    header = ["setting", "method", "mean", "dev.", "gain", "over images"]
    print_table([*header, "over seeds", "sets up, down", f">= {bar}"], rows)
    sys.stdout.flush()


def gains(gain, bar):
    """Return the cells of a difference between settings."""
    each, by_seed = np.array([won.mean() for won in gain]), seed_means(gain)
    # What moves a set by less than a thousandth moves nothing.
    moved = (each > 0.001).sum(), (each < -0.001).sum()
    return [
        f"{by_seed.mean():+.4f}",
        span(image_interval(gain), "{:+.3f}"),
        span(seed_interval(by_seed), "{:+.4f}"),
        "{}, {}".format(*moved),
        "yes" if by_seed.mean() >= bar else "no",
    ]


def chosen_sets(args):
    """Return the sets of all folders that belong to the half asked for."""
    folders = [folder for folder in (args.photos, args.data) if folder is not None]
    sets = [photos for folder in folders for photos in find_sets(folder)]
    return [p for p in sets if args.half in ("both", p.half)]


def parse(arguments=None):
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder of sets")
    parser.add_argument("--data", type=Path, help="another folder of sets")
    parser.add_argument("--model", default="tiny", help="as model_name")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=10_000, help="N_p")
    parser.add_argument("--half", choices=("a", "b", "both"), default="both")
    parser.add_argument(
        "--question",
        nargs="+",
        choices=["sets", "references", "all", *QUESTIONS],
        default=["sets"],
        metavar="NAME",
        help="sets, the table of all sets (default); references; all questions; "
        + ", ".join(QUESTIONS),
    )
    parser.add_argument(
        "--base", choices=BASES, default="default", help="what questions start from"
    )
    parser.add_argument("--bar", type=float, default=0.01, help="gain asked for")
    parser.add_argument("--memory", help="folder that keeps embeddings")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Measure and print."""
    args = parse(arguments)
    start = perf_counter()
    describe_machine()
    sets = chosen_sets(args)
    print(f"{args.model}, {args.seeds} seeds, base {args.base}, half {args.half}\n")
    base = {"N_p": args.pairs} | BASES[args.base]
    with tempfile.TemporaryDirectory() as folder:
        how = (sets, args.model, args.seeds, args.memory or folder, base)
        measure = Measurement(*how)
        for name in args.question:
            if name == "sets":
                print_sets(measure, {"": {}, "recommended": RECOMMENDED})
                print_paired(measure({}))
            if name == "references":
                print_references(FolderMeasurement(*how))
            for asked in QUESTIONS if name == "all" else {name} & set(QUESTIONS):
                print_question(asked, measure, QUESTIONS[asked], args.bar)
    print(f"{perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
