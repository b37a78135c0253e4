"""RandomWordCLIPDetector: what it promises, on a stand-in CLIP and on the bundled."""

import pickle
import warnings
from functools import partial

import detectors
import numpy as np
import pandas as pd
import polars as pl
import pyarrow
import pytest
import sklearn
import torch
from PIL import Image
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import RocCurveDisplay, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from standin import StandInEmbedder

from skclipad import (
    BackboneMismatchError,
    CLIPImageEmbedder,
    PromptTooLongError,
    RandomWordCLIPDetector,
)
from skclipad._method.network import train_network
from skclipad._method.prompt_embeddings import clear_prompt_cache
from skclipad._storage.process_cache import clear_caches
from skclipad.datasets import make_defect_images


@pytest.fixture
def X():
    """Embeddings on the stand-in's two sides: normal ones first."""
    rng = np.random.default_rng(0)
    X = 0.3 * rng.normal(size=(40, 4)).astype(np.float32)
    X[:20, 0] -= 1
    X[20:, 0] += 1
    return X


Y = np.repeat([0, 1], 20)


stand_in = partial(detectors.stand_in, N_p=300)
tiny = partial(detectors.tiny, N_p=300)


@pytest.fixture(scope="module")
def pictures():
    return make_defect_images(200, random_state=123)


def test_fit_needs_no_picture_and_separates_what_texts_separate(X):
    detector = stand_in()
    assert detector.fit() is detector
    assert roc_auc_score(Y, detector.predict_proba(X)[:, 1]) == 1
    assert (detector.predict(X) == Y).all()


def test_texts_alone_find_damage_in_pictures(pictures):
    detector = tiny(N_p=1000).fit()
    scores = detector.score_components(pictures.images)
    assert roc_auc_score(pictures.target, scores["s_pr"]) > 0.8
    assert roc_auc_score(pictures.target, scores["s_fnn"]) > 0.8


def test_X_and_y_change_nothing(X):
    alone = stand_in().fit()
    for arguments in [(X,), (X, Y), (["no/such.jpg"], [1]), (None, Y)]:
        other = stand_in().fit(*arguments)
        np.testing.assert_array_equal(other.predict_proba(X), alone.predict_proba(X))


def test_generator_is_not_consumed_by_fit():
    images = iter(["a.jpg"])
    stand_in().fit(images)
    assert next(images) == "a.jpg"


def test_every_public_number_derives_from_one_score(X):
    detector = stand_in(threshold=0.3).fit()
    parts = detector.score_components(X)
    assert list(parts) == ["s_pr", "s_fnn"]
    combined = (parts["s_pr"] + parts["s_fnn"]) / 2
    np.testing.assert_allclose(detector.predict_proba(X)[:, 1], combined)
    np.testing.assert_allclose(detector.predict_proba(X).sum(axis=1), 1)
    np.testing.assert_allclose(detector.decision_function(X), combined - 0.3)
    np.testing.assert_array_equal(detector.predict(X), combined > 0.3)
    assert detector.predict(X).dtype.kind == "i"
    assert detector.classes_.tolist() == [0, 1]


def test_the_length_of_an_embedding_matters_without_normalize_alone(X):
    unit, raw = stand_in().fit(), stand_in(normalize=False).fit()
    short, long = unit.score_components(X).s_fnn, unit.score_components(3 * X).s_fnn
    np.testing.assert_allclose(long, short, atol=1e-5)
    short, long = raw.score_components(X).s_fnn, raw.score_components(3 * X).s_fnn
    assert np.abs(long - short).max() > 1e-2


def test_equal_values_of_other_parameters_are_another_training():
    clear_caches()
    one = stand_in(n_epochs=1, n_networks=2).fit()
    other = stand_in(n_epochs=2, n_networks=1).fit()
    assert other.n_iter_ == 2 * one.n_iter_


def test_threshold_moves_labels_alone(X):
    low, high = stand_in(threshold=0).fit(), stand_in(threshold=1).fit()
    assert low.predict(X).all() and not high.predict(X).any()
    np.testing.assert_array_equal(low.predict_proba(X), high.predict_proba(X))


@pytest.mark.parametrize(
    ("scores", "names"),
    [
        (("prompt",), ["s_pr"]),
        (["fnn"], ["s_fnn"]),
        (("fnn", "prompt"), ["s_pr", "s_fnn"]),
    ],
)
def test_scores_choose_the_papers_rows(scores, names, X):
    detector = stand_in(scores=scores).fit()
    parts = detector.score_components(X)
    expected = np.mean([parts[name] for name in names], axis=0)
    np.testing.assert_allclose(detector.predict_proba(X)[:, 1], expected, rtol=1e-6)


def test_prompt_score_uses_the_two_prompts_of_the_object(X):
    detector = stand_in(object_name="bottle").fit()
    texts = ["a photo of a bottle", "a photo of a damaged bottle"]
    expected = StandInEmbedder().encode_text(texts)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(detector.prompt_embeddings_, expected, rtol=1e-6)


def test_prompt_sets_are_averaged(X):
    own = {"normal": ["a {}", "one {}"], "anomaly": ["a damaged {}"]}
    embedder = StandInEmbedder()
    normal = embedder.encode_text(["a object", "one object"])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    normal = normal.mean(axis=0)
    detector = stand_in(prompt_set=own).fit()
    np.testing.assert_allclose(
        detector.prompt_embeddings_[0], normal / np.linalg.norm(normal), rtol=1e-6
    )
    assert stand_in(prompt_set="winclip").fit().prompt_embeddings_.shape == (2, 4)


def test_raw_average_of_prompts_weighs_long_embeddings_more():
    own = {"normal": ["a {}", "one {}"], "anomaly": ["a damaged {}"]}
    unit, raw = (
        stand_in(prompt_set=own, prompt_average=average).fit().prompt_embeddings_[0]
        for average in ("unit", "raw")
    )
    mean = StandInEmbedder().encode_text(["a object", "one object"]).mean(axis=0)
    np.testing.assert_allclose(raw, mean / np.linalg.norm(mean), rtol=1e-6)
    assert np.abs(raw - unit).max() > 1e-5
    assert np.linalg.norm(unit) == pytest.approx(1)


@pytest.mark.parametrize("make_frame", [pd.DataFrame, pl.DataFrame])
def test_each_row_is_scored_with_the_prompts_of_its_own_object(make_frame, pictures):
    images = [Image.fromarray(image) for image in pictures.images[:4]]
    objects = ["coin", "a bolt", "coin", "object"]
    frame = make_frame({"object": objects, "image": images, "y": [0, 1, 0, 1]})
    for detector in (tiny(), tiny(prompt_set="winclip")):
        found = detector.fit().score_components(frame)
        maps = detector.anomaly_map(frame)
        for row, name in enumerate(objects):
            known = clone(detector).set_params(object_name=name).fit()
            expected = known.score_components(images[row : row + 1])
            np.testing.assert_allclose(found.s_pr[row], expected.s_pr[0], atol=1e-5)
            np.testing.assert_allclose(found.s_fnn[row], expected.s_fnn[0], atol=1e-5)
            (expected,) = known.anomaly_map(images[row : row + 1])
            np.testing.assert_allclose(maps[row], expected, atol=1e-4)


@pytest.mark.parametrize(("how", "reduce"), [("mean", np.mean), ("max", np.max)])
def test_views_are_scored_one_by_one(how, reduce, pictures):
    def corners(width, height):
        # More views of the wide picture than of the others.
        return [(0, 0, 40, 40), (10, 20, 64, 64), *[(64, 0, 96, 64)] * (width > 64)]

    wide = np.concatenate([pictures.images[0], pictures.images[1, :, :32]], axis=1)
    images = [pictures.images[2], wide, pictures.images[3]]
    frame = pd.DataFrame({"image": images, "object": ["nut", "coin", "pill"]})
    detector = tiny(combine_views=how).set_params(embedder__crops=corners).fit()
    found = detector.score_components(frame)
    for row, (image, name) in enumerate(zip(images, frame["object"], strict=True)):
        known = tiny(object_name=name).fit()
        alone = []
        for view in range(len(corners(image.shape[1], image.shape[0]))):
            known.set_params(embedder__crops=lambda w, h, i=view: [corners(w, h)[i]])
            alone.append(known.score_components([image]))
        for part in ("s_pr", "s_fnn"):
            expected = reduce([scores[part][0] for scores in alone])
            assert found[part][row] == pytest.approx(expected, abs=1e-4)
    averaged = clone(detector).set_params(combine_views="embeddings").fit()
    assert np.abs(averaged.score_components(frame).s_pr - found.s_pr).max() > 1e-3


def test_a_bad_image_among_several_views_has_no_score(pictures):
    detector = tiny(combine_views="max")
    detector.set_params(embedder__crops="multi", embedder__on_error="nan").fit()
    with pytest.warns(UserWarning, match="1 of 3"):
        scores = detector.predict_proba(
            [pictures.images[0], "gone.jpg", *pictures.images[:1]]
        )
    np.testing.assert_array_equal(np.isnan(scores[:, 1]), [False, True, False])
    assert scores[0, 1] == pytest.approx(scores[2, 1])


def test_prompts_are_embedded_once_for_each_distinct_object(pictures, monkeypatch):
    clear_prompt_cache()
    detector = tiny().fit()
    encoded = []
    encode = CLIPImageEmbedder.encode_text
    monkeypatch.setattr(
        CLIPImageEmbedder,
        "encode_text",
        lambda self, texts: encoded.extend(texts) or encode(self, texts),
    )
    frame = pd.DataFrame(
        {"image": list(pictures.images[:6]), "object": ["nut", "coin", "nut"] * 2}
    )
    for _ in range(2):
        detector.predict_proba(frame)
    assert sorted(encoded) == [
        "a photo of a coin",
        "a photo of a damaged coin",
        "a photo of a damaged nut",
        "a photo of a nut",
    ]


@pytest.mark.parametrize("name", [None, np.nan, " ", 3])
def test_a_row_without_the_name_of_its_object_is_refused(name, pictures):
    frame = pd.DataFrame(
        {
            "image": list(pictures.images[:2]),
            "object": pd.Series(["nut", name], dtype=object),
        }
    )
    with pytest.raises(ValueError, match="row 1 of the column 'object'"):
        tiny().fit().predict_proba(frame)


def test_same_seed_same_scores_bit_for_bit(pictures):
    images = pictures.images[:20]
    first = tiny().fit().predict_proba(images)
    clear_caches()
    np.testing.assert_array_equal(tiny().fit().predict_proba(images), first)
    assert np.abs(tiny(random_state=1).fit().predict_proba(images) - first).max() > 0


def test_what_was_encoded_before_does_not_change_a_bit():
    coefs = []
    for sizes in [(150,), (400, 150)]:
        clear_caches()
        coefs.append([tiny(N_p=size).fit() for size in sizes][-1].coefs_)
    for alone, after in zip(*coefs, strict=True):
        np.testing.assert_array_equal(alone, after)


def test_global_generators_are_not_touched():
    torch.manual_seed(3)
    np.random.seed(3)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    stand_in(random_state=77).fit()
    assert torch.equal(torch_state, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_state, np.random.get_state()[1])


def test_random_state_instance_gives_a_new_draw_each_time(X):
    detector = stand_in(random_state=np.random.RandomState(0))
    first = detector.fit().coefs_[0]
    assert np.abs(first - detector.fit().coefs_[0]).max() > 0


def test_changing_a_fitted_array_does_not_reach_other_fits():
    detector = stand_in().fit()
    detector.coefs_[0][:] = 0
    assert np.abs(stand_in().fit().coefs_[0]).max() > 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"l_min": 6, "l_max": 5}, "l_min=6 and l_max=5"),
        ({"l_min": 0}, "'l_min' parameter"),
        ({"N_p": 0}, "'N_p' parameter"),
        ({"N_p": 1.5}, "'N_p' parameter"),
        ({"normal_word": " "}, "normal_word=' '"),
        ({"anomaly_word": ""}, "anomaly_word=''"),
        ({"object_name": ""}, "object_name=''"),
        ({"normal_word": ["a", "a good"]}, "'normal_word' parameter"),
        ({"anomaly_word": 3}, "'anomaly_word' parameter"),
        ({"input_noise": -1}, "'input_noise' parameter"),
        ({"n_networks": 0}, "'n_networks' parameter"),
        ({"scores": ("other",)}, r"scores=\('other',\)"),
        ({"scores": ()}, r"scores=\(\)"),
        ({"scores": "fnn"}, "scores"),
        ({"prompt_set": "mine"}, "'prompt_set' parameter"),
        ({"prompt_set": {"normal": ["{}"]}}, "'normal' and 'anomaly'"),
        ({"prompt_average": "median"}, "'prompt_average' parameter"),
        ({"combine_views": "median"}, "'combine_views' parameter"),
        ({"n_shots": -1}, "'n_shots' parameter"),
        ({"n_shots": 1.5}, "'n_shots' parameter"),
        ({"temperature": 0}, "'temperature' parameter"),
        ({"hidden_layer_sizes": (8, 0)}, "hidden_layer_sizes"),
        ({"hidden_layer_sizes": (8, 2.5)}, "hidden_layer_sizes"),
        ({"dropout": 1}, "'dropout' parameter"),
        ({"n_epochs": 0}, "'n_epochs' parameter"),
        ({"batch_size": 1}, "'batch_size' parameter"),
        ({"threshold": 1.5}, "'threshold' parameter"),
        ({"memory": 3}, "'memory' parameter"),
        ({"random_state": "x"}, "'random_state' parameter"),
    ],
)
def test_bad_parameters_are_refused_at_fit(parameters, message):
    detector = stand_in(**parameters)
    with pytest.raises(ValueError, match=message):
        detector.fit()


def test_prompt_that_would_lose_its_end_is_refused():
    with pytest.raises(PromptTooLongError, match=r"tokens.*at most 77.*l_max"):
        tiny(l_min=30, l_max=40, N_p=10).fit()


def test_unfitted_detector_says_so(X):
    with pytest.raises(NotFittedError):
        stand_in().predict_proba(X)


def test_embeddings_of_another_width_are_refused(X):
    detector = stand_in().fit()
    for method in (detector.fit, detector.predict_proba):
        with pytest.raises(ValueError, match="X has 3 features.*expecting 4"):
            method(X[:, :3])


def test_another_backbone_after_fit_is_refused(pictures, X):
    detector = tiny().fit()
    detector.embedder = StandInEmbedder()
    with pytest.raises(BackboneMismatchError, match="'stand-in'"):
        detector.predict_proba(pictures.images[:2])


def test_settings_of_the_embedder_may_change_after_fit(pictures):
    detector = tiny().fit()
    before = detector.predict_proba(pictures.images[:4])
    detector.set_params(embedder__batch_size=1, embedder__device="cpu")
    np.testing.assert_allclose(
        detector.predict_proba(pictures.images[:4]), before, rtol=1e-4, atol=1e-5
    )


def test_image_without_score_is_nan_and_gets_no_label(pictures):
    detector = tiny().set_params(embedder__on_error="nan").fit()
    X = [pictures.images[0], "gone.jpg", pictures.images[2]]
    with pytest.warns(UserWarning, match="1 of 3"):
        scores = detector.predict_proba(X)
    assert np.isnan(scores[1]).all() and not np.isnan(scores[[0, 2]]).any()
    with (
        pytest.warns(UserWarning, match="1 of 3"),
        pytest.raises(ValueError, match=r"1 of 3 samples have no score \(rows \[1\]"),
    ):
        detector.predict(X)


def test_images_embeddings_and_pipeline_agree(pictures):
    images = pictures.images[:10]
    detector = tiny().fit()
    embeddings = CLIPImageEmbedder("tiny").transform(images)
    pipeline = make_pipeline(CLIPImageEmbedder("tiny"), tiny()).fit(images)
    expected = detector.predict_proba(images)
    np.testing.assert_allclose(detector.predict_proba(embeddings), expected, atol=1e-6)
    np.testing.assert_allclose(pipeline.predict_proba(images), expected, atol=1e-6)


def test_pipeline_caches_its_transformer(pictures, tmp_path):
    pipeline = make_pipeline(CLIPImageEmbedder("tiny"), tiny(), memory=str(tmp_path))
    images = pictures.images[:6]
    expected = tiny().fit().predict_proba(images)
    for _ in range(2):
        np.testing.assert_allclose(
            pipeline.fit(images).predict_proba(images), expected, atol=1e-6
        )


def test_frame_of_embeddings_keeps_its_names(X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    detector = stand_in().fit(frame)
    assert detector.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        detector.predict(frame[list("dcba")])


def test_clone_and_params_round_trip():
    detector = stand_in(l_min=3, threshold=0.7)
    copy = clone(detector)
    assert copy.get_params()["l_min"] == 3
    assert copy.set_params(embedder__crops="multi").embedder.crops == "multi"
    assert detector.embedder.crops == "whole"


def test_grid_search_trains_each_setting_once(X, monkeypatch):
    clear_prompt_cache()
    trained, encoded = [], []
    monkeypatch.setattr(
        "skclipad._method.training.train_network",
        lambda *a, **k: trained.append(1) or train_network(*a, **k),
    )
    encode = StandInEmbedder.encode_text
    monkeypatch.setattr(
        StandInEmbedder,
        "encode_text",
        lambda self, texts: encoded.append(len(texts)) or encode(self, texts),
    )
    grid = {"l_min": [3, 4], "l_max": [8, 9], "N_p": [100, 200, 300]}
    search = GridSearchCV(stand_in(random_state=5), grid, scoring="roc_auc", cv=5)
    search.fit(X, Y)
    assert search.best_score_ == 1
    assert len(trained) == 12
    # Four pairs of lengths, three blocks of 200 prompts each, and the two queries.
    assert sum(encoded) == 4 * 3 * 200 + 2


def test_grid_search_works_on_paths_and_in_processes(pictures, tmp_path):
    paths = [str(tmp_path / f"{i}.png") for i in range(24)]
    for path, image in zip(paths, pictures.images, strict=False):
        Image.fromarray(image).save(path)
    search = GridSearchCV(
        tiny(N_p=100, memory=str(tmp_path)),
        {"l_min": [3, 5], "embedder__crops": ["whole", "multi"]},
        scoring="roc_auc",
        cv=2,
        n_jobs=2,
        error_score="raise",
    ).fit(paths, pictures.target[:24])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_cross_val_score_and_roc_display(X):
    assert cross_val_score(stand_in(), X, Y, scoring="roc_auc", cv=2).tolist() == [1, 1]
    display = RocCurveDisplay.from_estimator(stand_in().fit(), X, Y)
    assert display.roc_auc == 1


def test_html_repr_and_tags():
    detector = stand_in()
    assert "RandomWordCLIPDetector" in detector._repr_html_()
    tags = detector.__sklearn_tags__()
    assert tags.estimator_type == "classifier"
    assert not tags.target_tags.required
    assert not tags.classifier_tags.multi_class


def test_verbose_embedder_shows_progress_of_texts(capsys):
    clear_prompt_cache()
    tiny(random_state=991).set_params(embedder__verbose=True).fit()
    assert "Encoding texts" in capsys.readouterr().err


def test_several_networks_vary_less_than_one(pictures):
    embeddings = CLIPImageEmbedder("tiny").transform(pictures.images)
    spread = []
    for n_networks in (1, 5):
        scores = [
            tiny(n_networks=n_networks, random_state=seed, N_p=100, n_epochs=10)
            .fit()
            .score_components(embeddings)
            .s_fnn
            for seed in range(4)
        ]
        spread.append(np.std(scores, axis=0).mean())
    assert spread[1] < 0.8 * spread[0]


@pytest.mark.parametrize(
    "grid",
    [
        {"input_noise": [0.0, 1.0]},
        {"n_networks": [1, 2]},
    ],
    ids=lambda grid: list(grid)[-1],
)
def test_grid_search_over_what_goes_beyond_the_paper(grid, X):
    search = GridSearchCV(
        stand_in(N_p=100), grid, scoring="roc_auc", cv=2, error_score="raise"
    ).fit(X, Y)
    assert len(search.cv_results_["params"]) == max(map(len, grid.values()))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    clone(search.best_estimator_).fit()


def test_recommended_settings_are_cloned_and_pickled_whole(X):
    fitted = clone(stand_in(input_noise=1.0, n_networks=3)).fit()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert again.n_iter_ == len(fitted.loss_curve_)


# -- what fit leaves behind --------------------------------------------------------


@pytest.mark.parametrize(
    "failure", [{"n_shots": 2}, {"learning_rate": 1e30}, {"l_min": 30, "l_max": 40}]
)
def test_a_fit_that_fails_changes_nothing(failure, pictures):
    images = pictures.images[:4]
    detector = tiny(n_shots=2).fit(images)
    before = detector.predict_proba(images)
    with pytest.raises((ValueError, TypeError)):
        clone(detector).set_params(**failure).fit()
    detector.set_params(**failure)
    with pytest.raises((ValueError, TypeError)):
        detector.fit()
    np.testing.assert_array_equal(detector.predict_proba(images), before)


def test_names_of_columns_that_do_not_fit_change_nothing(X):
    detector = stand_in().fit(X)
    before = detector.predict_proba(X)
    with pytest.raises(TypeError, match="eature names"):
        detector.fit(pd.DataFrame(X, columns=[0, "a", 1, "b"]))
    np.testing.assert_array_equal(detector.predict_proba(X), before)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"combine_views": "median"}, "'combine_views' parameter"),
        ({"temperature": 0}, "'temperature' parameter"),
        ({"threshold": 7}, "'threshold' parameter"),
        ({"scores": ("fmn",)}, r"Got scores=\('fmn',\)"),
        ({"scores": ()}, r"Got scores=\(\)"),
    ],
)
def test_what_may_be_changed_after_fit_is_checked_when_images_are_scored(
    changed, message, X
):
    detector = stand_in().fit().set_params(**changed)
    for method in (detector.predict, detector.predict_proba):
        with pytest.raises(ValueError, match=message):
            method(X)


def test_labels_of_a_generator_are_counted_when_references_are_drawn(pictures):
    for n_labels in (3, 5):
        with pytest.raises(ValueError, match=f"{n_labels} labels in y for 4 images"):
            tiny(n_shots=2).fit(iter(pictures.images[:4]), [0] * n_labels)


def test_warnings_name_the_line_that_asked_for_the_work(pictures):
    detector = tiny().set_params(embedder__on_error="nan").fit()
    with pytest.warns(UserWarning, match="1 of 2 images") as caught:
        detector.predict_proba([pictures.images[0], "gone.png"])
    assert caught[0].filename == __file__


def test_a_first_fit_that_fails_leaves_no_fitted_detector(pictures):
    detector = tiny(n_shots=2)
    with pytest.raises(TypeError, match="X=None with n_shots=2"):
        detector.fit()
    with pytest.raises(NotFittedError):
        detector.predict(pictures.images[:2])
    assert "skclipad-summary" not in detector._repr_html_()


def test_a_failed_fit_on_another_clip_leaves_the_old_fingerprint(X):
    detector = stand_in().fit()
    detector.set_params(embedder=CLIPImageEmbedder("tiny"), learning_rate=1e30)
    with pytest.raises(ValueError, match="learning_rate"):
        detector.fit()
    with pytest.raises(BackboneMismatchError):
        detector.predict(make_defect_images(2, random_state=0).images)


def test_a_second_fit_forgets_the_names_of_the_first(X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    detector = stand_in().fit(frame)
    detector.fit(X)
    assert not hasattr(detector, "feature_names_in_")
    detector.fit(frame).fit()
    assert not hasattr(detector, "feature_names_in_")
    assert detector.n_features_in_ == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.predict(frame)
    embedder = CLIPImageEmbedder("tiny").fit(
        pd.DataFrame(np.zeros((2, 96)), dtype=float)
    )
    assert embedder.fit().get_params() and not hasattr(embedder, "n_features_in_")


@pytest.mark.parametrize(
    "changed",
    [
        {"normalize": False},
        {"normal_word": "a perfect"},
        {"anomaly_word": "a broken"},
        {"prompt_set": "winclip"},
        {"prompt_average": "raw"},
        {"object_name": "coin"},
    ],
)
def test_a_fitted_detector_scores_with_what_it_was_fitted_with(changed, pictures):
    images = list(pictures.images[:3])
    frame = pd.DataFrame({"image": images, "object": ["object"] * 3})
    fitted = {"prompt_set": {"normal": ["a {}", "one {}"], "anomaly": ["a bad {}"]}}
    detector = tiny(**fitted if "prompt_average" in changed else {}).fit()
    expected = detector.predict_proba(images)
    detector.set_params(**changed)
    np.testing.assert_array_equal(detector.predict_proba(images), expected)
    np.testing.assert_allclose(detector.predict_proba(frame), expected, atol=1e-6)


def test_references_keep_to_the_resize_mode_they_were_read_with(pictures):
    detector = tiny(n_shots=2).fit(pictures.images[:4])
    detector.set_params(embedder__resize_mode="longest")
    with pytest.raises(ValueError, match="'longest'.*'squash'.*Set it back"):
        detector.predict(pictures.images[:2])


# -- labels ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        np.where(Y == 1, -1, 1),
        np.where(Y == 1, "bad", "good"),
        Y + 1,
    ],
)
def test_labels_that_a_metric_would_turn_round_are_refused(labels, X):
    with pytest.raises(ValueError, match=r"Got the label .* 0 \(normal\) or 1"):
        stand_in().fit(X, labels)
    search = GridSearchCV(stand_in(), {"l_min": [3, 4]}, scoring="roc_auc", cv=2)
    with pytest.raises(ValueError, match="Got the label"):
        search.fit(X, labels)


def test_a_missing_label_is_refused(X):
    with pytest.raises(ValueError, match="Input y contains NaN"):
        stand_in().fit(X, np.where(Y == 1, np.nan, 0.0))


def test_labels_of_another_length_are_refused(X):
    with pytest.raises(ValueError, match="39 labels in y for 40 images"):
        stand_in().fit(X, Y[1:])


# -- output of scikit-learn --------------------------------------------------------


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_scores_do_not_depend_on_the_output_that_scikit_learn_is_set_to(
    output, pictures
):
    images, y = pictures.images[:12], pictures.target[:12]
    detector = tiny().fit()
    expected = detector.predict_proba(images)
    with sklearn.config_context(transform_output=output):
        np.testing.assert_array_equal(detector.predict_proba(images), expected)
        scores = cross_val_score(tiny(), images, y, scoring="roc_auc", cv=2)
    assert not np.isnan(scores).any()
    detector.embedder.set_output(transform=output)
    np.testing.assert_array_equal(detector.predict_proba(images), expected)
    pipeline = make_pipeline(CLIPImageEmbedder("tiny"), tiny())
    pipeline.set_output(transform=output).fit(images)
    np.testing.assert_allclose(pipeline.predict_proba(images), expected, atol=1e-6)


# -- the embedder as a parameter ---------------------------------------------------


def test_a_grid_may_name_the_default_embedders_parameters(pictures):
    grid = {"embedder__model_name": ["tiny"], "embedder__crops": ["whole", "multi"]}
    search = GridSearchCV(RandomWordCLIPDetector(N_p=100, random_state=0), grid, cv=2)
    search.fit(pictures.images[:12], pictures.target[:12])
    assert search.best_estimator_.embedder.model_name == "tiny"
    with pytest.raises(ValueError, match="Invalid parameter 'no_such'"):
        RandomWordCLIPDetector().set_params(embedder__no_such=1)


class Duck(BaseEstimator):
    def transform(self, X):
        return X

    def encode_text(self, texts):
        return texts


@pytest.mark.parametrize("embedder", [CLIPImageEmbedder, Duck(), "tiny"])
def test_what_is_no_embedder_is_refused_by_fit(embedder):
    with pytest.raises(ValueError, match="'embedder' parameter.*CLIPImageEmbedder"):
        RandomWordCLIPDetector(N_p=50, embedder=embedder).fit()


# -- tables ------------------------------------------------------------------------


def test_a_table_of_pyarrow_is_read_like_any_frame(tmp_path, pictures):
    paths = []
    for i, image in enumerate(pictures.images[:3]):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(image).save(paths[-1])
    detector = tiny().fit()
    expected = detector.predict_proba(paths)
    np.testing.assert_array_equal(
        detector.predict_proba(pyarrow.table({"path": paths})), expected
    )
    objects = ["nut", "coin", "nut"]
    frame = pd.DataFrame({"image": paths, "object": objects})
    np.testing.assert_array_equal(
        detector.predict_proba(pyarrow.table({"image": paths, "object": objects})),
        detector.predict_proba(frame),
    )


# -- numbers -----------------------------------------------------------------------


def test_scores_read_back_from_text_are_on_the_same_side_of_the_threshold(pictures):
    embeddings = CLIPImageEmbedder("tiny").transform(pictures.images[:20])
    detector = tiny().fit()
    for score in detector.predict_proba(embeddings)[:, 1]:
        assert isinstance(score, np.float64) and float(repr(float(score))) == score
        at, below = float(score), float(np.nextafter(score, 0))
        labels = [
            detector.set_params(threshold=t).predict(embeddings) for t in (at, below)
        ]
        assert labels[1].sum() - labels[0].sum() >= 1


class Mirrored(CLIPImageEmbedder):
    """An embedder that shows CLIP the mirror image."""

    def transform(self, X):
        return super().transform([np.asarray(image)[:, ::-1] for image in X])


def test_a_subclass_that_embeds_its_own_way_is_asked(pictures):
    images = pictures.images[:3]
    detector = RandomWordCLIPDetector(
        N_p=100, random_state=0, embedder=Mirrored("tiny")
    )
    plain = clone(detector).set_params(embedder=CLIPImageEmbedder("tiny")).fit()
    np.testing.assert_allclose(
        detector.fit().predict_proba(images),
        plain.predict_proba(images[:, :, ::-1]),
        atol=1e-6,
    )
