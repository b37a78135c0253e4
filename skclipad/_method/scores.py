"""The paper's equations in plain numpy: unit vectors in, scores in [0, 1] out."""

import numpy as np
from scipy.special import expit

IQR = 1.3489795003921634  # between the quartiles of a normal distribution


def unit(embeddings):
    """Return ``e / |e|``, along the last axis; a zero vector stays zero."""
    norms = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return embeddings / np.where(norms == 0, 1, norms)


def prototype(embeddings, *, normalize=True):
    """Average the text embeddings of a prompt ensemble, to unit length.

    With `normalize` it is the mean of unit vectors (WinCLIP's way), else of raw ones.
    """
    return unit(np.mean(unit(embeddings) if normalize else embeddings, axis=0))


def prompt_score(images, normal, anomaly, temperature):
    """Return the softmax over two cosines, the paper's ``s_pr`` (Sec. 3.1)::

        exp(e_a . e_i / T) / (exp(e_n . e_i / T) + exp(e_a . e_i / T))

    `normal` and `anomaly` are text embeddings of shape (C_e,) or (n_samples, C_e), of
    any length, as those of `images` are.
    """
    # A softmax over two classes is the sigmoid of their difference.
    margin = np.sum(unit(images) * (unit(anomaly) - unit(normal)), axis=-1)
    return expit(margin / temperature)


def network_score(logits):
    """Return ``s_FNN = sigmoid(f(e_i))`` (Sec. 3.3) of the network's outputs."""
    return expit(logits)


MANY_SPREADS = 3
"""Spreads above the references' median where a standardized score reaches 0.5. Our
choice, as three standard deviations are many."""


def combined_score(components, scales=None):
    """Return the mean of score components, or how unusual the most unusual one is.

    The paper adds components (Sec. 4.2); the mean ranks alike and stays in [0, 1].
    With the `scales` of `scale`, one a component, each becomes
    ``z = (score - median) / spread``, and the highest of these one number in [0, 1]
    that rises with it: 0.5 at `MANY_SPREADS`, never so near 1 that two are alike.

    Examples
    --------
    >>> from skclipad._method.scores import combined_score
    >>> combined_score([[0.2, 0.4], [0.6, 0.6]]).round(3)
    array([0.4, 0.5])
    >>> combined_score([[0.2, 0.5]], [(0.2, 0.1)]).round(3)
    array([0.125, 0.5  ])
    """
    components = np.stack(components)
    if scales is None:
        return np.mean(components, axis=0)

    pairs = zip(components.astype(np.float64), scales, strict=True)
    over = np.max([(c - middle) / spread for c, (middle, spread) in pairs], axis=0)
    over -= MANY_SPREADS
    return (1 + over / (1 + np.abs(over))) / 2


def scale(scores):
    """Return median and spread of scores: the interquartile range as a deviation.

    Of half of all scores and more that are alike the spread is the standard
    deviation, and of scores that are all alike it is 1.

    Examples
    --------
    >>> from skclipad._method.scores import scale
    >>> middle, spread = scale([0.0, 1.0, 2.0, 3.0, 100.0])
    >>> middle, round(spread, 3)
    (2.0, 1.483)
    """
    low, middle, high = np.quantile(np.asarray(scores, np.float64), (0.25, 0.5, 0.75))
    spread = (high - low) / IQR or np.std(scores)
    return float(middle), float(spread) or 1.0


def combine_views(scores, n_views, how):
    """Return one score an image: the mean or the maximum ("max") of its views'.

    Scores of the views lie one image after the other, `n_views` of each, at least 1.
    Where a view has NaN, so has the image.
    """
    starts = np.cumsum([0, *n_views[:-1]])
    if how == "max":
        return np.maximum.reduceat(scores, starts)
    return np.add.reduceat(scores, starts) / np.asarray(n_views, dtype=scores.dtype)
