"""Linear layers and attention whose products are of numbers of 8 bits.

A weight has a scale for each output, an activation one for each token. Trained CLIPs
have single tokens with values much larger than those of others: with one scale for all
they would leave the others only a few of the 255 steps, and what an image gets would
depend on what else is in its batch. Neither happens here.
"""

import torch
from torch import nn
from torch.nn import functional as F

LARGEST = 127
SMALLEST = torch.finfo(torch.float32).tiny  # of a scale: rows of zeros have one, too


class Int8Linear(nn.Module):
    """A linear layer with weights of 8 bits.

    Parameters
    ----------
    weight : torch.Tensor of shape (out_features, in_features), dtype float32
        Weight to be rounded.
    bias : torch.Tensor of shape (out_features,) or None
        Kept as it is.
    """

    def __init__(self, weight, bias):
        super().__init__()
        self.out_features, self.in_features = weight.shape
        values, scale = rounded(weight.detach())
        self.register_buffer("values", values)
        self.register_buffer("scale", scale[:, 0])
        bias = torch.zeros_like(self.scale) if bias is None else bias.detach()
        self.register_buffer("bias", bias)

    @property
    def weight(self):
        """The weight that is computed with; code of others looks for its dtype."""
        return self.values * self.scale[:, None]

    def forward(self, x, outputs=slice(None), memory=None):
        """Compute some of the outputs of x, of shape (..., in_features).

        `memory` is where they are put, a vector of float32 that has room for them.
        """
        values, scale, bias = (
            kept[outputs] for kept in (self.values, self.scale, self.bias)
        )
        x_values, x_scale = rounded(x.reshape(-1, self.in_features))
        shape = len(x_values), len(values)
        if memory is None:
            memory = x_scale.new_empty(shape[0] * shape[1])
        out = memory[: shape[0] * shape[1]].view(shape)

        # The sums are put where the outputs will be, which have as many bytes each.
        sums = torch._int_mm(x_values, values.t(), out=out.view(torch.int32))
        out.copy_(sums).mul_(x_scale)
        torch.addcmul(bias, out, scale, out=out)
        return out.view(*x.shape[:-1], -1)


class Int8Attention(nn.Module):
    """Attention of a plain block of open_clip to itself, with weights of 8 bits.

    Parameters
    ----------
    attention : torch.nn.Module
        That of a block that `skclipad._clip.transformer.is_plain` knows.
    """

    def __init__(self, attention):
        super().__init__()
        self.num_heads, self.head_dim = attention.num_heads, attention.head_dim
        self.in_proj = Int8Linear(attention.in_proj_weight, attention.in_proj_bias)
        out_proj = attention.out_proj
        self.out_proj = Int8Linear(out_proj.weight, out_proj.bias)

    def forward(self, x, k_x=None, v_x=None, need_weights=None, attn_mask=None):
        """Attend, for towers that open_clip itself runs; k_x and v_x are x."""
        n = len(x)
        if attn_mask is not None and attn_mask.ndim == 3:
            attn_mask = attn_mask.unflatten(0, (n, self.num_heads))
        qkv = self.in_proj(x).unflatten(-1, (3, self.num_heads, self.head_dim))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (n, n_heads, n_tokens, head_dim) each
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        out = self.out_proj(attended.transpose(1, 2).flatten(2))
        # torch's attention is asked about weights and gives them; open_clip's is not.
        return out if need_weights is None else (out, None)


def rounded(x):
    """Round the rows of a matrix to 8 bits.

    Parameters
    ----------
    x : torch.Tensor of shape (n, width), dtype float32
        Weights, or tokens.

    Returns
    -------
    values : torch.Tensor of shape (n, width), dtype int8
        From -127 to 127.
    scale : torch.Tensor of shape (n, 1), dtype float32
        What a value of 1 stands for in each row.
    """
    largest = torch.maximum(x.amax(1, keepdim=True), -x.amin(1, keepdim=True))
    scale = largest.div_(LARGEST).clamp_(min=SMALLEST)
    return (x / scale).round_().to(torch.int8), scale
