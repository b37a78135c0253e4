"""Features of windows: what a tower says of its own tokens, no more and no fewer."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.base import clone
from stores import sqlite
from streams import stream_windows

from skclipad import CLIPImageEmbedder, ImageReadError, RandomWordCLIPDetector
from skclipad._clip import features as features_module
from skclipad._clip import preparation
from skclipad._clip.backbone import load_backbone
from skclipad._clip.windows import CROP_GRID
from skclipad._images.reading import read_image

TEXT = {
    "context_length": 77,
    "vocab_size": 49408,  # of open_clip's own tokenizer
    "width": 32,
    "heads": 2,
    "layers": 1,
}
VISION = {
    "vit": {"layers": 3, "width": 32, "head_width": 16, "patch_size": 8},
    "averaged": {
        "layers": 2,
        "width": 32,
        "head_width": 16,
        "patch_size": 8,
        "pool_type": "avg",
    },
    "resnet": {"layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
}
HEIGHT, WIDTH, PATCH = 32, 40, 8
ROWS, COLUMNS = HEIGHT // PATCH, WIDTH // PATCH


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    """Random weights, and norms and positions that are no zeros and ones."""
    loaded = {}
    for name, vision in VISION.items():
        folder = tmp_path_factory.mktemp(name)
        size = 64 if name == "resnet" else [HEIGHT, WIDTH]
        config = {
            "embed_dim": 24,
            "vision_cfg": {"image_size": size, **vision},
            "text_cfg": TEXT,
        }
        torch.manual_seed(0)
        state = open_clip.model.CLIP(**config).state_dict()
        for key, tensor in state.items():
            if tensor.is_floating_point() and "running" not in key:
                tensor += 0.3 * torch.randn_like(tensor)
        state = {key: tensor.contiguous() for key, tensor in state.items()}
        save_file(state, folder / "open_clip_model.safetensors")
        described = {
            "model_cfg": config,
            "preprocess_cfg": {"mean": [0.4] * 3, "std": [0.3] * 3},
        }
        (folder / "open_clip_config.json").write_text(json.dumps(described))
        name_of_folder = f"local-dir:{folder}"
        loaded[name] = load_backbone(
            name_of_folder, None, device="cpu", precision="fp32"
        )
    return loaded


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 256, (3, 50, 60, 3), dtype=np.uint8))


def model_input(backbone, picture):
    """Preprocess as open_clip would, squashed: shape (1, 3, height, width)."""
    height, width = backbone.image_size
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
    x = torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
    return ((x - 0.4) / 0.3)[None]


@torch.inference_mode()
def encode_alone(visual, x, kept):
    """Run open_clip's own modules on the class token and the patches `kept`."""
    patches = visual.conv1(x).flatten(2).transpose(1, 2)  # (1, n_patches, width)
    tokens = torch.cat([visual.class_embedding.view(1, 1, -1), patches], dim=1)
    tokens = tokens + visual.positional_embedding
    tokens = tokens[:, [0, *(1 + patch for patch in kept)]]
    tokens = visual.transformer(visual.ln_pre(tokens))
    return (visual.ln_post(tokens[:, 0]) @ visual.proj)[0].numpy()


def test_each_window_is_the_tower_run_on_its_tokens_alone(backbones, pictures):
    backbone = backbones["vit"]
    visual = backbone.model.visual
    for picture, features in zip(
        pictures, stream_windows(backbone, pictures), strict=True
    ):
        x = model_input(backbone, picture)
        assert set(features.parts) == {2, 3}
        for side, found in features.parts.items():
            assert found.shape == (ROWS - side + 1, COLUMNS - side + 1, 24)
            for down in range(found.shape[0]):
                for right in range(found.shape[1]):
                    kept = [
                        (down + i) * COLUMNS + right + j
                        for i in range(side)
                        for j in range(side)
                    ]
                    expected = encode_alone(visual, x, kept)
                    np.testing.assert_allclose(
                        found[down, right], expected, rtol=1e-4, atol=1e-4
                    )


def test_windows_differ_by_their_place_and_by_their_picture(backbones, pictures):
    same = [np.full((50, 60, 3), 90, np.uint8)] + pictures[:1]
    flat, other = stream_windows(backbones["vit"], same)
    places = flat.parts[2].reshape(-1, 24)
    assert np.unique(places.round(4), axis=0).shape[0] == len(places)
    assert not np.allclose(flat.parts[2], other.parts[2], atol=1e-2)


@pytest.mark.parametrize("patches", [False, True])
@pytest.mark.parametrize("name", ["vit", "averaged", "resnet"])
def test_the_whole_picture_has_the_embedding_of_encode_image(
    backbones, pictures, name, patches
):
    backbone = backbones[name]
    x = torch.cat([model_input(backbone, picture) for picture in pictures])
    with torch.inference_mode():
        expected = backbone.model.encode_image(x).numpy()
    found = [f.image for f in stream_windows(backbone, pictures, patches=patches)]
    # The numbers of the ResNet are in the thousands.
    atol = max(1e-4, 1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=atol)


def test_patch_tokens_are_those_of_open_clip(backbones, pictures):
    backbone = backbones["vit"]
    features = list(stream_windows(backbone, pictures, patches=True))
    x = torch.cat([model_input(backbone, picture) for picture in pictures])
    visual = backbone.model.visual
    visual.output_tokens = True
    try:
        with torch.inference_mode():
            _, expected = visual(x)
    finally:
        visual.output_tokens = False
    for one, tokens in zip(features, expected.numpy(), strict=True):
        assert one.parts[1].shape == (ROWS, COLUMNS, 32)
        np.testing.assert_allclose(
            one.parts[1].reshape(-1, 32), tokens, rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", ["averaged", "resnet"])
def test_towers_without_a_class_token_see_resized_crops(backbones, pictures, name):
    backbone = backbones[name]
    (features,) = stream_windows(backbone, pictures[:1])
    assert set(features.parts) == {2, 3}
    picture = Image.fromarray(pictures[0])
    height, width = backbone.image_size
    for side, found in features.parts.items():
        n = CROP_GRID - side + 1
        assert found.shape == (n, n, 24)
        for down, right in ((0, 0), (1, 2), (n - 1, n - 1)):
            box = np.array([right, down, right + side, down + side]) / CROP_GRID
            crop = picture.resize(
                (width, height),
                Image.Resampling.BICUBIC,
                tuple(box * [60, 50, 60, 50]),
            )
            x = torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None].float() / 255
            with torch.inference_mode():
                expected = backbone.model.encode_image((x - 0.4) / 0.3)[0].numpy()
            np.testing.assert_allclose(
                found[down, right], expected, rtol=1e-3, atol=1e-3
            )


@pytest.mark.parametrize("limit", [1, 30, 10_000])
def test_the_size_of_batches_changes_nothing(backbones, pictures, limit, monkeypatch):
    backbone = backbones["vit"]
    one_by_one = [
        next(stream_windows(backbone, [picture], patches=True)) for picture in pictures
    ]
    monkeypatch.setattr("skclipad._clip.windows.TOKENS_PER_BATCH", {"cpu": limit})
    for n in (1, 2, 8):
        together = stream_windows(backbone, pictures, patches=True, batch_size=n)
        for expected, found in zip(one_by_one, together, strict=True):
            for side, part in expected.parts.items():
                np.testing.assert_allclose(found.parts[side], part, atol=1e-5)


def test_no_token_is_computed_that_no_window_needs(backbones, pictures):
    """Count what each second norm sees: in the last block class tokens alone."""
    backbone = backbones["vit"]
    seen = []
    handles = [
        block.ln_2.register_forward_hook(
            lambda module, args, output: seen.append(output[..., 0].numel())
        )
        for block in backbone.model.visual.transformer.resblocks
    ]
    list(stream_windows(backbone, pictures))
    for handle in handles:
        handle.remove()
    n_windows = {side: (ROWS - side + 1) * (COLUMNS - side + 1) for side in (2, 3)}
    tokens = sum(n * (1 + side**2) for side, n in n_windows.items())
    whole = 1 + ROWS * COLUMNS
    a_picture = 2 * (tokens + whole) + sum(n_windows.values()) + 1  # three blocks
    assert sum(seen) == len(pictures) * a_picture


@pytest.mark.parametrize(
    ("resize_mode", "box"),
    [
        ("squash", (0, 0, 80, 20)),
        ("shortest", (27.5, 0, 52.5, 20)),
        ("longest", (0, -22, 80, 42)),
    ],
)
def test_the_box_says_what_the_grid_covers(backbones, resize_mode, box):
    picture = np.zeros((20, 80, 3), np.uint8)
    (features,) = stream_windows(backbones["vit"], [picture], resize_mode=resize_mode)
    assert features.size == (80, 20)
    assert features.box == pytest.approx(box)


@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_a_bad_picture_is_named_or_none(backbones, pictures, name, tmp_path):
    backbone = backbones[name]
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    mixed = [pictures[0], bad, pictures[1]]
    with pytest.raises(ImageReadError, match=r"Image 1 .*bad\.png"):
        list(stream_windows(backbone, mixed))
    first, second, third = stream_windows(backbone, mixed, on_error="nan")
    assert second is None
    alone = list(stream_windows(backbone, pictures[:2]))
    for found, expected in ((first, alone[0]), (third, alone[1])):
        np.testing.assert_allclose(found.parts[3], expected.parts[3], atol=1e-5)
    assert list(stream_windows(backbone, [bad, bad], on_error="nan")) == [None, None]


def test_pictures_are_read_a_few_ahead_not_all_at_once(backbones, pictures):
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield pictures[0]

    stream = stream_windows(backbones["vit"], endless(), batch_size=2)
    next(stream)
    assert len(taken) < 10
    stream.close()


def test_files_and_arrays_have_the_same_features(backbones, pictures, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pictures[0]).save(path)
    from_file, from_array = stream_windows(
        backbones["vit"], [path, read_image(pictures[0])]
    )
    np.testing.assert_allclose(from_file.parts[2], from_array.parts[2], atol=1e-5)


@pytest.fixture
def computed(monkeypatch):
    """Count the images that go through the tower."""
    counts = []

    def counted(compute):
        def counting(*args, **options):
            counts.append(len(args[1]) if len(args) > 1 else 1)
            return compute(*args, **options)

        return counting

    for name in ("token_features", "crop_features"):
        compute = getattr(features_module, name)
        monkeypatch.setattr(features_module, name, counted(compute))
    return counts


@pytest.mark.parametrize("patches", [False, True])
@pytest.mark.parametrize("resize_mode", ["squash", "shortest", "longest"])
@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_a_store_gives_the_very_features(
    backbones, pictures, name, resize_mode, patches, store, computed
):
    def stream():
        how = {"patches": patches, "resize_mode": resize_mode, "store": store}
        return list(stream_windows(backbones[name], pictures, batch_size=2, **how))

    first = stream()
    assert sum(computed) == len(pictures)
    for one, again in zip(first, stream(), strict=True):
        assert (one.size, one.box) == (again.size, again.box)
        np.testing.assert_array_equal(one.image, again.image)
        assert list(one.parts) == list(again.parts)
        for side, part in one.parts.items():
            np.testing.assert_array_equal(part, again.parts[side])
    assert sum(computed) == len(pictures)


def test_a_store_gives_no_features_of_another_kind(
    backbones, pictures, store, computed, monkeypatch
):
    def n_computed(name="vit", **how):
        before = sum(computed)
        list(stream_windows(backbones[name], pictures, store=store, **how))
        return sum(computed) - before

    assert n_computed() == 3
    assert n_computed(patches=True) == 3
    assert n_computed(resize_mode="longest") == 3
    assert n_computed("resnet") == 3
    for module, name in (
        ("_clip.preparation", "FEATURES"),
        ("_images.reading", "READING"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"skclipad.{module}.{name}", 1000)
            assert n_computed() == 3
    assert n_computed() == n_computed("resnet") == n_computed(patches=True) == 0


def test_a_store_serves_what_it_knows_between_what_is_new_and_what_is_bad(
    backbones, pictures, store, computed, tmp_path
):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    mixed = [pictures[0], bad, pictures[1], pictures[2]]
    list(stream_windows(backbones["vit"], [pictures[1]], store=store))
    found = list(stream_windows(backbones["vit"], mixed, store=store, on_error="nan"))
    assert computed == [1, 2]
    assert found[1] is None
    alone = stream_windows(backbones["vit"], pictures)
    for one, expected in zip([found[0], *found[2:]], alone, strict=True):
        np.testing.assert_allclose(one.parts[3], expected.parts[3], atol=1e-5)


def test_a_damaged_entry_is_computed_again(backbones, pictures, store, computed):
    (first,) = stream_windows(backbones["vit"], pictures[:1], store=store)
    with sqlite(store.path) as connection:
        connection.execute(
            "UPDATE embeddings SET data = zeroblob(8) WHERE rowid = "
            "(SELECT max(rowid) FROM embeddings)"
        )
    (again,) = stream_windows(backbones["vit"], pictures[:1], store=store)
    assert computed == [1, 1]
    np.testing.assert_allclose(first.parts[3], again.parts[3], atol=1e-6)


def test_what_is_kept_is_of_the_bytes_it_is_named_by(
    backbones, pictures, store, tmp_path, monkeypatch
):
    path = tmp_path / "a.png"
    read = preparation.read_image

    def after_a_change(item, row, **options):
        Image.fromarray(pictures[1]).save(path)
        return read(item, row, **options)

    Image.fromarray(pictures[0]).save(path)
    with monkeypatch.context() as patch:
        patch.setattr(preparation, "read_image", after_a_change)
        list(stream_windows(backbones["vit"], [path], store=store))
    Image.fromarray(pictures[0]).save(path)
    (found,) = stream_windows(backbones["vit"], [path], store=store)
    (expected,) = stream_windows(backbones["vit"], pictures[:1])
    np.testing.assert_allclose(found.parts[2], expected.parts[2], atol=1e-5)


@pytest.mark.parametrize("n_shots", [0, 2])
def test_with_memory_nothing_is_computed_twice(
    pictures, n_shots, computed, tmp_path, monkeypatch
):
    embedder = CLIPImageEmbedder("tiny", device="cpu", memory=tmp_path / "memory")

    def values(embedder):
        detector = RandomWordCLIPDetector(
            N_p=100, n_shots=n_shots, embedder=embedder, random_state=0
        ).fit(pictures)
        return detector.predict_proba(pictures), detector.anomaly_map(pictures)

    expected = values(clone(embedder).set_params(memory=None))
    values(embedder)
    computed.clear()
    monkeypatch.setattr("skclipad._clip.features.encode_pixels", None)
    scores, maps = values(embedder)
    assert computed == []
    np.testing.assert_allclose(scores, expected[0], atol=1e-6)
    np.testing.assert_allclose(maps, expected[1], atol=1e-6)
