"""Prompts to embeddings, never twice: training pairs in blocks, and query prompts."""

import os
import threading

import numpy as np
from cachetools import LRUCache

from skclipad._prompts import BLOCK_SIZE, n_blocks, query_prompts, training_block
from skclipad._scores import prototype
from skclipad._store import store_key

CACHE_BYTES = 512 * 2**20
BLOCKS_AT_ONCE = 10
_cache = LRUCache(CACHE_BYTES, getsizeof=lambda embeddings: embeddings.nbytes)
_lock = threading.Lock()


def encode_pairs(encode, cache_name, n_pairs, *, seed, store=None, **words):
    """Embed the training pairs of a detector.

    Blocks of pairs are looked up in a cache of this process (the last 512 MB used),
    then in `store`; what is new is encoded and kept in both.

    Parameters
    ----------
    encode : callable
        Turns a list of texts into an ndarray of shape (n_texts, C_e).
    cache_name : str
        Names what `encode` computes with.
    n_pairs : int
        ``N_p``.
    seed : int
        Seed of the random words.
    store : EmbeddingStore or None, default=None
        Where blocks are kept between processes.
    **words : dict
        Parameters of `skclipad._prompts.training_block` but the block and the seed.

    Returns
    -------
    normal, anomalous : ndarray of shape (n_pairs, C_e), dtype float32
        Raw embeddings; row ``i`` of both is a pair.
    """
    setting = [part for item in sorted(words.items()) for part in item]
    keys = [
        store_key("pairs", cache_name, *setting, seed, BLOCK_SIZE, block)
        for block in range(n_blocks(n_pairs))
    ]
    found = _look_up(keys, store)
    missing = [i for i, key in enumerate(keys) if key not in found]
    if store is not None:
        # Processes that share the store begin at different blocks, and find those of
        # the others when they come to them.
        np.random.default_rng(os.getpid()).shuffle(missing)
    while missing:
        batch, missing = missing[:BLOCKS_AT_ONCE], missing[BLOCKS_AT_ONCE:]
        found |= _look_up([keys[i] for i in batch], store)
        batch = [i for i in batch if keys[i] not in found]
        if batch:
            prompts = [p for i in batch for p in training_block(i, seed=seed, **words)]
            blocks = np.split(encode(prompts), len(batch))
            new = {keys[i]: block for i, block in zip(batch, blocks, strict=True)}
            found |= _keep(new, store)
    pairs = np.stack([found[key] for key in keys])
    pairs = pairs.reshape(len(keys), 2, BLOCK_SIZE, -1)
    return tuple(
        pairs[:, label].reshape(-1, pairs.shape[-1])[:n_pairs] for label in (0, 1)
    )


def encode_queries(encode, cache_name, texts, *, store=None):
    """Embed the prompts that images are compared with.

    Parameters
    ----------
    encode, cache_name, store
        As in `encode_pairs`.
    texts : sequence of str
        Prompts of one class.

    Returns
    -------
    ndarray of shape (n_texts, C_e), dtype float32
        Raw embeddings.
    """
    key = store_key("texts", cache_name, *texts)
    found = _look_up([key], store)
    if key not in found:
        found = _keep({key: encode(texts)}, store)
    return found[key]


def object_prompts(
    encode, cache_name, templates, object_name, *, average="unit", store=None
):
    """Embed what the images of one object are compared with (Sec. 3.1).

    Parameters
    ----------
    encode, cache_name, store
        As in `encode_pairs`.
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
        encode_queries(
            encode, cache_name, query_prompts(prompts, object_name), store=store
        )
        for prompts in templates
    )
    return np.stack([prototype(e, normalize=average == "unit") for e in embedded])


def _look_up(keys, store):
    with _lock:
        found = {key: _cache[key] for key in keys if key in _cache}
    missing = [key for key in keys if key not in found]
    if store is None or not missing:
        return found
    stored = dict(zip(missing, store.get_many(missing), strict=True))
    stored = {key: array for key, array in stored.items() if array is not None}
    return found | _keep(stored)


def _keep(embeddings, store=None):
    if store is not None:
        store.put_many(list(embeddings), list(embeddings.values()))
    with _lock:
        for key, array in embeddings.items():
            if array.nbytes <= CACHE_BYTES:
                # A copy: a block would keep the whole batch alive that it is part of.
                _cache[key] = array.copy()
                _cache[key].setflags(write=False)
    return embeddings


def clear_prompt_cache():
    """Forget the embeddings that this process keeps."""
    with _lock:
        _cache.clear()
