"""What displays and figures are drawn with."""

import numpy as np
from sklearn.manifold import TSNE

from skclipad._images.colours import ANOMALOUS, NORMAL
from skclipad._optional import import_optional

STATE_COLOURS = {"normal": NORMAL, "anomalous": ANOMALOUS}


def pyplot(extra="plot"):
    """Import ``matplotlib.pyplot``, which the extra named brings."""
    return import_optional("matplotlib.pyplot", extra)


def figure_and_axes(ax, **options):
    """Return axes and their figure: those given, or new ones with these options."""
    if ax is None:
        return pyplot().subplots(layout="constrained", **options)
    return ax.figure, ax


def lay_out(embeddings, *, init, perplexity=30.0, random_state=0):
    """Lay points out by t-SNE, of shape (n_points, 2); few have fewer neighbours."""
    perplexity = min(perplexity, (len(embeddings) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init=init, random_state=random_state)
    # A frame, where scikit-learn is set to pandas or polars output.
    return np.asarray(tsne.fit_transform(embeddings))
