"""Transformer blocks as open_clip's main branch has them since version 3.3.

Their attention is open_clip's own module, not ``torch.nn.MultiheadAttention``; it takes
queries, keys and values apart and gives no weights back. Names and shapes of what it
holds are as before, so that both kinds read the same files.
"""

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention; `scale` stands for what a release could change of it."""

    def __init__(self, width, n_heads, scale=1.0):
        super().__init__()
        self.num_heads, self.head_dim = n_heads, width // n_heads
        self.scale = scale * self.head_dim**-0.5
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
            setattr(self, name, None)  # of its cross-attention
        self.ln_q, self.ln_k, self.ln_inner = (nn.Identity() for _ in range(3))
        self.attn_drop, self.out_drop = nn.Dropout(0.0), nn.Dropout(0.0)
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x, k_x=None, v_x=None, attn_mask=None):
        sources = (x, x if k_x is None else k_x, x if v_x is None else v_x)
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (
            F.linear(*parts).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for parts in zip(sources, weights, biases, strict=True)
        )
        attended = F.scaled_dot_product_attention(
            self.ln_q(q), self.ln_k(k), v, attn_mask=attn_mask, scale=self.scale
        )
        merged = self.ln_inner(attended.transpose(1, 2).flatten(2))
        return self.out_drop(self.out_proj(merged))


class Scale(nn.Module):
    """What open_clip calls a layer scale."""

    def __init__(self, width, value):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), value))

    def forward(self, x):
        return x * self.gamma


class ResidualAttentionBlock(nn.Module):
    """A block that takes the arguments of open_clip 3's, and holds its weights."""

    scale = 1.0

    def __init__(
        self,
        d_model,
        n_head,
        mlp_ratio=4.0,
        ls_init_value=None,
        act_layer=nn.GELU,
        norm_layer=nn.LayerNorm,
        is_cross_attention=False,
        batch_first=True,
    ):
        super().__init__()
        hidden = int(d_model * mlp_ratio)
        self.ln_1, self.ln_2 = norm_layer(d_model), norm_layer(d_model)
        self.attn = Attention(d_model, n_head, self.scale)
        self.ls_1, self.ls_2 = (
            nn.Identity() if ls_init_value is None else Scale(d_model, ls_init_value)
            for _ in range(2)
        )
        if is_cross_attention:
            self.ln_1_kv = norm_layer(d_model)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(d_model, hidden))
        self.mlp.add_module("gelu", act_layer())
        self.mlp.add_module("c_proj", nn.Linear(hidden, d_model))

    def get_weight_dtype(self):
        return self.mlp.c_fc.weight.dtype

    def forward(self, q_x, k_x=None, v_x=None, attn_mask=None):
        if k_x is not None:
            k_x, v_x = self.ln_1_kv(k_x), self.ln_1_kv(v_x)
        mask = None if attn_mask is None else attn_mask.to(q_x.dtype)
        attended = self.attn(self.ln_1(q_x), k_x=k_x, v_x=v_x, attn_mask=mask)
        x = q_x + self.ls_1(attended)
        return x + self.ls_2(self.mlp(self.ln_2(x)))


class SharperBlock(ResidualAttentionBlock):
    """A block with all the same weights that computes something else of them."""

    scale = 2.0
