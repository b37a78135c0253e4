"""Convolutional towers with less to do: the same embeddings."""

import warnings

import open_clip
import pytest
import timm
import torch
from torch import nn

from skclipad._clip.backbone import load_backbone
from skclipad._clip.folding import folded
from skclipad._clip.sources import BUNDLED
from skclipad._clip.vision import encode_pixels


@pytest.fixture
def images():
    return torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def with_statistics(model):
    """Let batch norms be as in a trained model: no mean is 0, no deviation 1."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            shape = module.running_mean.shape
            module.running_mean.copy_(0.1 * torch.randn(shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(shape, generator=generator))
            module.weight.data.copy_(0.5 + torch.rand(shape, generator=generator))
            module.bias.data.copy_(0.1 * torch.randn(shape, generator=generator))
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize(
    "name, padded",
    [("tf_efficientnet_lite0", True), ("resnet18", False), ("regnetx_002", False)],
)
def test_embeddings_stay_and_norms_go(name, padded, images):
    torch.manual_seed(0)
    tower = with_statistics(timm.create_model(name, num_classes=8))
    faster = folded(tower, (64, 64))
    assert torch.allclose(faster(images), tower(images), rtol=1e-4, atol=1e-4)

    kinds = [type(module).__name__ for module in faster.modules()]
    assert sum("BatchNorm" in kind for kind in kinds) < 5
    assert ("Conv2dSame" in {type(m).__name__ for m in tower.modules()}) == padded
    assert "Conv2dSame" not in kinds


def test_other_sizes_pad_as_before():
    # 30 pixels become 15: an odd length has other padding.
    torch.manual_seed(0)
    tower = with_statistics(timm.create_model("tf_efficientnet_lite0", num_classes=8))
    images = torch.randn(2, 3, 30, 30)
    found = folded(tower, (30, 30))(images)
    assert torch.allclose(found, tower(images), rtol=1e-4, atol=1e-4)


class Shuffled(nn.Module):
    """A norm that is registered after a convolution, but does not follow it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return self.conv(self.norm(x)).mean((2, 3))


@pytest.mark.parametrize("kind", [Shuffled, lambda: nn.Flatten()])
def test_a_tower_of_another_order_is_left_as_it_is(kind):
    tower = with_statistics(kind())
    assert folded(tower, (16, 16)) is tower


def test_lite_is_folded_and_embeds_as_open_clip(images):
    clip = load_backbone("lite", None, device="cpu")
    kinds = {type(module).__name__ for module in clip.model.visual.modules()}
    assert not kinds & {"BatchNormAct2d", "Conv2dSame"}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = open_clip.create_model(f"local-dir:{BUNDLED['lite']}").eval()
    pixels = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    x = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        expected = plain.encode_image(x)
    assert torch.allclose(encode_pixels(clip, pixels), expected, atol=1e-4)
