"""The map from features of images to the embeddings of captions that are true of them.

Ridge regression in closed form. A trained map of the same size fits the photographs at
hand better and others worse: what damage has in common from one kind of thing to the
next is little more than the mean difference of damaged and whole, which is what a
strong ridge leaves.
"""

import random

import numpy as np
import photographs
import torch
from photo_batches import SHARES, Codes, draw_captions
from train_tiny import embed_texts

RIDGE = 300  # on features of deviation 1
CAPTIONS = 2  # drawn of each image
BATCH = 32


class Features:
    """Pooled features of an image tower, stored once for each array of images.

    Parameters
    ----------
    run : callable
        Turns images (n, SIZE, SIZE, 3), uint8, into features (n, width).
    folder : Path
        Where the features are kept.
    """

    def __init__(self, run, folder):
        self.run, self.folder = run, folder

    def of_pairs(self, pool):
        """Return features of whole, then of damaged images: (2 * n, width)."""
        name, whole, rows = pool.name.replace(" ", "-"), pool.whole, slice(None)
        if isinstance(whole, photographs.Rows):
            whole, rows = whole.array, whole.rows

        # The same photographs are whole in all pools of them.
        source = name if name.startswith("painted") else "photos"
        whole = self(f"{source}-whole", whole)[rows]
        return np.concatenate([whole, self(f"{name}-damaged", pool.damaged)])

    def __call__(self, name, images):
        """Return features of images: (n, width), float32."""
        path = self.folder / f"{name}.npy"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            starts = range(0, len(images), BATCH)
            found = np.concatenate([self.run(images[i : i + BATCH]) for i in starts])
            part = path.with_suffix(".part.npy")
            np.save(part, found.astype(np.float16))
            part.replace(path)
            print(f"features of {name}", flush=True)
        return np.load(path).astype(np.float32)


def caption_embeddings(model, tokenizer, pools, device, seed=0):
    """Embed captions of all pairs; return the mean of each image's, pool by pool.

    Each array has the shape (2 * n, width): of whole, then of damaged images.
    """
    rng, codes = random.Random(seed), Codes(pools)
    found = []
    for pool in pools:
        everything = [(pool, np.arange(len(pool)))]
        drawn = [draw_captions(everything, rng, codes)[0] for _ in range(CAPTIONS)]
        embedded = [
            embed_texts(model, tokenizer, [" ".join(text) for text in texts], device)
            for texts in drawn
        ]
        found.append(np.mean(embedded, axis=0))
    return found


def pool_weights(sampler):
    """Weigh the rows of all pools, whole and damaged, as kinds are drawn."""
    kinds = [pool.name.split()[0] for pool in sampler.pools]
    weights = []
    for pool, rows, kind in zip(sampler.pools, sampler.rows, kinds, strict=True):
        is_drawn = np.zeros(len(pool))
        is_drawn[rows] = SHARES[kind] / kinds.count(kind) / len(rows)
        weights.append(np.tile(is_drawn, 2))
    return np.concatenate(weights)


def ridge_map(features, targets, weights, ridge=RIDGE):
    """Fit a linear map of features to targets.

    What it predicts deviates from the mean target as far as targets do: a strong ridge
    would draw all images together.

    Parameters
    ----------
    features : ndarray of shape (n, n_features)
    targets : ndarray of shape (n, width)
    weights : ndarray of shape (n,)
        How much each row counts.
    ridge : float
        Penalty, on features of mean 0 and deviation 1.

    Returns
    -------
    weight : ndarray of shape (width, n_features)
    bias : ndarray of shape (width,)
    """
    weights = weights / weights.sum()
    mean, centre = weights @ features, weights @ targets
    scale = np.sqrt(weights @ (features - mean) ** 2) + 1e-3
    x, t = (features - mean) / scale, targets - centre

    weighted = weights[:, None] * x
    gram = x.T @ weighted + ridge * np.eye(x.shape[1])
    weight = np.linalg.solve(gram, weighted.T @ t)

    spread = np.sqrt((weights @ t**2).sum() / (weights @ (x @ weight) ** 2).sum())
    weight = spread * weight / scale[:, None]
    return weight.T, centre - mean @ weight


def fit_map(model, features, sampler, tokenizer, device):
    """Set the map of a model so that its images lie where their captions do.

    Parameters
    ----------
    model : open_clip.model.CLIP
        Whose ``visual.head.proj`` is set.
    features : Features
        Of its image tower.
    sampler : photo_batches.Sampler
        Says which rows are fitted to, and how kinds count.
    """
    x = np.concatenate([features.of_pairs(pool) for pool in sampler.pools])
    t = np.concatenate(caption_embeddings(model, tokenizer, sampler.pools, device))
    weight, bias = ridge_map(x.astype(np.float64), t, pool_weights(sampler))

    proj = model.visual.head.proj
    with torch.no_grad():
        proj.weight.copy_(torch.from_numpy(weight))
        proj.bias.copy_(torch.from_numpy(bias))
