"""Embeddings of prompts: in blocks, each computed once, in a bounded memory."""

import numpy as np
import pytest

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad._clip.text import TEXTS_PER_GROUP
from skclipad._method import prompt_embeddings as module
from skclipad._method.prompt_embeddings import (
    TextEncoder,
    clear_prompt_cache,
    encode_pairs,
    encode_queries,
)
from skclipad._method.prompts import BLOCK_SIZE, training_block
from skclipad._storage.process_cache import ProcessCache, clear_caches
from skclipad._storage.store import EmbeddingStore

WORDS = {"normal_word": "a", "anomaly_word": "a broken", "l_min": 2, "l_max": 5}


@pytest.fixture(autouse=True)
def empty_cache():
    clear_prompt_cache()
    yield
    clear_prompt_cache()


@pytest.fixture
def store(tmp_path):
    with EmbeddingStore(tmp_path) as store:
        yield store


class Encoder:
    """Texts to vectors that tell the text: lengths, first and last letters."""

    def __init__(self):
        self.texts = []

    def __call__(self, texts):
        self.texts += texts
        rows = [(len(t), ord(t[0]), ord(t[-1]), hash(t) % 1000) for t in texts]
        return np.array(rows, dtype=np.float32)

    @property
    def n_blocks(self):
        assert len(set(self.texts)) == len(self.texts), "a text was encoded twice"
        return len(self.texts) / (2 * BLOCK_SIZE)


def pairs(encode, n_pairs, *, name="clip", seed=0, store=None, **words):
    texts = TextEncoder(encode, name, store=store)
    return encode_pairs(texts, n_pairs, seed=seed, **WORDS | words)


@pytest.mark.parametrize("n_pairs", [1, 99, 100, 101, 250, 1234])
def test_rows_are_the_pairs_of_the_prompts(n_pairs):
    encode = Encoder()
    normal, anomalous = pairs(encode, n_pairs)
    blocks = [training_block(i, seed=0, **WORDS) for i in range(-(-n_pairs // 100))]
    expected = [
        sum((block[half] for block in blocks), [])[:n_pairs]
        for half in (slice(None, BLOCK_SIZE), slice(BLOCK_SIZE, None))
    ]
    assert normal.shape == anomalous.shape == (n_pairs, 4)
    assert normal.dtype == anomalous.dtype == np.float32
    assert np.array_equal(normal, Encoder()(expected[0]))
    assert np.array_equal(anomalous, Encoder()(expected[1]))
    assert all("broken" in text for text in expected[1])
    assert encode.n_blocks == len(blocks)


def test_more_pairs_begin_with_the_fewer_and_cost_only_the_rest():
    encode = Encoder()
    few = pairs(encode, 150)
    assert encode.n_blocks == 2
    many = pairs(encode, 420)
    assert encode.n_blocks == 5
    again = pairs(encode, 150)
    assert encode.n_blocks == 5
    for a, b, c in zip(few, many, again, strict=True):
        assert np.array_equal(a, b[:150])
        assert np.array_equal(a, c)


def test_any_other_setting_is_encoded_anew():
    encode = Encoder()
    pairs(encode, 100)
    others = [
        {"seed": 1},
        {"normal_word": "the"},
        {"anomaly_word": "a dirty"},
        {"l_min": 3},
        {"l_max": 6},
    ]
    for i, other in enumerate(others, 1):
        pairs(encode, 100, **other)
        assert len(encode.texts) == 200 * (1 + i)
    pairs(Encoder(), 100)
    other_clip = Encoder()
    pairs(other_clip, 100, name="another clip")
    assert other_clip.n_blocks == 1


def test_a_store_serves_the_next_process(store):
    first = pairs(Encoder(), 250, store=store)
    clear_prompt_cache()
    encode = Encoder()
    again = pairs(encode, 250, store=store)
    assert encode.texts == []
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a, b)
    clear_prompt_cache()
    pairs(encode, 301, store=store)
    assert encode.n_blocks == 1


def test_what_the_store_gave_is_remembered(store, monkeypatch):
    first = pairs(Encoder(), 250, store=store)
    clear_prompt_cache()
    pairs(Encoder(), 250, store=store)
    monkeypatch.setattr(store, "get_many", None)
    again = pairs(Encoder(), 250, store=store)
    assert np.array_equal(first[0], again[0])


def test_blocks_that_another_process_finished_meanwhile_are_not_encoded(store):
    expected = pairs(Encoder(), 5000)
    clear_prompt_cache()
    ours, theirs = Encoder(), Encoder()

    def encode(texts):
        if not theirs.texts:  # while we encode our first blocks, they do all
            pairs(theirs, 5000, store=store)
            clear_prompt_cache()
        return ours(texts)

    actual = pairs(encode, 5000, store=store)
    assert ours.n_blocks == module.BLOCKS_AT_ONCE
    for a, b in zip(actual, expected, strict=True):
        assert np.array_equal(a, b)


def test_processes_begin_at_different_blocks(tmp_path, monkeypatch):
    begins = []
    for pid in range(5):
        encode = Encoder()
        monkeypatch.setattr(module.os, "getpid", lambda pid=pid: pid)
        clear_prompt_cache()
        with EmbeddingStore(tmp_path / str(pid)) as store:
            pairs(encode, 5000, store=store)
        assert encode.n_blocks == 50
        begins.append(encode.texts[0])
    assert len(set(begins)) == 5


def test_an_interrupted_fit_keeps_what_it_has(store):
    class Interrupted(Encoder):
        def __call__(self, texts):
            if self.n_blocks >= 2 * module.BLOCKS_AT_ONCE:
                raise KeyboardInterrupt
            return super().__call__(texts)

    with pytest.raises(KeyboardInterrupt):
        pairs(Interrupted(), 5000, store=store)
    clear_prompt_cache()
    encode = Encoder()
    pairs(encode, 5000, store=store)
    assert encode.n_blocks == 50 - 2 * module.BLOCKS_AT_ONCE


def test_memory_is_bounded(monkeypatch):
    block_bytes = 2 * BLOCK_SIZE * 4 * 4
    kept = []

    def size_of(array):
        kept.append(array)
        return array.nbytes

    cache = ProcessCache(3 * block_bytes, size_of=size_of)
    monkeypatch.setattr(module, "_cache", cache)
    encode = Encoder()
    normal, _ = pairs(encode, 1000)
    expected = Encoder()(encode.texts).reshape(10, 2, BLOCK_SIZE, 4)[:, 0]
    assert np.array_equal(normal, expected.reshape(-1, 4))
    assert len(cache) == 3
    # Blocks of their own, no parts of a batch, which would stay as a whole.
    assert all(block.base is None for block in kept)
    assert cache.size == 3 * block_bytes
    cache = ProcessCache(1, size_of=size_of)
    monkeypatch.setattr(module, "_cache", cache)
    many, one = (pairs(Encoder(), n_pairs, seed=1) for n_pairs in (1000, 1))
    assert np.array_equal(many[0][:1], one[0])
    assert len(cache) == 0


def test_what_is_remembered_cannot_be_changed():
    normal, _ = pairs(Encoder(), 100)
    before = normal.copy()
    normal[:] = 0
    assert np.array_equal(pairs(Encoder(), 100)[0], before)
    texts = ["a photo of a cup"]
    encode_queries(TextEncoder(Encoder(), "clip"), texts)
    with pytest.raises(ValueError, match="read-only"):
        encode_queries(TextEncoder(Encoder(), "clip"), texts)[:] = 0


def test_queries_are_encoded_once(store):
    encode = Encoder()
    texts = ["a photo of a cup", "a picture of a cup"]
    kept = TextEncoder(encode, "clip", store=store)
    first = encode_queries(kept, texts)
    assert np.array_equal(first, Encoder()(texts))
    assert np.array_equal(
        encode_queries(TextEncoder(encode, "clip", store=store), texts),
        first,
    )
    clear_prompt_cache()
    assert np.array_equal(
        encode_queries(TextEncoder(encode, "clip", store=store), texts),
        first,
    )
    assert encode.texts == texts
    encode_queries(TextEncoder(encode, "clip", store=store), texts[::-1])
    encode_queries(TextEncoder(encode, "other clip", store=store), texts)
    assert encode.texts == [*texts, *texts[::-1], *texts]


def test_what_has_no_name_is_kept_nowhere(store):
    encode = Encoder()
    for _ in range(2):
        pairs(encode, 150, name=None, store=store)
        encode_queries(TextEncoder(encode, None, store=store), ["a photo of a cup"])
    assert len(encode.texts) == 2 * (2 * 2 * BLOCK_SIZE + 1)
    assert len(module._cache) == len(store) == 0


class Opposite(CLIPImageEmbedder):
    """An embedder whose texts are others than the CLIP's own."""

    def encode_text(self, texts):
        return -super().encode_text(texts)


@pytest.mark.parametrize("of_class", [True, False])
def test_texts_of_another_encoder_are_not_those_of_the_backbone(tmp_path, of_class):
    def fit(embedder, memory):
        detector = RandomWordCLIPDetector(
            N_p=100, random_state=0, embedder=embedder, memory=memory
        )
        return detector.fit()

    known = fit(CLIPImageEmbedder("tiny"), tmp_path / "memory")
    embedder = Opposite("tiny") if of_class else CLIPImageEmbedder("tiny")
    if not of_class:  # a method of one object alone
        embedder.encode_text = Opposite("tiny").encode_text
        embedder.__sklearn_clone__ = lambda: embedder
    other = fit(embedder, tmp_path / "memory")
    assert not np.array_equal(known.coefs_[0], other.coefs_[0])
    np.testing.assert_allclose(
        other.prompt_embeddings_, -known.prompt_embeddings_, atol=1e-6
    )
    again = fit(CLIPImageEmbedder("tiny"), tmp_path / "memory")
    assert np.array_equal(known.coefs_[0], again.coefs_[0])
    clear_caches()
    stored = fit(CLIPImageEmbedder("tiny"), tmp_path / "memory")
    assert np.array_equal(known.coefs_[0], stored.coefs_[0])


def test_a_block_of_prompts_is_what_the_text_tower_encodes_together():
    assert 2 * BLOCK_SIZE == TEXTS_PER_GROUP
