"""The image tower: pixels to embeddings."""

import torch
from torch import nn

from skclipad._clip.transformer import (
    has_plain_blocks,
    run_blocks,
    run_last_block,
    tokens_per_batch,
)

IMAGES_PER_THREAD = 3
"""A convolutional tower on a CPU takes so many images for each thread at once: of more,
what one layer leaves does not stay in the cache until the next reads it."""


def encode_pixels(clip, pixels):
    """Embed images that already have the tower's size.

    Parameters
    ----------
    clip : Backbone
        The frozen CLIP.
    pixels : torch.Tensor of shape (n, height, width, 3), dtype uint8
        Images.

    Returns
    -------
    torch.Tensor of shape (n, C_e), dtype float32
        Raw embeddings on the clip's device, as open_clip's ``encode_image``. A GPU
        may still be computing them.
    """
    with torch.inference_mode():
        encode = _class_token if reads_class_token(clip.model.visual) else _whole_tower
        embedded = [encode(clip, piece) for piece in pieces(clip, pixels)]
        return torch.cat(embedded).float()


def pieces(clip, pixels):
    """Split images into as many at once as the device computes fastest.

    Parameters
    ----------
    clip : Backbone
        The frozen CLIP.
    pixels : torch.Tensor of shape (n, height, width, 3)
        Images, one at least.

    Returns
    -------
    tuple of torch.Tensor
        The images in order, in pieces of nearly the same size.
    """
    visual, n_pieces = clip.model.visual, 1
    if reads_class_token(visual):
        n_tokens = len(pixels) * len(visual.positional_embedding)
        n_pieces = -(-n_tokens // tokens_per_batch(clip.device))
    elif clip.device.type == "cpu" and _is_convolutional(visual):
        n_pieces = -(-len(pixels) // (IMAGES_PER_THREAD * torch.get_num_threads()))
    return pixels.tensor_split(min(n_pieces, len(pixels)))


def _is_convolutional(visual):
    # A ViT has one convolution, which cuts images into patches.
    return sum(isinstance(layer, nn.Conv2d) for layer in visual.modules()) > 4


def normalized(clip, pixels):
    """Bring images to the device and normalise their channels.

    Parameters
    ----------
    clip : Backbone
        The frozen CLIP.
    pixels : torch.Tensor of shape (n, height, width, 3), dtype uint8
        Images.

    Returns
    -------
    torch.Tensor of shape (n, 3, height, width)
        What the image tower reads.
    """
    # Elsewhere the pixels could be gone before they are copied.
    is_cuda = clip.device.type == "cuda"
    if is_cuda:
        pixels = pixels.pin_memory()
    x = pixels.to(clip.device, non_blocking=is_cuda).permute(0, 3, 1, 2)
    mean = torch.tensor(clip.mean, device=clip.device).view(3, 1, 1)
    std = torch.tensor(clip.std, device=clip.device).view(3, 1, 1)
    return x.float().div_(255).sub_(mean).div_(std).to(clip.dtype)


def reads_class_token(visual):
    """Tell whether an image tower is a plain ViT read at its class token.

    Parameters
    ----------
    visual : torch.nn.Module
        ``model.visual`` of an open_clip model.

    Returns
    -------
    bool
        True if the last block is needed for the class token alone.
    """
    return (
        getattr(visual, "pool_type", None) == "tok"
        and getattr(visual, "attn_pool", None) is None
        and hasattr(visual, "class_embedding")
        and not visual.output_tokens
        and has_plain_blocks(visual.transformer)
    )


def patch_tokens(visual, x):
    """Cut images into tokens, as open_clip's ``VisionTransformer`` does.

    Parameters
    ----------
    visual : torch.nn.Module
        A ViT of open_clip.
    x : torch.Tensor of shape (n, 3, height, width)
        Normalised images.

    Returns
    -------
    torch.Tensor of shape (n, 1 + n_patches, width)
        Class token and patch tokens before the first block.
    """
    x = visual.conv1(x).flatten(2).transpose(1, 2)  # (n, n_patches, width)
    class_token = visual.class_embedding.to(x.dtype).expand(len(x), 1, -1)
    x = torch.cat([class_token, x], dim=1)
    return visual.ln_pre(x + visual.positional_embedding.to(x.dtype))


def _whole_tower(clip, pixels):
    return clip.model.encode_image(normalized(clip, pixels), normalize=False)


def _class_token(clip, pixels):
    visual = clip.model.visual
    *blocks, last = visual.transformer.resblocks
    x = run_blocks(blocks, patch_tokens(visual, normalized(clip, pixels)))
    first = torch.zeros(len(x), dtype=torch.long, device=x.device)
    x = visual.ln_post(run_last_block(last, x, first))  # (n, width)
    return x if visual.proj is None else x @ visual.proj
