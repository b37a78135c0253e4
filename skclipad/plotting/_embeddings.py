"""Where prompts, images and sentences lie in the space of CLIP."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skclipad._embedder import checked_embedder, embed_images
from skclipad._image_scores import layers_of
from skclipad._inputs import check_labels
from skclipad._method.prompts import n_blocks, training_block
from skclipad._method.scores import unit
from skclipad.plotting._axes import STATE_COLOURS, figure_and_axes, lay_out, pyplot

MARKERS = {"prompts": ".", "images": "^", "texts": "s"}


class EmbeddingDisplay:
    """Embeddings in the plane, laid out by t-SNE [1]_.

    The paper's Figures 3 and 5: prompts with random words, to which images and
    sentences of yours can be added, as CLIP sees them or as a layer of the network
    does. Make a display with `from_estimator` or `from_predictions`, which draw it as
    well; all parameters are kept as attributes.

    Parameters
    ----------
    positions : array-like of shape (n_points, 2)
        Where the points lie.
    groups : sequence of str of length n_points
        What each of them is. Names such as "normal prompts" or "anomalous images"
        have colours and marks of their own.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after `plot`.
    figure_ : matplotlib.figure.Figure
        The figure, after `plot`.
    points_ : list of matplotlib.collections.PathCollection
        The points of each group, after `plot`.

    Notes
    -----
    t-SNE keeps neighbours together. Distances between clusters and their sizes mean
    little, and images lie apart from texts in CLIP whatever they show.

    References
    ----------
    .. [1] L. van der Maaten and G. Hinton, "Visualizing Data using t-SNE", JMLR 2008.

    Examples
    --------
    >>> from skclipad.plotting import EmbeddingDisplay
    >>> display = EmbeddingDisplay([[0, 1], [1, 0]], ["normal texts", "mine"]).plot()
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['normal texts (1)', 'mine (1)']
    """

    def __init__(self, positions, groups):
        self.positions = positions
        self.groups = groups

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X=None,
        y=None,
        *,
        texts=None,
        text_labels=None,
        n_pairs=200,
        layer=0,
        perplexity=30.0,
        random_state=0,
        ax=None,
        **kwargs,
    ):
        """Lay out the prompts of a fitted detector, and what else is given.

        The prompts are drawn anew, as `fit` draws its own.

        Parameters
        ----------
        estimator : RandomWordCLIPDetector
            A fitted detector.
        X : sequence of images, or array-like of shape (n_samples, C_e), default=None
            Images or embeddings to lay out with the prompts.
        y : array-like of shape (n_samples,), default=None
            1 for anomalous, 0 for normal images; None makes one group of them.
        texts : sequence of str, default=None
            Sentences to lay out with the prompts.
        text_labels : array-like of shape (n_texts,), default=None
            1 for anomalous, 0 for normal sentences; None makes one group of them.
        n_pairs : int, default=200
            Pairs of prompts with random words.
        layer : int, default=0
            0 for CLIP's embeddings, 1, 2 or 3 for what that hidden layer of the
            network makes of them.
        perplexity : float, default=30.0
            How many neighbours count, for t-SNE; less if there are few points.
        random_state : int, default=0
            Seed of the words and of t-SNE.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on; None makes a new figure.
        **kwargs : dict
            Passed to ``Axes.scatter``.

        Returns
        -------
        EmbeddingDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is no such layer, or labels are not as many as what they label.
        """
        check_is_fitted(estimator)
        pyplot()  # before anything slow
        n_layers = len(estimator.coefs_) - 1
        if layer not in range(n_layers + 1):
            raise ValueError(
                f"Got layer={layer!r} but expected 0, CLIP's embeddings, or one of the "
                f"{n_layers} hidden layers."
            )

        embedder = checked_embedder(estimator)
        embeddings = [embedder.encode_text(_prompts(estimator, n_pairs, random_state))]
        groups = ["normal prompts"] * n_pairs + ["anomalous prompts"] * n_pairs
        if X is not None:
            embeddings.append(embed_images(embedder, X))
            groups += _named(y, len(embeddings[-1]), "images")
        if texts is not None:
            embeddings.append(embedder.encode_text(list(texts)))
            groups += _named(text_labels, len(embeddings[-1]), "texts")

        return cls.from_predictions(
            layer_features(estimator, np.concatenate(embeddings))[layer],
            groups,
            perplexity=perplexity,
            random_state=random_state,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        embeddings,
        groups,
        *,
        perplexity=30.0,
        random_state=0,
        ax=None,
        **kwargs,
    ):
        """Lay out embeddings made before.

        They are taken as they are: scale them to unit length first if their lengths
        should not count.

        Parameters
        ----------
        embeddings : array-like of shape (n_points, n_features)
            Embeddings.
        groups : sequence of str of length n_points
            What each of them is.
        perplexity : float, default=30.0
            How many neighbours count, for t-SNE; less if there are few points.
        random_state : int, default=0
            Seed of t-SNE.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on; None makes a new figure.
        **kwargs : dict
            Passed to ``Axes.scatter``.

        Returns
        -------
        EmbeddingDisplay
            The display, drawn.
        """
        pyplot()  # before anything slow
        _check_groups(embeddings, groups)

        positions = lay_out(
            embeddings, init="pca", perplexity=perplexity, random_state=random_state
        )
        return cls(positions, groups).plot(ax=ax, **kwargs)

    def plot(self, *, ax=None, **kwargs):
        """Draw the points.

        Groups are drawn in the order in which they come.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on; None makes a new figure.
        **kwargs : dict
            Passed to ``Axes.scatter``.

        Returns
        -------
        EmbeddingDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there are not as many groups as points.
        """
        positions, groups = np.asarray(self.positions), np.asarray(self.groups)
        _check_groups(positions, groups)
        self.figure_, self.ax_ = figure_and_axes(ax)

        self.points_ = []
        for name in dict.fromkeys(self.groups):
            x, y = positions[groups == name].T
            state, _, kind = name.partition(" ")
            style = {
                "label": f"{name} ({len(x)})",
                "marker": MARKERS.get(kind, "."),
                "s": 18,
            }
            if state in STATE_COLOURS:
                style["color"] = STATE_COLOURS[state]
            self.points_.append(self.ax_.scatter(x, y, **style | kwargs))

        self.ax_.set(xticks=[], yticks=[])  # t-SNE's axes mean nothing
        self.ax_.legend()
        return self


def _prompts(detector, n_pairs, seed):
    """Write prompts as `fit` does: all normal ones, then all anomalous ones."""
    names = ("normal_word", "anomaly_word", "l_min", "l_max")
    words = {name: detector.fit_params_[name] for name in names}
    return write_prompts(n_pairs, seed, **words)


def write_prompts(n_pairs, seed, **words):
    """Write so many pairs of prompts: all normal ones, then all anomalous ones."""
    blocks = [training_block(i, seed=seed, **words) for i in range(n_blocks(n_pairs))]
    normal, anomalous = [], []
    for block in blocks:
        half = len(block) // 2
        normal += block[:half]
        anomalous += block[half:]
    return normal[:n_pairs] + anomalous[:n_pairs]


def layer_features(detector, embeddings):
    """Return embeddings at unit length, then what each hidden layer makes of them."""
    return [unit(embeddings), *layers_of(detector, embeddings)[:-1]]


def _named(labels, n, what):
    if labels is None:
        return [what] * n
    labels = check_labels(labels)
    if labels.shape != (n,):
        raise ValueError(
            f"Got {n} {what} and labels of shape {labels.shape} but expected one label "
            "for each."
        )
    return [f"{'anomalous' if label else 'normal'} {what}" for label in labels]


def _check_groups(points, groups):
    if len(points) != len(groups):
        raise ValueError(
            f"Got {len(points)} points and {len(groups)} groups but expected as many "
            "of one as of the other."
        )
