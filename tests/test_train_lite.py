"""What the model for photographs is trained on: clean licences, true twins."""

import importlib
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scripts import TOOLS, importable
from sklearn.linear_model import Ridge

from skclipad.datasets import make_defect_images

HEADER = "file\tset\tlabel\tobject\tkind\tlicence\tsource"


@pytest.fixture(scope="module", autouse=True)
def tools():
    """The tools import each other by name."""
    with importable(TOOLS):
        yield


@pytest.fixture(scope="module")
def photographs(tools):
    return importlib.import_module("photographs")


@pytest.fixture(scope="module")
def train_lite(tools):
    return importlib.import_module("train_lite")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    images = make_defect_images(6, image_size=100, random_state=0).images
    rows = [
        "train/paper/good/0.png\tpaper_piped\tgood\tpaper\tgood\tMIT\tsomebody",
        "train/paper/good/1.png\tpaper_piped\tgood\tpaper\tgood\tMIT\tsomebody",
        "train/paper/bad/2.png\tpaper_piped\tdamaged\tpaper\tcrack\tMIT\tsomebody",
        "train/milk/any/3.png\tgrocery\tunlabelled\toat milk\t\tMIT\tsomebody",
        "train/milk/any/4.png\tgrocery\tunlabelled\tmilk\t\tnone: measure only\tx",
        "test/cars/good/5.png\tcars\tgood\tcar\tgood\tMIT\tsomebody",
    ]
    for row, image in zip(rows, images, strict=True):
        path = root / row.split("\t")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    (root / "index.tsv").write_text("\n".join([HEADER, *rows]) + "\n")
    return root


@pytest.fixture(scope="module")
def pairs(photographs, folder, tmp_path_factory):
    photos = photographs.read_index(folder)
    kept = tmp_path_factory.mktemp("work")
    pools = list(photographs.struck_pairs(photos, kept, 2, 1))
    return [*pools, photographs.labelled_pairs(photos, kept, 1)]


def test_only_licensed_photos_of_train_are_read(photographs, folder):
    photos = photographs.read_index(folder)
    assert [p.path.name for p in photos] == ["0.png", "1.png", "2.png", "3.png"]
    assert [p.defect for p in photos] == ["none", "none", "crack", "none"]
    assert photos[3].like == "cardboard"


def test_twins_differ_by_the_defect_alone(photographs, folder):
    photo = photographs.read_index(folder)[0]
    whole, _ = photographs.whole_photo((photo, 0))
    struck, name = photographs.struck_photo((photo, 0, 0))
    again, _ = photographs.struck_photo((photo, 0, 0))
    assert np.array_equal(struck, again)
    assert name in photographs.suffers("paper")

    changed = np.abs(whole.astype(int) - struck).max(axis=2)
    assert changed.max() > 30
    # What the defect leaves alone differs by nothing but the compression.
    assert np.median(changed) <= 3


def test_pairs_are_whole_and_damaged_and_made_once(photographs, pairs, folder):
    first, second, labelled = pairs
    assert [len(pool) for pool in pairs] == [3, 3, 1]
    assert np.array_equal(first.whole[:], second.whole[:])
    assert not np.array_equal(first.damaged[0], second.damaged[0])

    paper, _ = photographs.whole_photo((photographs.read_index(folder)[2], 2))
    assert np.array_equal(labelled.damaged[0], paper)
    assert labelled.category.tolist() == [["paper", "paper"]]
    assert any(np.array_equal(labelled.whole[[0]][0], first.whole[i]) for i in (0, 1))


def test_captions_claim_what_the_pairs_show(train_lite, pairs):
    drawn = [(pairs[0], np.array([0, 2])), (pairs[2], np.array([0]))]
    codes = train_lite.Codes(pairs)
    texts, claims, facts = train_lite.draw_captions(drawn, random.Random(0), codes)
    assert len(texts) == 6
    assert claims.damaged.tolist() == [False] * 3 + [True] * 3

    fit = claims.fit(*facts)
    # The damaged image of every pair is shown by the caption that calls it damaged.
    assert all(fit[3 + i, 3 + i] for i in range(3))


def test_held_out_pairs_are_never_drawn(train_lite, pairs):
    many = [
        train_lite.photographs.Pairs(
            name, *[np.zeros(200)] * 2, np.full((200, 2), "a"), *[np.full(200, "b")] * 2
        )
        for name in ("struck 0", "struck 1", "painted 160", "labelled")
    ]
    sampler = train_lite.Sampler(many, 0)
    drawn = [part for _ in range(20) for part in sampler(96)]
    assert sum(len(rows) for _, rows in drawn) == 20 * 96
    for pool, held in zip(many, sampler.held, strict=True):
        rows = np.concatenate([rows for drawn_of, rows in drawn if drawn_of is pool])
        assert len(held) > 0
        assert not set(rows) & set(held)
    # No struck photo is of one that another turn holds out.
    assert np.array_equal(sampler.held[0], sampler.held[1])


def test_damaged_patches_are_where_twins_differ(train_lite):
    images = torch.zeros(2, 160, 160, 3)
    images[1, :16, 16:32] = 50
    hit = train_lite.damaged_patches(images, 10)
    assert hit.sum() == 1
    assert hit[1, 0, 1] == 1


# The map -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photo_map(tools):
    return importlib.import_module("photo_map")


def test_map_is_a_ridge_regression_as_wide_as_its_targets(photo_map):
    rng = np.random.default_rng(0)
    x, weights = rng.normal(3, 2, (200, 5)), rng.uniform(size=200)
    t = x @ rng.normal(size=(5, 2)) + rng.normal(size=(200, 2))
    weight, bias = photo_map.ridge_map(x, t, weights, ridge=0.5)

    weights /= weights.sum()
    mean, centre = weights @ x, weights @ t
    z = (x - mean) / (np.sqrt(weights @ (x - mean) ** 2) + 1e-3)
    ridge = Ridge(alpha=0.5, fit_intercept=False)
    expected = ridge.fit(z, t - centre, sample_weight=weights).predict(z)
    found = x @ weight.T + bias - centre
    scale = np.sqrt((weights @ (t - centre) ** 2).sum() / (weights @ found**2).sum())
    assert scale == pytest.approx(1)
    assert np.allclose(found / found.std(), expected / expected.std())


def test_features_are_of_whole_then_of_damaged_and_stored(photo_map, pairs, tmp_path):
    seen = []

    def run(images):
        seen.append(len(images))
        return images.reshape(len(images), -1)[:, :7] / 2.0

    features = photo_map.Features(run, tmp_path)
    _, second, labelled = pairs
    found = features.of_pairs(second)
    expected = np.concatenate([second.whole[:], second.damaged[:]])
    assert np.allclose(found, expected.reshape(6, -1)[:, :7] / 2.0)

    # The whole ones of other pools are the same photographs.
    n_seen = sum(seen)
    assert np.allclose(features.of_pairs(labelled)[0], found[labelled.whole.rows[0]])
    assert sum(seen) == n_seen + 1


def test_held_out_rows_do_not_count_in_the_map(photo_map, train_lite, pairs):
    sampler = train_lite.Sampler(pairs, 0)
    sampler.rows[0] = np.array([0, 2])
    weights = np.split(photo_map.pool_weights(sampler), [6, 12])
    assert np.allclose(weights[0], np.tile([0.075, 0, 0.075], 2))
    assert np.allclose(weights[2], 0.1)


# What tools call of the package ------------------------------------------------------


@pytest.fixture(scope="module")
def model(tools):
    torch.manual_seed(0)
    train_tiny = importlib.import_module("train_tiny")
    return train_tiny.CLIP(**train_tiny.MODEL_CONFIG).eval()


@pytest.fixture(scope="module")
def tokenizer(train_lite):
    return train_lite.WordTokenizer(train_lite.TINY / train_lite.VOCABULARY)


def test_captions_of_every_pair_are_embedded(photo_map, pairs, model, tokenizer):
    found = photo_map.caption_embeddings(model, tokenizer, pairs, "cpu")
    assert [part.shape for part in found] == [(6, 96), (6, 96), (2, 96)]
    assert not np.allclose(found[0][:3], found[0][3:])


def test_both_tools_train_the_detectors_network(train_lite, model, tokenizer):
    network = train_lite.text_network(model, tokenizer, "cpu", n_pairs=200)
    assert [coef.shape for coef in network.coefs][0] == (96, 64)

    train_tiny = importlib.import_module("train_tiny")
    pool = SimpleNamespace(
        images=torch.zeros(8, 64, 64, 3, dtype=torch.uint8), target=np.arange(8) % 2
    )
    found = train_tiny.evaluate(model, tokenizer, {"pool": pool}, "cpu", sizes=(200,))
    assert found["pool"]["N_p=200"] == 0.5
