"""Images to embeddings: open_clip's own numbers, in order, in a flat memory."""

import gc
import os
import threading
import time
import weakref
from types import SimpleNamespace

import joblib
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from small_clip import cosines, small_clip
from streams import encode_images

from skclipad import ImageReadError
from skclipad._clip import features as features_module
from skclipad._clip import preparation
from skclipad._clip.backbone import load_backbone
from skclipad._clip.vision import (
    encode_pixels,
    normalized,
    patch_tokens,
    reads_class_token,
)
from skclipad._storage.store import EmbeddingStore

# name: (registry name it is like, changes of its image tower, last block for one?)
TOWERS = {
    "ViT-B-32": ("ViT-B-32", {}, True),
    "ViT-B-16-plus-240": ("ViT-B-16-plus-240", {}, True),
    "QuickGELU": ("ViT-B-32-quickgelu", {}, True),
    "layer scale, no first norm": (
        "ViT-B-32",
        {"ls_init_value": 0.3, "no_ln_pre": True},
        True,
    ),
    "wide pictures": ("ViT-B-32", {"image_size": [24, 48]}, True),
    "norm after pooling": ("ViT-B-32", {"final_ln_after_pool": True}, True),
    "patches averaged": ("ViT-B-32", {"pool_type": "avg"}, False),
    "CoCa": ("coca_ViT-B-32", {}, False),
    "other blocks": ("ViT-B-32", {"block_type": "custom", "qk_norm": True}, False),
    "ResNet": (
        "ViT-B-32",
        {"layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        False,
    ),
    "timm": (
        "ViT-B-32",
        {
            "timm_model_name": "vit_tiny_patch16_224",
            "timm_pool": "avg",
            "image_size": 224,
        },
        False,
    ),
}


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    loaded = {}

    def get(name):
        if name not in loaded:
            like, changes, _ = TOWERS[name]
            folder = tmp_path_factory.mktemp(name.replace(" ", "-").replace(",", ""))
            loaded[name] = small_clip(folder, like, vision=changes)
        return loaded[name]

    return get


@pytest.fixture(scope="module")
def plain(backbones):
    return backbones("ViT-B-32")


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(0)
    sizes = [(40, 60), (64, 64), (90, 33), (32, 32), (50, 51), (70, 40), (33, 90)]
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.fixture
def paths(pictures, tmp_path):
    names = [tmp_path / f"{i}.png" for i in range(len(pictures))]
    for name, picture in zip(names, pictures, strict=True):
        Image.fromarray(picture).save(name)
    return names


def open_clips(backbone, pictures):
    """Embed pictures with open_clip's own preprocessing, squashed, and encoder."""
    transform = open_clip.image_transform(
        backbone.image_size,
        is_train=False,
        mean=backbone.mean,
        std=backbone.std,
        interpolation=backbone.interpolation,
        resize_mode="squash",
    )
    x = torch.stack([transform(Image.fromarray(picture)) for picture in pictures])
    with torch.inference_mode():
        return backbone.model.encode_image(x, normalize=False).numpy()


@pytest.mark.parametrize("name", TOWERS)
def test_embeddings_are_open_clips_own(name, backbones, pictures):
    backbone = backbones(name)
    ours = encode_images(backbone, pictures)
    assert all(one.dtype == np.float32 and one.shape == (1, 24) for one in ours)
    theirs = open_clips(backbone, pictures)
    assert cosines(np.concatenate(ours), theirs).min() > 0.99999
    np.testing.assert_allclose(np.concatenate(ours), theirs, rtol=1e-3, atol=1e-4)


def test_embeddings_of_the_bundled_model_are_open_clips_own(pictures):
    backbone = load_backbone("tiny", None, device="cpu", precision="fp32")
    ours = np.concatenate(encode_images(backbone, pictures))
    assert cosines(ours, open_clips(backbone, pictures)).min() > 0.99999


@pytest.mark.parametrize("name", TOWERS)
def test_last_block_is_saved_where_the_class_token_alone_is_read(name, backbones):
    visual = backbones(name).model.visual
    assert reads_class_token(visual) == TOWERS[name][2]


def test_towers_that_also_give_tokens_are_left_alone(tmp_path):
    visual = small_clip(tmp_path, "ViT-B-32").model.visual
    assert reads_class_token(visual)
    visual.output_tokens = True
    assert not reads_class_token(visual)


def test_tokens_before_the_first_block_are_open_clips_own(plain, pictures):
    pixels = torch.from_numpy(pictures[3])[None]
    x = normalized(plain, pixels)
    visual = plain.model.visual
    torch.testing.assert_close(patch_tokens(visual, x), visual._embeds(x))


def test_pixels_are_left_as_they_are(plain, pictures):
    pixels = torch.from_numpy(pictures[3].copy())[None]
    encode_pixels(plain, pixels)
    assert np.array_equal(pixels[0], pictures[3])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("tokens", [1, 40, 10_000])
def test_batches_do_not_change_the_embeddings(
    batch_size, tokens, plain, pictures, monkeypatch
):
    expected = open_clips(plain, pictures)
    monkeypatch.setattr("skclipad._clip.transformer.TOKENS_PER_THREAD", tokens)
    ours = np.concatenate(encode_images(plain, pictures, batch_size=batch_size))
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_a_batch_is_no_larger_than_asked_for(plain, pictures, batch_size, monkeypatch):
    sizes = []

    def spy(backbone, pixels):
        sizes.append(len(pixels))
        return encode_pixels(backbone, pixels)

    monkeypatch.setattr(features_module, "encode_pixels", spy)
    # Three views of each picture are computed together with others'.
    boxes = [(0, 0, 20, 20), (5, 5, 30, 30), (10, 0, 31, 31)]
    views = encode_images(
        plain, pictures, crops=lambda w, h: boxes, batch_size=batch_size
    )
    assert [one.shape for one in views] == [(3, 24)] * len(pictures)
    assert max(sizes) == batch_size
    assert sum(sizes) == 3 * len(pictures)


def test_views_stay_with_their_picture(plain, pictures):
    def crops(width, height):
        return [(0, 0, width, height), (0, 0, width // 2, height // 2)][
            : 1 + (width > height)
        ]

    views = encode_images(plain, pictures, crops=crops, batch_size=4)
    n_views = [1 + (p.shape[1] > p.shape[0]) for p in pictures]
    assert [len(one) for one in views] == n_views
    whole = np.stack([one[0] for one in views])
    np.testing.assert_allclose(whole, open_clips(plain, pictures), rtol=1e-3, atol=1e-4)
    wide = next(i for i, n in enumerate(n_views) if n == 2)
    height, width = pictures[wide].shape[:2]
    corner = pictures[wide][: height // 2, : width // 2]
    # Near its border the filter sees beyond the crop, so the two are not equal.
    assert cosines(views[wide][1:], open_clips(plain, [corner])).min() > 0.9


def test_order_is_kept_when_later_images_are_ready_first(plain, pictures, monkeypatch):
    read = preparation.read_image

    def slow_at_first(item, row, **options):
        time.sleep(0.05 if row % 3 == 0 else 0)
        return read(item, row, **options)

    expected = open_clips(plain, pictures)
    monkeypatch.setattr(preparation, "read_image", slow_at_first)
    ours = np.concatenate(encode_images(plain, pictures, n_jobs=4, batch_size=2))
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4)


def test_images_are_read_ahead_but_not_all_at_once(plain, pictures, monkeypatch):
    taken, most_ahead, computed = [], [], [0]

    def generate():
        for i in range(60):
            taken.append(i)
            yield pictures[i % 7]

    def spy(backbone, pixels):
        most_ahead.append(len(taken) - computed[0])
        computed[0] += len(pixels)
        return encode_pixels(backbone, pixels)

    monkeypatch.setattr(features_module, "encode_pixels", spy)
    views = encode_images(plain, generate(), batch_size=4, n_jobs=2)
    assert len(views) == 60
    assert 4 < max(most_ahead) <= 3 * 4 + 2


class Watched:
    """Pictures of which it is known how many still exist."""

    def __init__(self):
        self.references = []

    def __call__(self, pixels):
        # An array itself takes no weak reference, one of a subclass does.
        picture = pixels.view(type("Picture", (np.ndarray,), {}))
        self.references.append(weakref.ref(picture))
        return picture

    def __len__(self):
        return sum(reference() is not None for reference in self.references)


def test_pictures_are_let_go_of(plain, pictures):
    watched, most = Watched(), []

    def generate():
        for i in range(60):
            most.append(len(watched))
            yield watched(pictures[i % 7].copy())

    rows = encode_images(plain, generate(), batch_size=4, n_jobs=2)
    assert 0 < max(most) <= 3 * 4 + 2 + 5
    gc.collect()
    assert len(watched) == 0
    assert sum(row.nbytes for row in rows) == 60 * 24 * 4


def test_unreadable_pictures_are_let_go_of_too(plain):
    watched, most = Watched(), []

    def generate():
        for _ in range(100):
            most.append(len(watched))
            yield watched(np.full((40, 40, 3), np.nan))

    gc.disable()  # an exception and its frames are a cycle only if somebody ties it
    try:
        with pytest.warns(UserWarning, match="100 of 100"):
            rows = encode_images(plain, generate(), on_error="nan", batch_size=4)
    finally:
        gc.enable()
    assert np.isnan(np.concatenate(rows)).all()
    assert max(most) <= 2 * 4 + joblib.cpu_count() + 20


def test_a_bad_image_is_an_error_that_names_its_row(plain, paths):
    paths[4].write_bytes(b"no image")
    with pytest.raises(ImageReadError, match=r"Image 4 \('.*4.png'\)"):
        encode_images(plain, paths)


def test_a_bad_image_can_be_a_row_of_nan(plain, pictures, paths):
    paths[0].write_bytes(b"no image")
    paths[4].unlink()
    with pytest.warns(UserWarning, match="2 of 7 images .*The first: Image 0"):
        rows = np.concatenate(encode_images(plain, paths, on_error="nan", batch_size=2))
    assert np.isnan(rows[[0, 4]]).all()
    good = [1, 2, 3, 5, 6]
    expected = open_clips(plain, [pictures[i] for i in good])
    np.testing.assert_allclose(rows[good], expected, rtol=1e-3, atol=1e-4)


def test_no_thread_stays_behind(plain, pictures, paths):
    encode_images(plain, pictures)
    paths[1].write_bytes(b"no image")
    with pytest.raises(ImageReadError):
        encode_images(plain, paths)
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("skclipad") for name in names)


@pytest.mark.parametrize(
    ("n_jobs", "expected"), [(None, 8), (1, 1), (3, 3), (20, 20), (-1, 12), (-3, 10)]
)
def test_number_of_threads(n_jobs, expected, monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 12)
    assert features_module.count_threads(n_jobs) == expected
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)
    assert features_module.count_threads(-5) == 1


def test_a_store_saves_the_model_and_the_decoder(
    plain, pictures, tmp_path, monkeypatch
):
    with EmbeddingStore(tmp_path) as store:
        expected = encode_images(plain, pictures[:5], store=store, batch_size=2)
        assert len(store) == 5

        def counting(backbone, pixels):
            computed.append(len(pixels))
            return encode_pixels(backbone, pixels)

        computed = []
        monkeypatch.setattr(features_module, "encode_pixels", counting)
        again = encode_images(plain, pictures, store=store, batch_size=2)
        assert sum(computed) == 2
        for one, other in zip(expected, again, strict=False):
            assert np.array_equal(one, other)
        # Another picture of the image, or of another tower, is no known one.
        encode_images(plain, pictures[:5], store=store, resize_mode="longest")
        encode_images(plain, pictures[:5], store=store, crops="multi")
        assert len(store) == 7 + 5 + 5
        encode_images(
            plain, pictures[:5], store=store, crops=lambda w, h: [(0, 0, 9, 9)]
        )
        assert len(store) == 7 + 5 + 5


def times_computed(monkeypatch, backbone, pictures, store, **how):
    """Return how many views the model computes, to embed pictures with a store."""
    computed = []

    def counting(backbone, pixels):
        computed.append(len(pixels))
        return encode_pixels(backbone, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(features_module, "encode_pixels", counting)
        encode_images(backbone, pictures, store=store, **how)
    return sum(computed)


def test_views_of_another_geometry_are_not_taken_from_the_store(
    plain, pictures, store, monkeypatch
):
    few = pictures[:2]
    n_views = times_computed(monkeypatch, plain, few, store, crops="multi")
    assert times_computed(monkeypatch, plain, few, store, crops="multi") == 0
    other = (*preparation.GEOMETRY[:-1], preparation.GEOMETRY[-1] + 1)
    monkeypatch.setattr(preparation, "GEOMETRY", other)
    assert times_computed(monkeypatch, plain, few, store, crops="multi") == n_views


def test_images_read_in_another_way_are_not_taken_from_the_store(
    plain, paths, pictures, store, monkeypatch
):
    items = [paths[0], pictures[1], Image.fromarray(pictures[2])]
    assert times_computed(monkeypatch, plain, items, store) == 3
    assert times_computed(monkeypatch, plain, items, store) == 0
    monkeypatch.setattr("skclipad._images.reading.READING", "another")
    assert times_computed(monkeypatch, plain, items, store) == 3


def test_what_is_kept_of_a_file_is_of_the_bytes_it_is_named_by(
    plain, pictures, paths, store, monkeypatch
):
    """The file becomes another image when its name is known but it is not decoded."""
    first, second = (path.read_bytes() for path in paths[:2])
    read = preparation.read_image

    def after_a_change(item, row, **options):
        paths[0].write_bytes(second)
        return read(item, row, **options)

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "read_image", after_a_change)
        during = np.concatenate(encode_images(plain, paths[:1], store=store))
    paths[0].write_bytes(first)
    after = np.concatenate(encode_images(plain, paths[:1], store=store))
    expected = open_clips(plain, pictures[:1])
    np.testing.assert_allclose(during, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(after, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [np.array, torch.from_numpy])
def test_what_is_kept_of_an_array_is_of_the_pixels_it_is_named_by(
    kind, plain, pictures, store, monkeypatch
):
    array = pictures[3].copy()
    item = kind(array) if kind is np.array else kind(array).permute(2, 0, 1)
    read = preparation.read_image

    def after_a_change(given, row, **options):
        item[:] = 0
        return read(given, row, **options)

    monkeypatch.setattr(preparation, "read_image", after_a_change)
    found = np.concatenate(encode_images(plain, [item], store=store))
    expected = open_clips(plain, pictures[3:4])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_file_changed_in_place_with_its_times_set_back_is_another_image(
    plain, tmp_path, store
):
    path, times = tmp_path / "a.bmp", (1_000_000_000, 1_000_000_000)
    found = []
    for value in (10, 200):
        Image.fromarray(np.full((40, 40, 3), value, np.uint8)).save(path)
        os.utime(path, ns=times)
        found += encode_images(plain, [path], store=store)
    assert not np.allclose(*found)


def test_a_file_that_is_no_image_is_refused_before_it_is_read(plain, tmp_path, store):
    path = tmp_path / "film.png"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte of zeros, which takes no room on disk
    with pytest.raises(ImageReadError, match="not an image in a format"):
        encode_images(plain, [path], store=store)


def test_what_is_computed_before_an_error_is_kept(plain, pictures, tmp_path):
    def until_it_breaks():
        yield from pictures * 3
        yield "missing.png"

    with EmbeddingStore(tmp_path) as store:
        with pytest.raises(ImageReadError, match="missing.png"):
            encode_images(plain, until_it_breaks(), store=store, batch_size=2, n_jobs=1)
        assert len(store) == 7


def test_progress_is_shown_on_request(plain, pictures, capsys):
    encode_images(plain, pictures, verbose=True)
    assert "Encoding images: 100%" in capsys.readouterr().err
    encode_images(plain, (picture for picture in pictures), verbose=True)
    assert "7image" in capsys.readouterr().err.replace(" ", "")
    encode_images(plain, pictures)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "kind, may_wait", [("mps", False), ("xpu", False), ("cuda", True)]
)
def test_only_pinned_pixels_may_be_copied_later(kind, may_wait, monkeypatch):
    # Others may be gone by then, and their memory that of other pixels.
    device, asked = SimpleNamespace(type=kind), []

    def to(pixels, where, non_blocking=False):
        asked.append((where, non_blocking, getattr(pixels, "pinned", False)))
        return pixels

    def pin_memory(pixels):
        pixels.pinned = True
        return pixels

    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(torch, "tensor", lambda values, device: torch.ones(3))
    clip = SimpleNamespace(device=device, mean=(), std=(), dtype=torch.float32)
    normalized(clip, torch.zeros(1, 2, 2, 3, dtype=torch.uint8))
    assert asked[0] == (device, may_wait, may_wait)
