"""How scores are spread, and where the threshold cuts."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skclipad.plotting._axes import STATE_COLOURS, figure_and_axes, pyplot


class ScoreHistogramDisplay:
    """Histogram of anomaly scores, with the threshold.

    With labels, normal and anomalous images have bars of their own; how far these
    overlap is what no threshold can mend. Make a display with `from_estimator` or
    `from_predictions`, which draw it as well; all parameters are kept as attributes.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Anomaly scores in [0, 1]; NaN is left out.
    y : array-like of shape (n_samples,), default=None
        1 for anomalous, 0 for normal images.
    threshold : float, default=None
        Score above which an image is called anomalous; None draws none.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        The axes, after `plot`.
    figure_ : matplotlib.figure.Figure
        The figure, after `plot`.
    bars_ : list of matplotlib.container.BarContainer
        The bars, after `plot`: all, or normal and anomalous.
    line_ : matplotlib.lines.Line2D or None
        The threshold, after `plot`.

    Examples
    --------
    >>> from skclipad.plotting import ScoreHistogramDisplay
    >>> display = ScoreHistogramDisplay([0.1, 0.2, 0.9], [0, 0, 1], threshold=0.5)
    >>> len(display.plot().bars_)
    2
    """

    def __init__(self, scores, y=None, *, threshold=None):
        self.scores = scores
        self.y = y
        self.threshold = threshold

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, ax=None, bins=40, **kwargs):
        """Draw the scores that a fitted detector gives.

        The threshold is the detector's, if it has one.

        Parameters
        ----------
        estimator : classifier
            A fitted detector, or any classifier with `predict_proba`, a Pipeline say.
        X : sequence of images, or array-like of shape (n_samples, C_e)
            Images or embeddings.
        y : array-like of shape (n_samples,), default=None
            1 for anomalous, 0 for normal images.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on; None makes a new figure.
        bins : int, default=40
            Number of bars between 0 and 1.
        **kwargs : dict
            Passed to ``Axes.hist``.

        Returns
        -------
        ScoreHistogramDisplay
            The display, drawn.
        """
        check_is_fitted(estimator)
        pyplot()  # before anything slow

        scores = estimator.predict_proba(X)[:, 1]
        threshold = getattr(estimator, "threshold", None)
        return cls(scores, y, threshold=threshold).plot(ax=ax, bins=bins, **kwargs)

    @classmethod
    def from_predictions(
        cls, scores, y=None, *, threshold=None, ax=None, bins=40, **kwargs
    ):
        """Draw scores made before.

        Whose scores these are does not matter, as long as higher means more anomalous.

        Parameters
        ----------
        scores : array-like of shape (n_samples,)
            Anomaly scores in [0, 1].
        y : array-like of shape (n_samples,), default=None
            1 for anomalous, 0 for normal images.
        threshold : float, default=None
            Score above which an image is called anomalous; None draws none.
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on; None makes a new figure.
        bins : int, default=40
            Number of bars between 0 and 1.
        **kwargs : dict
            Passed to ``Axes.hist``.

        Returns
        -------
        ScoreHistogramDisplay
            The display, drawn.
        """
        return cls(scores, y, threshold=threshold).plot(ax=ax, bins=bins, **kwargs)

    def plot(self, *, ax=None, bins=40, **kwargs):
        """Draw the histogram.

        Bars of normal and anomalous images lie over each other, half transparent.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Axes to draw on; None makes a new figure.
        bins : int, default=40
            Number of bars between 0 and 1.
        **kwargs : dict
            Passed to ``Axes.hist``.

        Returns
        -------
        ScoreHistogramDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there are not as many labels as scores.
        """
        groups = self._groups()
        self.figure_, self.ax_ = figure_and_axes(ax)

        self.bars_ = []
        for name, values in groups.items():
            label = None if name is None else f"{name} ({len(values)})"
            colour = STATE_COLOURS.get(name, "0.45")
            options = {"color": colour, "alpha": 0.6, "label": label, **kwargs}
            values = values[~np.isnan(values)]
            *_, bars = self.ax_.hist(values, np.linspace(0, 1, bins + 1), **options)
            self.bars_.append(bars)

        self.line_ = None
        if self.threshold is not None:
            label = f"threshold {self.threshold:g}"
            self.line_ = self.ax_.axvline(
                self.threshold, color="0.1", ls="--", label=label
            )

        if self.ax_.get_legend_handles_labels()[1]:
            self.ax_.legend()
        self.ax_.set(xlim=(0, 1), xlabel="anomaly score", ylabel="images")
        return self

    def _groups(self):
        """Return scores by state, or all under None where there are no labels."""
        scores = np.asarray(self.scores, dtype=float)
        if self.y is None:
            return {None: scores}

        y = np.asarray(self.y)
        if y.shape != scores.shape:
            raise ValueError(
                f"Got {len(scores)} scores and y of shape {y.shape} but expected one "
                "label for each score."
            )
        return {"normal": scores[y == 0], "anomalous": scores[y == 1]}
