"""How much the words of a prompt matter."""

import numpy as np
from sklearn.base import clone
from sklearn.metrics import get_scorer

from skclipad._embedder import embed_images, embedder_of
from skclipad._inputs import check_labels
from skclipad.plotting._axes import figure_and_axes, pyplot

MARKERS = "osD^vP"


class PromptSweepDisplay:
    """How well a detector does with other words for normal and anomalous.

    Each pair of words is a row, the best at the top; each way of scoring has a mark in
    it. Rows whose marks lie far apart are words that one way handles and another does
    not. Make a display with `from_estimator` or `from_predictions`, which draw it as
    well; all parameters are kept as attributes.

    Parameters
    ----------
    words : sequence of (str, str)
        Words for normal and for anomalous things.
    values : dict of str to array-like of shape (n_words,)
        What each way of scoring reaches with each pair of words.
    metric : str, default="AUROC"
        What the values are.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after `plot`.
    figure_ : matplotlib.figure.Figure
        The figure, after `plot`.
    lines_ : list of matplotlib.lines.Line2D
        The marks of each way of scoring, after `plot`.

    Notes
    -----
    The paper's word pairs are in its Sec. 4.4.

    Examples
    --------
    >>> from skclipad.plotting import PromptSweepDisplay
    >>> words = [("a", "a damaged"), ("a flawless", "a broken")]
    >>> display = PromptSweepDisplay(words, {"CLIP": [0.7, 0.8]}).plot()
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['a / a damaged', 'a flawless / a broken']
    """

    METHODS = {
        "CLIP": ("prompt",),
        "ours": ("fnn",),
        "CLIP + ours": ("prompt", "fnn"),
    }

    def __init__(self, words, values, *, metric="AUROC"):
        self.words = words
        self.values = values
        self.metric = metric

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, words, scoring="roc_auc", ax=None, **kwargs
    ):
        """Fit a detector with each pair of words and draw what it reaches.

        The detector given is not changed. Images are embedded once for all words.

        Parameters
        ----------
        estimator : RandomWordCLIPDetector
            A detector, fitted or not, without references (``n_shots=0``).
        X : sequence of images, or array-like of shape (n_samples, C_e)
            Images or embeddings.
        y : array-like of shape (n_samples,)
            1 for anomalous, 0 for normal images.
        words : sequence of (str, str)
            Words for normal and for anomalous things.
        scoring : str or callable, default="roc_auc"
            A name of ``sklearn.metrics.get_scorer_names()`` or a scorer.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on; None makes a new figure.
        **kwargs : dict
            Passed to ``Axes.plot``.

        Returns
        -------
        PromptSweepDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the detector has references, or a setting does not fit.
        """
        pyplot()  # before anything slow
        if estimator.n_shots != 0:
            raise ValueError(
                f"Got a detector with n_shots={estimator.n_shots}, whose references do "
                "not depend on words. Set n_shots=0."
            )

        scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
        y = check_labels(y)
        # One view an image: what the words make of it is the same for all crops.
        X = embed_images(embedder_of(estimator), X)

        values = {method: [] for method in cls.METHODS}
        for normal_word, anomaly_word in words:
            detector = (
                clone(estimator)
                .set_params(normal_word=normal_word, anomaly_word=anomaly_word)
                .fit()
            )
            for method, scores in cls.METHODS.items():
                values[method].append(scorer(detector.set_params(scores=scores), X, y))

        metric = scoring if isinstance(scoring, str) else "score"
        metric = {"roc_auc": "AUROC", "average_precision": "AUPR"}.get(metric, metric)
        return cls(list(words), values, metric=metric).plot(ax=ax, **kwargs)

    @classmethod
    def from_predictions(cls, words, values, *, metric="AUROC", ax=None, **kwargs):
        """Draw values computed before.

        They may come from other data, other seeds or other methods.

        Parameters
        ----------
        words : sequence of (str, str)
            Words for normal and for anomalous things.
        values : dict of str to array-like of shape (n_words,)
            What each way of scoring reaches with each pair of words.
        metric : str, default="AUROC"
            What the values are.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on; None makes a new figure.
        **kwargs : dict
            Passed to ``Axes.plot``.

        Returns
        -------
        PromptSweepDisplay
            The display, drawn.
        """
        return cls(words, values, metric=metric).plot(ax=ax, **kwargs)

    def plot(self, *, ax=None, **kwargs):
        """Draw the sweep.

        Pairs of words are sorted by the last way of scoring.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on; None makes a new figure.
        **kwargs : dict
            Passed to ``Axes.plot``.

        Returns
        -------
        PromptSweepDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there are not as many values as pairs of words.
        """
        values = self._checked()
        order = np.argsort(list(values.values())[-1], kind="stable")
        rows = np.arange(len(order))
        self.figure_, self.ax_ = figure_and_axes(
            ax, figsize=(6.4, 1.2 + 0.32 * len(order))
        )

        # A line from the least to the greatest value of each row, and the marks on it
        all_values = np.stack(list(values.values()))[:, order]
        ends = all_values.min(axis=0), all_values.max(axis=0)
        self.ax_.hlines(rows, *ends, color="0.8", zorder=1)
        self.lines_ = []
        for i, (name, column) in enumerate(values.items()):
            options = {"ls": "", "marker": MARKERS[i % len(MARKERS)], "label": name}
            self.lines_ += self.ax_.plot(column[order], rows, **options | kwargs)

        self.ax_.set_yticks(rows, [" / ".join(self.words[i]) for i in order])
        self.ax_.set(xlabel=self.metric, ylim=(-0.6, len(order) - 0.4))
        self.ax_.grid(axis="x", alpha=0.3)
        self.ax_.legend()
        return self

    def _checked(self):
        """Return the values as arrays, if there is one for each pair of words."""
        values = {name: np.asarray(v, dtype=float) for name, v in self.values.items()}
        for name, column in values.items():
            if column.shape != (len(self.words),):
                raise ValueError(
                    f"Got {len(self.words)} pairs of words and values[{name!r}] of "
                    f"shape {column.shape} but expected one value for each pair."
                )
        return values
