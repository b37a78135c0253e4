"""Which scores of a detector are combined, and on what scale."""

from typing import NamedTuple

from skclipad._method.scores import combined_score, standardized_score
from skclipad._references import is_standardized

WORD_SCORES = {"prompt": "s_pr", "fnn": "s_fnn"}
SCORES = {**WORD_SCORES, "reference": "s_img"}

SCALED = ("combine_views", "temperature", "reference_share", "reference_top")
"""Parameters that the scale of scores was measured with."""


class Combination(NamedTuple):
    """How the scores of a fitted detector, or their maps, become one.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._combination import Combination
    >>> Combination(["s_pr", "s_fnn"], None)([np.array([0.25]), np.array([0.75])])
    array([0.5])
    """

    names: list
    scales: dict | None

    @classmethod
    def of(cls, detector):
        """Return what a detector asks for, as its parameters are now.

        A ValueError says that its scale was never measured, or with others.
        """
        names = _names(detector)
        return cls(names, _scales(detector, names))

    def __call__(self, scores):
        """Combine scores, one array for each name."""
        if self.scales is None:
            return combined_score(scores)
        return standardized_score(
            dict(zip(self.names, scores, strict=True)), self.scales
        )


def check_scores(scores, has_references):
    """Refuse what cannot be combined.

    Parameters
    ----------
    scores : object
        The parameter of the detector.
    has_references : bool
        Whether images are compared with any.

    Raises
    ------
    ValueError
        If it names no score, or that of references where there are none.
    """
    if isinstance(scores, str) and scores == "auto":
        return
    unknown = [score for score in scores if score not in SCORES]
    if unknown or len(scores) == 0 or isinstance(scores, str):
        raise ValueError(
            f"Got scores={scores!r} but expected 'auto' or a sequence of one or more "
            f"of {list(SCORES)}, such as ('prompt', 'fnn')."
        )
    if "reference" in scores and not has_references:
        raise ValueError(
            f"Got scores={scores!r}, but there are no references to compare with. Fit "
            "with images and n_shots, or leave 'reference' out."
        )


def check_scale(n_shots, n_references):
    """Refuse to put scores on the scale of a single reference."""
    if n_references < 2:
        raise ValueError(
            f"Got combine='standardized' with n_shots={n_shots!r}, but the spread of "
            f"scores over {n_references} references is unknown. Fit with two at least, "
            "or set combine='sum'."
        )


def _names(detector):
    """Return the names of the components that are combined."""
    if not isinstance(detector.scores, str):
        return [SCORES[name] for name in detector.scores]
    of_references = ["s_img"] if detector.references_ else []
    return [*WORD_SCORES.values(), *of_references]


def _scales(detector, names):
    """Return the scale of each component; None where their mean is taken."""
    n_references = len(detector.reference_rows_) if detector.references_ else 0
    if not is_standardized(detector, n_references):
        return None
    if detector.reference_scales_ is None:
        raise ValueError(
            f"Got combine={detector.combine!r}, but the scale of scores is measured by "
            "fit. Call fit again, or set combine='sum'."
        )
    for name in SCALED:
        if getattr(detector, name) != detector.fit_params_[name]:
            raise ValueError(
                f"Got {name}={getattr(detector, name)!r}, but the scale of scores was "
                f"measured with {detector.fit_params_[name]!r}. Set it back, call fit "
                "again, or set combine='sum'."
            )
    return {name: detector.reference_scales_[name] for name in names}
