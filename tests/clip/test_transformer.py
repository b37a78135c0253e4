"""Transformer blocks: open_clip's own numbers, at less cost."""

import open_clip4
import pytest
import torch
from open_clip import transformer as module
from open_clip.transformer import LayerNorm, QuickGELU, ResidualAttentionBlock
from open_clip.transformer import Transformer as OpenClipTransformer
from torch import nn

from skclipad._clip.transformer import (
    has_plain_blocks,
    run_blocks,
    run_last_block,
    run_last_packed_block,
    run_packed_blocks,
)

WIDTH, HEADS, LAYERS = 32, 2, 3
KINDS = {
    "gelu": {},
    "tanh gelu": {"act_layer": lambda: nn.GELU(approximate="tanh")},
    "quick gelu": {"act_layer": QuickGELU},
    "other activation": {"act_layer": nn.SiLU},
    "layer scale": {"ls_init_value": 0.5},
    "custom blocks without options": {"block_type": "custom"},
}


@pytest.fixture(params=["open_clip 3", "open_clip 4"])
def transformer(request, monkeypatch):
    """Make a transformer of one kind of block or the other."""
    if request.param == "open_clip 4":
        block = open_clip4.ResidualAttentionBlock
        monkeypatch.setattr(module, "ResidualAttentionBlock", block)
    return made


def made(**kwargs):
    torch.manual_seed(0)
    model = OpenClipTransformer(WIDTH, LAYERS, HEADS, **kwargs).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.requires_grad_(False)


def causal_mask(n_tokens):
    return torch.full((n_tokens, n_tokens), -torch.inf).triu(1)


@pytest.fixture
def x():
    return torch.randn(5, 7, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grad", [False, True])
def test_blocks_compute_what_open_clip_computes(kind, causal, grad, x, transformer):
    model = transformer(**KINDS[kind])
    expected = model(x, attn_mask=causal_mask(7) if causal else None)
    with torch.set_grad_enabled(grad):
        actual = run_blocks(model.resblocks, x, causal=causal)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_last_block_gives_the_token_asked_for(causal, x, transformer):
    block = transformer().resblocks[-1]
    position = torch.tensor([0, 6, 3, 3, 1])
    expected = block(x, attn_mask=causal_mask(7) if causal else None)
    actual = run_last_block(block, x, position, causal=causal)
    expected = expected[torch.arange(5), position]
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


RUNS = [(2, 1), (1, 3), (3, 4), (1, 7)]


@pytest.fixture
def packed():
    """Sequences of several lengths, and how they lie one after another."""
    generator = torch.Generator().manual_seed(2)
    lengths = [length for n, length in RUNS for _ in range(n)]
    sequences = [torch.randn(1, n, WIDTH, generator=generator) for n in lengths]
    return sequences, torch.cat([sequence[0] for sequence in sequences])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_do_not_see_each_other(kind, causal, packed, transformer):
    sequences, x = packed
    *blocks, last = transformer(**KINDS[kind]).resblocks
    with torch.inference_mode():
        expected = [
            run_blocks(blocks, sequence, causal=causal) for sequence in sequences
        ]
        run_packed_blocks(blocks, x, RUNS, causal=causal)
        expected_x = torch.cat([sequence[0] for sequence in expected])
        torch.testing.assert_close(x, expected_x, rtol=1e-4, atol=1e-5)
        expected_end = torch.cat(
            [
                run_last_block(last, sequence, torch.tensor([sequence.shape[1] - 1]))
                for sequence in expected
            ]
        )
        end = run_last_packed_block(last, x, RUNS)
    torch.testing.assert_close(end, expected_end, rtol=1e-4, atol=1e-5)


def test_tokens_that_go_in_are_left_as_they_are(x, transformer):
    before = x.clone()
    with torch.inference_mode():
        run_blocks(transformer().resblocks, x)
        run_blocks(transformer().resblocks, x[1:3])
    assert torch.equal(x, before)


def test_no_blocks_change_nothing(x):
    with torch.inference_mode():
        assert torch.equal(run_blocks([], x), x)


def test_gradients_flow_where_they_are_wanted(x, transformer):
    model = transformer().requires_grad_(True)
    *blocks, last = model.resblocks
    position = torch.zeros(5, dtype=torch.long)
    run_last_block(last, run_blocks(blocks, x), position).sum().backward()
    ours = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    model(x)[:, 0].sum().backward()
    for parameter, gradient in zip(model.parameters(), ours, strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-4)


def test_half_precision_stays_close(x, transformer):
    model = transformer()
    expected = model(x)
    model = model.to(torch.bfloat16)
    with torch.inference_mode():
        actual = run_blocks(model.resblocks, x.to(torch.bfloat16))
    assert actual.dtype == torch.bfloat16
    cosine = nn.functional.cosine_similarity(actual.float(), expected, dim=-1)
    assert cosine.min() > 0.999


class OtherMLP(ResidualAttentionBlock):
    """A block whose MLP has a part that open_clip's has not."""

    def __init__(self):
        super().__init__(WIDTH, HEADS)
        self.mlp.add_module("norm", LayerNorm(WIDTH))


@pytest.mark.parametrize("kind", KINDS)
def test_plain_blocks_are_told(kind, transformer):
    assert has_plain_blocks(transformer(**KINDS[kind]))


@pytest.mark.parametrize(
    "other",
    [
        nn.Module(),
        nn.Sequential(),
        made(block_type="custom", qk_norm=True),
        made(scale_attn=True),
    ],
    ids=["no transformer", "no blocks", "norms of queries", "scaled attention"],
)
def test_other_blocks_are_told(other):
    assert not has_plain_blocks(other)


def test_one_other_block_is_enough(transformer):
    model = transformer()
    assert has_plain_blocks(model)
    model.resblocks[1] = OtherMLP()
    assert not has_plain_blocks(model)
    cross = ResidualAttentionBlock(WIDTH, HEADS, is_cross_attention=True)
    model.resblocks[1] = cross
    assert not has_plain_blocks(model)


def test_blocks_of_the_same_weights_that_compute_something_else_are_told(monkeypatch):
    monkeypatch.setattr(module, "ResidualAttentionBlock", open_clip4.SharperBlock)
    assert not has_plain_blocks(made())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sharper", [False, True])
def test_blocks_are_told_in_every_precision(dtype, sharper, monkeypatch, transformer):
    if sharper:
        monkeypatch.setattr(module, "ResidualAttentionBlock", open_clip4.SharperBlock)
    assert has_plain_blocks(transformer().to(dtype)) == (not sharper)


class Unrunnable(ResidualAttentionBlock):
    """A block that wants more than tokens."""

    def forward(self, x, positions):
        return super().forward(x + positions)


def test_blocks_that_want_more_than_tokens_are_told():
    model = made()
    model.resblocks[0] = Unrunnable(WIDTH, HEADS)
    assert not has_plain_blocks(model)
