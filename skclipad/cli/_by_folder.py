"""Several kinds of things in one run: a detector of detectors, one for each folder."""

import numpy as np

from skclipad._detector import RandomWordCLIPDetector
from skclipad.cli._kinds import kind_of


class DetectorOfFolders(RandomWordCLIPDetector):
    """Detectors of the same words, each with the references of its kind of thing.

    It stands for a fitted detector wherever images are scored; `of` makes it.
    """

    @classmethod
    def of(cls, detectors, roots):
        """Put fitted detectors together.

        Parameters
        ----------
        detectors : dict of str to RandomWordCLIPDetector
            A detector with references by the name of each kind. They differ in their
            references alone.
        roots : list of str
            Folders whose sub-folders have these names; see `kind_of`.

        Returns
        -------
        DetectorOfFolders
            The detector of all.
        """
        first, *others = detectors.values()
        for other in others:
            other.set_params(embedder=first.embedder)

        self = cls(**first.get_params(deep=False))
        vars(self).update(vars(first))
        self.detectors_, self.roots_ = detectors, roots
        self.references_ = {
            f"{kind}/{name}": array
            for kind, one in detectors.items()
            for name, array in one.references_.items()
        }
        self.reference_rows_ = np.concatenate(
            [one.reference_rows_ for one in detectors.values()]
        )
        self.n_references_offered_ = sum(
            one.n_references_offered_ for one in detectors.values()
        )
        self.reference_scales_ = {
            f"{kind}/{name}": scale
            for kind, one in detectors.items()
            for name, scale in (one.reference_scales_ or {}).items()
        } or None
        self.fit_time_ = sum(one.fit_time_ for one in detectors.values())
        return self

    def set_params(self, **params):
        """Set parameters of all detectors."""
        for detector in vars(self).get("detectors_", {}).values():
            detector.set_params(**params)
        return super().set_params(**params)

    def score_components(self, X):
        """Score each image by the detector of its kind."""
        scores = {}
        for detector, rows in self._detectors_of(X):
            components = detector.score_components([X[row] for row in rows])
            combined = detector.combine_components(components)
            for name, values in {**components, "": combined}.items():
                scores.setdefault(name, np.full(len(X), np.nan))[rows] = values
        return _Scores(scores, scores.pop(""))

    def combine_components(self, components):
        """Return what the detectors combined, each on the scale of its references."""
        return components.combined

    def anomaly_map(self, X, size=None):
        """Make the map of each image by the detector of its kind."""
        maps = [None] * len(X)
        for detector, rows in self._detectors_of(X):
            made = detector.anomaly_map([X[row] for row in rows], size)
            for row, one in zip(rows, made, strict=True):
                maps[row] = one
        return maps

    def _detectors_of(self, X):
        """Return pairs of a detector and the rows of the images that it is for."""
        # What is no path, such as the empty image that a run begins with, is of any.
        kinds = [
            kind_of(item, self.roots_) if isinstance(item, str) else None for item in X
        ]
        first = next(iter(self.detectors_))
        return [
            (
                self.detectors_[first if kind is None else kind],
                [row for row, own in enumerate(kinds) if own == kind],
            )
            for kind in dict.fromkeys(kinds)
        ]


class _Scores(dict):
    """Components of images of several kinds, and the combined score of each image."""

    def __init__(self, components, combined):
        super().__init__(components)
        self.combined = combined
