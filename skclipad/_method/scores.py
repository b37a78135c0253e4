"""The paper's equations in plain numpy: unit vectors in, scores in [0, 1] out."""

import numpy as np
from scipy.special import expit


def unit(embeddings):
    """Scale embeddings to unit length.

    Parameters
    ----------
    embeddings : ndarray of shape (..., C_e)
        Raw embeddings ``e``.

    Returns
    -------
    ndarray of shape (..., C_e)
        ``e / |e|``; a zero vector stays zero.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._method.scores import unit
    >>> unit(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]])
    """
    norms = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return embeddings / np.where(norms == 0, 1, norms)


def prototype(embeddings, *, normalize=True):
    """Average the text embeddings of a prompt ensemble.

    Parameters
    ----------
    embeddings : ndarray of shape (n_prompts, C_e)
        Text embeddings of one class.
    normalize : bool, default=True
        Average unit vectors (WinCLIP's way); if False the raw embeddings.

    Returns
    -------
    ndarray of shape (C_e,)
        Mean embedding, scaled to unit length.
    """
    return unit(np.mean(unit(embeddings) if normalize else embeddings, axis=0))


def prompt_score(images, normal, anomaly, temperature):
    """Score images against a normal and an anomalous text embedding.

    Parameters
    ----------
    images : ndarray of shape (n_samples, C_e)
        Image embeddings, of any length.
    normal, anomaly : ndarray of shape (C_e,) or (n_samples, C_e)
        Text embeddings, of any length.
    temperature : float
        ``T`` of the softmax.

    Returns
    -------
    ndarray of shape (n_samples,)
        Softmax over the two cosines, the paper's ``s_pr`` (Sec. 3.1)::

            exp(e_a . e_i / T) / (exp(e_n . e_i / T) + exp(e_a . e_i / T))

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._method.scores import prompt_score
    >>> normal, anomaly = np.eye(2)
    >>> prompt_score(np.array([[1.0, 1.0], [0.0, 2.0]]), normal, anomaly, 1.0).round(3)
    array([0.5  , 0.731])
    """
    # A softmax over two classes is the sigmoid of their difference.
    margin = np.sum(unit(images) * (unit(anomaly) - unit(normal)), axis=-1)
    return expit(margin / temperature)


def network_score(logits):
    """Turn the network's outputs into scores.

    Parameters
    ----------
    logits : ndarray of shape (n_samples,)
        Outputs ``f(e_i)`` of the feed-forward network.

    Returns
    -------
    ndarray of shape (n_samples,)
        ``s_FNN = sigmoid(f(e_i))`` (Sec. 3.3).
    """
    return expit(logits)


def combined_score(components):
    """Combine score components into one.

    Parameters
    ----------
    components : sequence of ndarray of shape (n_samples,)
        Scores in [0, 1].

    Returns
    -------
    ndarray of shape (n_samples,)
        Their mean. The paper adds them (Sec. 4.2); the mean ranks alike and stays
        in [0, 1].
    """
    return np.mean(np.stack(components), axis=0)


def combine_views(scores, n_views, how):
    """Put the scores of an image's views together.

    Parameters
    ----------
    scores : ndarray of shape (n_all_views,)
        Scores of the views of all images, one image after the other.
    n_views : sequence of int
        How many views each image has, at least 1.
    how : {"mean", "max"}
        Their mean, or the highest.

    Returns
    -------
    ndarray of shape (n_images,)
        One score an image; NaN if a view's is.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._method.scores import combine_views
    >>> combine_views(np.array([0.1, 0.3, 0.5]), [2, 1], "mean")
    array([0.2, 0.5])
    """
    starts = np.cumsum([0, *n_views[:-1]])
    if how == "max":
        return np.maximum.reduceat(scores, starts)
    return np.add.reduceat(scores, starts) / np.asarray(n_views, dtype=scores.dtype)
