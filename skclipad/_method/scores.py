"""The paper's equations in plain numpy: unit vectors in, scores in [0, 1] out."""

import numpy as np
from scipy.special import expit, logit

TINY = 1e-12  # from 0 and 1, where the odds would be infinite
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

WORDS_WEIGH = 0.5
"""What a spread of the word scores counts beside one of the references' score."""

MOST_OF_WORDS = 2
"""Spreads of the word scores beyond which more of them count no more."""


def combined_score(components):
    """Return the mean of score components.

    The paper adds them (Sec. 4.2); the mean ranks alike and stays in [0, 1].
    """
    return np.mean(np.stack(components), axis=0)


def standardized_score(components, scales):
    """Return how unusual scores are among those of references, in [0, 1].

    Each component is ``z = (score - median) / spread``, with the `scales` of `scale`;
    of the word scores, which crowd near 0 and 1, it is their logarithm of the odds that
    is measured, and ``z_words`` is their mean. With ``s_img`` the sum is ::

        z = z_img + WORDS_WEIGH * min(max(z_words, 0), MOST_OF_WORDS)

    so that words may raise an alarm, a little, but never hide what the references
    show. The result rises with ``z``: 0.5 at `MANY_SPREADS`, never so near 1 that two
    are alike.

    Parameters
    ----------
    components : dict of str to ndarray
        Scores by name.
    scales : dict of str to (float, float)
        Median and spread of each of them at least.

    Returns
    -------
    ndarray
        Of the shape of the components.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._method.scores import standardized_score
    >>> scores = {"s_img": np.array([0.2, 0.5, 0.2]), "s_fnn": np.array([0.5, 0.5, 1])}
    >>> standardized_score(scores, {"s_img": (0.2, 0.1), "s_fnn": (0, 1)}).round(3)
    array([0.125, 0.5  , 0.167])
    """
    z = {
        name: (measured(name, scores) - scales[name][0]) / scales[name][1]
        for name, scores in components.items()
    }
    of_references = z.pop("s_img", None)
    if of_references is None:
        total = np.mean(list(z.values()), axis=0)
    elif z:
        of_words = np.mean(list(z.values()), axis=0)
        total = of_references + WORDS_WEIGH * np.clip(of_words, 0, MOST_OF_WORDS)
    else:
        total = of_references
    over = total - MANY_SPREADS
    return (1 + over / (1 + np.abs(over))) / 2


def measured(name, scores):
    """Return what of a component is put on a scale: see `standardized_score`.

    Parameters
    ----------
    name : str
        Of the component.
    scores : array-like
        Its scores.

    Returns
    -------
    ndarray, dtype float64
        As many numbers.
    """
    scores = np.asarray(scores, np.float64)
    if name == "s_img":
        return scores
    return logit(np.clip(scores, TINY, 1 - TINY))


def scale(name, scores):
    """Return median and spread of scores: the interquartile range as a deviation.

    Where half of all scores and more are alike, the spread is the standard deviation,
    and where all are, it is 1.

    Examples
    --------
    >>> from skclipad._method.scores import scale
    >>> middle, spread = scale("s_img", [0.0, 1.0, 2.0, 3.0, 100.0])
    >>> middle, round(spread, 3)
    (2.0, 1.483)
    """
    values = measured(name, scores)
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    spread = (high - low) / IQR or np.std(values)
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
