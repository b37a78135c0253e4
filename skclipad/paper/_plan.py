"""What is measured: methods, settings of the network, and the rows they give."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from numbers import Integral

from skclipad.metrics import aupr, auroc, f1_max

COLUMNS = (
    *("dataset", "category", "setup", "method", "crops", "shots"),
    *("normal_word", "anomaly_word", "l_min", "l_max", "N_p"),
    *("seed", "metric", "value"),
)
METRICS = {"auroc": auroc, "aupr": aupr, "f1_max": f1_max}
METHODS = {
    "CLIP": ("s_pr",),
    "ours": ("s_fnn",),
    "CLIP + ours": ("s_pr", "s_fnn"),
    "WinCLIP prompts": ("s_win",),
}
"""Scores that a method combines; with references ``s_img`` joins them."""

SETUPS = ("unknown", "known")
CROPS = ("whole", "multi")

TABLE_3_WORDS = tuple(
    product(
        ("a", "a normal", "a good", "a flawless"),
        ("a damaged", "a broken", "a defective", "an anomalous"),
    )
)
FIGURE_4_PAIRS = (1000, 5000, 10000, 20000, 50000)
TABLES = tuple(range(1, 11))
FIGURES = (3, 4, 5)


@dataclass(frozen=True)
class Setting:
    """What the network is trained on.

    The defaults are the paper's, and so are the names, which are columns of results.

    Parameters
    ----------
    normal_word, anomaly_word : str, default="a" and "a damaged"
        Words of state, of the images' prompts too.
    l_min, l_max : int, default=5 and 10
        Shortest and longest random word.
    N_p : int, default=10000
        Number of prompt pairs.

    Examples
    --------
    >>> from skclipad.paper import Setting
    >>> Setting(N_p=1000).anomaly_word
    'a damaged'
    """

    normal_word: str = "a"
    anomaly_word: str = "a damaged"
    l_min: int = 5
    l_max: int = 10
    N_p: int = 10000

    @property
    def words(self):
        """All but the number of pairs.

        Settings alike in it share their prompts.

        Returns
        -------
        tuple of (str, str, int, int)
            `normal_word`, `anomaly_word`, `l_min` and `l_max`.
        """
        return self.normal_word, self.anomaly_word, self.l_min, self.l_max


@dataclass(frozen=True)
class Case:
    """A setting of the network, and what is measured with it; 0 shots are none."""

    setting: Setting
    methods: tuple = tuple(METHODS)
    setups: tuple = SETUPS
    crops: tuple = CROPS
    shots: tuple = (0,)

    def rows(self, dataset, categories, seed):
        """Yield the rows of one seed, without their values, in a fixed order.

        Seed None stands for the rows that no seed has a part in: of methods without
        network and without references. What has no part in a row is None in it: the
        network's setting where there is no network, words where WinCLIP has its own.
        """
        for category, setup, crops, shots, method in product(
            categories, self.setups, self.crops, self.shots, self.methods
        ):
            trained = "s_fnn" in METHODS[method]
            if (trained or shots > 0) != (seed is not None):
                continue

            words = "s_win" not in METHODS[method]
            setting = self.setting
            row = {
                "dataset": dataset,
                "category": category,
                "setup": setup,
                "method": method,
                "crops": crops,
                "shots": shots,
                "normal_word": setting.normal_word if words else None,
                "anomaly_word": setting.anomaly_word if words else None,
                "l_min": setting.l_min if trained else None,
                "l_max": setting.l_max if trained else None,
                "N_p": setting.N_p if trained else None,
                "seed": seed,
            }
            yield from (row | {"metric": metric} for metric in METRICS)


def row_key(row):
    """Return what tells a row from all others, its value left out, as in the CSV."""
    return tuple("" if row[c] is None else str(row[c]) for c in COLUMNS[:-1])


def make_cases(
    setting, *, setups, crops, shots, pairs=(), word_pairs=(), word_lengths=()
):
    """List what is measured: everything of one setting, and a little of the others.

    The main case comes first. In the others, of other pairs (Figure 4), words (Table 3)
    and word lengths, objects are unknown, there are no references, and crops are multi
    if they are at all.
    """
    others = [replace(setting, N_p=n) for n in sorted(pairs)]
    others += [
        replace(setting, normal_word=normal, anomaly_word=anomaly)
        for normal, anomaly in word_pairs
    ]
    others += [replace(setting, l_min=low, l_max=high) for low, high in word_lengths]

    few = {
        "methods": ("CLIP", "ours", "CLIP + ours"),
        "setups": ("unknown",),
        "crops": ("multi" if "multi" in crops else crops[0],),
    }
    main = Case(setting, setups=setups, crops=crops, shots=shots)
    return [main, *(Case(other, **few) for other in others)]


def needs_of(tables, figures, has_references):
    """Return arguments of `run_benchmark` that some tables and figures need."""
    few_shot = has_references and not set(tables) <= {2, 3, 4}
    whole_only = set(tables) == {2} and 4 not in figures
    return {
        "setups": ("unknown",) if set(tables) <= {3, 4} else SETUPS,
        "crops": ("whole",) if whole_only else CROPS if 2 in tables else ("multi",),
        "shots": (0, 1, 2, 4) if few_shot else (0,),
        "pairs": FIGURE_4_PAIRS if 4 in figures else (),
        "word_pairs": TABLE_3_WORDS if 3 in tables else (),
    }


def seed_list(seeds):
    """Return seeds, given as how many from 0 on or which, as a tuple."""
    is_number = isinstance(seeds, Integral)
    chosen = tuple(range(seeds)) if is_number else tuple(int(seed) for seed in seeds)
    if not chosen or min(chosen) < 0 or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"Got seeds={seeds!r} but expected how many there are, at least 1, or "
            "different ones of 0 or more."
        )
    return chosen


def chosen_of(name, values, known):
    """Return a choice among known words as a tuple in their order."""
    values = [values] if isinstance(values, str) else list(values)
    if not values or not set(values) <= set(known):
        raise ValueError(
            f"Got {name}={values!r} but expected some of {', '.join(known)}."
        )
    return tuple(value for value in known if value in values)


def shot_list(shots):
    """Return numbers of references as a sorted tuple, each once; 0 is none."""
    values = shots if isinstance(shots, Iterable) else [shots]
    values = sorted({int(value) for value in values})
    if not values or values[0] < 0:
        raise ValueError(
            f"Got shots={shots!r} but expected numbers of references such as (0, 1, 4)."
        )
    return tuple(values)
