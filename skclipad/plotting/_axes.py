"""Where displays are drawn."""

# Orange and blue stay apart for colour-blind readers.
NORMAL, ANOMALOUS = "#0072b2", "#d55e00"


def pyplot():
    """Import matplotlib's pyplot.

    Returns
    -------
    module
        ``matplotlib.pyplot``.

    Raises
    ------
    ImportError
        If matplotlib is not installed; the message says what to install.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as e:
        raise ImportError(
            "matplotlib could not be imported, but drawing needs it. Install it with "
            f"`pip install 'skclipad[plot]'`. The reason was: {e}"
        ) from e
    return plt


def figure_and_axes(ax, **options):
    """Return axes to draw on, and their figure.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
        Axes to draw on; None makes a new figure.
    **options : dict
        Passed to ``matplotlib.pyplot.subplots`` for a new figure.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    ax : matplotlib.axes.Axes
        The axes.
    """
    plt = pyplot()
    if ax is None:
        return plt.subplots(layout="constrained", **options)
    return ax.figure, ax
