"""How well scores tell anomalous images from normal ones.

The field's conventions: 1 means anomalous and is the positive class, a higher score
means more anomalous. `auroc`, `aupr` and `f1_max` are computed over images, the other
metrics over the pixels of anomaly maps, where masks of the damage exist. Tied scores
are never split: what scores alike is called alike.
"""

from numbers import Real

import numpy as np
from scipy import ndimage
from sklearn.metrics import (
    auc,
    average_precision_score,
    make_scorer,
    precision_recall_curve,
    roc_auc_score,
)

__all__ = [
    "aupr",
    "aupro",
    "auroc",
    "f1_max",
    "get_scorer",
    "pixel_auroc",
    "pixel_f1_max",
]


def auroc(y_true, y_score):
    """Area under the receiver operating characteristic.

    It is the chance that a random anomalous image scores above a random normal one,
    where a tie counts one half.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        1 (or True) for anomalous, 0 (or False) for normal. Both must occur.
    y_score : array-like of shape (n_samples,)
        Anomaly scores, higher for more anomalous.

    Returns
    -------
    float
        The area, from 0 to 1; 0.5 is what guessing gives.

    Raises
    ------
    ValueError
        If the lengths differ, a label is neither 0 nor 1, only one class occurs, or a
        score is not finite.

    Examples
    --------
    >>> from skclipad.metrics import auroc
    >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    y_true, y_score = _check_scores(y_true, y_score)
    return float(roc_auc_score(y_true, y_score))


def aupr(y_true, y_score, *, method="average_precision"):
    """Area under the precision-recall curve.

    The paper names the area and not the rule it is summed by. Average precision is
    what the field reports, and the default here; the trapezoid joins the curve's
    points by straight lines, which is slightly too kind.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        1 (or True) for anomalous, 0 (or False) for normal. Both must occur.
    y_score : array-like of shape (n_samples,)
        Anomaly scores, higher for more anomalous.
    method : {"average_precision", "trapezoid"}, default="average_precision"
        How the area is summed.

    Returns
    -------
    float
        The area, from 0 to 1; guessing gives the share of anomalous images.

    Raises
    ------
    ValueError
        If ``method`` is neither of the two, the lengths differ, a label is neither 0
        nor 1, only one class occurs, or a score is not finite.

    Examples
    --------
    >>> from skclipad.metrics import aupr
    >>> round(aupr([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 3)
    0.833
    >>> round(aupr([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], method="trapezoid"), 3)
    0.792
    """
    if method not in ("average_precision", "trapezoid"):
        raise ValueError(
            f"Got method={method!r} but expected 'average_precision' or 'trapezoid'."
        )
    y_true, y_score = _check_scores(y_true, y_score)
    if method == "average_precision":
        return float(average_precision_score(y_true, y_score))
    precision, recall, _ = precision_recall_curve(y_true, y_score)
    return float(auc(recall, precision))


def f1_max(y_true, y_score, *, return_threshold=False):
    """Largest F1 over all thresholds.

    The F1 of the best threshold, chosen with the labels at hand, is what the field
    reports. It is no promise for new images: their threshold is not known before.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        1 (or True) for anomalous, 0 (or False) for normal. Both must occur.
    y_score : array-like of shape (n_samples,)
        Anomaly scores, higher for more anomalous.
    return_threshold : bool, default=False
        Whether to return the threshold as well.

    Returns
    -------
    f1 : float
        The largest F1, above 0 and at most 1.
    threshold : float
        Only if asked for: ``y_score > threshold`` has that F1, in the precision of
        `y_score` and in float64. It lies half-way between two scores that occur, or
        just below the lowest one; between two neighbouring floats it is the lower one.
        Where several thresholds are best, it is the highest, which raises the fewest
        alarms.

    Raises
    ------
    ValueError
        If the lengths differ, a label is neither 0 nor 1, only one class occurs, or a
        score is not finite.

    Examples
    --------
    >>> from skclipad.metrics import f1_max
    >>> f1_max([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.8
    >>> f1_max([0, 0, 1, 1], [0.1, 0.25, 0.75, 0.8], return_threshold=True)
    (1.0, 0.5)
    """
    given = np.asarray(y_score).dtype
    precision = given if given.kind == "f" else np.float64
    y_true, y_score = _check_scores(y_true, y_score)

    order = np.argsort(-y_score, kind="stable")
    score = y_score[order]
    # Alarms can only be cut off where the score falls: ties stay together.
    last = np.flatnonzero(np.append(np.diff(score) < 0, True))  # (n_distinct,)
    true_alarms = np.cumsum(y_true[order])[last]
    f1 = 2 * true_alarms / (last + 1 + y_true.sum())

    best = int(np.argmax(f1))
    if not return_threshold:
        return float(f1[best])

    lowest_alarm = score[last[best]]
    below = score[last[best] + 1 :]
    highest_pass = below[0] if len(below) else None
    return float(f1[best]), _threshold_between(highest_pass, lowest_alarm, precision)


def _threshold_between(lower, upper, precision):
    """Return a threshold that `upper` is above and `lower`, if there is one, is not.

    It is a number of the scores' own precision: a float64 between two float32 would
    round to one of them when it is compared with an array of these.
    """
    if lower is None:
        # Both of that precision: numpy 1 takes the wider of a scalar and a number.
        number = np.dtype(precision).type
        return float(np.nextafter(number(upper), number(-np.inf)))
    middle = float(np.asarray(lower / 2 + upper / 2, precision))
    return middle if lower <= middle < upper else float(lower)


def pixel_auroc(masks, maps):
    """Area under the receiver operating characteristic over all pixels.

    Every pixel of every image is one sample. Large damage weighs more than small;
    `aupro` weighs all alike.

    Parameters
    ----------
    masks : sequence of array-like of shape (height, width)
        For each image 1 (or True) where it is damaged; all 0 for a normal image.
    maps : sequence of array-like of shape (height, width)
        Anomaly maps of the same sizes, higher for more anomalous.

    Returns
    -------
    float
        The area, from 0 to 1; 0.5 is what guessing gives.

    Raises
    ------
    ValueError
        If numbers or sizes differ, a mask holds anything but 0 and 1, only one class
        of pixels occurs, or a map is not finite.

    Examples
    --------
    >>> from skclipad.metrics import pixel_auroc
    >>> pixel_auroc([[[0, 0], [1, 1]]], [[[0.1, 0.4], [0.35, 0.8]]])
    0.75
    """
    return auroc(*_all_pixels(*_check_maps(masks, maps)))


def pixel_f1_max(masks, maps):
    """Largest F1 of pixels over all thresholds.

    Every pixel of every image is one sample, and one threshold serves all images.

    Parameters
    ----------
    masks : sequence of array-like of shape (height, width)
        For each image 1 (or True) where it is damaged; all 0 for a normal image.
    maps : sequence of array-like of shape (height, width)
        Anomaly maps of the same sizes, higher for more anomalous.

    Returns
    -------
    float
        The largest F1, above 0 and at most 1.

    Raises
    ------
    ValueError
        If numbers or sizes differ, a mask holds anything but 0 and 1, only one class
        of pixels occurs, or a map is not finite.

    Examples
    --------
    >>> from skclipad.metrics import pixel_f1_max
    >>> pixel_f1_max([[[0, 0], [1, 1]]], [[[0.1, 0.4], [0.35, 0.8]]])
    0.8
    """
    return f1_max(*_all_pixels(*_check_maps(masks, maps)))


def aupro(masks, maps, *, max_fpr=0.3):
    """Area under the curve of per-region overlap (PRO) up to a false positive rate.

    A region is a connected piece of a mask, corners touching. At each threshold its
    overlap is the share of it that is marked; the curve is the mean overlap of all
    regions, small and large alike, over the share of normal pixels that are marked.
    The area up to `max_fpr` is divided by `max_fpr`. All thresholds that occur are
    used, where other implementations take a sample of them.

    Parameters
    ----------
    masks : sequence of array-like of shape (height, width)
        For each image 1 (or True) where it is damaged; all 0 for a normal image.
    maps : sequence of array-like of shape (height, width)
        Anomaly maps of the same sizes, higher for more anomalous.
    max_fpr : float, default=0.3
        Where the area ends: above 0, at most 1.

    Returns
    -------
    float
        The area, from 0 to 1; guessing gives ``max_fpr / 2``.

    Raises
    ------
    ValueError
        If `max_fpr` is out of range, numbers or sizes differ, a mask holds anything
        but 0 and 1, only one class of pixels occurs, or a map is not finite.

    References
    ----------
    .. [1] P. Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021.

    Examples
    --------
    >>> from skclipad.metrics import aupro
    >>> round(aupro([[[0, 0, 1], [0, 0, 1]]], [[[0, 0.6, 0.9], [0, 0, 0.5]]]), 3)
    0.583
    """
    if not isinstance(max_fpr, Real) or not 0 < max_fpr <= 1:
        raise ValueError(f"Got max_fpr={max_fpr!r} but expected 0 < max_fpr <= 1.")

    masks, maps = _check_maps(masks, maps)
    y_true, score = _all_pixels(masks, maps)
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) < 0, True))  # (n_distinct,)
    overlap = np.cumsum(_region_weights(masks)[order])[last]
    false_alarms = np.cumsum(~y_true[order])[last] / np.sum(~y_true)
    overlap = np.concatenate([[0], overlap])
    false_alarms = np.concatenate([[0], false_alarms])

    # Up to the first point that reaches max_fpr, and of the line to it the part inside.
    reach = int(np.searchsorted(false_alarms, max_fpr))
    end = np.interp(max_fpr, false_alarms[: reach + 1], overlap[: reach + 1])
    x, y = np.append(false_alarms[:reach], max_fpr), np.append(overlap[:reach], end)
    return float(auc(x, y) / max_fpr)


def _region_weights(masks):
    """Return what each pixel adds to the mean overlap, of shape (n_pixels,)."""
    weights, n_regions = [], 0
    for mask in masks:
        regions, n = ndimage.label(mask, structure=np.ones((3, 3)))
        sizes = np.bincount(regions.ravel(), minlength=n + 1).astype(np.float64)
        sizes[0] = np.inf  # a normal pixel adds nothing
        weights.append(1 / sizes[regions.ravel()])
        n_regions += n
    return np.concatenate(weights) / n_regions


def _all_pixels(masks, maps):
    return tuple(
        np.concatenate([array.ravel() for array in arrays]) for arrays in (masks, maps)
    )


def _check_maps(masks, maps):
    """Return masks and maps as lists of arrays, each pair of one shape (H, W)."""
    masks = [np.asarray(mask) for mask in masks]
    maps = [np.asarray(map_, dtype=np.float64) for map_ in maps]
    if len(masks) != len(maps) or not maps:
        raise ValueError(
            f"Got {len(masks)} masks and {len(maps)} maps but expected as many of one "
            "as of the other, at least one. A normal image's mask is all 0."
        )

    for row, (mask, map_) in enumerate(zip(masks, maps, strict=True)):
        if mask.ndim != 2 or mask.shape != map_.shape:
            raise ValueError(
                f"Got a mask of shape {mask.shape} and a map of shape {map_.shape} for "
                f"image {row} but expected one shape (height, width). Of a mask with "
                "channels take one; anomaly_map(X, size=...) makes maps of one size."
            )
        if not np.isin(mask, (0, 1)).all():
            raise ValueError(
                f"Got a mask of image {row} that holds {np.unique(mask)[-1]} but "
                "expected 0 (normal) and 1 (anomalous); write mask > 0."
            )
        if not np.isfinite(map_).all():
            raise ValueError(
                f"Got a map of image {row} that holds NaN or infinity but expected "
                "numbers. Leave images out that could not be read."
            )

    masks = [mask.astype(bool) for mask in masks]
    n_damaged = sum(int(mask.sum()) for mask in masks)
    if n_damaged in (0, sum(mask.size for mask in masks)):
        raise ValueError(
            f"Got {n_damaged} damaged pixels of {sum(mask.size for mask in masks)} "
            "but expected some damaged and some normal ones: the metric compares them."
        )
    return masks, maps


_METRICS = {"auroc": auroc, "aupr": aupr, "f1_max": f1_max}


def get_scorer(name):
    """Return one of this module's metrics as a scikit-learn scorer.

    It takes the scores from ``decision_function``, or from ``predict_proba`` where
    there is none, and serves as ``scoring`` in ``GridSearchCV``, ``cross_val_score``
    and their like.

    Parameters
    ----------
    name : {"auroc", "aupr", "f1_max"}
        The metric.

    Returns
    -------
    callable
        A scorer with the signature ``scorer(estimator, X, y)``.

    Raises
    ------
    ValueError
        If there is no metric of that name.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> from skclipad.metrics import get_scorer
    >>> X, y = np.arange(8.0).reshape(-1, 1), [0, 0, 0, 0, 1, 1, 1, 1]
    >>> cross_val_score(LogisticRegression(), X, y, scoring=get_scorer("f1_max"), cv=2)
    array([1., 1.])
    """
    if name not in _METRICS:
        raise ValueError(
            f"Got name={name!r} but expected one of {sorted(_METRICS)}. For "
            "scikit-learn's own scorers call sklearn.metrics.get_scorer."
        )
    return make_scorer(
        _METRICS[name], response_method=("decision_function", "predict_proba")
    )


def _check_scores(y_true, y_score):
    """Return labels as (n_samples,) bool and scores as (n_samples,) float64."""
    y_true, y_score = np.asarray(y_true), np.asarray(y_score)
    for name, values in (("y_true", y_true), ("y_score", y_score)):
        if values.ndim != 1:
            raise ValueError(
                f"Got {name} of shape {values.shape} but expected (n_samples,). Of "
                "predict_proba's output take column 1."
            )
    if len(y_true) != len(y_score):
        raise ValueError(
            f"Got {len(y_true)} labels and {len(y_score)} scores but expected as many "
            "of one as of the other."
        )

    wrong = [label for label in np.unique(y_true).tolist() if label not in (0, 1)]
    if wrong:
        raise ValueError(
            f"Got the label {wrong[0]!r} in y_true but expected 0 (normal) or 1 "
            "(anomalous). Of names make labels first, say y_true != 'good'."
        )

    y_true = y_true.astype(bool)
    if y_true.all() or not y_true.any():
        counts = f"{len(y_true) - y_true.sum()} normal and {y_true.sum()} anomalous"
        raise ValueError(
            f"Got {counts} images but expected at least one of each: the metric "
            "compares the two classes."
        )

    y_score = y_score.astype(np.float64)
    finite = np.isfinite(y_score)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(
            f"Got y_score[{row}]={y_score[row]} ({np.sum(~finite)} of {len(y_score)} "
            "scores are not finite) but expected numbers. Images that could not be "
            "read score NaN: leave them out, and say how many there were."
        )
    return y_true, y_score
