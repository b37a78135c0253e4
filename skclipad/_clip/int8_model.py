"""A loaded model brought to 8 bits, or the reason why it cannot be."""

from time import perf_counter

import torch
from torch import nn

from skclipad._clip.int8 import LARGEST, Int8Attention, Int8Linear
from skclipad._clip.precision import FAST_INT8, cpu_units
from skclipad._clip.transformer import is_plain

LEAST_SHARE = 0.5
"""Of a tower's weights that must become 8 bits: below, too little gets faster."""

SMALLEST = 1e-6
"""Size that a channel of zeros counts as, since it is divided by."""

PROBE = (256, 512, 512)
"""Rows, columns and depth of the products on which a machine is tried."""

SLOWEST = 10
"""Times that a product in 8 bits may take of one in single precision; code for
processors without units takes a hundred times. It is timed only where no units are
known of: on a busy machine a short product may take any time."""


def to_int8(model, name):
    """Round the weights of both towers to 8 bits, in place.

    Rounded are linear layers inside the blocks that a tower repeats, and the attention
    of open_clip's plain blocks. What stands before and after the blocks (patches,
    embeddings of tokens, norms, the last projection) stays in single precision.

    Parameters
    ----------
    model : torch.nn.Module
        A model of open_clip on a CPU, in single precision.
    name : str
        What its user calls it.

    Raises
    ------
    ValueError
        If this machine cannot multiply such numbers fast and exactly, or a tower
        consists of something else. The model is as it was.
    """
    _check_products()
    towers = {"image": model.visual, "text": getattr(model, "text", None)}
    towers["text"] = towers["text"] or model.transformer

    found = {tower: list(_layers(towers[tower])) for tower in towers}
    for tower, layers in found.items():
        _check_share(tower, towers[tower], [layer for *_, layer in layers], name)
    for parent, child, layer in [one for layers in found.values() for one in layers]:
        if not isinstance(layer, nn.Linear):  # the attention of a plain block
            _even_out(parent.ln_1, layer.in_proj_weight)
            _even_out(parent.ln_2, parent.mlp.c_fc.weight)
        # One after another, so that at no time all weights are there twice.
        setattr(parent, child, _replacement(layer))


def _layers(parent, in_block=False):
    """Yield what is to be replaced: where it is, its name there, and itself."""
    for name, child in parent.named_children():
        if name == "attn" and hasattr(parent, "mlp") and is_plain(parent):
            yield parent, name, child
        elif in_block and type(child) is nn.Linear:
            yield parent, name, child
        elif not isinstance(child, nn.MultiheadAttention):  # it reads its own weights
            yield from _layers(child, in_block or name.isdecimal())


def _even_out(norm, weight):
    """Make the channels between a norm and a weight alike in size, in place.

    A channel that a norm makes a hundred times larger than others would leave these few
    of the steps that a token has. What it has more of is shared with the weight, half
    and half, which computes the same. Plain blocks of open_clip alone get it: it must
    be known that nothing else reads what the norm gives.
    """
    if not isinstance(norm, nn.LayerNorm) or norm.bias is None:
        return
    with torch.no_grad():
        size = torch.hypot(norm.weight, norm.bias)  # root mean square of the channel
        largest = weight.abs().amax(0)
        scale = (size.clamp(min=SMALLEST) / largest.clamp(min=SMALLEST)).sqrt()
        norm.weight /= scale
        norm.bias /= scale
        weight *= scale


def _replacement(layer):
    if isinstance(layer, nn.Linear):
        return Int8Linear(layer.weight, layer.bias)
    return Int8Attention(layer)


def _check_share(tower, module, layers, name):
    share = _n_weights(layers) / _n_weights([module])
    if share < LEAST_SHARE:
        raise ValueError(
            f"Got precision='int8' for {name!r}, but of the weights of its {tower} "
            f"tower {share:.0%} lie in linear layers of repeated blocks, which alone "
            "are computed in 8 bits: it would hardly get faster. Stay with "
            "precision='fp32', or take a model whose towers are transformers, such as "
            "'ViT-B-16-plus-240'."
        )


def _n_weights(modules):
    """Count the weights that are multiplied with, not those that are looked up."""
    return sum(
        parameter.numel()
        for module in modules
        for part in module.modules()
        if not isinstance(part, nn.Embedding)
        for parameter in part.parameters(recurse=False)
        if parameter.ndim > 1
    )


def _check_products():
    """Refuse a machine whose products in 8 bits are wrong or slow."""
    n, m, depth = PROBE
    # Largest values: some processors lose what does not fit 16 bits on the way.
    x = torch.full((n, depth), LARGEST, dtype=torch.int8)
    weight = torch.full((m, depth), LARGEST, dtype=torch.int8)
    weight[1::2] *= -1
    expected = torch.full((n, m), depth * LARGEST**2, dtype=torch.int32)
    expected[:, 1::2] *= -1
    try:
        found = torch._int_mm(x, weight.t())
    except (AttributeError, NotImplementedError, RuntimeError) as e:
        raise ValueError(
            f"Got precision='int8', but torch {torch.__version__} has no product of "
            f"matrices of 8 bits on this processor ({e}). Install a newer torch, or "
            "stay with precision='fp32'."
        ) from e

    if not torch.equal(found, expected):
        raise ValueError(
            "Got precision='int8', but on this processor torch's products of 8 bits "
            "are wrong for large values, as on those without units for them (VNNI). "
            "Stay with precision='fp32'."
        )
    if set(FAST_INT8) & set(cpu_units() or ()):
        return
    times = _seconds(torch._int_mm, x, weight) / _seconds(
        torch.mm, x.float(), weight.float()
    )
    if times > SLOWEST:
        raise ValueError(
            f"Got precision='int8', but on this processor a product of 8 bits takes "
            f"{times:.0f} times as long as one in single precision: it has no units "
            "for them (VNNI), or torch does not use them. Stay with "
            "precision='fp32'."
        )


def _seconds(product, x, weight):
    """Time a product of matrices: the best of five, since others work here, too."""
    taken = []
    for _ in range(5):
        start = perf_counter()
        product(x, weight.t())
        taken.append(perf_counter() - start)
    return min(taken)
