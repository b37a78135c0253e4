"""Batches of pairs, and captions that are true of them."""

import captions
import numpy as np
import torch
from train_tiny import Claims

HELD_OUT = 0.1  # share of photographs that training never sees, to watch it by
# How often a pair of each kind is drawn, in proportion.
SHARES = {"struck": 0.3, "painted": 0.6, "labelled": 0.1}
# Sets without good photos teach that all their things are damaged: seldom drawn.
LOPSIDED, LOPSIDED_WEIGHT = ("fabric", "tile", "concrete"), 0.1


class Sampler:
    """Draws pairs of all pools, some kinds more often than others.

    Parameters
    ----------
    pools : list of photographs.Pairs
        What to draw from.
    seed : int
        Seed of the draws.

    Attributes
    ----------
    held : list of ndarray
        Rows of each pool that are never drawn.
    """

    def __init__(self, pools, seed):
        self.pools, self.rng = pools, np.random.default_rng((seed, 7))
        self.rows, self.held, self.weights, self.shares = [], [], [], []
        kinds = [pool.name.split()[0] for pool in pools]
        for pool, kind in zip(pools, kinds, strict=True):
            # The same rows of every turn: no struck photo is of one held out.
            is_held = np.random.default_rng(0).random(len(pool)) < HELD_OUT
            self.held.append(np.flatnonzero(is_held))
            self.rows.append(np.flatnonzero(~is_held))
            weights = balanced(pool.category[~is_held, 1])
            self.weights.append(weights / weights.sum())
            self.shares.append(SHARES[kind] / kinds.count(kind))

    def __call__(self, size):
        """Draw pairs: list of (pool, rows)."""
        counts = self.rng.multinomial(size, self.shares)
        drawn = (
            (pool, self.rng.choice(rows, n, p=weights))
            for pool, rows, weights, n in zip(
                self.pools, self.rows, self.weights, counts, strict=True
            )
        )
        return [(pool, rows) for pool, rows in drawn if len(rows)]


def balanced(categories):
    """Weigh rows so that a category counts by the root of its number of rows."""
    names, rows, counts = np.unique(categories, return_inverse=True, return_counts=True)
    lopsided = np.where(np.isin(names, LOPSIDED), LOPSIDED_WEIGHT, 1.0)
    return (lopsided / np.sqrt(counts))[rows]


def draw_captions(drawn, rng, code):
    """Draw a caption that calls the thing whole and its twin for each pair.

    Parameters
    ----------
    drawn : list of (photographs.Pairs, ndarray)
        Pairs of a batch.
    rng : random.Random
        Source of randomness.
    code : callable
        Number of a category, colour or defect.

    Returns
    -------
    texts : list of lists of str
        Whole captions, then their twins.
    claims : Claims
    facts : tuple of torch.Tensor of shape (2 * n_pairs,)
        Category, colour and defect of whole, then of damaged images.
    """
    category = np.concatenate([pool.category[rows] for pool, rows in drawn])
    defect = np.concatenate([pool.defect[rows] for pool, rows in drawn])
    color = np.concatenate([pool.color[rows] for pool, rows in drawn])
    color = np.where(color == "none", None, color)
    frames, states = [], ([], [])
    for (_, name), kind, shade in zip(category, defect, color, strict=True):
        n_strays = rng.randint(1, 8) if rng.random() < 0.36 else 0
        strays = [captions.stray_token(rng) for _ in range(n_strays)]
        frames.append(captions.draw_frame(rng, name, shade, strays))
        states[0].append(captions.draw_state(rng, False))
        known = kind if kind in captions.DEFECT_WORDS else None
        states[1].append(captions.draw_state(rng, True, known))
    states = states[0] + states[1]
    texts = [
        captions.write(frame, state)
        for frame, state in zip(frames * 2, states, strict=True)
    ]
    numbers = [[code(name) for name in names] for names in (*category.T, color, defect)]
    whole, damaged, color, defect = map(torch.tensor, numbers)
    none = torch.full_like(defect, code("none"))
    facts = torch.cat([whole, damaged]), color.repeat(2), torch.cat([none, defect])
    return texts, Claims(frames, states, code), facts


class Codes:
    """Numbers of all names; -1 of None and of what no caption can name.

    Parameters
    ----------
    pools : list of photographs.Pairs
        Where the names are from.
    """

    def __init__(self, pools):
        names = {str(name) for pool in pools for name in pool.category.ravel()}
        names |= {str(name) for pool in pools for name in pool.color}
        names |= {*captions.DEFECT_WORDS, "none"}
        self.numbers = {name: i for i, name in enumerate(sorted(names))}

    def __call__(self, name):
        return -1 if name is None else self.numbers.get(str(name), -2)
