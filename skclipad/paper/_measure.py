"""`run_benchmark`: every number of the paper for any labelled images."""

import copy
import itertools
import json
import shutil
import sys
import time
import zipfile
from pathlib import Path

import joblib
import numpy as np
from sklearn.base import clone
from tqdm.auto import tqdm

import skclipad
from skclipad._detector import RandomWordCLIPDetector
from skclipad._embedder import CLIPImageEmbedder, load_clip
from skclipad._optional import import_optional
from skclipad._storage.files import atomic_write
from skclipad._storage.store import lent_store, store_key
from skclipad.paper._pictures import (
    Category,
    embed_views,
    score_references,
    split_categories,
)
from skclipad.paper._plan import (
    CROPS,
    METRICS,
    SETUPS,
    Setting,
    chosen_of,
    make_cases,
    seed_list,
    shot_list,
)
from skclipad.paper._results import ResultsFile
from skclipad.paper._scores import UnitScores

DETECTOR = "detector.joblib"  # for people; it is never read here
NETWORK = "network.npz"  # its weights: plain numbers, which run nothing when read

# What the rows name, or what cannot change them.
_NOT_SETTINGS = {
    *("l_min", "l_max", "N_p", "normal_word", "anomaly_word", "object_name"),
    *("scores", "prompt_set", "n_shots", "threshold", "memory", "random_state"),
    *("reference_method", "reference_share", "reference_top", "max_references"),
    "combine",
    *("embedder", "embedder__crops", "embedder__batch_size", "embedder__memory"),
    *("embedder__n_jobs", "embedder__on_error", "embedder__verbose"),
    *("embedder__device", "embedder__model_name", "embedder__pretrained"),
}


def run_benchmark(
    data,
    *,
    references=None,
    detector=None,
    seeds=10,
    setups=SETUPS,
    crops=CROPS,
    shots=None,
    pairs=(),
    word_pairs=(),
    word_lengths=(),
    object_names=None,
    output=None,
    verbose=False,
):
    """Measure CLIP, the random-word network and WinCLIP's prompts on a data set.

    Every image is shown to CLIP once, all its crops in one pass (with references
    once more, for its patches and windows), every prompt is encoded once, and a
    network is trained once for each seed and setting: nothing of it depends on the
    category.

    Parameters
    ----------
    data : :class:`~sklearn.utils.Bunch`
        ``paths`` (or ``images``), ``target`` with 0 for normal and 1 for anomalous,
        ``category`` and, for the rows, ``name``: what `skclipad.datasets` loads.
    references : :class:`~sklearn.utils.Bunch`, default=None
        The same with normal images to draw references from, as ``split="train"``
        loads them; anomalous ones are left out.
    detector : RandomWordCLIPDetector, default=None
        What is measured: its parameters, its embedder's too, hold for all rows but for
        those that the rows name. None is ``RandomWordCLIPDetector()``.
    seeds : int or iterable of int, default=10
        How many seeds, from 0 on, or which.
    setups : sequence of {"unknown", "known"}, default=("unknown", "known")
        Whether prompts say "object" or what the category is.
    crops : sequence of {"whole", "multi"}, default=("whole", "multi")
        Views that an image is judged by.
    shots : sequence of int, default=None
        Numbers of references; 0 is none. None is 0, 1, 2 and 4 with `references`, and
        0 without.
    pairs : sequence of int, default=()
        Further numbers of prompt pairs, ``N_p`` (Figure 4).
    word_pairs : sequence of (str, str), default=()
        Further words for normal and anomalous (Table 3).
    word_lengths : sequence of (int, int), default=()
        Further shortest and longest random words.
    object_names : mapping of str to str, default=None
        What categories show, for prompts of known objects. Of those not named it is
        the category with blanks for "_".
    output : path, default=None
        Folder for ``results.csv``. A run that was interrupted, even killed, goes on
        when it is started again, with the same rows; further seeds, categories or
        settings of the network may be asked for. None keeps nothing.
    verbose : bool, default=False
        Show what is being done, and for how long still. Nothing is shown where
        standard error is no terminal.

    Returns
    -------
    pandas.DataFrame
        One row for each dataset, category, setup, method, crops, shots, normal_word,
        anomaly_word, l_min, l_max, N_p, seed and metric ("auroc", "aupr", "f1_max"),
        with its value in [0, 1]. Of methods without network l_min, l_max and N_p are
        missing, and without references the seed. "WinCLIP prompts" has words of its
        own, which are missing too.

    Raises
    ------
    ImportError
        If pandas is not installed.
    ValueError
        If a category lacks normal or anomalous images or references, or `output`
        holds rows of other settings.
    BlockingIOError
        If another run is writing to `output`.

    Notes
    -----
    References are drawn as ``RandomWordCLIPDetector(n_shots=k, random_state=seed)``
    draws them out of the references of a category, and networks are those that it
    trains with this seed.

    Examples
    --------
    >>> from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
    >>> from skclipad.paper import run_benchmark
    >>> from skclipad.datasets import make_defect_images
    >>> data = make_defect_images(8, categories=["wood"], random_state=0)
    >>> detector = RandomWordCLIPDetector(N_p=100, embedder=CLIPImageEmbedder("tiny"))
    >>> results = run_benchmark(data, detector=detector, seeds=1, crops=["whole"])
    >>> results.query("metric == 'auroc' and setup == 'unknown'").method.tolist()
    ['CLIP', 'WinCLIP prompts', 'ours', 'CLIP + ours']
    """
    pandas = import_optional("pandas", "benchmark")

    benchmark = Benchmark(
        data,
        references=references,
        detector=detector,
        seeds=seeds,
        setups=setups,
        crops=crops,
        shots=shots,
        pairs=pairs,
        word_pairs=word_pairs,
        word_lengths=word_lengths,
        object_names=object_names,
        output=output,
        verbose=verbose,
    )
    return pandas.DataFrame(benchmark.run())


class Benchmark:
    """One run of `run_benchmark`, whose parameters it takes.

    After `run`, `seconds` and `counts` say how long "pictures", "references" and
    "networks" took in this process, and how many they were.
    """

    def __init__(
        self,
        data,
        *,
        references=None,
        detector=None,
        seeds=10,
        setups=SETUPS,
        crops=CROPS,
        shots=None,
        object_names=None,
        output=None,
        verbose=False,
        **others,
    ):
        self.name = str(data.get("name", "pictures"))
        self.categories = _checked(split_categories(data))
        self.seeds = seed_list(seeds)
        self.output = None if output is None else Path(output)
        self.verbose = verbose
        self.seconds, self.counts = {}, {}
        self._object_names = dict(object_names or {})
        self._first = None

        self.detector = self._template(detector, chosen_of("crops", crops, CROPS))
        if shots is None:
            shots = (0,) if references is None else (0, 1, 2, 4)
        self.shots = shot_list(shots)
        self.references = self._normal_images(references)

        self.cases = make_cases(
            _setting_of(self.detector),
            setups=chosen_of("setups", setups, SETUPS),
            crops=chosen_of("crops", crops, CROPS),
            shots=self.shots,
            **others,
        )

    def run(self, on_begin=None):
        """Measure what is not in the output yet; return all rows of the output.

        `on_begin` is called when nothing was refused and the work begins.
        """
        with ResultsFile(self.output, self._settings()) as results:
            if on_begin is not None:
                on_begin()

            # First what needs no seed, then seed by seed. Cases of the same words
            # follow each other, so that their prompts are shared.
            units = [(c, seed) for seed in (None, *self.seeds) for c in self.cases]
            missing = [self._missing(results, unit) for unit in units]
            if any(missing):
                rows = list(itertools.chain.from_iterable(missing))
                views, few_shot = self._inspect(rows)
                self._measure(results, units, views, few_shot)

            if self.output is not None:
                shutil.rmtree(self.output / "prompts", ignore_errors=True)
            return results.rows

    def object_name(self, category):
        """Return what a category shows, for prompts of known objects."""
        return self._object_names.get(category, category.replace("_", " "))

    def first_detector(self):
        """Return the fitted detector of the main setting and the first seed.

        It is that of this run, or else one with the network of the run that wrote the
        output (and nothing else of what `fit` learns), or else a new one.
        """
        if self._first is None:
            wanted = clone(self.detector).set_params(random_state=self.seeds[0])
            found = self.output is not None and _read_network(self.output, wanted)
            self._first = wanted if found else wanted.fit()
        return self._first

    def _template(self, detector, crops):
        detector = RandomWordCLIPDetector() if detector is None else clone(detector)
        if detector.embedder is None:
            detector.set_params(embedder=CLIPImageEmbedder())

        # The first of the multiple views is the whole image.
        options = {"embedder__crops": "multi" if "multi" in crops else "whole"}
        if self.output is not None:
            options["embedder__memory"] = str(self.output / "embeddings")
        if self.verbose:
            options["embedder__verbose"] = sys.stderr.isatty()
        words = {"n_shots": 0, "scores": ("prompt", "fnn"), "combine": "sum"}
        return detector.set_params(**words, **options)

    def _normal_images(self, references):
        """Return the normal images of each category to draw references from."""
        if not max(self.shots):
            return {}
        if references is None:
            raise ValueError(
                f"Got shots={self.shots} without references, but expected normal "
                "images to draw them from: pass references, or shots=(0,)."
            )

        normal = {
            c.name: list(itertools.compress(c.images, c.target == 0))
            for c in split_categories(references)
        }
        for category in self.categories:
            n = len(normal.get(category.name, ()))
            if n < max(self.shots):
                raise ValueError(
                    f"Got {n} normal images of {category.name!r} in references, but "
                    f"{max(self.shots)} shots need as many. Pass more, or fewer shots."
                )
        return normal

    def _settings(self):
        backbone = load_clip(self.detector.embedder)
        plain = str, int, float, type(None)
        parameters = {
            name: value if isinstance(value, plain) else str(value)
            for name, value in self.detector.get_params().items()
            if name not in _NOT_SETTINGS
        }
        names = {c.name: self.object_name(c.name) for c in self.categories}

        return parameters | {
            "format": 1,
            "skclipad": skclipad.__version__,
            "dataset": self.name,
            "model": backbone.cache_name,
            "object_names": names,
            "pictures": {c.name: c.digest for c in self.categories},
            "references": {
                c.name: Category("", images, np.zeros(len(images), dtype=int)).digest
                for c in self.categories
                if (images := self.references.get(c.name)) is not None
            },
        }

    def _missing(self, results, unit):
        case, seed = unit
        names = [category.name for category in self.categories]
        return results.missing(case.rows(self.name, names, seed))

    def _inspect(self, rows):
        """Show images to CLIP: all views, and for the shots of rows their windows."""
        embedder = self.detector.embedder
        start = time.perf_counter()
        views = embed_views(embedder, self.categories)
        n_images = sum(len(category.images) for category in self.categories)
        self._record_time("images", start, n_images)

        start, few_shot = time.perf_counter(), {}
        with_shots = {(row["category"], row["seed"]) for row in rows if row["shots"]}
        shots = [k for k in self.shots if k]
        for category in self.categories:
            seeds = [s for s in self.seeds if (category.name, s) in with_shots]
            if seeds:
                images = self.references[category.name]
                with lent_store(embedder.memory) as store:
                    scores = score_references(
                        embedder, category, images, seeds, shots, store
                    )
                few_shot |= {(category.name, *key): s for key, s in scores.items()}
        self._record_time("references", start, n_images if few_shot else 0)
        return views, few_shot

    def _measure(self, results, units, views, few_shot):
        start, n_networks = time.perf_counter(), 0
        progress = tqdm(
            units,
            desc="Measuring",
            unit="network",
            disable=None if self.verbose else True,
        )

        for number, (case, seed) in enumerate(progress):
            rows = self._missing(results, (case, seed))
            if rows:
                detector = self._detector(case.setting, seed, rows)
                if hasattr(detector, "coefs_"):
                    n_networks += 1
                    self._keep_first(detector, case, seed)
                self._score_rows(rows, detector, views, few_shot)
                results.append(rows)
            if number + 1 == len(units) or units[number + 1][1] != seed:
                self._forget(seed)
        self._record_time("networks", start, n_networks)

    def _score_rows(self, rows, detector, views, few_shot):
        """Give rows their values."""
        targets = {category.name: category.target for category in self.categories}
        scores = UnitScores(detector, views, few_shot, self.object_name)
        for row in rows:
            metric = METRICS[row["metric"]]
            row["value"] = metric(targets[row["category"]], scores(row))

    def _detector(self, setting, seed, rows):
        """Return a detector of a setting, fitted if rows are of its network."""
        detector = clone(self.detector).set_params(random_state=seed, **vars(setting))
        if self.verbose:
            detector.set_params(embedder__verbose=False)  # one bar at a time
        if self.output is not None:
            name = store_key("prompts", seed, *setting.words)[:16]
            detector.set_params(memory=str(self._prompts_of(seed) / name))

        has_network = any(row["N_p"] is not None for row in rows)
        return detector.fit() if has_network else detector

    def _keep_first(self, detector, case, seed):
        if case is not self.cases[0] or seed != self.seeds[0]:
            return

        embedder = clone(detector.embedder).set_params(memory=None)
        self._first = copy.copy(detector).set_params(memory=None, embedder=embedder)
        if self.output is not None:
            with atomic_write(self.output / DETECTOR) as path:
                joblib.dump(self._first, path)
            _write_network(self.output, self._first)

    def _prompts_of(self, seed):
        return self.output / "prompts" / str(seed)

    def _forget(self, seed):
        """Remove the prompts of a seed that is done: many, and of no more use."""
        if self.output is not None:
            shutil.rmtree(self._prompts_of(seed), ignore_errors=True)

    def _record_time(self, what, start, count):
        self.seconds[what] = time.perf_counter() - start
        self.counts[what] = count


def _checked(categories):
    for category in categories:
        n_anomalous = int(np.sum(category.target))
        n_normal = len(category.target) - n_anomalous
        if not n_anomalous or not n_normal:
            raise ValueError(
                f"Got {n_normal} normal and {n_anomalous} anomalous images of "
                f"{category.name!r} but expected some of each: metrics compare the "
                "two. Leave this category out, or add images."
            )
    if not categories:
        raise ValueError("Got no image, but expected some of at least one category.")
    return categories


def _setting_of(detector):
    values = (getattr(detector, name) for name in Setting.__annotations__)
    # Lists of words become tuples, which have a hash.
    return Setting(*(v if isinstance(v, (str, int)) else tuple(v) for v in values))


def _write_network(folder, detector):
    """Keep the weights of a detector's network, and what it was trained on."""
    arrays = {f"coefs_{i}": coefs for i, coefs in enumerate(detector.coefs_)}
    arrays |= {f"intercepts_{i}": b for i, b in enumerate(detector.intercepts_)}
    fitted = json.dumps(detector.fit_params_, default=lambda number: number.item())
    with atomic_write(folder / NETWORK) as path, open(path, "wb") as file:
        np.savez(file, trained_on=_training_of(detector), fitted=fitted, **arrays)


def _read_network(folder, detector):
    """Give a detector the weights that were kept, if it would be trained alike."""
    try:
        with (
            open(folder / NETWORK, "rb") as file,
            np.load(file, allow_pickle=False) as kept,
        ):
            if str(kept["trained_on"]) != _training_of(detector):
                return False
            n_layers = sum(name.startswith("coefs_") for name in kept)
            coefs = [kept[f"coefs_{i}"] for i in range(n_layers)]
            intercepts = [kept[f"intercepts_{i}"] for i in range(n_layers)]
            fitted = json.loads(str(kept["fitted"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return False  # not there, or damaged, or no numbers
    detector.coefs_, detector.intercepts_ = coefs, intercepts
    detector.fit_params_ = fitted
    return True


def _training_of(detector):
    # Everything else is the same for all rows of an output.
    names = (*Setting.__annotations__, "random_state")
    return json.dumps({name: getattr(detector, name) for name in names})
