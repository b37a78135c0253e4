"""How well scores tell anomalous pictures from normal ones.

The field's conventions: 1 means anomalous and is the positive class, a higher score
means more anomalous. All three figures are computed over images, and tied scores are
never split: pictures that score alike are called alike.
"""

import numpy as np
from sklearn.metrics import (
    auc,
    average_precision_score,
    make_scorer,
    precision_recall_curve,
    roc_auc_score,
)

__all__ = ["auroc", "aupr", "f1_max", "get_scorer"]


def auroc(y_true, y_score):
    """Area under the receiver operating characteristic.

    It is the chance that a random anomalous picture scores above a random normal one,
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

    See Also
    --------
    aupr : Area under the precision-recall curve.
    f1_max : Largest F1 over all thresholds.

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
        The area, from 0 to 1; guessing gives the share of anomalous pictures.

    Raises
    ------
    ValueError
        If ``method`` is neither of the two, the lengths differ, a label is neither 0
        nor 1, only one class occurs, or a score is not finite.

    See Also
    --------
    auroc : Area under the receiver operating characteristic.
    f1_max : Largest F1 over all thresholds.

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
    reports. It is no promise for new pictures: their threshold is not known before.

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
        Only if asked for: ``y_score > threshold`` has that F1. It lies half-way between
        two scores that occur, or just below the lowest one. Where several thresholds
        are best, it is the highest, which raises the fewest alarms.

    Raises
    ------
    ValueError
        If the lengths differ, a label is neither 0 nor 1, only one class occurs, or a
        score is not finite.

    See Also
    --------
    auroc : Area under the receiver operating characteristic.
    aupr : Area under the precision-recall curve.
    get_scorer : The same as a scorer for model selection.

    Examples
    --------
    >>> from skclipad.metrics import f1_max
    >>> f1_max([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.8
    >>> f1_max([0, 0, 1, 1], [0.1, 0.25, 0.75, 0.8], return_threshold=True)
    (1.0, 0.5)
    """
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
    upper = score[last[best]]
    if last[best] + 1 == len(score):
        return float(f1[best]), float(np.nextafter(upper, -np.inf))
    lower = score[last[best] + 1]
    middle = lower + (upper - lower) / 2
    # Between neighbouring floats the middle may round up to the score it must let pass.
    return float(f1[best]), float(middle if middle < upper else lower)


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

    See Also
    --------
    sklearn.metrics.get_scorer : The same for scikit-learn's own metrics.
    sklearn.metrics.make_scorer : Makes a scorer of any function.

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
            f"Got {counts} pictures but expected at least one of each: the metric "
            "compares the two classes."
        )
    y_score = y_score.astype(np.float64)
    finite = np.isfinite(y_score)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(
            f"Got y_score[{row}]={y_score[row]} ({np.sum(~finite)} of {len(y_score)} "
            "scores are not finite) but expected numbers. Pictures that could not be "
            "read score NaN: leave them out, and say how many there were."
        )
    return y_true, y_score
