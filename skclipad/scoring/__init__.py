"""Scores of many images: rows, tables, runs that can be resumed, clusters."""

from skclipad.scoring._distributed import score_distributed

__all__ = ["score_distributed"]
