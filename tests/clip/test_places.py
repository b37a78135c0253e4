"""Windows of towers that average places: one pass, the same embeddings."""

import numpy as np
import pytest
import torch
from small_clip import small_clip
from torch import nn

from skclipad._clip.backbone import load_backbone
from skclipad._clip.parts import see_parts
from skclipad._clip.places import embed_windows, places_grid
from skclipad._clip.vision import IMAGES_PER_THREAD, encode_pixels, pieces
from skclipad.datasets import make_defect_images

TIMM = {"image_size": 64, "timm_model_pretrained": False, "timm_pool": "avg"}
LITE = TIMM | {"timm_model_name": "tf_efficientnet_lite0", "timm_proj": "linear"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lite")
    return small_clip(folder, "ViT-B-32", vision=LITE)


@pytest.fixture
def pixels():
    images = make_defect_images(3, image_size=64, random_state=0).images
    return torch.from_numpy(np.asarray(images))


def test_the_mean_of_places_is_the_embedding_of_the_image(clip, pixels):
    assert places_grid(clip) == (2, 2)
    images, windows = embed_windows(clip, pixels, [1, 2])
    expected = encode_pixels(clip, pixels).numpy()
    np.testing.assert_allclose(images, expected, rtol=1e-3, atol=1e-3)

    np.testing.assert_allclose(windows[1].mean((1, 2)), images, rtol=1e-3, atol=1e-3)
    assert windows[2].shape == (3, 1, 1, 24)
    np.testing.assert_allclose(windows[2][:, 0, 0], images, rtol=1e-3, atol=1e-3)


def test_images_that_take_several_pieces_keep_their_order(clip):
    n_images = 2 * IMAGES_PER_THREAD * torch.get_num_threads() + 1
    images = make_defect_images(n_images, image_size=64, random_state=1).images
    pixels = torch.from_numpy(np.asarray(images))
    assert max(map(len, pieces(clip, pixels))) <= n_images // 2
    alone = torch.cat([encode_pixels(clip, one[None]) for one in pixels])
    assert not torch.allclose(alone, alone.flip(0), rtol=1e-3, atol=1e-3)

    for found in (
        encode_pixels(clip, pixels),
        see_parts(clip, pixels).images,
        torch.from_numpy(embed_windows(clip, pixels, [1])[0]),
    ):
        assert torch.allclose(found, alone, rtol=1e-3, atol=1e-3)


def test_places_lie_where_they_are_seen():
    lite = load_backbone("lite", None, device="cpu")
    images = make_defect_images(3, image_size=224, random_state=0).images
    pixels = torch.from_numpy(np.asarray(images))
    changed = pixels.clone()
    changed[:, :32, -32:] = 255 - changed[:, :32, -32:]  # at the right, above
    before, after = (embed_windows(lite, x, [1])[1][1] for x in (pixels, changed))
    moved = np.linalg.norm(after - before, axis=-1)
    assert moved.shape == (3, 7, 7)
    down, right = np.divmod(moved.reshape(3, -1).argmax(axis=1), 7)
    assert down.max() <= 1 and right.min() >= 5


@pytest.mark.parametrize(
    "vision",
    [
        {"layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        LITE | {"timm_proj": "mlp"},
        {"patch_size": 16},
    ],
)
def test_other_towers_have_no_places(vision, tmp_path):
    assert places_grid(small_clip(tmp_path, "ViT-B-32", vision=vision)) is None


def test_a_tower_whose_places_are_no_mean_has_none(clip):
    class Squared(nn.Module):
        def __init__(self, visual):
            super().__init__()
            self.trunk, self.head = visual.trunk, visual.head

        def forward(self, x):
            return self.head(self.trunk(x) ** 2)

    opened, model = clip.model.visual, clip.model
    other = nn.Module()  # what is known of one model is not asked again
    other.visual = Squared(opened)
    vars(clip)["model"] = other
    try:
        assert places_grid(clip) is None
    finally:
        vars(clip)["model"] = model
