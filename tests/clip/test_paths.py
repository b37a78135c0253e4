"""The paths of towers: the same scores on either, and never a slow one in silence."""

import configparser
import warnings
from pathlib import Path

import numpy as np
import open_clip4
import pytest
from detectors import tiny
from open_clip import transformer
from small_clip import small_clip

from skclipad import clear_backbone_cache
from skclipad._clip.backbone import TRIED, load_backbone
from skclipad.cli import main
from skclipad.datasets import make_defect_images


@pytest.fixture
def images():
    return make_defect_images(6, random_state=0).images


@pytest.fixture
def blocks_of(monkeypatch):
    """Have open_clip build its towers of another kind of block."""

    def use(block):
        monkeypatch.setattr(transformer, "ResidualAttentionBlock", block)
        clear_backbone_cache()

    yield use
    clear_backbone_cache()


def load_tiny():
    return load_backbone("tiny", None, device="cpu", precision="fp32")


def scores_and_maps(images):
    detector = tiny(n_shots=2).fit(images)
    parts = detector.score_components(images)
    return {**parts, "maps": np.stack(detector.anomaly_map(images))}


def test_scores_are_the_same_with_the_blocks_of_open_clip_4(images, blocks_of):
    expected = scores_and_maps(images)
    blocks_of(open_clip4.ResidualAttentionBlock)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scores_and_maps(images)
    model = load_tiny().model
    for tower in (model, model.visual):
        assert type(tower.transformer.resblocks[0].attn) is open_clip4.Attention
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5, err_msg=name)


def test_towers_of_unknown_blocks_warn_once_and_say_what_it_costs(blocks_of):
    blocks_of(open_clip4.SharperBlock)
    with pytest.warns(UserWarning, match="slow path") as caught:
        backbone = load_tiny()
        load_tiny()
    texts = [str(one.message) for one in caught]
    assert len(texts) == 2
    assert texts[0].startswith("The image tower of 'tiny'") and "few shots" in texts[0]
    assert texts[1].startswith("The text tower of 'tiny'") and "fit takes" in texts[1]
    assert caught[0].filename == __file__
    assert set(backbone.slow_paths) == {"image", "text"}


def info(capsys, *arguments):
    assert main(["info", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ("image tower", "text tower")
    return [line for line in lines if line.startswith(names)]


def test_info_tells_which_path_a_tower_takes(capsys, blocks_of):
    for line in info(capsys, "--model", "tiny"):
        assert line.endswith("fast path")
    blocks_of(open_clip4.SharperBlock)
    image, text = info(capsys, "--model", "tiny")
    assert "slow path: " in image and "anomaly" not in image and "maps" in image
    assert "slow path: " in text and "fit takes" in text


# name: (registry name it is like, changes of its image tower, slow towers)
BY_NATURE = {
    "residual network": (
        "ViT-B-32",
        {"layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        {"image"},
    ),
    "patches averaged": ("ViT-B-32", {"pool_type": "avg"}, {"image"}),
    "not causal": ("ViT-B-16-SigLIP", {}, {"text"}),
    "CoCa": ("coca_ViT-B-32", {}, {"image", "text"}),
    "plain": ("ViT-B-32", {}, set()),
}


@pytest.mark.parametrize("kind", BY_NATURE)
def test_towers_without_a_fast_path_do_not_warn(kind, tmp_path):
    like, vision, slow = BY_NATURE[kind]
    name = small_clip(tmp_path, like, vision=vision).model_name
    clear_backbone_cache()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*random weights")
        backbone = load_backbone(name, None, device="cpu", precision="fp32")
    assert set(backbone.slow_paths) == slow


@pytest.mark.filterwarnings("ignore:.*random weights")
def test_towers_with_norms_of_attention_warn(tmp_path):
    custom = {"block_type": "custom", "qk_norm": True}
    name = small_clip(tmp_path, "ViT-B-32", vision=custom).model_name
    clear_backbone_cache()
    with pytest.warns(UserWarning, match="The image tower of .* runs on the slow path"):
        load_backbone(name, None, device="cpu", precision="fp32")


def test_the_warning_names_the_releases_that_may_be_installed():
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg", encoding="utf-8")
    assert TRIED in setup["options"]["install_requires"].split()
