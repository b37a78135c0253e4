"""Results drawn with matplotlib.

Matplotlib is an extra, imported when something is drawn.
"""

from skclipad.plotting._embeddings import EmbeddingDisplay
from skclipad.plotting._histogram import ScoreHistogramDisplay
from skclipad.plotting._maps import AnomalyMapDisplay
from skclipad.plotting._sweep import PromptSweepDisplay

__all__ = [
    "AnomalyMapDisplay",
    "EmbeddingDisplay",
    "PromptSweepDisplay",
    "ScoreHistogramDisplay",
]
