"""The CLIPs that people use: small ones of each family do all that their row says."""

import csv
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image
from small_clip import StandInTokenizer, cosines, small_clip
from timm.models import register_model

import skclipad
from skclipad import (
    CLIPImageEmbedder,
    RandomWordCLIPDetector,
    clear_backbone_cache,
)
from skclipad._clip.backbone import load_backbone
from skclipad._clip.places import places_grid
from skclipad._clip.sources import BUNDLED
from skclipad._clip.text import encode_texts

TABLE = Path(skclipad.__file__).parent / "cli" / "models.csv"
with TABLE.open(encoding="utf-8", newline="") as file:
    ROWS = {row["name"]: row for row in csv.DictReader(file)}


def is_here(needs):
    """Say whether the installed open_clip is as new as a row asks for."""
    (release,) = re.findall(r"open_clip_torch>=(\d+)\.(\d+)", needs) or [(0, 0)]
    installed = version("open_clip_torch").split(".")[:2]
    return tuple(map(int, installed)) >= tuple(map(int, release))


HERE = [name for name, row in ROWS.items() if is_here(row["needs"])]

SIDE = 64
VIT = {"img_size": SIDE, "embed_dim": 24, "depth": 2, "num_heads": 2}
# Trunks of timm: what makes them small. A RoPE needs heads of a multiple of 4.
TRUNKS = {
    "vit_base_patch16_siglip_224": VIT,
    "vit_pe_core_base_patch16_224": VIT,
    "eva02_base_patch16_clip_224": VIT,
    "fastvit_mci0": {"layers": (1, 1, 1, 1), "embed_dims": (16, 32, 64, 128)},
    "convnext_base": {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)},
}
# What else is made small, of image and text tower, and the kind of tokenizer.
SMALL = {
    "ViT-B-16-plus-240": ({}, {}, None),
    "ViT-B-32": ({}, {}, None),
    "ViT-L-14-336": ({}, {}, None),
    "ViT-B-16-SigLIP2": ({}, {"vocab_size": 200, "context_length": 180}, "t5"),
    "PE-Core-B-16": ({}, {}, None),
    "MobileCLIP2-S0": ({}, {}, None),
    "convnext_base_w": ({}, {}, None),
    "RN50": ({"layers": [1, 1, 1, 1], "width": 8, "patch_size": None}, {}, None),
    "EVA02-B-16": ({}, {}, None),
    "ViT-H-14-worldwide": (
        {},
        {"vocab_size": 200, "context_length": 180, "eos_id": 1},
        "t5",
    ),
    "coca_ViT-B-32": ({"attn_pooler_heads": 2}, {}, None),
}


def register_small(trunk):
    """Add a small variant of a trunk to timm; return its name."""

    def build(pretrained=False, **settings):
        return timm.create_model(
            trunk, pretrained=pretrained, **TRUNKS[trunk], **settings
        )

    build.__name__ = f"skclipad_small_{trunk}"
    build.__module__ = __name__
    register_model(build)
    return build.__name__


def small_model(name, folder):
    """Load a small CLIP built as open_clip's registry builds the one of this name.

    The bundled ones are small, and are loaded as they are.
    """
    if name in BUNDLED:
        return load_backbone(name, None, device="cpu")
    vision, text, kind = SMALL[name]
    configured = open_clip.get_model_config(name)["vision_cfg"]
    if trunk := configured.get("timm_model_name"):
        timm_keys = {k: v for k, v in configured.items() if k.startswith("timm")}
        vision = timm_keys | {"timm_model_name": register_small(trunk)}
        vision |= {"image_size": SIDE}
    backbone = small_clip(folder, name, vision=vision, text=text)
    if kind is not None:  # its own is fetched from the network
        vars(backbone)["_tokenizer"] = StandInTokenizer(kind)
    return backbone


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(0)
    sizes = [(48, 70), (64, 64), (90, 41), (64, 50)]
    return [generator.integers(0, 256, (*size, 3), np.uint8) for size in sizes]


def open_clips(backbone, images, texts):
    """Return open_clip's own embeddings of images and texts."""
    transform = open_clip.image_transform(
        backbone.image_size,
        is_train=False,
        mean=backbone.mean,
        std=backbone.std,
        interpolation=backbone.interpolation,
        resize_mode="squash",
    )
    x = torch.stack([transform(Image.fromarray(image)) for image in images])
    tokens = backbone.tokenizer(texts, backbone.context_length)
    with torch.inference_mode():
        model = backbone.model
        embedded = model.encode_image(x), model.encode_text(tokens)
    return [embeddings.numpy() for embeddings in embedded]


@pytest.mark.parametrize("name", HERE)
def test_a_family_does_what_its_row_says(name, images, tmp_path):
    row = ROWS[name]
    backbone = small_model(name, tmp_path)
    embedder = CLIPImageEmbedder(backbone.model_name, None, device="cpu")
    texts = ["a photo of a damaged object", "a photo of a object", "3kQz a xY photo"]
    by_image, by_text = open_clips(backbone, images, texts)
    assert cosines(embedder.transform(images), by_image).min() > 0.99999
    assert cosines(encode_texts(backbone, texts), by_text).min() > 0.99999

    lengths = dict(re.findall(r"(l_m\w+)=(\d+)", row["needs"]))
    detector = RandomWordCLIPDetector(
        N_p=100, n_shots=2, random_state=0, embedder=embedder
    )
    detector.set_params(**{name: int(value) for name, value in lengths.items()})
    detector.fit(images)
    parts = detector.score_components(images)
    assert set(parts) == {"s_pr", "s_fnn", "s_img"}
    for scores in parts.values():
        assert np.isfinite(scores).all() and 0 <= scores.min() <= scores.max() <= 1
    for made, image in zip(detector.anomaly_map(images), images, strict=True):
        assert made.shape == image.shape[:2]
        assert np.isfinite(made).all() and np.ptp(made) > 0

    slow = set(backbone.slow_paths)
    one_pass = "image" not in slow or places_grid(backbone) is not None
    assert row["maps"] == ("windows" if one_pass else "crops")
    has_windows = set(detector.references_) == {1, 2, 3}
    assert row["shots"] == ("patches, windows" if has_windows else "parts")
    assert row["fast texts"] == ("no" if "text" in slow else "yes")


@pytest.mark.usefixtures("int8_products")
@pytest.mark.filterwarnings("ignore:.*random weights:UserWarning")
@pytest.mark.parametrize("name", HERE)
def test_a_family_is_computed_in_8_bits_or_refused(name, images, tmp_path, monkeypatch):
    for trunk in [trunk for trunk, small in TRUNKS.items() if small is VIT]:
        # With few narrow blocks most of a tower would be what cuts patches.
        monkeypatch.setitem(TRUNKS, trunk, VIT | {"embed_dim": 96, "depth": 4})
    backbone = small_model(name, tmp_path)
    asked = {"device": "cpu", "precision": "int8"}
    if ROWS[name]["int8"] == "no":
        with pytest.raises(ValueError, match="image tower .* linear layers"):
            load_backbone(backbone.model_name, None, **asked)
        return

    clear_backbone_cache()  # weights as they are drawn, of both
    texts = ["a photo of a damaged object", "a photo of a object", "3kQz a xY photo"]
    by_image, by_text = [], []
    for precision in ("fp32", "int8"):
        asked["precision"] = precision
        found = load_backbone(backbone.model_name, None, **asked)
        vars(found)["_tokenizer"] = backbone.tokenizer
        assert set(found.slow_paths) == set(backbone.slow_paths)
        embedder = CLIPImageEmbedder(backbone.model_name, None, **asked)
        by_image.append(embedder.transform(images))
        by_text.append(encode_texts(found, texts))
    assert 0.9985 < cosines(*by_image).min() < 1 - 1e-9
    assert 0.9985 < cosines(*by_text).min() < 1 - 1e-9


def test_every_row_names_a_model_and_weights_that_there_are():
    ours = [name for name, row in ROWS.items() if row["weights"] == "bundled"]
    assert set(ours) == set(BUNDLED)
    for name in ours:
        height, width = load_backbone(name, None, device="cpu").image_size
        assert int(ROWS[name]["pixels"]) == height == width

    theirs = [name for name in HERE if name not in ours]
    assert theirs == [name for name in ROWS if open_clip.get_model_config(name)]
    for name, row in ((name, ROWS[name]) for name in theirs):
        config = open_clip.get_model_config(name)
        assert row["weights"] in open_clip.list_pretrained_tags_by_model(name)
        assert int(row["pixels"]) == config["vision_cfg"]["image_size"]
        needs_more = "hf_tokenizer_name" in config["text_cfg"]
        assert ("transformers" in row["needs"]) == needs_more
        is_short = config["text_cfg"].get("context_length", 77) < 64
        assert ("l_max=" in row["needs"]) == is_short


def test_what_may_be_sold_is_what_the_licences_allow():
    permissive = {"MIT", "Apache-2.0", "BSD-3-Clause"}
    for row in ROWS.values():
        assert (row["sell"] == "yes") == (row["licence"] in permissive)


@pytest.mark.parametrize(
    "vision",
    [
        {"timm_model_name": "naflexvit_base_patch16_siglip"},
        {
            "timm_model_name": "vit_base_patch16_siglip_224",
            "timm_model_kwargs": {"use_naflex": True},
        },
    ],
)
def test_naflex_towers_are_refused_in_a_sentence(vision, tmp_path):
    with pytest.raises(ValueError, match="is a NaFlex ViT: .*fixed size"):
        small_clip(tmp_path, "ViT-B-16-SigLIP2", vision=vision)
