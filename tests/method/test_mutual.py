"""Many references, some of them damaged: formulas, and what the detector does."""

import io
import pickle
from collections.abc import Sequence
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import skops.io
import torch
from detectors import tiny
from PIL import Image
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skclipad import CLIPImageEmbedder
from skclipad._method.mutual import (
    MutualComparison,
    highest_mean,
    lowest_mean,
    principal_axes,
    reference_state,
)
from skclipad._method.references import choose_references
from skclipad._method.scores import scale, standardized_score
from skclipad.datasets import make_defect_images

CPU = torch.device("cpu")
FOLDER = {"n_shots": "all", "reference_method": "mutual"}


def seen(parts, name):
    """Features of parts, as one pass through a tower gives them."""
    digest = np.frombuffer(name.encode().ljust(16), np.uint8)
    return SimpleNamespace(depths=np.asarray(parts, np.float16), digest=digest)


def random_images(rng, n, grid=(3, 4), width=6):
    return [seen(rng.normal(size=(*grid, width)), f"image {i}") for i in range(n)]


def by_loops(image, references, share, sides):
    """The score of each part, written out."""
    rows, columns, _ = image.depths.shape
    scores = np.zeros((rows, columns))
    for side in sides:
        own = squares(image.depths, side)
        others = [r for r in references if (r.digest != image.digest).any()]
        for down in range(rows):
            for right in range(columns):
                part = own[down, right]
                distances = sorted(
                    min(
                        (1 - part @ q) / 2
                        for q in squares(o.depths, side).reshape(-1, 6)
                    )
                    for o in others
                )
                n = max(1, round(share * len(distances)))
                scores[down, right] += np.mean(distances[:n]) / len(sides)
    return scores


def squares(parts, side):
    """Parts averaged over the neighbours that there are, of unit length."""
    parts, reach = parts.astype(np.float64), side // 2
    rows, columns, _ = parts.shape
    found = np.empty_like(parts)
    for down in range(rows):
        for right in range(columns):
            near = parts[
                max(0, down - reach) : down + reach + 1,
                max(0, right - reach) : right + reach + 1,
            ].mean(axis=(0, 1))
            found[down, right] = near / np.linalg.norm(near)
    return found


@pytest.fixture(scope="module")
def pictures():
    return make_defect_images(16, categories=["wood"], random_state=7)


@pytest.fixture(scope="module")
def folder(pictures):
    return tiny(**FOLDER).fit(pictures.images)


# -- formulas ----------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
@pytest.mark.parametrize("sides", [(1,), (1, 3, 5)])
def test_a_parts_score_is_that_of_loops(share, sides):
    rng = np.random.default_rng(0)
    references, new = random_images(rng, 7), random_images(rng, 8)[-1]
    state = reference_state(references, sides)
    compare = MutualComparison(state, share, CPU)
    for image in (new, references[3]):
        expected = by_loops(image, references, share, sides)
        # References are kept with eleven bits a number.
        np.testing.assert_allclose(compare(image), expected, atol=2e-3)


def test_a_comparison_takes_blocks_of_references():
    rng = np.random.default_rng(1)
    references, new = random_images(rng, 70), random_images(rng, 71)[-1]
    compare = MutualComparison(reference_state(references, (1,)), 0.3, CPU)
    expected = by_loops(new, references, 0.3, (1,))
    np.testing.assert_allclose(compare(new), expected, atol=2e-3)


def test_what_is_kept_of_references_is_the_same_bits_in_any_order():
    rng = np.random.default_rng(2)
    references = random_images(rng, 40, width=32)
    order = rng.permutation(40)
    state = reference_state(references, (1,))
    other = reference_state([references[i] for i in order], (1,))
    assert np.array_equal(other["basis"], state["basis"])
    assert np.array_equal(other["parts"], state["parts"][order])


def test_an_image_that_is_all_references_differs_from_none():
    image = random_images(np.random.default_rng(0), 1)[0]
    compare = MutualComparison(reference_state([image, image], (1,)), 0.3, CPU)
    assert not compare(image).any()


def test_means_of_the_lowest_and_the_highest():
    values = torch.tensor([[0.4, 0.1, 0.3], [0.9, 0.8, 0.1]])
    np.testing.assert_allclose(lowest_mean(values, 0.67), [0.2, 0.45])
    np.testing.assert_allclose(lowest_mean(values, 0.01), [0.1, 0.1])
    assert highest_mean(values.numpy(), 0) == pytest.approx(0.9)
    assert highest_mean(values.numpy(), 0.5) == pytest.approx((0.9 + 0.8 + 0.4) / 3)


def test_axes_keep_cosines_of_features_that_lie_in_few_directions():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(4, 50))
    parts = (rng.normal(size=(5, 3, 3, 4)) @ plane).astype(np.float16)
    axes = principal_axes(parts, 4)
    np.testing.assert_allclose(axes.T @ axes, np.eye(4), atol=1e-5)
    flat = parts.reshape(-1, 50).astype(np.float64)
    np.testing.assert_allclose(
        (flat @ axes) @ (flat @ axes).T, flat @ flat.T, atol=0.05, rtol=1e-2
    )
    assert principal_axes(parts[..., :3], 4).shape == (3, 3)


def test_words_add_to_what_references_show_and_take_nothing_away():
    s_img, s_fnn = np.array([0.1, 0.9, 0.5, 0.5]), np.array([0.5, 0.1, 0.6, 1.0])
    scales = {"s_img": (0.5, 0.1), "s_fnn": (0.0, 0.5)}
    found = standardized_score({"s_img": s_img, "s_fnn": s_fnn}, scales)
    words = np.array([0, 0, np.log(0.6 / 0.4) / 0.5, 2])
    over = (s_img - 0.5) / 0.1 + words / 2 - 3
    np.testing.assert_allclose(found, 0.5 + 0.5 * over / (1 + abs(over)))
    alone = standardized_score({"s_img": s_img}, scales)
    assert (found >= alone).all() and found[1] == alone[1]
    only = standardized_score({"s_fnn": s_fnn}, scales)
    assert np.argsort(only).tolist() == [1, 0, 2, 3] and only[-1] < 1


def test_a_scale_is_never_zero():
    assert scale("s_img", [0.3] * 9) == (0.3, 1.0)
    middle, spread = scale("s_img", [0.0] * 9 + [1.0])
    assert middle == 0 and spread == pytest.approx(0.3)
    assert scale("s_pr", [0.5] * 3 + [1.0] * 2)[0] == 0


# -- which -------------------------------------------------------------------------


def test_all_are_the_normal_ones_in_their_order_or_as_many_as_allowed():
    y = np.array([1, 0, 1, 0, 0, 0])
    rows, images = choose_references(list("abcdef"), y, "all", seed=0, most=9)
    assert rows.tolist() == [1, 3, 4, 5] and images == list("bdef")
    drawn = [
        tuple(choose_references(list("abcdef"), y, "all", seed, most=2)[1])
        for seed in range(30)
    ]
    assert len(set(drawn)) > 3 and set("".join(map("".join, drawn))) == set("bdef")
    with pytest.raises(ValueError, match="0 normal images.*needs at least one"):
        choose_references(["a"], np.array([1]), "all", 0, most=2)


def test_labels_leave_out_the_damaged_and_without_them_all_are_references(
    folder, pictures
):
    assert folder.reference_rows_.tolist() == list(range(16))
    labelled = tiny(**FOLDER).fit(pictures.images, pictures.target)
    good = np.flatnonzero(pictures.target == 0)
    assert labelled.reference_rows_.tolist() == good.tolist()


def test_more_images_than_the_bound_are_said(pictures):
    detector = tiny(**FOLDER, max_references=9).fit(pictures.images)
    assert len(detector.reference_rows_) == 9 and detector.n_references_offered_ == 16
    assert detector.references_["parts"].shape[0] == 9
    assert "9 of 16 images" in detector._repr_html_()


def test_of_images_made_when_asked_for_only_references_are_made(pictures):
    class Lazy(Sequence):
        made = []

        def __len__(self):
            return 1000

        def __getitem__(self, row):
            if row >= 1000:
                raise IndexError(row)
            self.made.append(row)
            return pictures.images[row % 16]

    images = Lazy()
    detector = tiny(**FOLDER, max_references=3).fit(images)
    assert set(detector.reference_rows_) <= set(images.made)
    assert len(images.made) < 10
    assert detector.n_references_offered_ == 1000


def test_what_cannot_be_read_is_no_reference_of_a_folder(pictures):
    detector = tiny(**FOLDER).set_params(embedder__on_error="nan")
    with pytest.warns(UserWarning, match="1 of 16 images"):
        detector.fit([*pictures.images[:5], "gone.png", *pictures.images[5:15]])
    assert 5 not in detector.reference_rows_ and len(detector.reference_rows_) == 15
    with (
        pytest.warns(UserWarning, match="1 of 1 images"),
        pytest.raises(ValueError, match=r"none of them can be read.*gone\.png"),
    ):
        detector.fit(["gone.png"])


# -- scores ------------------------------------------------------------------------


def test_one_image_alone_scores_as_in_a_batch(folder, pictures):
    together = folder.score_components(pictures.images).s_img
    alone = [folder.score_components([one]).s_img[0] for one in pictures.images]
    np.testing.assert_allclose(alone, together, atol=1e-6)
    assert together.dtype == np.float64 and 0 < together.min() < together.max() < 1


def test_the_order_of_references_changes_nothing(folder, pictures):
    order = np.random.default_rng(0).permutation(16)
    other = tiny(**FOLDER).fit(pictures.images[order])
    np.testing.assert_allclose(
        other.score_components(pictures.images).s_img,
        folder.score_components(pictures.images).s_img,
        atol=1e-6,
    )


def test_an_image_is_not_compared_with_itself_whatever_holds_it(
    folder, pictures, tmp_path
):
    path = tmp_path / "same.png"
    Image.fromarray(pictures.images[3]).save(path)
    rest = pickle.loads(pickle.dumps(folder))
    for name in ("parts", "digests"):
        rest.references_[name] = np.delete(rest.references_[name], 3, axis=0)
    expected = rest.score_components(pictures.images[3:4]).s_img
    for detector in (folder, pickle.loads(pickle.dumps(folder))):
        found = detector.score_components([path]).s_img
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert found > 1e-3


def test_damaged_twins_do_not_hide_each_other():
    data = make_defect_images(48, categories=["wood"], random_state=1)
    good = data.images[data.target == 0][:20]
    damaged = data.images[data.target == 1][0]
    twin = damaged.copy()
    twin[0, 0] ^= 1  # another content, the same damage
    folders = ([*good, damaged], [*good, damaged, twin])

    kept = {}
    for share in (0.3, 0.01):
        alone, with_twin = (
            tiny(**FOLDER, reference_share=share, reference_top=0)
            .fit(np.stack(images))
            .score_components(damaged[None])
            .s_img
            for images in folders
        )
        kept[share] = with_twin / alone
    assert kept[0.3] > 0.75
    assert kept[0.01] < 0.1


def test_s_img_is_the_mean_of_the_highest_parts_of_the_map(folder, pictures):
    maps = clone(folder).set_params(scores=("reference",), combine="sum")
    maps.set_params(reference_top=0).fit(pictures.images)
    s_img = maps.score_components(pictures.images).s_img
    highest = [one.max() for one in maps.anomaly_map(pictures.images, size=8)]
    np.testing.assert_allclose(s_img, highest, atol=1e-6)
    mean = maps.set_params(reference_top=1.0).score_components(pictures.images).s_img
    assert (mean < s_img).all()


def test_auto_combines_what_there_is(folder, pictures):
    components = folder.score_components(pictures.images)
    assert list(components) == ["s_pr", "s_fnn", "s_img"]
    scales = folder.reference_scales_
    expected = standardized_score(components, scales)
    found = folder.predict_proba(pictures.images)[:, 1]
    np.testing.assert_allclose(found, expected)

    for scores, names in {
        ("reference",): ["s_img"],
        ("fnn", "prompt"): ["s_fnn", "s_pr"],
    }.items():
        some = pickle.loads(pickle.dumps(folder)).set_params(scores=scores)
        chosen = {name: components[name] for name in names}
        expected = standardized_score(chosen, scales)
        np.testing.assert_allclose(some.predict_proba(pictures.images)[:, 1], expected)
        assert len(some.anomaly_map(pictures.images[:2])) == 2


def test_few_references_have_no_spread_and_are_summed(pictures):
    detector = tiny(n_shots=4, reference_method="mutual").fit(pictures.images)
    assert detector.reference_scales_ is None
    components = detector.score_components(pictures.images)
    np.testing.assert_allclose(
        detector.predict_proba(pictures.images)[:, 1],
        np.mean(list(components.values()), axis=0),
    )


def test_winclip_is_standardized_by_each_reference_among_the_others(pictures):
    detector = tiny(n_shots=3, combine="standardized").fit(pictures.images)
    expected = []
    for i, row in enumerate(detector.reference_rows_):
        rest = np.delete(detector.reference_rows_, i)
        others = tiny(n_shots="all").fit(pictures.images[rest])
        expected += others.score_components(pictures.images[[row]]).s_img.tolist()
    assert detector.reference_scales_["s_img"] == pytest.approx(
        scale("s_img", expected)
    )


# -- errors ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scores": ("reference",)}, "no references"),
        ({"scores": ("img",)}, "expected 'auto' or a sequence"),
        ({"scores": "all"}, "scores"),
        ({"combine": "standardized"}, "over 0 references"),
        ({"combine": "standardized", "n_shots": 1}, "over 1 references"),
        ({"n_shots": "some"}, "n_shots"),
        ({"n_shots": 1, "reference_share": 0}, "reference_share"),
        ({"reference_method": "nearest"}, "reference_method"),
        ({"max_references": 0}, "max_references"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(parameters, message, pictures):
    with pytest.raises(ValueError, match=message):
        tiny(**parameters).fit(pictures.images[:3])


def test_a_folder_is_no_embeddings_and_not_nothing(pictures):
    embeddings = CLIPImageEmbedder("tiny").transform(pictures.images[:4])
    with pytest.raises(ValueError, match="Got embeddings with n_shots=all"):
        tiny(**FOLDER).fit(embeddings)
    with pytest.raises(TypeError, match="X=None with n_shots=all, but expected images"):
        tiny(**FOLDER).fit()


def test_what_a_scale_was_measured_with_cannot_change(folder, pictures):
    for change in ({"temperature": 0.1}, {"reference_share": 1.0}):
        other = pickle.loads(pickle.dumps(folder)).set_params(**change)
        with pytest.raises(ValueError, match="call fit again, or set combine='sum'"):
            other.predict(pictures.images[:1])
        assert other.set_params(combine="sum").predict(pictures.images[:1]).shape == (
            1,
        )
    summed = tiny(**FOLDER, combine="sum").fit(pictures.images)
    with pytest.raises(ValueError, match="measured by fit"):
        summed.set_params(combine="standardized").predict(pictures.images[:1])


# -- scikit-learn ------------------------------------------------------------------


def test_a_folder_is_kept_by_joblib_and_skops_in_little_room(folder, pictures):
    file = io.BytesIO()
    joblib.dump(folder, file)
    kept = sum(array.nbytes for array in folder.references_.values())
    assert folder.references_["parts"].dtype == np.float16
    assert file.tell() < len(pickle.dumps(tiny().fit())) + kept + 3000
    file.seek(0)
    trusted = [
        "skclipad._detector.RandomWordCLIPDetector",
        "skclipad._embedder.CLIPImageEmbedder",
    ]
    again = skops.io.loads(skops.io.dumps(folder), trusted=trusted)
    expected = folder.predict_proba(pictures.images)
    for other in (joblib.load(file), again):
        np.testing.assert_array_equal(other.predict_proba(pictures.images), expected)


def test_grid_search_takes_references_from_each_training_fold(pictures, tmp_path):
    paths = [str(tmp_path / f"{i}.png") for i in range(16)]
    for path, image in zip(paths, pictures.images, strict=True):
        Image.fromarray(image).save(path)
    seen = []

    def score(detector, X, y):
        rows = [paths.index(path) for path in X]
        train = np.setdiff1d(np.arange(16), rows)
        references = train[detector.reference_rows_]
        assert not set(references) & set(rows)
        assert not pictures.target[references].any()
        seen.append(len(references))
        return detector.score(X, y)

    grid = [
        {"n_shots": [1, "all"], "reference_method": ["winclip"]},
        {"reference_share": [0.3, 1.0]},
    ]
    search = GridSearchCV(
        tiny(**FOLDER), grid, scoring=score, cv=KFold(2), error_score="raise"
    )
    search.fit(paths, pictures.target)
    assert len(seen) == 2 * 4 and {1} < set(seen)


def test_a_folder_works_at_the_end_of_a_pipeline_and_with_frames(folder, pictures):
    pipeline = make_pipeline(FunctionTransformer(), tiny(**FOLDER))
    pipeline.fit(list(pictures.images))
    np.testing.assert_array_equal(
        pipeline.predict_proba(list(pictures.images)),
        folder.predict_proba(pictures.images),
    )
    assert clone(folder).get_params()["n_shots"] == "all"

    # Whatever else transformers are set to put out.
    with config_context(transform_output="pandas"):
        in_frames = tiny(**FOLDER).fit(pictures.images).predict_proba(pictures.images)
    np.testing.assert_array_equal(in_frames, folder.predict_proba(pictures.images))


# Printed by the version before references of folders: (n_shots, s_img of six images).
WINCLIP = {
    1: [0.02934732, 0.03053191, 0.00000004, 0.03450704, 0.03164409, 0.03395398],
    2: [0.02798499, 0.00000003, 0.00000004, 0.03405340, 0.02838779, 0.02997370],
}


@pytest.mark.parametrize("n_shots", WINCLIP)
def test_winclip_scores_as_before_there_was_another_method(n_shots):
    images = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    embedder = CLIPImageEmbedder("tiny", device="cpu", precision="fp32")
    detector = tiny(n_shots=n_shots, embedder=embedder).fit(images)
    found = detector.score_components(images)["s_img"]
    np.testing.assert_allclose(found, WINCLIP[n_shots], rtol=0, atol=1e-6)
