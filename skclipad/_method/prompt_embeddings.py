"""Prompts to embeddings, never twice: training pairs in blocks, and query prompts."""

import os

import numpy as np

from skclipad._method.prompts import BLOCK_SIZE, n_blocks, query_prompts, training_block
from skclipad._method.scores import prototype
from skclipad._storage.process_cache import ProcessCache
from skclipad._storage.store import store_key

CACHE_BYTES = 512 * 2**20
BLOCKS_AT_ONCE = 10
_cache = ProcessCache(CACHE_BYTES, size_of=lambda embeddings: embeddings.nbytes)


def encode_pairs(encode, cache_name, n_pairs, *, seed, store=None, **words):
    """Embed the training pairs of a detector.

    Blocks of pairs are looked up in a cache of this process (the last 512 MB used),
    then in `store`; what is new is encoded and kept in both.

    Parameters
    ----------
    encode : callable
        Turns a list of texts into an ndarray of shape (n_texts, C_e).
    cache_name : str or None
        Names what `encode` computes with. None keeps nothing, nor looks it up.
    n_pairs : int
        ``N_p``.
    seed : int
        Seed of the random words.
    store : EmbeddingStore or None, default=None
        Where blocks are kept between processes.
    **words : dict
        Parameters of `training_block` but the block and the seed.

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
    kept = _Kept(cache_name, store)
    found = kept.look_up(keys)
    missing = [i for i, key in enumerate(keys) if key not in found]
    if kept.store is not None:
        # Processes that share the store begin at different blocks, and find those of
        # the others when they come to them.
        np.random.default_rng(os.getpid()).shuffle(missing)

    while missing:
        batch, missing = missing[:BLOCKS_AT_ONCE], missing[BLOCKS_AT_ONCE:]
        found |= kept.look_up([keys[i] for i in batch])
        batch = [i for i in batch if keys[i] not in found]
        if batch:
            prompts = [p for i in batch for p in training_block(i, seed=seed, **words)]
            blocks = np.split(encode(prompts), len(batch))
            new = {keys[i]: block for i, block in zip(batch, blocks, strict=True)}
            found |= kept.keep(new)

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
    kept = _Kept(cache_name, store)
    found = kept.look_up([key])
    if key not in found:
        found = kept.keep({key: encode(texts)})
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


class _Kept:
    """Embeddings kept in this process and in a store; nowhere without a name."""

    def __init__(self, cache_name, store):
        self.named = cache_name is not None
        self.store = store if self.named else None

    def look_up(self, keys):
        """Return what is kept of these keys, by key."""
        if not self.named:
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
        if self.store is not None:
            self.store.put_many(list(embeddings), list(embeddings.values()))
        if self.named:
            _remember(embeddings)
        return embeddings


def _remember(embeddings):
    for key, array in embeddings.items():
        # A copy: a block would keep the whole batch alive that it is part of.
        copy = array.copy()
        copy.setflags(write=False)
        _cache.put(key, copy)


def clear_prompt_cache():
    """Forget the embeddings that this process keeps."""
    _cache.clear()
