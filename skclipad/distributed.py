"""Scores of any number of images, on a cluster of Dask.

It is written in `skclipad.scoring`.
"""

from skclipad.scoring import score_distributed

__all__ = ["score_distributed"]
