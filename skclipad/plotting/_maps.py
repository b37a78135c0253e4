"""Images and their anomaly maps, side by side."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skclipad._images.columns import check_lengths
from skclipad._images.reading import read_image
from skclipad._inputs import as_image_list, split_objects
from skclipad.plotting._axes import pyplot

SIDE = 2.2  # inches of an image's side
LEAST_SPAN = 0.1  # of a scale: less is noise, whatever the greatest value


class AnomalyMapDisplay:
    """Images, their anomaly maps and the true masks, side by side.

    Each image is a row. All maps share one scale, so that colours compare across
    images, and one colour bar. Make a display with `from_estimator` or
    `from_predictions`, which draw it as well; all parameters are kept as attributes.

    Parameters
    ----------
    images : sequence of images of length n_images
        Images, as `CLIPImageEmbedder.transform` takes them.
    maps : sequence of array-like of shape (height, width)
        Anomaly map of each image, of its size or any other.
    masks : sequence of array-like of shape (height, width), default=None
        Mask of each image: 1 (or True) where it is damaged.
    scores : array-like of shape (n_images,), default=None
        Anomaly score of each image, to be written beside it.

    Attributes
    ----------
    figure_ : matplotlib.figure.Figure
        The figure, after `plot`.
    axes_ : ndarray of shape (n_images, n_columns)
        Axes of the images, after `plot`: image, map and, if given, mask.
    colorbar_ : matplotlib.colorbar.Colorbar
        The colour bar of all maps, after `plot`.

    See Also
    --------
    RandomWordCLIPDetector.anomaly_map : Makes the maps.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad.plotting import AnomalyMapDisplay
    >>> images = np.random.default_rng(0).random((2, 16, 16, 3))
    >>> display = AnomalyMapDisplay(images, images.mean(axis=3)).plot()
    >>> display.axes_.shape
    (2, 2)
    """

    def __init__(self, images, maps, *, masks=None, scores=None):
        self.images = images
        self.maps = maps
        self.masks = masks
        self.scores = scores

    @classmethod
    def from_estimator(cls, estimator, X, *, masks=None, **kwargs):
        """Draw images with the maps and scores of a fitted detector.

        Each image is looked at twice, for its map and for its score.

        Parameters
        ----------
        estimator : RandomWordCLIPDetector
            A fitted detector.
        X : sequence of images
            Images, or a DataFrame with the columns "image" and "object".
        masks : sequence of array-like of shape (height, width), default=None
            Mask of each image: 1 (or True) where it is damaged.
        **kwargs : dict
            Passed to `plot`: `cmap`, `vmin`, `vmax`.

        Returns
        -------
        AnomalyMapDisplay
            The display, drawn.
        """
        check_is_fitted(estimator)
        pyplot()  # before anything slow

        images, objects = split_objects(X)
        if objects is None and not hasattr(images, "__len__"):
            X = images = list(as_image_list(images))
        scores = estimator.predict_proba(X)[:, 1]
        maps = estimator.anomaly_map(X)
        return cls(images, maps, masks=masks, scores=scores).plot(**kwargs)

    @classmethod
    def from_predictions(cls, images, maps, *, masks=None, scores=None, **kwargs):
        """Draw images with maps made before.

        Whose maps these are does not matter, as long as higher means more anomalous.

        Parameters
        ----------
        images : sequence of images of length n_images
            Images, as `CLIPImageEmbedder.transform` takes them.
        maps : sequence of array-like of shape (height, width)
            Anomaly map of each image, of its size or any other.
        masks : sequence of array-like of shape (height, width), default=None
            Mask of each image: 1 (or True) where it is damaged.
        scores : array-like of shape (n_images,), default=None
            Anomaly score of each image, to be written beside it.
        **kwargs : dict
            Passed to `plot`: `cmap`, `vmin`, `vmax`.

        Returns
        -------
        AnomalyMapDisplay
            The display, drawn.
        """
        return cls(images, maps, masks=masks, scores=scores).plot(**kwargs)

    def plot(self, *, cmap="inferno", vmin=None, vmax=None):
        """Draw all images into a new figure.

        A map covers its whole image, whatever its own size.

        Parameters
        ----------
        cmap : str or matplotlib.colors.Colormap, default="inferno"
            Colours of the maps.
        vmin, vmax : float, default=None
            Ends of the scale that all maps share; None is the least and the greatest
            value of all of them, but no less than 0.1 apart: where maps say nothing,
            their noise is not spread over all colours.

        Returns
        -------
        AnomalyMapDisplay
            This display.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ImageReadError
            If an image cannot be read.
        ValueError
            If there are not as many maps, masks or scores as images.
        """
        plt = pyplot()
        images = list(as_image_list(self.images))
        columns = {"maps": self.maps, "masks": self.masks, "scores": self.scores}
        check_lengths(len(images), columns)
        images = [read_image(item, row) for row, item in enumerate(images)]
        vmin, vmax = self._scale(vmin, vmax)

        titles = ["image", "anomaly map"] + ["mask"] * (self.masks is not None)
        size = (SIDE * len(titles) + 0.8, SIDE * len(images) + 0.4)
        figure, axes = plt.subplots(
            len(images), len(titles), figsize=size, squeeze=False, layout="constrained"
        )
        for row, image in enumerate(images):
            drawn = self._draw_row(
                row, image, axes[row], cmap=cmap, vmin=vmin, vmax=vmax
            )

        for ax, title in zip(axes[0], titles, strict=True):
            ax.set_title(title)
        for ax in axes.flat:
            ax.set(xticks=[], yticks=[])
        self.colorbar_ = figure.colorbar(
            drawn, ax=axes, label="anomaly score", aspect=40
        )
        self.figure_, self.axes_ = figure, axes
        return self

    def _scale(self, *given):
        """Return the ends of the colour scale: those given, or those of the maps."""
        values = np.concatenate([np.ravel(one) for one in self.maps])
        values = values[np.isfinite(values)]  # an image without a map has NaN
        ends = (values.min(), values.max()) if len(values) else (0, 1)
        low, high = (
            float(end if own is None else own)
            for own, end in zip(given, ends, strict=True)
        )
        return low, high if given[1] is not None else max(high, low + LEAST_SPAN)

    def _draw_row(self, row, image, axes, **colours):
        """Draw one image, its map and its mask; return the map as drawn."""
        width, height = image.size
        over_all = {"extent": (0, width, height, 0)}
        axes[0].imshow(image)
        drawn = axes[1].imshow(np.asarray(self.maps[row]), **colours, **over_all)

        if self.masks is not None:
            mask = np.asarray(self.masks[row]) > 0
            axes[2].imshow(mask, cmap="gray", vmin=0, vmax=1, **over_all)
        if self.scores is not None:
            axes[0].set_ylabel(f"score {self.scores[row]:.3f}")
        return drawn
