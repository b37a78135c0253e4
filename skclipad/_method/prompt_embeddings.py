"""Prompts to embeddings, never twice: training pairs in blocks, and query prompts."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from skclipad._method.progress import nobody
from skclipad._method.prompts import (
    BLOCK_SIZE,
    n_blocks,
    query_prompts,
    training_block,
)
from skclipad._method.scores import prototype
from skclipad._storage.process_cache import ProcessCache
from skclipad._storage.store import EmbeddingStore, store_key

CACHE_BYTES = 512 * 2**20
BLOCKS_AT_ONCE = 10
_cache = ProcessCache(CACHE_BYTES, size_of=lambda embeddings: embeddings.nbytes)


@dataclass(frozen=True)
class TextEncoder:
    """The text tower of a CLIP, and where its embeddings are kept.

    Embeddings are looked up in a cache of this process (the last 512 MB used), then in
    the store; what is new is encoded and kept in both.

    Attributes
    ----------
    encode : callable
        Turns a list of texts into an ndarray of shape (n_texts, C_e).
    name : str or None
        Names what `encode` computes with. None keeps nothing, nor looks it up.
    device : torch.device
        Where the tower computes.
    store : EmbeddingStore or None
        Where embeddings are kept between processes.
    """

    encode: Callable
    name: str | None
    device: torch.device = torch.device("cpu")
    store: EmbeddingStore | None = None

    def look_up(self, keys):
        """Return what is kept of these keys, by key."""
        if self.name is None:
            return {}

        found = {key: _cache.get(key) for key in keys}
        found = {key: array for key, array in found.items() if array is not None}
        missing = [key for key in keys if key not in found]
        if self.store is None or not missing:
            return found

        stored = dict(zip(missing, self.store.get_many(missing), strict=True))
        stored = {key: array for key, array in stored.items() if array is not None}
        _remember(stored)
        return found | stored

    def keep(self, embeddings):
        """Keep embeddings by their key, and return them."""
        if self.name is not None:
            if self.store is not None:
                self.store.put_many(list(embeddings), list(embeddings.values()))
            _remember(embeddings)
        return embeddings


def encode_pairs(texts, n_pairs, *, seed, tell=nobody, **words):
    """Embed the training pairs of a detector (Sec. 3.2).

    Parameters
    ----------
    texts : TextEncoder
        The text tower.
    n_pairs : int
        ``N_p``.
    seed : int
        Seed of the random words.
    tell : callable
        Hears of each block that is embedded: see `nobody`.
    **words : dict
        Parameters of `training_block` but the block and the seed.

    Returns
    -------
    normal, anomalous : ndarray of shape (n_pairs, C_e), dtype float32
        Raw embeddings; row ``i`` of both is a pair.
    """
    setting = [part for item in sorted(words.items()) for part in item]
    keys = [
        store_key("pairs", texts.name, *setting, seed, BLOCK_SIZE, block)
        for block in range(n_blocks(n_pairs))
    ]
    found = texts.look_up(keys)
    missing = [i for i, key in enumerate(keys) if key not in found]
    if texts.name is not None and texts.store is not None:
        # Processes that share the store begin at different blocks, and find those of
        # the others when they come to them.
        np.random.default_rng(os.getpid()).shuffle(missing)

    with tell("encode-prompts", len(missing)) as done:
        while missing:
            some, missing = missing[:BLOCKS_AT_ONCE], missing[BLOCKS_AT_ONCE:]
            found |= texts.look_up([keys[i] for i in some])
            new = [i for i in some if keys[i] not in found]
            if new:
                prompts = [
                    p for i in new for p in training_block(i, seed=seed, **words)
                ]
                blocks = np.split(texts.encode(prompts), len(new))
                named = zip((keys[i] for i in new), blocks, strict=True)
                found |= texts.keep(dict(named))
            done(len(some))

    pairs = np.stack([found[key] for key in keys])
    pairs = pairs.reshape(len(keys), 2, BLOCK_SIZE, -1)
    normal, anomalous = pairs.swapaxes(0, 1)
    width = pairs.shape[-1]
    return normal.reshape(-1, width)[:n_pairs], anomalous.reshape(-1, width)[:n_pairs]


def encode_queries(texts, prompts):
    """Embed the prompts of one class that images are compared with.

    Parameters
    ----------
    texts : TextEncoder
        The text tower.
    prompts : sequence of str
        Prompts.

    Returns
    -------
    ndarray of shape (n_prompts, C_e), dtype float32
        Raw embeddings.
    """
    key = store_key("texts", texts.name, *prompts)
    found = texts.look_up([key])
    if key not in found:
        found = texts.keep({key: texts.encode(prompts)})
    return found[key]


def object_prompts(texts, templates, object_name, *, average="unit"):
    """Embed what the images of one object are compared with (Sec. 3.1).

    Parameters
    ----------
    texts : TextEncoder
        The text tower.
    templates : (sequence of str, sequence of str)
        Prompts of normal and of anomalous, with ``{}`` for the object.
    object_name : str
        What the images show.
    average : {"unit", "raw"}, default="unit"
        Whether the embeddings are averaged at unit length or as they are.

    Returns
    -------
    ndarray of shape (2, C_e), dtype float32
        Unit embeddings of normal and of anomalous.
    """
    embedded = (
        encode_queries(texts, query_prompts(prompts, object_name))
        for prompts in templates
    )
    return np.stack([prototype(e, normalize=average == "unit") for e in embedded])


def _remember(embeddings):
    for key, array in embeddings.items():
        # A copy: a block would keep the whole batch alive that it is part of.
        copy = array.copy()
        copy.setflags(write=False)
        _cache.put(key, copy)


def clear_prompt_cache():
    """Forget the embeddings that this process keeps."""
    _cache.clear()
