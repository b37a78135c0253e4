"""Intervals and tests against brute force, SciPy, and their own promises."""

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from skclipad import statistics
from skclipad.metrics import aupr, auroc, f1_max
from skclipad.statistics import (
    Interval,
    bootstrap_difference,
    bootstrap_interval,
    compare_methods,
    compare_scores,
    paired_test,
)

METRICS = {"auroc": auroc, "aupr": aupr, "f1_max": f1_max}


@pytest.fixture
def sample():
    """Labels and the scores of a worse and a better method, with many ties."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat([0, 1], [30, 20]))
    noise = rng.random(50)
    worse, better = (np.round(noise + gain * y, 1) for gain in (0.2, 0.6))
    return y, worse, better


@pytest.fixture
def rows():
    """Rows of three methods, two data sets, three categories each, two seeds."""
    rng = np.random.default_rng(0)
    lines = []
    for dataset, category in itertools.product(("mvtec_ad", "visa"), ("a", "b", "c")):
        for method, gain in (("CLIP", 0.0), ("ours", 0.1), ("both", 0.12)):
            for setup, metric, seed in itertools.product(
                ("unknown", "known"), ("auroc", "f1_max"), (0, 1)
            ):
                value = 0.7 + gain + 0.1 * rng.random()
                lines.append((dataset, category, setup, method, 0, seed, metric, value))
    columns = "dataset category setup method shots seed metric value".split()
    return pd.DataFrame(lines, columns=columns)


# -- Intervals over pictures -------------------------------------------------------


@pytest.mark.parametrize("name", METRICS)
def test_names_and_functions_give_the_same_interval(name, sample):
    """The fast way of each metric against the metric itself, resample by resample."""
    y, score, _ = sample
    metric = METRICS[name]
    by_name, by_function, one_by_one = (
        bootstrap_interval(y, score, given, n_resamples=60, random_state=1)
        for given in (name, metric, lambda y, s: metric(y, s))
    )
    assert by_name == by_function
    np.testing.assert_allclose(by_name, one_by_one, rtol=0, atol=1e-12)
    assert by_name.value == metric(y, score)
    assert by_name.low < by_name.value < by_name.high


@pytest.mark.parametrize("name", METRICS)
def test_difference_by_name_and_by_function(name, sample):
    y, worse, better = sample
    metric = METRICS[name]
    fast, slow = (
        bootstrap_difference(y, worse, better, given, n_resamples=60, random_state=1)
        for given in (name, lambda y, s: metric(y, s))
    )
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-12)
    assert fast.value == metric(y, better) - metric(y, worse)


def test_resamples_keep_the_number_of_each_class(sample):
    y, score, _ = sample
    counts = []

    def metric(y, score):
        counts.append((int(np.sum(y)), len(y)))
        return 0.5

    bootstrap_interval(y, score, metric, n_resamples=20, random_state=0)
    assert set(counts) == {(20, 50)} and len(counts) >= 20


def test_labels_stay_with_their_scores():
    y = np.repeat([0, 1], [8, 12])
    assert bootstrap_interval(y, y + 0.25, random_state=0) == (1.0, 1.0, 1.0)


class Narrow(np.ndarray):
    """Labels whose number is counted in 32 bits, as numpy 1 does on Windows."""

    def sum(self, axis=None, dtype=None, **options):
        narrow = np.int32 if self.dtype == bool else None
        return np.asarray(self).sum(axis=axis, dtype=dtype or narrow)


def test_auroc_of_very_many_images_does_not_overflow():
    y = np.repeat([False, True], 100_000)
    score = np.arange(200_000.0)
    assert statistics._auroc(y.view(Narrow), score) == 1
    assert statistics._auroc(y.view(Narrow), -score) == 0


def test_interval_of_auroc_is_about_as_wide_as_theory_says():
    """Hanley and McNeil (1982) give the standard error of an AUROC."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [300, 200])
    score = rng.normal(size=500) + 1.0 * y
    area, low, high = bootstrap_interval(y, score, random_state=0)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + 199 * (q1 - area**2) + 299 * (q2 - area**2)
    expected = 2 * 1.96 * np.sqrt(variance / (200 * 300))
    assert high - low == pytest.approx(expected, rel=0.15)


def test_about_95_of_100_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    truth = stats.norm.cdf(1 / np.sqrt(2))  # two normal classes one deviation apart
    y = np.repeat([0, 1], 60)
    held = 0
    for seed in range(200):
        score = rng.normal(size=120) + y
        _, low, high = bootstrap_interval(y, score, n_resamples=200, random_state=seed)
        held += low <= truth <= high
    assert 0.88 <= held / 200 <= 0.99


def test_the_same_pictures_make_the_difference_more_certain(sample):
    y, worse, better = sample
    difference = bootstrap_difference(y, worse, better, random_state=0)
    apart = [bootstrap_interval(y, s, random_state=0) for s in (worse, better)]
    widths = [each.high - each.low for each in apart]
    assert difference.high - difference.low < np.hypot(*widths)
    assert difference.low > 0


def test_difference_of_a_method_from_itself_is_nothing(sample):
    y, score, _ = sample
    assert bootstrap_difference(y, score, score, random_state=0) == (0.0, 0.0, 0.0)


def test_more_confidence_is_wider(sample):
    y, score, _ = sample
    wide, narrow = (
        bootstrap_interval(y, score, confidence=confidence, random_state=0)
        for confidence in (0.99, 0.8)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_seed_decides_and_the_global_one_is_untouched(sample):
    y, score, _ = sample
    before = np.random.get_state()[1].copy()
    one, again, other = (
        bootstrap_interval(y, score, random_state=seed) for seed in (0, 0, 1)
    )
    assert one == again != other
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_blocks_of_resamples_change_nothing_but_memory(sample, monkeypatch):
    y, score, _ = sample
    expected = bootstrap_interval(y, score, n_resamples=4000, random_state=0)
    monkeypatch.setattr("skclipad.statistics.BLOCK", 50 * 1000)
    blocks = bootstrap_interval(y, score, n_resamples=4000, random_state=0)
    np.testing.assert_allclose(blocks, expected, atol=0.01)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"y_true": [0, 0, 0, 1]}, "3 normal and 1 anomalous images"),
        ({"y_true": [1, 1, 1, 1]}, "0 normal and 4 anomalous"),
        ({"y_true": [0, 1]}, "Got 2 labels and 4 scores"),
        ({"metric": "accuracy"}, "metric='accuracy' but expected 'auroc'"),
        ({"n_resamples": 0}, "n_resamples=0"),
        ({"n_resamples": 10.5}, "n_resamples=10.5"),
        ({"confidence": 1}, "confidence=1"),
        ({"confidence": "95%"}, "confidence='95%'"),
    ],
)
def test_intervals_refuse_what_has_no_answer(changes, message):
    given = {"y_true": [0, 0, 1, 1], "y_score": [0.1, 0.2, 0.3, 0.4], **changes}
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(**given)
    scores = given.pop("y_score")
    with pytest.raises(ValueError, match=message):
        bootstrap_difference(first=scores, second=scores, **given)


# -- Tests over categories ---------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, 9])
def test_p_value_counts_the_signs_by_hand(n):
    rng = np.random.default_rng(n)
    first, second = rng.random(n), rng.random(n) + 0.2
    difference = second - first
    means = [
        np.mean(np.array(signs) * difference)
        for signs in itertools.product((-1, 1), repeat=n)
    ]
    expected = np.mean(np.abs(means) >= abs(difference.mean()) - 1e-12)
    result = paired_test(first, second)
    assert result.p_value == pytest.approx(expected, abs=1e-12)
    assert result.difference == pytest.approx(difference.mean())
    assert result.n_categories == n


def test_interval_is_that_of_students_test():
    rng = np.random.default_rng(0)
    first, second = rng.random(12), rng.random(12)
    result = paired_test(first, second, confidence=0.9)
    expected = stats.ttest_rel(second, first).confidence_interval(0.9)
    np.testing.assert_allclose(result[1:3], expected)


def test_a_method_better_everywhere_has_the_least_p_value():
    first = np.linspace(0.5, 0.9, 15)
    result = paired_test(first, first + np.linspace(0.01, 0.03, 15))
    assert result.p_value == 2**-14  # exact, of 15 categories
    assert result.low > 0


def test_swapped_methods_swap_the_sign():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 7))
    one, other = paired_test(first, second), paired_test(second, first)
    assert one.difference == -other.difference and one.low == -other.high
    assert one.p_value == other.p_value


def test_equal_methods_are_not_told_apart():
    assert paired_test([0.5, 0.6], [0.5, 0.6]) == (0.0, 0.0, 0.0, 1.0, 2)


def test_seeds_are_averaged_and_their_number_proves_nothing():
    rng = np.random.default_rng(0)
    first, second = rng.random((6, 10)), rng.random((6, 3))
    expected = paired_test(first.mean(axis=1), second.mean(axis=1))
    assert paired_test(first, second) == expected
    assert paired_test(np.tile(first, 5), second).p_value == expected.p_value


def test_many_categories_are_tested_with_random_signs():
    rng = np.random.default_rng(0)
    first = rng.random(27)
    second = first + 0.05 * rng.normal(size=27) + 0.02
    one, again, other = (
        paired_test(first, second, random_state=seed) for seed in (0, 0, 1)
    )
    assert one == again
    assert one.p_value == pytest.approx(other.p_value, abs=0.02)
    expected = stats.ttest_rel(first, second).pvalue
    assert one.p_value == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    "first, second, message",
    [
        ([0.1, 0.2], [0.1, 0.2, 0.3], "Got 2 and 3 categories"),
        ([0.1], [0.2], "Got 1 and 1 categories.*bootstrap_difference"),
        ([0.1, np.nan], [0.2, 0.3], "first of shape .* 1 values that are not finite"),
        ([0.1, 0.2], [[[0.2]]], r"second of shape \(1, 1, 1\)"),
    ],
)
def test_figures_that_make_no_pairs_are_refused(first, second, message):
    with pytest.raises(ValueError, match=message):
        paired_test(first, second)
    with pytest.raises(ValueError, match="confidence=0"):
        paired_test([0.1, 0.2], [0.2, 0.3], confidence=0)


# -- Tests over the rows of a table ------------------------------------------------


def choice(method, setup="unknown", **more):
    return {"method": method, "setup": setup, **more}


def test_rows_give_what_their_arrays_give(rows):
    table = rows[(rows.setup == "unknown") & (rows.metric == "auroc")].pivot_table(
        index=["dataset", "category"], columns=["method", "seed"], values="value"
    )
    expected = paired_test(table["CLIP"], table["ours"])
    result = compare_methods(rows, choice("CLIP"), choice("ours"))
    np.testing.assert_allclose(result, expected, atol=1e-12)
    assert result.n_categories == 6 and result.p_value == 2**-5


def test_order_of_rows_and_kind_of_table_do_not_matter(rows):
    expected = compare_methods(rows, choice("CLIP"), choice("ours"), metric="f1_max")
    shuffled = rows.sample(frac=1, random_state=0)
    for table in (shuffled, pl.from_pandas(shuffled), shuffled.to_dict("list")):
        result = compare_methods(table, choice("CLIP"), choice("ours"), metric="f1_max")
        np.testing.assert_allclose(result, expected, atol=1e-12)


def test_a_name_is_enough_where_nothing_else_varies(rows):
    known = rows[rows.setup == "known"]
    by_name = compare_methods(known, "CLIP", "both")
    assert by_name == compare_methods(
        rows, choice("CLIP", "known"), choice("both", "known")
    )
    one_set = compare_methods(known[known.dataset == "visa"], "CLIP", "both")
    assert one_set.n_categories == 3


def test_two_setups_of_one_method_are_compared(rows):
    result = compare_methods(rows, choice("ours"), choice("ours", "known", shots=0))
    assert result.n_categories == 6 and abs(result.difference) < 0.1


def test_a_method_without_seeds_has_empty_ones(rows):
    """The benchmark runs what knows no chance once, and leaves its seed empty."""
    once = rows[(rows.method != "CLIP") | (rows.seed == 0)].copy()
    once["seed"] = once.seed.where(once.method != "CLIP")
    result = compare_methods(once, choice("CLIP"), choice("ours"))
    assert result.n_categories == 6
    kept = rows[(rows.method == "CLIP") & (rows.seed == 0)]
    means = [
        table[(table.setup == "unknown") & (table.metric == "auroc")].value.mean()
        for table in (rows[rows.method == "ours"], kept)
    ]
    assert result.difference == pytest.approx(means[0] - means[1])


def test_further_columns_must_not_vary_either(rows):
    both = pd.concat([rows.assign(crops="whole"), rows.assign(crops="multi")])
    with pytest.raises(ValueError, match="rows of crops multi, whole"):
        compare_methods(both, choice("CLIP"), choice("ours"))
    whole, multi = (choice("ours", crops=crops) for crops in ("whole", "multi"))
    assert compare_methods(both, whole, multi).difference == 0


@pytest.mark.parametrize(
    "first, message",
    [
        ("CLIP", "rows of setup known, unknown"),
        (choice("clip"), "method='clip' but the rows have CLIP, both, ours"),
        (choice("CLIP", shot=0), "'shot' in .* expected some of the columns dataset"),
        (choice("CLIP", shots=4), "shots=4 but the rows have 0"),
        (choice("CLIP", dataset="visa"), "only one of them was run on a, b, c"),
    ],
)
def test_choices_that_are_no_method_are_refused(first, message, rows):
    with pytest.raises(ValueError, match=message):
        compare_methods(rows, first, choice("ours"))


def test_tables_that_are_no_result_are_refused(rows):
    with pytest.raises(ValueError, match="but seed, value are needed"):
        compare_methods(rows.drop(columns=["seed", "value"]), "CLIP", "ours")
    twice = pd.concat([rows, rows.tail(1)])
    with pytest.raises(ValueError, match="two rows of visa, c, seed 1"):
        compare_methods(
            twice, choice("both", "known"), choice("both", "known"), metric="f1_max"
        )
    with pytest.raises(ValueError, match="metric='aupr' but the rows have auroc"):
        compare_methods(rows, choice("CLIP"), choice("ours"), metric="aupr")
    lacking = rows[(rows.method != "ours") | (rows.category != "b")]
    known_alone = rows[(rows.method != "CLIP") | (rows.setup == "known")]
    with pytest.raises(ValueError, match="of which there is no row"):
        compare_methods(known_alone, choice("CLIP"), choice("ours"))
    with pytest.raises(ValueError, match="only one of them was run on b, b"):
        compare_methods(lacking, choice("CLIP"), choice("ours"))


def test_interval_unpacks():
    value, low, high = Interval(0.5, 0.4, 0.6)
    assert (value, low, high) == (0.5, 0.4, 0.6)


# Drift


def test_scores_that_are_spread_otherwise_are_told():
    rng = np.random.default_rng(0)
    reference = rng.beta(2, 5, 400)
    same = compare_scores(reference, [*rng.beta(2, 5, 300), np.nan])
    assert same.n == 300 and same.n_reference == 400
    assert same.p_value > 0.01 and str(same).startswith("no drift found: these 300")
    other = compare_scores(reference, rng.beta(3, 5, 300))
    assert other.median > other.reference_median
    assert other.p_value < 0.01 and str(other).startswith("drift: these 300 scores")


def test_the_distance_is_the_largest_difference_of_shares():
    drift = compare_scores([0.1, 0.2, 0.3, 0.4], [0.15, 0.35, 0.36, 0.9])
    assert drift.distance == 0.5  # 3 of 4 are below 0.33, and 1 of 4


@pytest.mark.parametrize("scores", [[], [np.nan], [0.1, np.inf]])
def test_scores_that_are_not_there_or_infinite_are_refused(scores):
    with pytest.raises(ValueError, match="values of scores, . of them infinite"):
        compare_scores([0.1, 0.2], scores)
    with pytest.raises(ValueError, match="values of reference"):
        compare_scores(scores, [0.1, 0.2])
