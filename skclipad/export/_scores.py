"""The equations of `skclipad._method.scores` in torch: from embeddings to scores.

Scores of words go as logarithms of their odds: these, not scores near 1, keep their
digits in single precision.
"""

import torch
from scipy.special import logit
from torch import nn

from skclipad._combination import SCORES
from skclipad._method.scores import (
    MANY_SPREADS,
    MOST_OF_WORDS,
    TINY,
    WORDS_WEIGH,
    unit,
)
from skclipad._references import is_standardized
from skclipad.export._tensors import keep, unit_length

LARGEST_ODDS = float(logit(1 - TINY))  # logarithms; beyond them scores count as these


class WordScores(nn.Module):
    """Odds of embeddings, (..., C_e), by prompts and network, as logarithms."""

    def __init__(self, detector):
        super().__init__()
        normal, anomaly = unit(detector.prompt_embeddings_)
        keep(self, "direction", (anomaly - normal) / detector.temperature)

        self.normalize = detector.fit_params_["normalize"]
        self.n_layers = len(detector.coefs_)
        for i in range(self.n_layers):
            keep(self, f"coef_{i}", detector.coefs_[i])
            keep(self, f"intercept_{i}", detector.intercepts_[i])

    def forward(self, embeddings):
        """Return the odds of each method, by the name of its score."""
        seen = unit_length(embeddings)
        logits = self._logits(seen if self.normalize else embeddings)
        odds = {"s_pr": seen @ self.direction, "s_fnn": logits}
        return {
            name: one.clamp(-LARGEST_ODDS, LARGEST_ODDS) for name, one in odds.items()
        }

    def _logits(self, x):
        for i in range(self.n_layers):
            x = x @ getattr(self, f"coef_{i}") + getattr(self, f"intercept_{i}")
            if i < self.n_layers - 1:
                x = torch.relu(x)
        return x[..., 0]


class Combination:
    """How the scores of a detector, or its maps, become one."""

    def __init__(self, detector):
        references = detector.references_
        everything = ["prompt", "fnn", *(["reference"] if references else [])]
        chosen = everything if isinstance(detector.scores, str) else detector.scores
        self.names = [SCORES[name] for name in chosen]

        n_references = len(detector.reference_rows_) if references else 0
        standardized = is_standardized(detector, n_references)
        self.scales = detector.reference_scales_ if standardized else None

    def __call__(self, measured, scores):
        """Return the standardized `measured`, or where there is no scale the mean."""
        if self.scales is None:
            return torch.stack([scores[name] for name in self.names]).mean(dim=0)
        chosen = {name: measured[name] for name in self.names}
        return _standardized(chosen, self.scales)


def _standardized(measured, scales):
    """As `skclipad._method.scores.standardized_score`, of what that has measured."""
    z = {
        name: (values - scales[name][0]) / scales[name][1]
        for name, values in measured.items()
    }
    total = z.pop("s_img", None)
    words = torch.stack([*z.values()]).mean(dim=0) if z else 0
    if total is None:
        total = words
    elif z:
        total = total + WORDS_WEIGH * words.clamp(0, MOST_OF_WORDS)

    over = total - MANY_SPREADS
    return (1 + over / (1 + over.abs())) / 2


def odds_of(scores):
    """Return the logarithms of the odds that scores stand for."""
    scores = scores.clamp(TINY, 1 - TINY)
    return torch.log(scores) - torch.log(1 - scores)
