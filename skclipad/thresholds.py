"""Where to cut: thresholds from labels, from good images alone, or from neither.

With labels of both kinds, `choose_threshold` cuts by recall, precision or cost and says
how sure that is. With good images alone, `conformal_threshold` bounds the false alarms,
and `conformal_p_values` gives each image the chance of a false alarm at its score. With
neither, `robust_threshold` is a suggestion.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from skclipad.statistics import Interval, binomial_interval

__all__ = [
    "Cut",
    "choose_threshold",
    "conformal_p_values",
    "conformal_threshold",
    "robust_threshold",
]

ROUNDING = 1e-9  # a share such as 0.29 of 100 images is 29 of them
CLOSEST = 1e-12  # to 0 and 1, where a logit has no end
NORMAL_MAD = 1.4826  # standard deviations of a normal distribution in one MAD


class Cut(NamedTuple):
    """A threshold, and what it does to labelled images.

    It is a named tuple, and unpacks like any other. The intervals are Clopper and
    Pearson's; that of a share of no image at all is NaN, 0 and 1.

    Parameters
    ----------
    threshold : float
        Images whose score is above it are called anomalous.
    recall : Interval
        Share of the anomalous images that are above it.
    precision : Interval
        Share of the images above it that are anomalous.
    false_alarm_rate : Interval
        Share of the normal images that are above it.
    n_found, n_anomalous : int
        Anomalous images above it, and all of them.
    n_false_alarms, n_normal : int
        Normal images above it, and all of them.

    Examples
    --------
    >>> from skclipad.thresholds import choose_threshold
    >>> cut = choose_threshold([0, 0, 1, 1], [0.1, 0.4, 0.6, 0.9])
    >>> cut.threshold, cut.n_found, cut.n_false_alarms
    (0.5, 2, 0)
    """

    threshold: float
    recall: Interval
    precision: Interval
    false_alarm_rate: Interval
    n_found: int
    n_anomalous: int
    n_false_alarms: int
    n_normal: int


def choose_threshold(
    y_true, y_score, *, recall=None, precision=None, cost=None, confidence=0.95
):
    """Choose a threshold by what it does to labelled images.

    At most one of `recall`, `precision` and `cost` is given; without any it is the
    threshold of the largest F1. Where several are equally good it is the highest.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        1 (or True) for anomalous, 0 (or False) for normal. Both must occur.
    y_score : array-like of shape (n_samples,)
        Anomaly scores, higher for more anomalous.
    recall : float, default=None
        The highest threshold that finds this share of the anomalous images.
    precision : float, default=None
        Of the thresholds above which this share of the images is anomalous, the one
        that finds the most.
    cost : float, default=None
        The threshold of the least total cost, where an anomalous image that is missed
        costs so many times what a false alarm does.
    confidence : float, default=0.95
        Confidence of the intervals: above 0, below 1.

    Returns
    -------
    Cut
        The threshold, the shortest number between the two scores that it lies between,
        with what it finds and how sure that is.

    Raises
    ------
    ValueError
        If the lengths differ, a label is neither 0 nor 1, only one class occurs, a
        score is not finite, more than one wish is given, a wish is out of range, or no
        threshold of at least 0 fulfils it.

    Notes
    -----
    The intervals are those of a threshold that was fixed before the labels were seen.
    For one chosen by `recall` the lower end of the recall stays exact: it is an order
    statistic of the anomalous scores [1]_. Otherwise expect a little less on new images
    than on those that chose it. All of it holds for images drawn as the labelled ones
    were: where only high scores were labelled, recall is that among high scores.

    References
    ----------
    .. [1] H. A. David and H. N. Nagaraja, "Order Statistics", 2003, Chap. 7.

    Examples
    --------
    >>> from skclipad.thresholds import choose_threshold
    >>> y = [0, 0, 0, 1, 0, 1, 1, 1]
    >>> score = [0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.7, 0.9]
    >>> choose_threshold(y, score, recall=1).threshold
    0.2
    >>> choose_threshold(y, score, precision=1).threshold
    0.5
    """
    y, score = _checked_labels(y_true, y_score)
    wishes = {"recall": recall, "precision": precision, "cost": cost}
    wishes = {name: value for name, value in wishes.items() if value is not None}
    _check_wishes(wishes)

    # Alarms can only be cut off where the score falls: ties stay together.
    order = np.argsort(-score, kind="stable")
    y, score = y[order], score[order]
    last = np.flatnonzero(np.append(np.diff(score) < 0, True))
    last = last[score[last] > 0]  # no threshold of at least 0 lies below a score of 0
    last = np.append(-1, last)  # no alarm at all
    found = np.append(0, np.cumsum(y))[last + 1]
    false_alarms = last + 1 - found

    best = _best_cut(found, false_alarms, int(y.sum()), len(y), wishes)
    threshold = _number_between(score, int(last[best]))
    return _cut(threshold, y, score, confidence)


def _checked_labels(y_true, y_score):
    y, score = np.asarray(y_true), np.asarray(y_score, dtype=np.float64)
    if y.ndim != 1 or y.shape != score.shape:
        raise ValueError(
            f"Got y_true of shape {y.shape} and y_score of shape {score.shape}, but "
            "expected one label and one score for each image."
        )
    _check_finite("y_score", score)
    if not np.isin(y, (0, 1)).all():
        found = np.unique(y).tolist()
        raise ValueError(f"Got the labels {found} but expected 0 and 1.")

    n_anomalous = int(np.sum(y == 1))
    if n_anomalous in (0, len(y)):
        raise ValueError(
            f"Got {len(y) - n_anomalous} normal and {n_anomalous} anomalous labels, "
            "but expected some of both. Label more images."
        )
    return y.astype(np.int64), score


def _check_finite(name, scores):
    if not np.isfinite(scores).all():
        raise ValueError(
            f"Got {np.sum(~np.isfinite(scores))} values of {name} that are not finite. "
            "Leave images without a score out."
        )


def _check_wishes(wishes):
    if len(wishes) > 1:
        raise ValueError(
            f"Got {' and '.join(wishes)}, but expected one of recall, precision and "
            "cost at most: a threshold can be best for one thing only."
        )
    for name, value in wishes.items():
        if name == "cost" and not (np.isfinite(value) and value > 0):
            raise ValueError(f"Got cost={value!r} but expected a number above 0.")
        if name != "cost" and not 0 < value <= 1:
            raise ValueError(f"Got {name}={value!r} but expected 0 < {name} <= 1.")


def _best_cut(found, false_alarms, n_anomalous, n, wishes):
    """Return which cut fulfils the wish best; the first of equals has fewest alarms."""
    recalls = found / n_anomalous
    precisions = found / np.maximum(found + false_alarms, 1)

    if "cost" in wishes:
        return np.argmin(wishes["cost"] * (n_anomalous - found) + false_alarms)
    if not wishes:
        return np.argmax(2 * found / (found + false_alarms + n_anomalous))

    ((name, wish),) = wishes.items()
    values = recalls if name == "recall" else precisions
    fulfilled = np.flatnonzero(values >= wish - ROUNDING)
    if not len(fulfilled):
        raise ValueError(
            f"Got {name}={wish:g}, but no threshold of at least 0 reaches it with "
            f"these {n} labels: the highest {name} is {values.max():.3g}. Ask for less."
        )
    if name == "recall":
        return fulfilled[0]
    return fulfilled[np.argmax(found[fulfilled])]


def _number_between(score, last):
    """Return the shortest number that `score[last]` is above and the next one is not.

    The scores fall. What is far from both has the fewest digits to copy wrongly.
    """
    if last < 0:
        return float(score[0])
    upper = float(score[last])
    if last + 1 == len(score):
        return float(np.nextafter(upper, 0))  # of what lies below nothing is known

    lower = float(score[last + 1])
    for digits in range(1, 18):
        number = round((lower + upper) / 2, digits)
        if lower <= number < upper:
            return number
    return lower


def _cut(threshold, y, score, confidence):
    above = score > threshold
    n_found, n_alarms = int(y[above].sum()), int(above.sum())
    n_anomalous = int(y.sum())
    n_false, n_normal = n_alarms - n_found, len(y) - n_anomalous

    def share(part, n):
        return binomial_interval(part, n, confidence=confidence)

    return Cut(
        threshold,
        recall=share(n_found, n_anomalous),
        precision=share(n_found, n_alarms),
        false_alarm_rate=share(n_false, n_normal),
        n_found=n_found,
        n_anomalous=n_anomalous,
        n_false_alarms=n_false,
        n_normal=n_normal,
    )


# Good images alone


def conformal_p_values(scores, normal_scores):
    """Say for each image how rarely a normal one has so high a score.

    The p-value of a score is ``(1 + number of normal scores at least as high) /
    (1 + number of normal scores)``. The guarantee: a normal image, drawn as the normal
    ones at hand were, has a p-value of at most p with a chance of at most p, whatever
    the scores are and however few [1]_.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Anomaly scores, higher for more anomalous. NaN gives NaN.
    normal_scores : array-like of shape (n_normal,)
        Scores of images known to be normal, from the same detector. None of them may
        be among its references, to which it would find them too close.

    Returns
    -------
    ndarray of shape (n_samples,)
        The p-values, low for anomalous images; none is below ``1 / (1 + n_normal)``.

    Raises
    ------
    ValueError
        If there is no normal score, or one is not finite.

    References
    ----------
    .. [1] R. Laxhammar and G. Falkman, "Conformal Prediction for Distribution-
       Independent Anomaly Detection in Streaming Vessel Data", 2010.

    Examples
    --------
    >>> from skclipad.thresholds import conformal_p_values
    >>> conformal_p_values([0.15, 0.9], [0.1, 0.2, 0.3, 0.4])
    array([0.8, 0.2])
    """
    scores = np.asarray(scores, dtype=np.float64)
    normal = _checked_normal(normal_scores)
    at_least = len(normal) - np.searchsorted(normal, scores, side="left")
    values = (1 + at_least) / (1 + len(normal))
    return np.where(np.isnan(scores), np.nan, values)


def conformal_threshold(normal_scores, fpr):
    """Choose the threshold that a share of normal images is above, by normal ones.

    The guarantee is that of `conformal_p_values`: a normal image, drawn as those at
    hand were, is above the threshold with a chance of at most `fpr`.

    Parameters
    ----------
    normal_scores : array-like of shape (n_normal,)
        Scores of images known to be normal; ``1 / fpr - 1`` of them at least.
    fpr : float
        Share of false alarms, above 0 and below 1.

    Returns
    -------
    float
        The threshold, one of the normal scores: the highest has none above it.

    Raises
    ------
    ValueError
        If there are too few normal scores, one is not finite, or `fpr` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad.thresholds import conformal_threshold
    >>> conformal_threshold(np.arange(99) / 100, 0.01)
    0.98
    >>> conformal_threshold(np.arange(99) / 100, 0.02)
    0.97
    """
    normal = _checked_normal(normal_scores)
    if not 0 < fpr < 1:
        raise ValueError(f"Got fpr={fpr!r} but expected 0 < fpr < 1.")

    # With it, a false alarm is one more among the normal images.
    n_above = int(np.floor(fpr * (len(normal) + 1) + ROUNDING)) - 1
    if n_above < 0:
        needed = int(np.ceil(1 / fpr - 1 - ROUNDING))
        raise ValueError(
            f"Got fpr={fpr:g} and {len(normal)} normal images, but a share of {fpr:g} "
            f"takes {needed:,} of them at least. Bring more, or allow "
            f"{1 / (len(normal) + 1):.2g}."
        )
    return float(normal[-1 - n_above])


def _checked_normal(scores):
    scores = np.sort(np.asarray(scores, dtype=np.float64), axis=None)
    _check_finite("normal_scores", scores)
    if not len(scores):
        raise ValueError("Got no normal score, but expected one at least.")
    return scores


# Neither


def robust_threshold(scores, *, n_spreads=3.0):
    """Suggest a threshold for scores of which nothing is known.

    It is the median plus some times the spread, ``1.4826 *`` the median distance to
    the median, both of the scores' logits. These are little moved by a few damaged
    images among them. It is a suggestion, no more: nothing bounds what it misses or
    how often it alarms.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Anomaly scores in [0, 1]; NaN is left out.
    n_spreads : float, default=3.0
        How many spreads above the median, positive. Our choice.

    Returns
    -------
    float
        The threshold, between 0 and 1, of three digits where these are enough to tell
        it from the median.

    Raises
    ------
    ValueError
        If there are fewer than 10 scores, one lies outside [0, 1], half of them or more
        are equal, or `n_spreads` is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad.thresholds import robust_threshold
    >>> good = np.linspace(0.2, 0.4, 40)
    >>> robust_threshold(np.append(good, [0.9, 0.95]))
    0.576
    """
    scores = np.asarray(scores, dtype=np.float64)
    scores = scores[~np.isnan(scores)]
    if not n_spreads > 0:
        raise ValueError(f"Got n_spreads={n_spreads!r} but expected a number above 0.")
    if len(scores) < 10:
        raise ValueError(
            f"Got {len(scores)} scores, but expected 10 at least to suggest a "
            "threshold by."
        )
    if scores.min() < 0 or scores.max() > 1:
        raise ValueError(
            f"Got scores from {scores.min():g} to {scores.max():g}, but expected them "
            "in [0, 1]."
        )

    logits = logit(scores.clip(CLOSEST, 1 - CLOSEST))
    median = np.median(logits)
    spread = NORMAL_MAD * np.median(np.abs(logits - median))
    if spread == 0:
        raise ValueError(
            f"Got {len(scores)} scores of which half or more are {expit(median):g}: "
            "they have no spread to set a threshold by."
        )
    threshold = float(expit(median + n_spreads * spread))
    short = round(threshold, 3)
    return short if expit(median) < short < 1 else threshold
