"""Texts to embeddings: open_clip's own numbers and tokens, never a lost word."""

import random
import string
from contextlib import contextmanager

import numpy as np
import open_clip
import pytest
import torch
from small_clip import StandInTokenizer, cosines, small_clip

from skclipad import CLIPImageEmbedder, PromptTooLongError
from skclipad._clip.backbone import load_backbone
from skclipad._clip.text import encode_texts, tokenize
from skclipad._method.prompts import training_block

# name: (registry name it is like, changes of its text tower, is it cut at EOT?)
TOWERS = {
    "ViT-B-32": ("ViT-B-32", {}, True),
    "ViT-B-16-plus-240": ("ViT-B-16-plus-240", {}, True),
    "QuickGELU": ("ViT-B-32-quickgelu", {}, True),
    "layer scale": ("ViT-B-32", {"ls_init_value": 0.3}, True),
    "custom, causal": ("MobileCLIP-B", {}, True),
    "custom, pooled at EOS": (
        "MobileCLIP-B",
        {"pool_type": "eos", "eos_id": 49407, "proj_bias": True},
        True,
    ),
    "no projection": ("MobileCLIP-B", {"proj_type": "none", "width": 24}, True),
    "custom, not causal": ("MobileCLIP-S1", {}, False),
    "SigLIP": ("ViT-B-16-SigLIP", {}, False),
    "CoCa": ("coca_ViT-B-32", {}, False),
    "other blocks": ("MobileCLIP-B", {"block_type": "custom", "qk_norm": True}, False),
}
if not hasattr(open_clip.CLIPTextCfg, "eos_id"):  # older releases pool at no id
    del TOWERS["custom, pooled at EOS"]


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    loaded = {}

    def get(name):
        if name not in loaded:
            like, changes, _ = TOWERS[name]
            folder = tmp_path_factory.mktemp(name.replace(" ", "-").replace(",", ""))
            loaded[name] = small_clip(folder, like, text=changes)
            if "SigLIP" in like:  # its own tokenizer is fetched from the network
                vars(loaded[name])["_tokenizer"] = StandInTokenizer("t5")
        return loaded[name]

    return get


@pytest.fixture(scope="module")
def plain(backbones):
    return backbones("ViT-B-32")


@pytest.fixture(scope="module")
def prompts():
    prompts = training_block(
        0, normal_word="a", anomaly_word="a damaged", l_min=3, l_max=7, seed=0
    )
    return [*prompts[:20], *prompts[-20:], "", "a photo of an object", prompts[0]]


def open_clips(backbone, texts):
    """Return open_clip's own embeddings of its own tokens."""
    tokens = backbone.tokenizer(texts, backbone.context_length)
    with torch.inference_mode():
        return backbone.model.encode_text(tokens, normalize=False).numpy()


@pytest.mark.parametrize("name", TOWERS)
def test_embeddings_are_open_clips_own(name, backbones, prompts):
    backbone = backbones(name)
    if name == "SigLIP":
        prompts = [prompt[:60] for prompt in prompts]
    ours, theirs = encode_texts(backbone, prompts), open_clips(backbone, prompts)
    assert ours.dtype == np.float32
    assert ours.shape == (len(prompts), 24)
    assert cosines(ours, theirs).min() > 0.99999
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_embeddings_of_the_bundled_model_are_open_clips_own(prompts):
    backbone = load_backbone("tiny", None, device="cpu", precision="fp32")
    ours, theirs = encode_texts(backbone, prompts), open_clips(backbone, prompts)
    assert cosines(ours, theirs).min() > 0.99999


@contextmanager
def counted_tokens(backbone):
    """Count the tokens that go into the tower, batch by batch."""
    counts = []
    tower = getattr(backbone.model, "text", backbone.model)
    handle = tower.token_embedding.register_forward_pre_hook(
        lambda module, args: counts.append(args[0].numel())
    )
    try:
        yield counts
    finally:
        handle.remove()


@pytest.mark.parametrize("name", TOWERS)
def test_only_causal_towers_are_cut_at_the_end_of_text(name, backbones):
    backbone = backbones(name)
    with counted_tokens(backbone) as counts:
        encode_texts(backbone, ["a photo", "a"])
    is_cut = TOWERS[name][2]
    assert counts == [4 + 3 if is_cut else 2 * backbone.context_length]


def test_each_text_is_encoded_once_in_even_batches(plain, prompts, monkeypatch):
    monkeypatch.setattr("skclipad._clip.transformer.TOKENS_PER_THREAD", 200)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert prompts[0] == prompts[-1]
    with counted_tokens(plain) as counts:
        embeddings = encode_texts(plain, prompts)
    assert np.array_equal(embeddings[0], embeddings[-1])
    ends = tokenize(plain, prompts[:-1]).argmax(dim=1)
    assert sum(counts) == (ends + 1).sum()
    assert len(counts) > 3
    assert max(counts) <= 200 + ends.max()
    assert max(counts) - min(counts) <= 2 * ends.max()
    alone = np.concatenate([encode_texts(plain, [prompt]) for prompt in prompts])
    np.testing.assert_allclose(embeddings, alone, rtol=1e-4, atol=1e-5)


def test_a_text_with_more_tokens_than_a_batch_is_a_batch(plain, prompts, monkeypatch):
    expected = encode_texts(plain, prompts[:3])
    monkeypatch.setattr("skclipad._clip.transformer.TOKENS_PER_THREAD", 1)
    with counted_tokens(plain) as counts:
        embeddings = encode_texts(plain, prompts[:3])
    assert len(counts) == 3
    np.testing.assert_allclose(embeddings, expected, rtol=1e-4, atol=1e-5)


def test_a_block_of_prompts_is_the_same_bits_whatever_comes_with_it(plain):
    words = {"normal_word": "a", "anomaly_word": "a damaged", "l_min": 2, "l_max": 9}
    blocks = [training_block(i, seed=0, **words) for i in range(3)]
    together = encode_texts(plain, sum(blocks, []))
    alone = np.concatenate([encode_texts(plain, block) for block in blocks])
    assert np.array_equal(together, alone)


def test_tokens_are_open_clips_own_on_random_prompts(plain):
    prompts = training_block(
        1, normal_word="a", anomaly_word="a damaged", l_min=5, l_max=10, seed=3
    )
    expected = plain.tokenizer(prompts, plain.context_length)
    assert torch.equal(tokenize(plain, prompts), expected)


ODD_TEXTS = [
    "",
    "   ",
    "It's WE'LL i'd",
    "a  photo\tof\nit",
    "&amp;amp; &lt;b&gt;",
    "<end_of_text> and <START_OF_TEXT>",
    "naïve café, ﬁne “quotes”…",
    "日本語 İstanbul ½ ٣",
    "_a_b__ {x} `y` ~|^",
    "Ã©tÃ© \x1b[31mred\x1b[0m",
    "no! !! !!!",
]


def test_tokens_are_open_clips_own_on_odd_texts(plain):
    rng = random.Random(0)
    alphabet = string.printable + "éß“”…ﬁ日İ\u200b&<'"
    odd = ["".join(rng.choices(alphabet, k=rng.randint(0, 30))) for _ in range(2000)]
    odd += ["".join(rng.choices(string.printable[:95], k=20)) for _ in range(2000)]
    odd = [text for text in odd if len(plain.tokenizer.encode(text)) <= 75] + ODD_TEXTS
    expected = plain.tokenizer(odd, plain.context_length)
    assert len(odd) > 3500
    assert torch.equal(tokenize(plain, odd), expected)


@pytest.mark.parametrize("clean", ["whitespace", "canonicalize"])
def test_tokens_are_open_clips_own_with_other_cleaning(plain, clean, monkeypatch):
    tokenizer = open_clip.SimpleTokenizer(clean=clean)
    monkeypatch.setitem(vars(plain), "_tokenizer", tokenizer)
    texts = ["a_b. c-d!", "two  words", "x", "Upper CASE", "&amp; <b>"]
    expected = tokenizer(texts, plain.context_length)
    assert torch.equal(tokenize(plain, texts), expected)


def test_the_first_end_of_text_is_the_one_that_is_read(plain):
    texts = ["a cup <end_of_text> and what follows", "a cup"]
    ours, theirs = encode_texts(plain, texts), open_clips(plain, texts)
    assert cosines(ours, theirs).min() > 0.99999
    np.testing.assert_allclose(ours[0], ours[1], rtol=1e-4, atol=1e-5)


def test_padding_is_not_told_by_its_id(plain):
    # "!" is token 0, which is also the padding.
    texts = ["! ! !", "a cup !", "!"]
    assert cosines(encode_texts(plain, texts), open_clips(plain, texts)).min() > 0.99999


def test_the_tokenizer_forgets_random_words(plain, prompts):
    remembered = dict(plain.tokenizer.cache)
    tokenize(plain, [*prompts, "wörter, die es nicht gibt"])
    assert plain.tokenizer.cache == remembered


def test_longest_text_that_fits_is_read_to_its_end(plain):
    longest = " ".join(["a"] * 75)  # and two tokens for start and end
    tokens = tokenize(plain, [longest])
    assert tokens[0, -1] == plain.tokenizer.eot_token_id
    other_end = longest[:-1] + "b"
    assert not np.allclose(*encode_texts(plain, [longest, other_end]))


def test_one_token_too_many_is_an_error_that_says_how_many(plain):
    too_long = " ".join(["a"] * 76)
    with pytest.raises(PromptTooLongError, match="has 78 tokens.*at most 77.*l_max"):
        encode_texts(plain, ["a cup", too_long])
    assert issubclass(PromptTooLongError, ValueError)


def test_the_longest_of_too_long_texts_is_named(plain):
    texts = ["b " * 80, "c " * 4000, "a"]
    with pytest.raises(PromptTooLongError, match="'c c .* has 4002 tokens"):
        encode_texts(plain, texts)


@pytest.mark.parametrize("kind", ["t5", "bert", "clips"])
def test_other_tokenizers_cut_nothing_in_silence(plain, kind, monkeypatch):
    tokenizer = StandInTokenizer(kind)
    monkeypatch.setitem(vars(plain), "_tokenizer", tokenizer)
    n = tokenizer.most_letters(plain.context_length)
    texts = ["x" * n, "", "abc"]
    expected = tokenizer(texts, plain.context_length)
    assert torch.equal(tokenize(plain, texts), expected)
    for extra in (1, 2, 3, 50, 500):
        with pytest.raises(PromptTooLongError, match="has at least .* at most 77"):
            tokenize(plain, [*texts, "x" * (n + extra)])


def test_a_tokenizer_that_drops_tokens_at_random_cuts_nothing(plain, monkeypatch):
    tokenizer = open_clip.SimpleTokenizer(reduction_mask="simple")
    monkeypatch.setitem(vars(plain), "_tokenizer", tokenizer)
    fits = " ".join(["a"] * 75)
    assert torch.equal(tokenize(plain, [fits]), tokenizer([fits], 77))
    with pytest.raises(PromptTooLongError, match="has at least 78 tokens"):
        tokenize(plain, [fits + " b"])


def test_progress_is_shown_on_request(plain, capsys):
    encode_texts(plain, ["a cup", "a jug"], verbose=True)
    assert "Encoding texts: 100%" in capsys.readouterr().err
    encode_texts(plain, ["a cup", "a jug"])
    assert capsys.readouterr().err == ""


def test_the_embedder_encodes_texts_with_its_own_clip(prompts):
    embedder = CLIPImageEmbedder("tiny")
    expected = encode_texts(embedder._load(), prompts)
    assert np.array_equal(embedder.encode_text(prompts), expected)


def test_tokens_that_the_tower_does_not_know_are_refused(backbones):
    backbone = backbones("SigLIP")

    def tokenizer(texts, context_length):
        return torch.full((len(texts), context_length), backbone.vocab_size)

    known = vars(backbone)["_tokenizer"]
    vars(backbone)["_tokenizer"] = tokenizer
    try:
        with pytest.raises(ValueError, match=f"gives token {backbone.vocab_size}, but"):
            encode_texts(backbone, ["a photo"])
    finally:
        vars(backbone)["_tokenizer"] = known
