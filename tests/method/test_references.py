"""Few shots: which pictures become references, and what the detector does with them."""

import io
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from detectors import tiny
from PIL import Image
from sklearn.model_selection import GridSearchCV
from streams import stream_windows

from skclipad import CLIPImageEmbedder, ImageReadError
from skclipad._method.maps import reference_map
from skclipad._method.references import choose_references
from skclipad.datasets import make_defect_images


@pytest.fixture(scope="module")
def pictures():
    return make_defect_images(12, categories=["wood"], random_state=7)


@pytest.fixture(scope="module")
def fitted(pictures):
    return tiny(n_shots=2).fit(pictures.images, pictures.target)


# -- which -------------------------------------------------------------------------


def test_references_are_drawn_from_the_normal_pictures():
    y = np.array([1, 0, 1, 0, 0, 1, 0])
    drawn = set()
    for seed in range(50):
        rows, images = choose_references(list("abcdefg"), y, 2, seed)
        assert images == ["abcdefg"[row] for row in rows]
        assert len(set(images)) == 2
        drawn.update(images)
    assert drawn == set("bdeg")


def test_without_y_all_pictures_may_be_references():
    drawn = {choose_references(list("abc"), None, 1, seed)[1][0] for seed in range(50)}
    assert drawn == set("abc")


def test_fewer_shots_are_among_more_shots_of_the_same_seed():
    letters = list("abcdefgh")
    four = choose_references(letters, None, 4, seed=3)[1]
    assert choose_references(letters, None, 2, seed=3)[1] == four[:2]
    assert choose_references(letters, None, 4, seed=3)[1] == four
    others = [choose_references(letters, None, 4, seed=s)[1] for s in range(10)]
    assert any(other != four for other in others)


@pytest.mark.parametrize("y", [[True, False, True], np.array([1.0, 0.0, 1.0])])
def test_labels_may_be_booleans_or_floats(y, pictures):
    assert tiny(n_shots=1).fit(pictures.images[:3], y).reference_rows_ == [1]


def test_references_come_out_of_any_collection(pictures, tmp_path):
    images, y = pictures.images[:6], [1, 1, 0, 1, 1, 1]
    paths = [str(tmp_path / f"{i}.png") for i in range(6)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    kinds = [
        images,
        list(images),
        paths,
        pd.Series(paths, index=list("zyxwvu")),
        pd.DataFrame({"image": paths}),
        pd.DataFrame({"image": paths, "object": "wood"}),
        (image for image in images),
    ]
    expected = tiny(n_shots=1).fit(images, y).references_
    for kind in kinds:
        detector = tiny(n_shots=1).fit(kind, y)
        assert detector.reference_rows_.tolist() == [2]
        for side, features in expected.items():
            np.testing.assert_allclose(
                detector.references_[side], features, rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (None, None, TypeError, "X=None with n_shots=3"),
        (["a", "b"], None, ValueError, "2 normal images among the 2 .*n_shots=3"),
        (list("abcd"), [0, 0, 1, 1], ValueError, "2 normal images among the 4"),
        (list("abcd"), [0, 0, 0], ValueError, "3 labels in y for 4 images"),
        (list("abcd"), ["good"] * 4, ValueError, "label 'good'.*y != 'good'"),
        (list("abcd"), [0, 0, 0, -1], ValueError, "label -1"),
        ("a.jpg", None, TypeError, "Got a single image"),
    ],
)
def test_what_offers_no_references_is_refused(X, y, error, message):
    with pytest.raises(error, match=message):
        tiny(n_shots=3).fit(X, y)


def test_embeddings_offer_no_references(pictures):
    embeddings = CLIPImageEmbedder("tiny").transform(pictures.images[:4])
    with pytest.raises(ValueError, match="Got embeddings with n_shots=3"):
        tiny(n_shots=3).fit(embeddings)


def test_a_reference_that_cannot_be_read_is_refused_whatever_on_error(pictures):
    detector = tiny(n_shots=2).set_params(embedder__on_error="nan")
    with pytest.raises(ImageReadError, match=r"gone\.png"):
        detector.fit([pictures.images[0], "gone.png"])


# -- scores ------------------------------------------------------------------------


def test_s_img_is_the_maximum_of_the_map_of_references(fitted, pictures):
    rows = fitted.reference_rows_
    assert len(rows) == 2 and not pictures.target[rows].any()
    backbone = CLIPImageEmbedder("tiny")._load()
    chosen = list(stream_windows(backbone, pictures.images[rows], patches=True))
    assert set(fitted.references_) == {1, 2, 3}
    for side, kept in fitted.references_.items():
        expected = np.stack([one.parts[side] for one in chosen])
        np.testing.assert_allclose(kept, expected, rtol=1e-4, atol=1e-4)
    s_img = fitted.score_components(pictures.images).s_img
    features = stream_windows(backbone, pictures.images, patches=True)
    expected = [reference_map(f.parts, fitted.references_).max() for f in features]
    np.testing.assert_allclose(s_img, expected, rtol=1e-4, atol=1e-5)
    assert s_img[rows].max() < 1e-5 < np.delete(s_img, rows).min()


def test_combination_is_the_mean_with_s_img(fitted, pictures):
    parts = fitted.score_components(pictures.images)
    assert list(parts) == ["s_pr", "s_fnn", "s_img"]
    expected = (parts.s_pr + parts.s_fnn + parts.s_img) / 3
    found = fitted.predict_proba(pictures.images)[:, 1]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    scores = ("prompt", "reference")
    only = tiny(n_shots=2, scores=scores).fit(pictures.images, pictures.target)
    expected = (parts.s_pr + parts.s_img) / 2
    found = only.predict_proba(pictures.images)[:, 1]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_shots_leave_the_other_scores_as_they_were(fitted, pictures):
    without = tiny(n_shots=0).fit().score_components(pictures.images)
    with_shots = fitted.score_components(pictures.images)
    # One pass gives the image and its parts, whose batches round in their own way.
    np.testing.assert_allclose(without.s_pr, with_shots.s_pr, atol=1e-6)
    np.testing.assert_allclose(without.s_fnn, with_shots.s_fnn, atol=1e-6)


def test_more_shots_only_lower_s_img(pictures):
    one, four = (tiny(n_shots=k).fit(pictures.images, pictures.target) for k in (1, 4))
    difference = (
        one.score_components(pictures.images).s_img
        - four.score_components(pictures.images).s_img
    )
    assert difference.min() >= -1e-6
    assert difference.max() > 1e-3


def test_zero_shots_keep_no_references_and_a_refit_forgets_them(pictures):
    detector = tiny(n_shots=2).fit(pictures.images)
    detector.set_params(n_shots=0).fit(pictures.images)
    assert detector.references_ is None and detector.reference_rows_ is None
    assert "s_img" not in detector.score_components(pictures.images[:2])


def test_a_generator_is_scored_though_pictures_are_looked_at_twice(fitted, pictures):
    images = (image for image in pictures.images[:5])
    np.testing.assert_allclose(
        fitted.predict_proba(images), fitted.predict_proba(pictures.images[:5])
    )


def test_embeddings_cannot_be_compared_with_references(fitted, pictures):
    embeddings = CLIPImageEmbedder("tiny").transform(pictures.images[:3])
    with pytest.raises(ValueError, match="Got embeddings.*n_shots=2"):
        fitted.predict_proba(embeddings)


def test_a_picture_that_cannot_be_read_has_no_s_img(pictures):
    detector = tiny(n_shots=1).set_params(embedder__on_error="nan").fit(pictures.images)
    with pytest.warns(UserWarning, match="1 of 2 images"):
        parts = detector.score_components(["gone.png", pictures.images[0]])
    assert np.isnan([scores[0] for scores in parts.values()]).all()
    assert not np.isnan([scores[1] for scores in parts.values()]).any()


# -- keeping and tuning ------------------------------------------------------------


def test_features_are_kept_and_pictures_are_not(fitted, pictures):
    kept = sum(features.nbytes for features in fitted.references_.values())
    without = len(pickle.dumps(tiny(n_shots=0).fit()))
    assert len(pickle.dumps(fitted)) < without + kept + 2000
    file = io.BytesIO()
    joblib.dump(fitted, file)
    file.seek(0)
    trusted = [
        "skclipad._detector.RandomWordCLIPDetector",
        "skclipad._embedder.CLIPImageEmbedder",
    ]
    expected = fitted.predict_proba(pictures.images)
    for again in (
        joblib.load(file),
        skops.io.loads(skops.io.dumps(fitted), trusted=trusted),
    ):
        np.testing.assert_array_equal(again.predict_proba(pictures.images), expected)


def test_grid_search_tunes_shots_and_crops(pictures, tmp_path):
    paths = [str(tmp_path / f"{i}.png") for i in range(12)]
    for path, image in zip(paths, pictures.images, strict=True):
        Image.fromarray(image).save(path)
    embedder = CLIPImageEmbedder("tiny", memory=tmp_path / "memory")
    grid = {"n_shots": [0, 1, 3], "embedder__crops": ["whole", "multi"]}
    search = GridSearchCV(
        tiny(n_shots=0, embedder=embedder),
        grid,
        scoring=["roc_auc", "neg_brier_score"],
        refit="roc_auc",
        cv=2,
        error_score="raise",
    )
    search.fit(paths, pictures.target)
    assert np.isfinite(search.cv_results_["mean_test_roc_auc"]).all()
    # Every setting scores in its own way, even where all rank the pictures alike.
    assert len(np.unique(search.cv_results_["mean_test_neg_brier_score"])) == 6
