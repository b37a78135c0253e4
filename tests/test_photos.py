"""The benchmark on photographs, on painted folders: what it finds and measures."""

import importlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scripts import BENCHMARKS, importable

from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
from skclipad.datasets import make_defect_images
from skclipad.metrics import auroc

PAIRS = {"N_p": 100}


@pytest.fixture(scope="module")
def photos():
    with importable(BENCHMARKS):
        return importlib.import_module("photos")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two sets to measure in one layout, one in the other, and one of good things."""
    root = tmp_path_factory.mktemp("photos")
    rows = ["file\tset\tlabel\tobject"]
    for seed, (top, category) in enumerate(
        (("test/coins", "coin"), ("test/keys", "key"), ("more/old_lids/test", "lid"))
    ):
        bunch = make_defect_images(10, categories=[category], random_state=seed)
        for i, (image, target) in enumerate(
            zip(bunch.images, bunch.target, strict=True)
        ):
            file = f"{top}/{('good', 'bent')[target]}/{i}.png"
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(root / file)
            if category != "lid":
                rows.append(f"{file}\t{category}s\t-\told {category}")
    (root / "test" / "mugs" / "good").mkdir(parents=True)
    Image.fromarray(bunch.images[0]).save(root / "test" / "mugs" / "good" / "0.png")
    (root / "index.tsv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def measure(photos, folder, tmp_path_factory):
    memory = tmp_path_factory.mktemp("memory")
    sets = photos.find_sets(folder / "test")
    return photos.Measurement(sets, "tiny", 2, memory, PAIRS)


def detector_scores(sets, embedder=None, rows=None, **parameters):
    """Score all images as a user would, for random state 0."""
    embedder = embedder or CLIPImageEmbedder(model_name="tiny")
    paths = [path for found in sets for path in found.paths]
    detector = RandomWordCLIPDetector(
        embedder=embedder, random_state=0, **PAIRS, **parameters
    ).fit()
    return detector.score_components(paths if rows is None else rows)


def check(measured, sets, scores):
    """Compare the first seed of a measurement with scores of all images."""
    both = (scores.s_pr + scores.s_fnn) / 2
    for method, values in zip(
        ("CLIP", "ours", "CLIP + ours"), (scores.s_pr, scores.s_fnn, both), strict=True
    ):
        parts = np.split(values, [len(sets[0].target)])
        expected = [auroc(s.target, part) for s, part in zip(sets, parts, strict=True)]
        found = [won[0].mean() for won in measured[method]]
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_sets_of_both_layouts_are_found_with_their_objects(photos, folder):
    coins, keys = photos.find_sets(folder / "test")
    assert (coins.name, keys.name) == ("coins", "keys")  # mugs are all good
    assert (coins.half, keys.half) == ("a", "b")
    assert set(coins.objects) == {"old coin"}
    assert coins.target.sum() == sum(path.parent.name == "bent" for path in coins.paths)

    (lids,) = photos.find_sets(folder / "more")
    assert set(lids.objects) == {"old lids"}


def test_a_folder_without_sets_is_refused(photos, folder):
    with pytest.raises(FileNotFoundError, match="SET/good"):
        photos.find_sets(folder / "test" / "coins")


def test_default_setting_is_what_a_user_gets(measure):
    check(measure({}), measure.sets, detector_scores(measure.sets))


def test_crops_are_combined_as_the_detector_does(photos, measure):
    embedder = CLIPImageEmbedder(model_name="tiny", crops="multi")
    for how in ("max", "mean", "embeddings"):
        scores = detector_scores(measure.sets, embedder, combine_views=how)
        found = measure(photos.MULTI | {"combine_views": how})
        check(found, measure.sets, scores)


def test_known_objects_are_scored_with_their_own_prompts(photos, measure):
    rows = pd.DataFrame(
        {
            "image": [str(path) for found in measure.sets for path in found.paths],
            "object": [name for found in measure.sets for name in found.objects],
        }
    )
    found = measure({"object_name": photos.KNOWN})
    check(found, measure.sets, detector_scores(measure.sets, rows=rows))


def test_bootstrap_is_about_the_mean_and_paired(photos):
    rng = np.random.default_rng(0)
    target = np.arange(60) % 2
    scores = rng.normal(target, 1.0, (3, 60))
    won = [photos.wins(target, scores)]
    low, high = photos.image_interval(won)
    assert low < photos.seed_means(won).mean() < high
    np.testing.assert_allclose(
        photos.seed_means(won), [auroc(target, each) for each in scores]
    )

    nothing = photos.differences(won, won)
    assert photos.image_interval(nothing).tolist() == [0, 0]


def test_every_question_names_parameters_of_the_detector(photos):
    known = {*RandomWordCLIPDetector().get_params(), "embedder__crops"}
    known |= {"embedder__resize_mode", "embedder__precision"}
    for settings in photos.QUESTIONS.values():
        assert len(settings) > 1
        for setting in settings.values():
            assert setting.keys() <= known


def test_command_prints_every_set_and_what_settings_gain(photos, folder, capsys):
    common = ["--seeds", "2", "--pairs", "100", "--photos", str(folder / "test")]
    photos.main([*common, "--data", str(folder / "more")])
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("coins", "keys", "old_lids", "mean"))

    photos.main([*common, "--half", "a", "--question", "normalize"])
    rows = capsys.readouterr().out.splitlines()
    assert [row.split("  ")[0] for row in rows if "ours" in row] == [
        *["normalize = True"] * 2,
        *["normalize = False"] * 2,
    ]
