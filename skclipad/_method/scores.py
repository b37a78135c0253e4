"""The paper's equations in plain numpy: unit vectors in, scores in [0, 1] out."""

import numpy as np
from scipy.special import expit


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


def combined_score(components):
    """Return the mean of score components.

    The paper adds them (Sec. 4.2); the mean ranks alike and stays in [0, 1].
    """
    return np.mean(np.stack(components), axis=0)


def combine_views(scores, n_views, how):
    """Return one score an image: the mean or the maximum ("max") of its views'.

    Scores of the views lie one image after the other, `n_views` of each, at least 1.
    Where a view has NaN, so has the image.
    """
    starts = np.cumsum([0, *n_views[:-1]])
    if how == "max":
        return np.maximum.reduceat(scores, starts)
    return np.add.reduceat(scores, starts) / np.asarray(n_views, dtype=scores.dtype)
