"""Painted inspection photos: seeds, sizes, masks, visibility, names, errors."""

import numpy as np
import pytest

from skclipad.datasets import DEFECTS, OBJECTS, SURFACES, make_defect_images

# What a test may rely on: a marked pixel differs by this many levels of 255, and the
# marked pixels differ by that many on average.
CHANGED, VISIBLE = 12, 30


def change(damaged, whole):
    """Largest change of any channel in levels, of shape (n_samples, S, S)."""
    return np.abs(damaged.images.astype(int) - whole.images.astype(int)).max(axis=3)


def assert_same_photos(one, two):
    for key in ("images", "masks", "target", "category", "defect", "color"):
        np.testing.assert_array_equal(one[key], two[key], err_msg=key)


def twins(**options):
    """Paint damaged photos and their whole twins."""
    damaged = make_defect_images(anomaly_fraction=1, **options)
    return damaged, make_defect_images(anomaly_fraction=0, **options)


def test_variety_promised():
    assert len(SURFACES) >= 12 and len(OBJECTS) >= 18 and len(DEFECTS) >= 12
    assert not set(SURFACES) & set(OBJECTS)
    for names in (SURFACES, OBJECTS, DEFECTS):
        assert list(names) == sorted(set(names))


def test_shapes_types_and_names():
    photos = make_defect_images(60, random_state=0)
    assert photos.images.shape == (60, 64, 64, 3) and photos.images.dtype == np.uint8
    assert photos.masks.shape == (60, 64, 64) and photos.masks.dtype == bool
    assert set(photos.target) == {0, 1} and photos.target.dtype.kind == "i"
    assert set(photos.category) <= set(photos.category_names)
    assert set(photos.defect) <= {"none", *photos.defect_names}
    assert set(photos.category_names) == {*SURFACES, *OBJECTS}
    assert photos.defect_names == list(DEFECTS)
    assert all(color.isalpha() and color.islower() for color in photos.color)
    assert "60, of which" in photos.DESCR


def test_labels_agree_with_masks():
    photos = make_defect_images(80, random_state=1)
    damaged = photos.target == 1
    assert (photos.masks.any(axis=(1, 2)) == damaged).all()
    assert ((photos.defect != "none") == damaged).all()


def test_an_integer_seed_repeats_the_photos():
    assert_same_photos(*(make_defect_images(12, random_state=3) for _ in range(2)))


def test_another_seed_paints_others():
    one, two = (make_defect_images(4, random_state=seed) for seed in (3, 4))
    assert (one.images != two.images).any(axis=(1, 2, 3)).all()


def test_a_random_state_moves_on():
    rng = np.random.RandomState(0)
    one, two = (make_defect_images(3, random_state=rng) for _ in range(2))
    again = make_defect_images(3, random_state=np.random.RandomState(0))
    assert_same_photos(one, again)
    assert (one.images != two.images).any()


def test_the_global_seed_is_used_by_none_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    make_defect_images(2, random_state=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_more_photos_begin_with_fewer():
    few = make_defect_images(7, random_state=5)
    many = make_defect_images(20, random_state=5)
    head = {
        key: many[key][:7]
        for key in ("images", "masks", "target", "category", "defect", "color")
    }
    assert_same_photos(few, head)


@pytest.mark.parametrize("size", [32, 47, 64, 129, 512])
def test_any_size(size):
    photos = make_defect_images(
        3, image_size=size, anomaly_fraction=1, random_state=size
    )
    assert photos.images.shape == (3, size, size, 3)
    assert photos.masks.any(axis=(1, 2)).all()


def test_a_photo_keeps_its_scene_at_another_size():
    small, large = (
        make_defect_images(12, image_size=s, anomaly_fraction=0, random_state=2).images
        for s in (64, 128)
    )
    shrunk = large.reshape(12, 64, 2, 64, 2, 3).mean(axis=(2, 4))
    a, b = small.mean(axis=(1, 2)), shrunk.mean(axis=(1, 2))
    assert np.abs(a - b).max() < 12


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 1.0])
def test_share_of_anomalies(fraction):
    photos = make_defect_images(50, anomaly_fraction=fraction, random_state=0)
    assert abs(photos.target.sum() - 50 * fraction) <= 2


def test_the_damaged_photo_is_its_whole_twin_but_for_the_mask():
    damaged, whole = twins(n_samples=150, random_state=6)
    np.testing.assert_array_equal(damaged.category, whole.category)
    np.testing.assert_array_equal(damaged.color, whole.color)
    np.testing.assert_array_equal(damaged.masks, change(damaged, whole) >= CHANGED)


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_defect_is_visible(defect):
    damaged, whole = twins(n_samples=12, defects=[defect], random_state=7)
    assert set(damaged.defect) == {defect}
    levels = change(damaged, whole)
    for mask, level in zip(damaged.masks, levels, strict=True):
        assert mask.sum() >= 5
        assert level[mask].mean() >= VISIBLE


@pytest.mark.parametrize("category", [*SURFACES, *OBJECTS])
def test_every_category_varies(category):
    photos = make_defect_images(
        5, categories=[category], anomaly_fraction=0, random_state=8
    )
    assert set(photos.category) == {category}
    flat = photos.images.reshape(5, -1).astype(float)
    assert (flat.std(axis=1) > 1).all()
    assert (np.abs(flat[:, None] - flat).mean(axis=2)[~np.eye(5, dtype=bool)] > 2).all()


def test_fixed_scenes_differ_in_light_and_damage_alone():
    options = {"categories": ["coin", "tile"], "random_state": 3}
    line = make_defect_images(40, fixed_scenes=True, **options)
    others = make_defect_images(40, **options)

    def likeness(bunch, category):
        # Contours, which light does not move: correlation of the grey whole pictures.
        whole = bunch.images[(bunch.category == category) & (bunch.target == 0)]
        return np.median(np.corrcoef(whole.mean(axis=-1).reshape(len(whole), -1)))

    for category in ("coin", "tile"):
        assert likeness(line, category) > 0.5 + likeness(others, category)
    assert len(np.unique(line.defect)) > 5
    np.testing.assert_array_equal(line.target, others.target)
    again = make_defect_images(20, fixed_scenes=True, **options)
    np.testing.assert_array_equal(line.images[:20], again.images)


def test_small_defects_on_demand():
    small, large = (
        make_defect_images(
            60,
            defects=["stain", "hole"],
            anomaly_fraction=1,
            defect_size=size,
            random_state=9,
        ).masks.mean(axis=(1, 2))
        for size in ((0.06, 0.1), (0.4, 0.6))
    )
    assert np.median(small) < 0.02 < 0.05 < np.median(large)


def test_the_smallest_defects_can_be_seen():
    damaged, whole = twins(
        n_samples=60, image_size=32, defect_size=(0.02, 0.02), random_state=12
    )
    levels = change(damaged, whole)
    for mask, level in zip(damaged.masks, levels, strict=True):
        assert mask.sum() >= 4
        assert level[mask].mean() >= VISIBLE


def test_grey_photos():
    photos = make_defect_images(20, grey_fraction=1, random_state=0)
    assert (photos.images == photos.images[..., :1]).all()
    assert set(photos.color) == {"grey"}
    colored = make_defect_images(20, grey_fraction=0, random_state=0).images
    assert (colored != colored[..., :1]).any(axis=(1, 2, 3)).all()


def test_a_category_listed_twice_comes_twice_as_often():
    names = ["coin", "coin", "wood"]
    photos = make_defect_images(
        300, image_size=32, categories=names, anomaly_fraction=0, random_state=0
    )
    assert 0.6 < (photos.category == "coin").mean() < 0.73


def test_defects_choose_the_categories_that_can_show_them():
    photos = make_defect_images(5, defects=["rust"], random_state=0)
    assert "washer" in photos.category_names
    assert "paper" not in photos.category_names
    assert photos.defect_names == ["rust"]


def test_damage_can_be_told_by_its_picture():
    """A linear look at the twin's difference separates whole from damaged."""
    photos = make_defect_images(80, random_state=10)
    whole = make_defect_images(80, anomaly_fraction=0, random_state=10)
    score = np.sort(change(photos, whole).reshape(80, -1), axis=1)[:, -5:].mean(axis=1)
    assert score[photos.target == 1].min() >= VISIBLE
    assert score[photos.target == 0].max() == 0


def test_whole_and_damaged_share_their_category_color_and_light():
    photos = make_defect_images(400, image_size=32, random_state=11)
    whole, damaged = photos.target == 0, photos.target == 1
    objects = np.isin(photos.category, OBJECTS)
    assert abs(objects[whole].mean() - objects[damaged].mean()) < 0.12
    light = photos.images.mean(axis=(1, 2, 3))
    assert abs(light[whole].mean() - light[damaged].mean()) < 12


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n_samples": 0}, ValueError, "n_samples=0"),
        ({"n_samples": 2.5}, TypeError, "n_samples=2.5: expected an integer"),
        ({"image_size": 16}, ValueError, "image_size=16: expected a value from 32"),
        ({"image_size": True}, TypeError, "image_size=True"),
        ({"anomaly_fraction": 1.5}, ValueError, "anomaly_fraction=1.5"),
        ({"anomaly_fraction": "all"}, TypeError, "anomaly_fraction='all'"),
        ({"grey_fraction": -1}, ValueError, "grey_fraction=-1"),
        ({"defect_size": 0.1}, ValueError, r"defect_size=0.1: expected a pair"),
        ({"defect_size": (0.5, 0.2)}, ValueError, "low <= high"),
        ({"categories": ["wood", "cheese"]}, ValueError, "'cheese'.*wood, woven"),
        ({"categories": []}, ValueError, r"categories=\[\]"),
        ({"defects": ["nick"]}, ValueError, "'nick'.*bend, break.*tear"),
        (
            {"categories": ["wood", "paper"], "defects": ["rust"]},
            ValueError,
            "none of them occurs on paper, wood. paper may show burn",
        ),
    ],
)
def test_bad_values_are_named(options, error, words):
    with pytest.raises(error, match=words):
        make_defect_images(**{"n_samples": 1, **options})
