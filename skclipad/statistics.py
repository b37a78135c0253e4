"""How sure a metric is: intervals over images, tests between two methods.

Images, categories and seeds are three sources of chance. `bootstrap_interval` and
`bootstrap_difference` ask what other images of the same kind would have given;
`paired_test` and `compare_methods` ask whether a method is better on categories in
general, with seeds averaged, since seeds of one category are no further evidence.
"""

import inspect
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy import stats
from sklearn.utils import check_random_state

from skclipad.metrics import aupr, auroc, f1_max

__all__ = [
    "Drift",
    "Interval",
    "PairedTest",
    "binomial_interval",
    "bootstrap_difference",
    "bootstrap_interval",
    "compare_methods",
    "compare_scores",
    "paired_test",
]

EXACT_UP_TO = 16  # categories for which every choice of signs is tried
DRIFT = 0.01  # p-value below which scores are said to have drifted
N_SIGNS = 9999  # random choices of signs for more of them
BLOCK = 2**21  # resampled images held at once, which bounds memory
UNITS = ("dataset", "category")
# SciPy 1.15 renamed the argument.
_RNG = (
    "rng" if "rng" in inspect.signature(stats.bootstrap).parameters else "random_state"
)


class Interval(NamedTuple):
    """A metric and its confidence interval.

    It is a named tuple, and unpacks like any other.

    Parameters
    ----------
    value : float
        The metric of all images.
    low, high : float
        Ends of the interval.

    Examples
    --------
    >>> from skclipad.statistics import Interval
    >>> value, low, high = Interval(0.91, 0.88, 0.94)
    """

    value: float
    low: float
    high: float


class PairedTest(NamedTuple):
    """Two methods compared over categories.

    It is a named tuple, and unpacks like any other.

    Parameters
    ----------
    difference : float
        Mean over categories of the second method's metric minus the first's.
    low, high : float
        Ends of its confidence interval.
    p_value : float
        Chance of a mean difference at least as far from 0, were the methods equal.
    n_categories : int
        How many categories were compared.

    Examples
    --------
    >>> from skclipad.statistics import PairedTest
    >>> PairedTest(0.02, 0.01, 0.03, 0.004, 15).p_value < 0.05
    True
    """

    difference: float
    low: float
    high: float
    p_value: float
    n_categories: int


class Drift(NamedTuple):
    """Scores compared with those of a reference.

    It is a named tuple, and unpacks like any other; ``str`` says it in one line.

    Parameters
    ----------
    distance : float
        The largest difference between the shares of both below any score, in [0, 1].
    p_value : float
        Chance of a distance at least as large, were both drawn alike.
    median, reference_median : float
        The medians of the scores and of the reference.
    n, n_reference : int
        How many scores there are of both.

    Examples
    --------
    >>> from skclipad.statistics import Drift
    >>> print(Drift(0.6, 0.0001, 0.7, 0.4, 50, 200))
    drift: these 50 scores are not spread as the 200 of the reference are ...
    """

    distance: float
    p_value: float
    median: float
    reference_median: float
    n: int
    n_reference: int

    def __str__(self):
        found = self.p_value < DRIFT
        verdict = "drift: these" if found else "no drift found: these"
        are = "are not spread" if found else "may be spread"
        return (
            f"{verdict} {self.n:,} scores {are} as the {self.n_reference:,} of the "
            f"reference are (median {self.median:.3f} against "
            f"{self.reference_median:.3f}; Kolmogorov-Smirnov distance "
            f"{self.distance:.3f}, p = {self.p_value:.2g})"
        )


def compare_scores(reference, scores):
    """Test whether scores are spread as those of a reference are.

    It is the two-sample test of Kolmogorov and Smirnov, which sees any difference: of
    the camera and its light as well as of how many things are damaged. Of many images
    it finds differences that matter to nobody, so look at the distance, too.

    Parameters
    ----------
    reference : array-like of shape (n_reference,)
        Anomaly scores from when all was well. NaN is left out.
    scores : array-like of shape (n_samples,)
        Those to compare, from the same detector. NaN is left out.

    Returns
    -------
    Drift
        The distance, its p-value and both medians. Its ``str`` speaks of drift where
        the p-value is below 0.01.

    Raises
    ------
    ValueError
        If one of them holds no score, or a score is infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad.statistics import compare_scores
    >>> monday = np.linspace(0.2, 0.4, 100)
    >>> compare_scores(monday, monday + 0.1).distance
    0.5
    """
    reference, scores = (
        _scores_there(values, name)
        for name, values in (("reference", reference), ("scores", scores))
    )
    test = stats.ks_2samp(reference, scores)
    return Drift(
        float(test.statistic),
        float(test.pvalue),
        median=float(np.median(scores)),
        reference_median=float(np.median(reference)),
        n=len(scores),
        n_reference=len(reference),
    )


def _scores_there(values, name):
    values = np.asarray(values, dtype=np.float64).ravel()
    values = values[~np.isnan(values)]
    if not len(values) or np.isinf(values).any():
        raise ValueError(
            f"Got {len(values)} values of {name}, {np.sum(np.isinf(values))} of them "
            "infinite, but expected one or more finite scores."
        )
    return values


def binomial_interval(n_successes, n, *, confidence=0.95):
    """Confidence interval of a share, such as a recall, by Clopper and Pearson.

    It is exact: whatever the true share, at least `confidence` of such intervals hold
    it. Few images give wide ones, and all of few are no proof of all.

    Parameters
    ----------
    n_successes : int
        How many images have what is counted.
    n : int
        Out of how many; of none the interval is all of [0, 1].
    confidence : float, default=0.95
        Confidence of the interval: above 0, below 1.

    Returns
    -------
    Interval
        ``value``, the share (NaN of none), with ``low`` and ``high``.

    Raises
    ------
    ValueError
        If `n_successes` is not within 0 and `n`, or `confidence` is out of range.

    Examples
    --------
    >>> from skclipad.statistics import binomial_interval
    >>> binomial_interval(8, 8)
    Interval(value=1.0, low=0.63..., high=1.0)
    """
    _check_confidence(confidence)
    if not 0 <= n_successes <= n:
        raise ValueError(f"Got {n_successes} of {n} but expected from 0 to {n}.")
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0)

    tail = (1 - confidence) / 2
    low, high = 0.0, 1.0
    if n_successes > 0:
        low = stats.beta.ppf(tail, n_successes, n - n_successes + 1)
    if n_successes < n:
        high = stats.beta.ppf(1 - tail, n_successes + 1, n - n_successes)
    return Interval(n_successes / n, float(low), float(high))


def bootstrap_interval(
    y_true,
    y_score,
    metric="auroc",
    *,
    n_resamples=1000,
    confidence=0.95,
    random_state=None,
):
    """Confidence interval of a metric over images.

    Images are drawn with replacement, normal and anomalous ones apart, so that each
    resample has as many of both as the data: AUPR and F1 move with their ratio, and
    with one class alone no metric is defined. The interval holds the middle
    `confidence` of the resampled values (the percentile method), and so never leaves
    the metric's range.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        1 (or True) for anomalous, 0 (or False) for normal; two of each at least.
    y_score : array-like of shape (n_samples,)
        Anomaly scores, higher for more anomalous.
    metric : {"auroc", "aupr", "f1_max"} or callable, default="auroc"
        The metric: a name, of which all resamples are computed at once, or a function
        ``metric(y_true, y_score)`` that returns a float and is called for each.
    n_resamples : int, default=1000
        How many times the images are drawn.
    confidence : float, default=0.95
        Share of the resampled values inside the interval: above 0, below 1.
    random_state : int, RandomState instance or None, default=None
        Seed of the draws. Pass an int for the same interval across calls.

    Returns
    -------
    Interval
        ``value``, the metric of all images, with ``low`` and ``high``.

    Raises
    ------
    ValueError
        If there are fewer than two images of a class, the metric is unknown or
        refuses its input, or a parameter is out of range.

    Examples
    --------
    >>> from skclipad.statistics import bootstrap_interval
    >>> y = [0, 0, 0, 0, 1, 1, 1, 1]
    >>> score = [0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9]
    >>> bootstrap_interval(y, score, random_state=0)
    Interval(value=0.9375, low=0.6..., high=1.0)
    """
    one, many = _metric(metric)
    value = one(y_true, y_score)
    y, score = np.asarray(y_true).astype(bool), np.asarray(y_score)
    low, high = _bootstrap(
        y,
        lambda rows: many(y[rows], score[rows]),
        n_resamples,
        confidence,
        random_state,
    )
    return Interval(float(value), low, high)


def bootstrap_difference(
    y_true,
    first,
    second,
    metric="auroc",
    *,
    n_resamples=1000,
    confidence=0.95,
    random_state=None,
):
    """Confidence interval of the difference between two methods on the same images.

    Both methods are judged on the same resamples, drawn as `bootstrap_interval` draws
    them. What makes an image hard for both cancels out, so that the interval is
    narrower than two separate ones suggest. Where it leaves out 0, the difference is
    significant at ``1 - confidence`` for images such as these.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        1 (or True) for anomalous, 0 (or False) for normal; two of each at least.
    first, second : array-like of shape (n_samples,)
        Anomaly scores of the two methods.
    metric : {"auroc", "aupr", "f1_max"} or callable, default="auroc"
        The metric: a name, of which all resamples are computed at once, or a function
        ``metric(y_true, y_score)`` that returns a float and is called for each.
    n_resamples : int, default=1000
        How many times the images are drawn.
    confidence : float, default=0.95
        Share of the resampled differences inside the interval: above 0, below 1.
    random_state : int, RandomState instance or None, default=None
        Seed of the draws. Pass an int for the same interval across calls.

    Returns
    -------
    Interval
        ``value``, the second method's metric minus the first's, with ``low`` and
        ``high``.

    Raises
    ------
    ValueError
        If there are fewer than two images of a class, the metric is unknown or
        refuses its input, or a parameter is out of range.

    Examples
    --------
    >>> from skclipad.statistics import bootstrap_difference
    >>> y = [0, 0, 0, 0, 1, 1, 1, 1]
    >>> worse = [0.1, 0.5, 0.3, 0.6, 0.4, 0.7, 0.2, 0.9]
    >>> better = [0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9]
    >>> bootstrap_difference(y, worse, better, random_state=0)
    Interval(value=0.25, low=..., high=...)
    """
    one, many = _metric(metric)
    value = one(y_true, second) - one(y_true, first)
    y = np.asarray(y_true).astype(bool)
    first, second = np.asarray(first), np.asarray(second)
    low, high = _bootstrap(
        y,
        lambda rows: many(y[rows], second[rows]) - many(y[rows], first[rows]),
        n_resamples,
        confidence,
        random_state,
    )
    return Interval(float(value), low, high)


def paired_test(first, second, *, confidence=0.95, random_state=None):
    """Test whether the second of two methods differs from the first over categories.

    Each category gives one difference, its seeds averaged. Were the methods equal, its
    sign would be a coin's; the two-sided p-value is the share of choices of signs whose
    mean is at least as extreme. Up to 16 categories all choices are tried and the
    p-value is exact, beyond it rests on 9,999 random ones. The least possible p-value
    is ``2 ** (1 - n_categories)``: below 6 categories none is significant at 5 %. The
    interval is Student's, which takes the differences for roughly normal.

    Parameters
    ----------
    first, second : array-like of shape (n_categories,) or (n_categories, n_seeds)
        The metric of the two methods for each category, in the same order. The numbers
        of seeds may differ.
    confidence : float, default=0.95
        Confidence of the interval: above 0, below 1.
    random_state : int, RandomState instance or None, default=None
        Seed of the random choices, of which there are none up to 16 categories.

    Returns
    -------
    PairedTest
        ``difference`` (second minus first), ``low``, ``high``, ``p_value`` and
        ``n_categories``.

    Raises
    ------
    ValueError
        If the numbers of categories differ or are below 2, a value is not finite, or
        `confidence` is out of range.

    Examples
    --------
    >>> from skclipad.statistics import paired_test
    >>> clip = [0.75, 0.81, 0.64, 0.90, 0.71, 0.83]
    >>> ours = [0.80, 0.85, 0.71, 0.92, 0.78, 0.84]
    >>> result = paired_test(clip, ours)
    >>> round(result.difference, 3), result.p_value
    (0.043, 0.03125)
    """
    first, second = _by_category(first, "first"), _by_category(second, "second")
    _check_confidence(confidence)
    n = len(first)
    if n != len(second) or n < 2:
        raise ValueError(
            f"Got {n} and {len(second)} categories but expected as many of one method "
            "as of the other, two at least. To compare on one category, use "
            "bootstrap_difference."
        )

    difference = second - first
    test = stats.permutation_test(
        (difference,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**EXACT_UP_TO if n <= EXACT_UP_TO else N_SIGNS,
        **_seeded(random_state),
    )

    mean = float(difference.mean())
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * stats.sem(difference)
    return PairedTest(
        mean, float(mean - half), float(mean + half), float(test.pvalue), n
    )


def compare_methods(
    rows, first, second, *, metric="auroc", confidence=0.95, random_state=None
):
    """Compare two methods over categories, given the benchmark's rows.

    Picks the rows of each method, averages the seeds of each category, puts the
    categories in pairs and hands them to `paired_test`. What does not fit together is
    an error, never a smaller comparison.

    Parameters
    ----------
    rows : DataFrame or mapping of str to array-like of shape (n_rows,)
        Columns ``dataset``, ``category``, ``seed``, ``metric``, ``value`` and whatever
        tells methods apart: ``method``, ``setup``, ``shots`` and so on.
    first, second : str or dict
        The two methods: a name in the column ``method``, or values of any columns, such
        as ``{"method": "ours", "setup": "unknown", "shots": 0}``. Columns left out must
        not vary among the rows that this leaves, but for those of categories and seeds.
    metric : str, default="auroc"
        A value of the column ``metric``.
    confidence : float, default=0.95
        Confidence of the interval: above 0, below 1.
    random_state : int, RandomState instance or None, default=None
        Seed of the random choices, of which there are none up to 16 categories.

    Returns
    -------
    PairedTest
        What `paired_test` finds. Each category of each data set counts once, its seeds
        averaged.

    Raises
    ------
    ValueError
        If a column is not there, no row is of such a method, a column left out varies,
        the methods were not run on the same categories, or a value is not finite.

    Examples
    --------
    >>> from skclipad.statistics import compare_methods
    >>> rows = {
    ...     "dataset": ["mvtec_ad"] * 4,
    ...     "category": ["bottle", "cable"] * 2,
    ...     "method": ["CLIP", "CLIP", "ours", "ours"],
    ...     "seed": [0] * 4,
    ...     "metric": ["auroc"] * 4,
    ...     "value": [0.75, 0.5, 1.0, 0.875],
    ... }
    >>> compare_methods(rows, "CLIP", "ours").difference
    0.3125
    """
    columns = {
        str(name): np.asarray(rows[name], dtype=object)
        for name in getattr(rows, "columns", rows)
    }

    absent = {*UNITS, "seed", "metric", "value"} - columns.keys()
    if absent:
        raise ValueError(
            f"Got the columns {', '.join(columns)} but {', '.join(sorted(absent))} "
            "are needed. Pass the rows that the benchmark wrote."
        )

    found = [_values_of(columns, which, metric) for which in (first, second)]
    apart = found[0].keys() ^ found[1].keys()
    if apart:
        raise ValueError(
            f"Got {first!r} and {second!r} on different categories: only one of them "
            f"was run on {', '.join(sorted(unit[1] for unit in apart))}. Leave these "
            "rows out, or run the other method on them."
        )

    units = sorted(found[0])
    return paired_test(
        *([np.mean(values[unit]) for unit in units] for values in found),
        confidence=confidence,
        random_state=random_state,
    )


def _values_of(columns, which, metric):
    """Return {(dataset, category): values of all seeds} of one method."""
    wanted = {"method": which} if isinstance(which, str) else dict(which)

    wanted["metric"] = metric
    chosen = np.ones(len(columns["value"]), dtype=bool)
    for name, value in wanted.items():
        if name not in columns:
            raise ValueError(
                f"Got {name!r} in {which!r} but expected some of the columns "
                f"{', '.join(columns)}."
            )
        of_value = columns[name] == value
        if not of_value.any():
            raise ValueError(
                f"Got {name}={value!r} but the rows have {_listed(columns[name])}."
            )
        chosen &= of_value
    if not chosen.any():
        raise ValueError(f"Got {wanted!r}, of which there is no row.")

    for name in columns.keys() - {*UNITS, *wanted, "seed", "value"}:
        column = columns[name][chosen]
        if len(set(map(str, column))) > 1:
            raise ValueError(
                f"Got {which!r}, which has rows of {name} {_listed(column)}. Say which "
                f"is meant, as in {{**{wanted!r}, {name!r}: ...}}."
            )

    by_unit, seen = {}, set()
    for *unit, seed, value in zip(
        *(columns[name][chosen] for name in (*UNITS, "seed", "value")), strict=True
    ):
        key = (*map(str, unit), str(seed))
        if key in seen:
            raise ValueError(
                f"Got two rows of {', '.join(key[:2])}, seed {key[2]}, for {which!r} "
                "but expected one. Drop what was run twice."
            )
        seen.add(key)
        by_unit.setdefault(key[:2], []).append(float(value))
    return by_unit


def _listed(column):
    return ", ".join(sorted(set(map(str, column))))


def _by_category(values, name):
    """Return one value for each category, of shape (n_categories,)."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim not in (1, 2) or not np.isfinite(values).all():
        raise ValueError(
            f"Got {name} of shape {values.shape} with "
            f"{np.sum(~np.isfinite(values))} values that are not finite, but "
            "expected finite ones of shape (n_categories,) or (n_categories, n_seeds)."
        )
    return values if values.ndim == 1 else values.mean(axis=1)


def _seeded(random_state):
    """Return SciPy's argument for a generator seeded from scikit-learn's."""
    seed = check_random_state(random_state).randint(2**31 - 1)
    return {_RNG: np.random.default_rng(seed)}


def _check_confidence(confidence):
    if not isinstance(confidence, Real) or not 0 < confidence < 1:
        raise ValueError(f"Got confidence={confidence!r} but expected 0 < ... < 1.")


def _bootstrap(y_true, statistic, n_resamples, confidence, random_state):
    """Return the percentile interval of a statistic of rows, of shape (..., n_samples).

    The two classes are two samples to SciPy, which draws from each apart.
    """
    _check_confidence(confidence)
    if not isinstance(n_resamples, Integral) or n_resamples < 1:
        raise ValueError(f"Got n_resamples={n_resamples!r} but expected 1 or more.")

    classes = [np.flatnonzero(y_true == label) for label in (False, True)]
    if min(map(len, classes)) < 2:
        raise ValueError(
            f"Got {len(classes[0])} normal and {len(classes[1])} anomalous images "
            "but expected two of each at least: one alone cannot be resampled."
        )

    result = stats.bootstrap(
        classes,
        lambda *rows, axis: statistic(np.concatenate(rows, axis=-1)),
        n_resamples=n_resamples,
        batch=max(1, BLOCK // len(y_true)),
        vectorized=True,
        axis=-1,
        confidence_level=confidence,
        method="percentile",
        **_seeded(random_state),
    )
    return tuple(map(float, result.confidence_interval))


def _metric(metric):
    """Return a metric for one set of images and one for many, (..., n_samples)."""
    for name, one, many in (
        ("auroc", auroc, _auroc),
        ("aupr", aupr, _aupr),
        ("f1_max", f1_max, _f1_max),
    ):
        if metric in (name, one):
            return one, many
    if not callable(metric):
        raise ValueError(
            f"Got metric={metric!r} but expected 'auroc', 'aupr', 'f1_max' or a "
            "function metric(y_true, y_score)."
        )

    def one_by_one(y, score):
        pairs = zip(*(a.reshape(-1, a.shape[-1]) for a in (y, score)), strict=True)
        return np.reshape([metric(*pair) for pair in pairs], y.shape[:-1])

    return metric, one_by_one


# The metrics of many resamples at once, along the last axis. What scores alike is
# called alike, as in `skclipad.metrics`; the tests hold the two against each other.


def _auroc(y, score):
    # As numbers that do not overflow: numpy 1 on Windows counts in 32 bits.
    n_anomalous = y.sum(axis=-1, dtype=np.float64)
    n_normal = y.shape[-1] - n_anomalous
    ranks = np.sum(stats.rankdata(score, axis=-1) * y, axis=-1)
    return (ranks - n_anomalous * (n_anomalous + 1) / 2) / (n_anomalous * n_normal)


def _alarms(y, score):
    """Return labels, true alarms and whether the score falls, by falling score."""
    order = np.argsort(-score, axis=-1, kind="stable")
    y, score = (np.take_along_axis(a, order, axis=-1) for a in (y, score))
    falls = np.ones(y.shape, dtype=bool)
    falls[..., :-1] = score[..., :-1] > score[..., 1:]
    return y, np.cumsum(y, axis=-1), falls


def _aupr(y, score):
    y, true_alarms, falls = _alarms(y, score)
    places = np.arange(y.shape[-1])
    # Each image's precision is that at the end of its run of equal scores.
    ends = np.where(falls, places, y.shape[-1])
    ends = np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]
    precision = np.take_along_axis(true_alarms / (places + 1), ends, axis=-1)
    return np.sum(precision * y, axis=-1) / true_alarms[..., -1]


def _f1_max(y, score):
    _, true_alarms, falls = _alarms(y, score)
    n_alarms = np.arange(1, y.shape[-1] + 1)
    f1 = 2 * true_alarms / (n_alarms + true_alarms[..., -1:])
    return np.max(np.where(falls, f1, 0), axis=-1)
