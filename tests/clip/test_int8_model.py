"""Models in 8 bits: both towers, near those in single precision, or refused."""

import copy
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from detectors import tiny
from small_clip import cosines
from torch import nn

from skclipad import CLIPImageEmbedder, clear_backbone_cache
from skclipad._clip import int8_model
from skclipad._clip.backbone import load_backbone
from skclipad._clip.int8 import Int8Attention, Int8Linear
from skclipad._clip.int8_model import to_int8
from skclipad._clip.text import encode_texts
from skclipad._clip.vision import encode_pixels
from skclipad.datasets import make_defect_images

TEXTS = ["a photo of a damaged object", "a photo of a object", "3kQz a xY photo"]

pytestmark = pytest.mark.usefixtures("int8_products")


def load(precision, name="tiny"):
    return load_backbone(name, None, device="cpu", precision=precision)


def embedder(precision, **parameters):
    return CLIPImageEmbedder("tiny", device="cpu", precision=precision, **parameters)


@pytest.fixture(scope="module")
def images():
    return make_defect_images(12, random_state=0).images


@pytest.fixture
def nothing_loaded():
    clear_backbone_cache()
    yield
    clear_backbone_cache()


def test_embeddings_are_near_those_in_single_precision(images):
    exact, low = embedder("fp32"), embedder("int8")
    of_images = cosines(exact.transform(images), low.transform(images))
    of_texts = cosines(exact.encode_text(TEXTS), low.encode_text(TEXTS))
    assert 0.999 < of_images.min() < 1 - 1e-7
    assert 0.9999 < of_texts.min() < 1 - 1e-9


def test_a_channel_of_large_values_spoils_no_other(images):
    exact = load("fp32")
    model = copy.deepcopy(exact.model)
    with torch.no_grad():  # the same numbers come out
        for block in (
            *model.visual.transformer.resblocks,
            *model.transformer.resblocks,
        ):
            for norm, weight in (
                (block.ln_1, block.attn.in_proj_weight),
                (block.ln_2, block.mlp.c_fc.weight),
            ):
                norm.weight[5] *= 100
                norm.bias[5] *= 100
                weight[:, 5] /= 100
    to_int8(model, "tiny")
    low = replace(exact, model=model)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    pixels = nn.functional.interpolate(pixels, exact.image_size).permute(0, 2, 3, 1)
    for encode, items in ((encode_pixels, pixels.byte()), (encode_texts, TEXTS)):
        found, expected = (np.asarray(encode(b, items)) for b in (low, exact))
        assert cosines(found, expected).min() > 0.999


def test_every_block_of_both_towers_is_rounded_and_nothing_else():
    model = load("int8").model
    for transformer in (model.visual.transformer, model.transformer):
        for block in transformer.resblocks:
            assert type(block.attn) is Int8Attention
            assert type(block.mlp.c_fc) is type(block.mlp.c_proj) is Int8Linear
        wide = [p for p in transformer.parameters() if p.ndim > 1]
        assert wide == []
    assert model.visual.proj.dtype == model.visual.conv1.weight.dtype == torch.float32


def test_weights_take_a_fourth_of_the_memory():
    exact, low = load("fp32"), load("int8")
    blocks = [
        sum(w.nbytes for w in backbone.model.visual.transformer.state_dict().values())
        for backbone in (exact, low)
    ]
    assert blocks[1] < 0.27 * blocks[0]
    assert low.n_bytes < 0.5 * exact.n_bytes
    parameters = sum(4 * p.numel() for p in exact.model.parameters())
    assert parameters <= exact.n_bytes < 1.01 * parameters


def test_an_image_alone_gets_what_it_gets_among_others(images):
    detector = tiny(embedder=embedder("int8"), n_shots=2).fit(images)
    together = detector.score_components(images)
    alone = [detector.score_components(images[i : i + 1]) for i in range(len(images))]
    for name, scores in together.items():
        found = np.concatenate([one[name] for one in alone])
        np.testing.assert_allclose(found, scores, atol=1e-6, err_msg=name)


def test_a_detector_does_all_it_does_in_single_precision(images):
    exact, low = (
        tiny(embedder=embedder(p), n_shots=2, reference_method=method).fit(images)
        for p, method in (("fp32", "mutual"), ("int8", "mutual"))
    )
    expected, found = exact.score_components(images), low.score_components(images)
    assert found.keys() == expected.keys() == {"s_pr", "s_fnn", "s_img"}
    for name, scores in expected.items():
        assert np.corrcoef(found[name], scores)[0, 1] > 0.99, name
    maps = [np.stack(d.anomaly_map(images[:3])) for d in (exact, low)]
    assert np.abs(maps[0] - maps[1]).max() < 0.1


def test_caches_and_fingerprints(images, tmp_path):
    exact, low = load("fp32"), load("int8")
    assert exact.cache_name == f"{exact.fingerprint} torch.float32"
    assert low.cache_name == f"{low.fingerprint} int8"
    assert exact.fingerprint == low.fingerprint
    expected = embedder("int8").transform(images)
    embedder("fp32", memory=tmp_path).transform(images)
    found = embedder("int8", memory=tmp_path).transform(images)
    np.testing.assert_array_equal(found, expected)


def test_a_detector_of_single_precision_scores_in_8_bits(images):
    detector = tiny(embedder=embedder("fp32")).fit()
    exact = detector.predict_proba(images)[:, 1]
    low = detector.set_params(embedder__precision="int8").predict_proba(images)[:, 1]
    assert 0 < np.abs(exact - low).max() < 0.1


def test_units_that_are_known_are_not_timed(monkeypatch, nothing_loaded):
    monkeypatch.setattr(torch, "_int_mm", slow)
    monkeypatch.setattr(int8_model, "SLOWEST", 3)
    monkeypatch.setattr(int8_model, "cpu_units", lambda: ("avx512_vnni",))
    assert load("int8").numbers == "int8"  # a busy machine is no reason to refuse


# Refused


def test_a_convolutional_tower_is_refused():
    with pytest.raises(ValueError, match="'lite'.* image tower 0% .*precision='fp32'"):
        load("int8", "lite")
    assert load("fp32", "lite").numbers == "torch.float32"


@pytest.mark.parametrize("name", ["cuda", "mps", "cuda:1"])
def test_other_devices_are_refused(name, monkeypatch):
    monkeypatch.setattr(
        "skclipad._clip.backbone.resolve_device", lambda _: torch.device(name)
    )
    with pytest.raises(ValueError, match=f"'int8' on the device '{name}'.*='cpu'"):
        load("int8")


def missing(x, weight, **kwargs):
    raise NotImplementedError("no kernel for this type")


def saturating(x, weight, **kwargs):
    """Products without VNNI: of numbers from 0 on, sums of pairs cut off at 16 bits."""
    x, weight = x.float() + 128, weight.float()
    sums = -128 * weight.sum(0)
    for i in range(0, len(weight), 2):
        pair = x[:, i : i + 2] @ weight[i : i + 2]
        sums = sums + pair.clamp(-(2**15), 2**15 - 1)
    return sums.int()


def slow(x, weight, **kwargs):
    time.sleep(0.1)
    return (x.double() @ weight.double()).int()


@pytest.mark.parametrize(
    ("product", "words"),
    [
        (missing, "no product of matrices of 8 bits .*no kernel.*newer torch"),
        (saturating, "wrong for large values.*VNNI.*precision='fp32'"),
        (slow, "times as long as one in single precision.*precision='fp32'"),
    ],
)
def test_machines_without_such_products_are_refused(
    product, words, monkeypatch, nothing_loaded
):
    monkeypatch.setattr(torch, "_int_mm", product)
    monkeypatch.setattr(int8_model, "SLOWEST", 3)
    monkeypatch.setattr(int8_model, "cpu_units", lambda: None)
    with pytest.raises(ValueError, match=words):
        load("int8")
