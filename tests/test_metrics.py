"""The figures against brute force, scikit-learn and their own definitions."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    auc,
    average_precision_score,
    f1_score,
    make_scorer,
    precision_recall_curve,
)
from sklearn.model_selection import GridSearchCV, cross_val_score

from skclipad.metrics import (
    aupr,
    aupro,
    auroc,
    f1_max,
    get_scorer,
    pixel_auroc,
    pixel_f1_max,
)


@pytest.fixture(params=range(6))
def sample(request):
    """Labels and scores of 60 pictures, with many ties among the scores."""
    rng = np.random.default_rng(request.param)
    y = rng.permutation(np.repeat([0, 1], [25, 35]))
    return y, np.round(rng.random(60) + 0.3 * y, 1)


def test_auroc_is_the_chance_of_the_right_order_with_ties_half(sample):
    y, score = sample
    difference = score[y == 1][:, None] - score[y == 0]
    expected = np.mean(np.where(difference == 0, 0.5, difference > 0))
    assert auroc(y, score) == pytest.approx(expected, abs=1e-12)


def test_aupr_is_average_precision(sample):
    assert aupr(*sample) == pytest.approx(average_precision_score(*sample), abs=1e-12)


def test_aupr_by_trapezoid_is_the_area_under_straight_lines(sample):
    precision, recall, _ = precision_recall_curve(*sample)
    assert aupr(*sample, method="trapezoid") == auc(recall, precision)
    assert aupr(*sample, method="trapezoid") != aupr(*sample)


def test_f1_max_is_the_best_of_every_threshold(sample):
    y, score = sample
    expected = max(f1_score(y, score >= cut) for cut in np.unique(score))
    assert f1_max(y, score) == pytest.approx(expected, abs=1e-12)


def test_f1_max_threshold_gives_that_f1_whether_or_not_equality_alarms(sample):
    y, score = sample
    best, threshold = f1_max(y, score, return_threshold=True)
    assert f1_score(y, score > threshold) == pytest.approx(best, abs=1e-12)
    assert f1_score(y, score >= threshold) == pytest.approx(best, abs=1e-12)


def test_f1_max_prefers_the_threshold_with_fewest_alarms():
    # {0.9} and {0.9, ..., 0.6} both have F1 = 2/3.
    best, threshold = f1_max([1, 0, 0, 1], [0.9, 0.8, 0.7, 0.6], return_threshold=True)
    assert best == pytest.approx(2 / 3)
    assert 0.8 < threshold < 0.9


def test_f1_max_threshold_when_every_picture_must_alarm():
    best, threshold = f1_max([0, 1], [0.7, 0.2], return_threshold=True)
    assert best == pytest.approx(2 / 3)
    assert threshold < 0.2 and threshold == pytest.approx(0.2)


def test_f1_max_threshold_between_neighbouring_floats():
    high = 1.0
    low = np.nextafter(high, 0)
    for upper in (high, low):
        lower = np.nextafter(upper, 0)
        best, threshold = f1_max([0, 1], [lower, upper], return_threshold=True)
        assert best == 1.0
        assert upper > threshold and not lower > threshold


@pytest.mark.parametrize("precision", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("start", [0.0, 0.30000001, 0.75, 1.0])
@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_f1_max_threshold_cuts_alike_in_the_precision_of_the_scores_and_in_float64(
    precision, start, n_steps
):
    lower = upper = np.asarray(start, precision)[()]
    for _ in range(n_steps):
        upper = np.nextafter(upper, precision(2))
    score = np.array([lower, upper])
    for y_true, alarms in (([0, 1], [0, 1]), ([1, 0], [1, 1])):
        _, threshold = f1_max(y_true, score, return_threshold=True)
        assert (score > threshold).tolist() == alarms
        assert (score.astype(np.float64) > threshold).tolist() == alarms


@pytest.mark.parametrize("metric", [auroc, aupr, f1_max])
def test_perfect_scores_give_one(metric):
    assert metric([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]) == 1.0


def test_equal_scores_are_worth_no_more_than_guessing():
    y, score = [0, 1, 1, 1], [0.5] * 4
    assert auroc(y, score) == 0.5
    assert aupr(y, score) == 0.75
    assert f1_max(y, score) == pytest.approx(6 / 7)


@pytest.mark.parametrize("metric", [auroc, aupr, f1_max])
def test_booleans_lists_and_float32_are_taken(metric, sample):
    y, score = sample
    expected = metric(y, score.astype(np.float32).astype(np.float64))
    assert metric((y == 1).tolist(), score.astype(np.float32)) == expected
    assert isinstance(expected, float)


@pytest.mark.parametrize("metric", [auroc, aupr, f1_max])
@pytest.mark.parametrize(
    "y_true, y_score, message",
    [
        ([0, 1, 1], [0.1, 0.2], "Got 3 labels and 2 scores"),
        ([0, 1], [[0.9, 0.1], [0.2, 0.8]], r"shape \(2, 2\).*column 1"),
        ([[0], [1]], [0.1, 0.2], r"y_true of shape \(2, 1\)"),
        ([0, 0], [0.1, 0.2], "2 normal and 0 anomalous"),
        ([1, 1], [0.1, 0.2], "0 normal and 2 anomalous"),
        ([], [], "0 normal and 0 anomalous"),
        ([0, 2], [0.1, 0.2], "Got the label 2"),
        ([-1, 1], [0.1, 0.2], "Got the label -1"),
        (["crack", "good"], [0.1, 0.2], "Got the label 'crack'"),
        ([0, 1, 1], [0.1, np.nan, np.nan], r"y_score\[1\]=nan \(2 of 3"),
        ([0, 1], [0.1, np.inf], r"y_score\[1\]=inf"),
    ],
)
def test_input_that_has_no_answer_is_refused(metric, y_true, y_score, message):
    with pytest.raises(ValueError, match=message):
        metric(y_true, y_score)


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="Got method='simpson'"):
        aupr([0, 1], [0.1, 0.2], method="simpson")


@pytest.mark.parametrize(
    "name, metric", [("auroc", auroc), ("aupr", aupr), ("f1_max", f1_max)]
)
def test_get_scorer_scores_the_decision_function(name, metric, sample):
    y, score = sample
    X = np.column_stack([score, np.random.default_rng(0).random(len(y))])
    model = LogisticRegression().fit(X, y)
    expected = metric(y, model.decision_function(X))
    assert get_scorer(name)(model, X, y) == pytest.approx(expected, abs=1e-12)


def test_scorers_serve_a_grid_search_and_several_at_once():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.repeat([0, 1], 30)
    X[y == 1] += 1
    scoring = {name: get_scorer(name) for name in ("auroc", "aupr", "f1_max")}
    grid = GridSearchCV(
        LogisticRegression(), {"C": [0.01, 1.0]}, scoring=scoring, refit="f1_max"
    ).fit(X, y)
    assert grid.best_score_ == grid.cv_results_["mean_test_f1_max"].max()
    assert 0.7 < grid.best_score_ <= 1


def test_metrics_go_into_make_scorer_themselves():
    X, y = np.arange(12.0).reshape(-1, 1), np.repeat([0, 1], 6)
    scorer = make_scorer(aupr, response_method="predict_proba", method="trapezoid")
    scores = cross_val_score(LogisticRegression(), X, y, scoring=scorer, cv=3)
    np.testing.assert_array_equal(scores, np.ones(3))


def test_get_scorer_refuses_names_it_does_not_have():
    with pytest.raises(ValueError, match="Got name='accuracy'.*auroc"):
        get_scorer("accuracy")


# -- pixels ------------------------------------------------------------------------


@pytest.fixture(params=range(4))
def mapped(request):
    """Masks and maps of pictures of several sizes, one of them normal, with ties."""
    rng = np.random.default_rng(request.param)
    masks, maps = [], []
    for height, width in ((9, 7), (6, 11), (8, 8)):
        mask = np.zeros((height, width), bool)
        mask[1:3, 1:4] = mask[3, 4] = True  # one region: they touch at a corner
        mask[5, 6] = True
        masks.append(mask)
        maps.append(np.round(rng.random((height, width)) + 0.4 * mask, 1))
    masks.append(np.zeros((5, 5), bool))
    maps.append(np.round(rng.random((5, 5)), 1))
    return masks, maps


def pro_curve_by_loop(masks, maps):
    """Return (false positive rate, mean overlap) at every threshold, loosest last."""
    regions = []
    for mask, scores in zip(masks, maps, strict=True):
        left = {tuple(place) for place in np.argwhere(mask)}
        while left:
            region, edge = [], [left.pop()]
            while edge:
                place = edge.pop()
                region.append(scores[place])
                near = {
                    (place[0] + i, place[1] + j) for i in (-1, 0, 1) for j in (-1, 0, 1)
                }
                edge += near & left
                left -= near
            regions.append(np.array(region))
    normal = np.concatenate([s[~m] for m, s in zip(masks, maps, strict=True)])
    cuts = np.unique(np.concatenate([s.ravel() for s in maps]))[::-1]
    points = [(0, 0)]
    for cut in cuts:
        overlap = np.mean([np.mean(region >= cut) for region in regions])
        points.append((np.mean(normal >= cut), overlap))
    return np.array(points).T, len(regions)


def area_below(x, y, end):
    fine = np.linspace(0, end, 200_001)
    values = np.interp(fine, x, y)
    return np.mean((values[1:] + values[:-1]) / 2)


@pytest.mark.parametrize("max_fpr", [0.05, 0.3, 1.0])
def test_aupro_is_the_area_under_the_mean_overlap_of_regions(mapped, max_fpr):
    (false_alarms, overlap), n_regions = pro_curve_by_loop(*mapped)
    assert n_regions == 6
    # A tie of regions alone is a step straight up, which interp would take for a point.
    expected = area_below(
        false_alarms + 1e-9 * np.arange(len(overlap)), overlap, max_fpr
    )
    assert aupro(*mapped, max_fpr=max_fpr) == pytest.approx(expected, abs=1e-4)


def test_aupro_gives_small_and_large_regions_the_same_weight():
    mask = np.zeros((10, 10), int)
    mask[:4] = 1  # 40 pixels
    mask[9, 9] = 1
    large_found, small_found = np.zeros((10, 10)), np.zeros((10, 10))
    large_found[:4] = small_found[9, 9] = 1
    # Half of the mean overlap at no false alarm; then a straight line to 1 at 1.
    half = 0.5 + 0.5 * 0.15
    assert aupro([mask], [large_found]) == pytest.approx(half)
    assert aupro([mask], [small_found]) == pytest.approx(half)
    assert pixel_auroc([mask], [large_found]) > 0.98
    assert pixel_auroc([mask], [small_found]) < 0.52


@pytest.mark.parametrize("metric", [pixel_auroc, pixel_f1_max, aupro])
def test_a_map_that_is_the_mask_is_perfect(metric, mapped):
    masks, _ = mapped
    assert metric(masks, [mask.astype(np.float32) for mask in masks]) == pytest.approx(
        1, abs=1e-12
    )


def test_pixel_metrics_pool_all_pictures(mapped):
    masks, maps = mapped
    y, score = (np.concatenate([a.ravel() for a in each]) for each in (masks, maps))
    assert pixel_auroc(*mapped) == auroc(y, score)
    assert pixel_f1_max(*mapped) == f1_max(y, score)


def test_a_stack_is_taken_for_a_list(mapped):
    masks, maps = (each[2:3] * 2 for each in mapped)
    assert aupro(np.stack(masks), np.stack(maps)) == aupro(masks, maps)


@pytest.mark.parametrize("metric", [pixel_auroc, pixel_f1_max, aupro])
@pytest.mark.parametrize(
    "masks, maps, message",
    [
        ([[[0, 1]]], [[[0.1, 0.2]], [[0.1, 0.2]]], "Got 1 masks and 2 maps"),
        ([], [], "Got 0 masks and 0 maps"),
        ([[[0, 1]]], [[[0.1], [0.2]]], r"\(1, 2\) and a map of shape \(2, 1\)"),
        ([[0, 1]], [[0.1, 0.2]], r"mask of shape \(2,\).*image 0"),
        ([[[0, 255]]], [[[0.1, 0.2]]], "image 0 that holds 255.*mask > 0"),
        ([[[0, 0]]], [[[0.1, 0.2]]], "0 damaged pixels of 2"),
        ([[[1, 1]]], [[[0.1, 0.2]]], "2 damaged pixels of 2"),
        ([[[0, 1]]] * 2, [[[0, 0]], [[0.1, np.nan]]], "image 1 that holds NaN"),
    ],
)
def test_maps_that_have_no_answer_are_refused(metric, masks, maps, message):
    with pytest.raises(ValueError, match=message):
        metric(masks, maps)


@pytest.mark.parametrize("max_fpr", [0, 1.5, -0.1, "0.3", np.nan])
def test_aupro_refuses_an_end_out_of_range(max_fpr, mapped):
    with pytest.raises(ValueError, match="max_fpr"):
        aupro(*mapped, max_fpr=max_fpr)


def test_aupro_ends_below_a_step_at_its_end():
    mask = np.array([[1] + [0] * 10 + [1]])
    scores = np.array([[1.0] + [0.9] * 3 + [0.1] * 7 + [0.8]])
    # Mean overlap is 1/2 until three of ten normal pixels are marked, then 1.
    assert aupro([mask], [scores], max_fpr=0.3) == pytest.approx(0.5)
