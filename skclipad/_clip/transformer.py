"""open_clip's plain transformer blocks, computed only where the result is read.

The forward passes here equal open_clip's own to rounding. They exist because open_clip
computes every token in every block, at full context, while a text or image embedding
is read at one token of the last block.
"""

from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional as F

from skclipad._clip.int8 import Int8Attention, Int8Linear

TOKENS_PER_BATCH = {"cuda": 65536, "mps": 8192}
TOKENS_PER_THREAD = 1024
"""On a CPU a batch has so many tokens for each thread: more do not fit its cache."""

PROBE = (2, 3)
"""Sequences and tokens on which a kind of block is compared with this file's."""

_known = WeakKeyDictionary()  # blocks, and whether they are plain


def tokens_per_batch(device):
    """Return how many tokens of all sequences a device runs at once at best."""
    if device.type == "cpu":
        return TOKENS_PER_THREAD * torch.get_num_threads()
    return TOKENS_PER_BATCH[device.type]


def has_plain_blocks(transformer):
    """Tell whether this file's forward pass is exact for a transformer of open_clip.

    It is for pre-norm blocks of one self-attention and one MLP, without masks, norms
    or scales of their own. Blocks are told by the weights that they hold and by what
    they make of a few random tokens, not by their class: releases of open_clip differ
    in it.
    """
    blocks = getattr(transformer, "resblocks", None)
    return bool(blocks) and all(map(is_plain, blocks))


def is_plain(block):
    """Tell whether this file's forward pass is exact for a block."""
    if isinstance(getattr(block, "attn", None), Int8Attention):
        return True  # no other block is given one
    if block not in _known:
        _known[block] = _holds_plain_weights(block) and _computes_as_here(block)
    return _known[block]


def _holds_plain_weights(block):
    """Tell whether a block has the weights that are used here, and no others."""
    try:
        width, hidden = block.attn.out_proj.in_features, block.mlp.c_fc.out_features
        expected = {
            "attn.in_proj_weight": (3 * width, width),
            "attn.in_proj_bias": (3 * width,),
            "attn.out_proj.weight": (width, width),
            "attn.out_proj.bias": (width,),
            "mlp.c_fc.weight": (hidden, width),
            "mlp.c_fc.bias": (hidden,),
            "mlp.c_proj.weight": (width, hidden),
            "mlp.c_proj.bias": (width,),
        }
        heads = block.attn.num_heads * block.attn.head_dim
        parts = block.ln_1, block.ln_2, block.ls_1, block.ls_2, block.mlp.gelu
    except AttributeError:
        return False

    names = {"ln_1", "ln_2", "ls_1", "ls_2", "mlp.gelu"}
    weights = {name: tuple(w.shape) for name, w in block.named_parameters()}
    rest = {n: w for n, w in weights.items() if n.rpartition(".")[0] not in names}
    return heads == width and all(map(callable, parts)) and rest == expected


def _computes_as_here(block):
    """Tell whether a block gives a few random tokens the values that this file does."""
    weight = block.attn.in_proj_weight
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(*PROBE, weight.shape[1], generator=generator)
    x = x.to(weight.device, weight.dtype)
    with torch.inference_mode():
        try:
            theirs = block(x.clone())
            ours = run_blocks([block], x)
        except (RuntimeError, TypeError):
            return False
    # Rounding, of TF32 too, stays far below; another attention is 0.05 off or more.
    tolerance = max(3e-3, 4 * torch.finfo(weight.dtype).eps)
    return bool((theirs - ours).abs().max() <= tolerance * ours.abs().max())


def run_blocks(blocks, x, *, causal=False):
    """Run plain blocks over all tokens, of shape (n, n_tokens, width).

    If `causal`, a token sees only itself and those before it.
    """
    if torch.is_grad_enabled():
        for block in blocks:
            q, k, v = _project(block, block.ln_1(x))
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            x = _finish(block, x, _merge_heads(attended))
        return x
    n, n_tokens, width = x.shape
    x = x.reshape(-1, width).clone()
    run_packed_blocks(blocks, x, [(n, n_tokens)], causal=causal)
    return x.view(n, n_tokens, width)


def run_packed_blocks(blocks, x, runs, *, causal=False):
    """Run plain blocks over sequences of several lengths, in place.

    The tokens of all sequences lie one after another in `x`, of shape
    (n_tokens_in_all, width). `runs` says number and length of the sequences that have
    the same length, in order.
    """
    # One piece of memory for the wide activations of all blocks: to allocate it anew
    # costs as much as attention.
    scratch = x.new_empty(len(x) * max(map(_widest, blocks), default=0))
    for block in blocks:
        attention, mlp = block.attn, block.mlp
        qkv = _project_in(attention, block.ln_1(x), memory=scratch)
        attended = _attend(attention, runs, qkv, causal=causal)
        _add_linear(x, attended, attention.out_proj, block.ls_1)
        hidden = _linear(mlp.c_fc, block.ln_2(x), scratch)
        _add_linear(x, _activate(mlp.gelu, hidden), mlp.c_proj, block.ls_2)


def run_last_packed_block(block, x, runs):
    """Run the last block for the last token of each sequence, of shape (n, width).

    `x` and `runs` are as in `run_packed_blocks`. Causal or not is the same here: the
    last token sees all the others.
    """
    width = x.shape[-1]
    lengths = [length for n, length in runs for _ in range(n)]
    last = torch.tensor(lengths, device=x.device).cumsum(0) - 1
    normed = block.ln_1(x)
    q = _project_in(block.attn, normed[last], slice(width))
    kv = _project_in(block.attn, normed, slice(width, None))
    attended = _attend(block.attn, runs, kv, q)
    return _finish(block, x[last], attended)


def _attend(attention, runs, qkv, q_of_last=None, *, causal=False):
    """Let each sequence attend to itself; of all tokens, or of the last ones given."""
    n_parts = 3 if q_of_last is None else 2
    done, first = [], 0
    for n, length in runs:
        part = qkv[: n * length].view(n, length, -1)
        *q, k, v = _split_heads(part, attention, n_parts)
        if q_of_last is not None:
            q = _split_heads(q_of_last[first : first + n][:, None], attention, 1)
        attended = F.scaled_dot_product_attention(q[0], k, v, is_causal=causal)
        done.append(_merge_heads(attended).flatten(0, 1))
        qkv, first = qkv[n * length :], first + n
    return done[0] if len(done) == 1 else torch.cat(done)


def _widest(block):
    return max(3 * block.attn.out_proj.in_features, block.mlp.c_fc.out_features)


def _project_in(attention, x, outputs=slice(None), memory=None):
    """Compute queries, keys and values side by side, or some of them."""
    if isinstance(attention, Int8Attention):
        return attention.in_proj(x, outputs, memory)
    weight, bias = attention.in_proj_weight[outputs], attention.in_proj_bias[outputs]
    if memory is None:
        return F.linear(x, weight, bias)
    return _put_linear(x, weight, bias, memory)


def _linear(linear, x, memory):
    if isinstance(linear, Int8Linear):
        return linear(x, memory=memory)
    return _put_linear(x, linear.weight, linear.bias, memory)


def _put_linear(x, weight, bias, memory):
    out = memory[: len(x) * len(weight)].view(len(x), len(weight))
    return torch.addmm(bias, x, weight.t(), out=out)


def _add_linear(x, y, linear, scale):
    """Add a linear layer of `y` to `x`, in place."""
    if isinstance(scale, nn.Identity) and not isinstance(linear, Int8Linear):
        x.addmm_(y, linear.weight.t()).add_(linear.bias)
    else:
        x.add_(scale(linear(y)))


def _activate(activation, x):
    """Apply the activation of an MLP, in place where its kind is known."""
    if type(activation) is nn.GELU:
        return torch.ops.aten.gelu_(x, approximate=activation.approximate)
    if type(activation).__name__ == "QuickGELU":  # x * sigmoid(1.702 * x)
        return F.silu(x.mul_(1.702), inplace=True).div_(1.702)
    return activation(x)


def run_last_block(block, x, position, *, causal=False):
    """Run the last block for the token at one position of each sequence, (n, width).

    Keys and values are needed of every token; query, output projection and MLP only
    of the one that is read.
    """
    rows = torch.arange(len(x), device=x.device)
    width = x.shape[-1]
    normed = block.ln_1(x)
    here = normed[rows, position][:, None]  # (n, 1, width)
    q = _project_in(block.attn, here, slice(width))
    kv = _project_in(block.attn, normed, slice(width, None))
    (q,), (k, v) = _split_heads(q, block.attn, 1), _split_heads(kv, block.attn, 2)

    mask = None
    if causal:
        seen = torch.arange(x.shape[1], device=x.device) <= position[:, None]
        mask = seen[:, None, None]  # (n, 1, 1, n_tokens)

    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return _finish(block, x[rows, position], _merge_heads(attended)[:, 0])


def _project(block, x):
    return _split_heads(_project_in(block.attn, x), block.attn, 3)


def _split_heads(x, attention, n_parts):
    n, n_tokens, _ = x.shape
    x = x.view(n, n_tokens, n_parts, attention.num_heads, attention.head_dim)
    return x.permute(2, 0, 3, 1, 4)  # (n_parts, n, n_heads, n_tokens, head_dim)


def _merge_heads(x):
    return x.transpose(1, 2).flatten(2)  # (n, n_tokens, width)


def _finish(block, x, attended):
    x = x + block.ls_1(block.attn.out_proj(attended))
    return x + block.ls_2(block.mlp(block.ln_2(x)))
