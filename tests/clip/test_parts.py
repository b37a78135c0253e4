"""Features of parts, from every kind of tower: their shapes, and one pass for all."""

import numpy as np
import pytest
import torch
from small_clip import cosines, small_clip

from skclipad._clip.features import stream_features
from skclipad._clip.parts import joined, neighbourhoods, see_parts, spread_depths
from skclipad._clip.preparation import ImageOptions
from skclipad._clip.vision import encode_pixels
from skclipad._storage.store import open_store

TIMM = {"timm_model_pretrained": False, "timm_pool": "avg", "timm_proj": "linear"}
TOWERS = {
    # like, vision, grid, number of depths
    "vit": ("ViT-B-32", {"image_size": 64, "layers": 8}, (8, 8), 4),
    "averaged": (
        "ViT-B-32",
        {"image_size": 64, "layers": 2, "pool_type": "avg"},
        (8, 8),
        2,
    ),
    "coca": (
        "coca_ViT-B-32",
        {"image_size": 64, "attn_pooler_heads": 4},
        (8, 8),
        3,
    ),
    "resnet": (
        "RN50",
        {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        (4, 4),
        2,
    ),
    "efficientnet": (
        "ViT-B-32",
        {"image_size": 64, "timm_model_name": "tf_efficientnet_lite0", **TIMM},
        (4, 4),
        2,
    ),
    "convnext": (
        "ViT-B-32",
        {"image_size": 64, "timm_model_name": "convnext_atto", **TIMM},
        (4, 4),
        2,
    ),
    "timm vit": (
        "ViT-B-32",
        {"image_size": 160, "timm_model_name": "test_vit", **TIMM},
        (10, 10),
        4,
    ),
}


@pytest.fixture(scope="module", params=TOWERS)
def tower(request, tmp_path_factory):
    like, vision, grid, n_depths = TOWERS[request.param]
    folder = tmp_path_factory.mktemp(request.param.replace(" ", "-"))
    return small_clip(folder, like, vision=vision), grid, n_depths


def images(n, clip):
    size = (n, *clip.image_size, 3)
    return np.random.default_rng(0).integers(0, 256, size, np.uint8)


def test_every_tower_gives_parts_and_the_embedding_in_one_pass(tower):
    clip, grid, n_depths = tower
    pixels = torch.from_numpy(images(3, clip))
    seen = see_parts(clip, pixels)
    assert len(seen.depths) == n_depths
    for depth in seen.depths:
        assert depth.shape[:3] == (3, *grid)
    assert cosines(seen.images.numpy(), encode_pixels(clip, pixels).numpy()).min() > (
        1 - 1e-5
    )
    parts = joined(seen.depths)
    assert torch.allclose(parts.norm(dim=-1), torch.tensor(n_depths**0.5))
    assert parts.shape[-1] == sum(depth.shape[-1] for depth in seen.depths)


def test_parts_lie_where_they_are_seen(tower):
    clip, grid, _ = tower
    pair = np.repeat(images(1, clip), 2, axis=0)
    quarter = clip.image_size[0] // 4
    corner = np.s_[1, :quarter, -quarter:]  # at the right, above
    pair[corner] = 255 - pair[corner]
    # The first depth: of random weights the deeper ones see the whole small image.
    first, second = see_parts(clip, torch.from_numpy(pair)).depths[0].numpy()
    change = np.linalg.norm(first - second, axis=-1)
    down, right = np.unravel_index(change.argmax(), grid)
    assert down < grid[0] / 2 <= right


def test_a_stream_gives_views_and_depths_from_one_reading(tower, tmp_path):
    clip, grid, _ = tower
    pictures = images(3, clip)
    plain = [one.views for one in stream_features(clip, pictures, ImageOptions())]
    options = ImageOptions(parts=("depths",), store=open_store(tmp_path / "kept"))
    first, again = (list(stream_features(clip, pictures, options)) for _ in range(2))
    for one, other, views in zip(first, again, plain, strict=True):
        assert one.depths.shape[:2] == grid and one.depths.dtype == np.float16
        np.testing.assert_allclose(one.views, views, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(one.depths, other.depths)
        np.testing.assert_array_equal(one.digest, other.digest)
        assert (one.size, one.box) == (other.size, other.box)
        assert one.size == clip.image_size == one.box[2:]
    assert (first[0].digest != first[1].digest).any()


def test_patches_of_every_tower_need_no_crops(tower):
    clip, grid, _ = tower
    options = ImageOptions(parts=("patches",))
    (one,) = stream_features(clip, images(1, clip), options)
    assert set(one.parts) == {1} and one.parts[1].shape[:2] == grid
    assert one.depths is None


def test_depths_are_spread_evenly():
    assert spread_depths(24) == [5, 11, 17, 23]
    assert spread_depths(1) == [0]


def test_squares_of_tokens_are_no_longer_than_a_third(tower):
    clip, grid, n_depths = tower
    is_pyramid = n_depths == 2 and grid == (4, 4)
    assert neighbourhoods(clip, (8, 8)) == (1,)
    assert neighbourhoods(clip, (15, 15)) == ((1,) if is_pyramid else (1, 3, 5))


def test_a_tower_that_shows_nothing_is_refused_by_name(tower):
    clip, *_ = tower

    class Closed(torch.nn.Module):
        image_size = 64

    opened, clip.model.visual = clip.model.visual, Closed()
    try:
        with pytest.raises(ValueError, match=f"{clip.model_name}.*Closed.*n_shots=0"):
            list(
                stream_features(clip, images(1, clip), ImageOptions(parts=("depths",)))
            )
    finally:
        clip.model.visual = opened
