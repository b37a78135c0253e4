"""Thresholds: what they promise, held against counting by hand and against chance."""

import numpy as np
import pytest

from skclipad.statistics import binomial_interval
from skclipad.thresholds import (
    choose_threshold,
    conformal_p_values,
    conformal_threshold,
    robust_threshold,
)

Y = [0, 0, 0, 1, 0, 1, 1, 1]
SCORES = [0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.7, 0.9]


def counts(threshold, y, scores):
    above = np.asarray(scores) > threshold
    return int(np.sum(above & (np.asarray(y) == 1))), int(above.sum())


@pytest.mark.parametrize(
    "wish, threshold, n_found, n_false",
    [
        ({}, 0.2, 4, 1),
        ({"recall": 1.0}, 0.2, 4, 1),
        ({"recall": 0.75}, 0.5, 3, 0),
        ({"recall": 0.76}, 0.2, 4, 1),
        ({"precision": 1.0}, 0.5, 3, 0),
        ({"precision": 0.8}, 0.2, 4, 1),
        ({"precision": 0.5}, 0.2, 4, 1),
        ({"cost": 0.5}, 0.5, 3, 0),
        ({"cost": 2.0}, 0.2, 4, 1),
        ({"cost": 0.01}, 0.5, 3, 0),
    ],
)
def test_the_threshold_is_best_for_what_was_asked(wish, threshold, n_found, n_false):
    cut = choose_threshold(Y, SCORES, **wish)
    assert cut.threshold == threshold
    assert (cut.n_found, cut.n_false_alarms) == (n_found, n_false)
    assert counts(cut.threshold, Y, SCORES) == (n_found, n_found + n_false)
    assert (cut.n_anomalous, cut.n_normal) == (4, 4)


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_is_better(seed):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat([0, 1], [30, 20]))
    scores = np.round((rng.normal(size=50) + y) * 0.1 + 0.5, 2)  # with ties
    tried = [counts(t, y, scores) for t in [0, *scores]]  # found, alarms

    def of(cut):
        return counts(cut.threshold, y, scores)

    found, alarms = of(choose_threshold(y, scores, recall=0.9))
    assert found >= 18 and alarms == min(a for f, a in tried if f >= 18)
    found, alarms = of(choose_threshold(y, scores, precision=0.6))
    assert found / alarms >= 0.6
    assert found == max(f for f, a in tried if a and f / a >= 0.6)
    found, alarms = of(choose_threshold(y, scores, cost=3))
    cost = 3 * (20 - found) + alarms - found
    assert cost == min(3 * (20 - f) + a - f for f, a in tried)


def test_a_threshold_has_no_more_digits_than_it_needs():
    y, scores = [0, 1], [0.4321000100000001, 0.43210001000000012]
    cut = choose_threshold(y, scores)
    assert scores[0] <= cut.threshold < scores[1]
    assert choose_threshold(y, [0.31841, 0.72115]).threshold == 0.5
    assert choose_threshold(y, [0.61841, 0.62115]).threshold == 0.62


def test_equal_scores_are_never_told_apart():
    cut = choose_threshold([0, 1, 1], [0.5, 0.5, 0.9], recall=1)
    assert (cut.n_found, cut.n_false_alarms) == (2, 1)
    assert cut.threshold < 0.5


def test_an_alarm_may_cost_more_than_every_miss():
    cut = choose_threshold([1, 0, 0], [0.2, 0.5, 0.9], cost=0.1)
    assert cut.threshold == 0.9 and cut.n_found == 0
    assert np.isnan(cut.precision.value) and cut.precision[1:] == (0, 1)


@pytest.mark.parametrize(
    "y, scores, wish, message",
    [
        ([0, 1], [0.1], {}, r"y_score of shape \(1,\)"),
        ([0, 2], [0.1, 0.2], {}, r"Got the labels \[0, 2\]"),
        ([1, 1], [0.1, 0.2], {}, "Got 0 normal and 2 anomalous labels"),
        ([0, 1], [0.1, np.nan], {}, "1 values of y_score that are not finite"),
        ([0, 1], [0.1, 0.2], {"recall": 0.5, "cost": 1}, "Got recall and cost"),
        ([0, 1], [0.1, 0.2], {"recall": 0}, "Got recall=0 but expected 0 < recall"),
        ([0, 1], [0.1, 0.2], {"precision": 1.1}, "Got precision=1.1"),
        ([0, 1], [0.1, 0.2], {"cost": -1}, "Got cost=-1 but"),
        ([0, 1], [0.2, 0.1], {"precision": 0.9}, "the highest precision is 0.5"),
        ([0, 1], [0.2, 0.0], {"recall": 1}, "the highest recall is 0. Ask"),
        ([0, 1], [0.1, 0.2], {"confidence": 1}, "Got confidence=1"),
    ],
)
def test_what_cannot_be_chosen_is_refused(y, scores, wish, message):
    with pytest.raises(ValueError, match=message):
        choose_threshold(y, scores, **wish)


def test_the_lower_end_of_a_recall_that_chose_the_threshold_is_exact():
    # Scores of damaged images are uniform: above t lies a share 1 - t of all others.
    rng = np.random.default_rng(0)
    kept = []
    for _ in range(2000):
        scores = rng.random(30)
        y = np.append(np.ones(30, int), 0)
        cut = choose_threshold(y, np.append(scores, 0.0), recall=0.9, confidence=0.8)
        kept.append(1 - cut.threshold >= cut.recall.low)
    assert np.mean(kept) >= 0.9  # one end of an interval of 80 %


# Without damaged images


def test_p_values_count_the_normal_scores_at_least_as_high():
    normal = [0.3, 0.1, 0.2, 0.2]
    values = conformal_p_values([0.0, 0.1, 0.2, 0.25, 0.3, 0.31, np.nan], normal)
    expected = [5 / 5, 5 / 5, 4 / 5, 2 / 5, 2 / 5, 1 / 5, np.nan]
    np.testing.assert_allclose(values, expected)


@pytest.mark.parametrize("n, fpr", [(99, 0.01), (250, 0.02), (19, 0.1), (40, 0.5)])
def test_a_threshold_alarms_where_the_p_value_is_within_the_rate(n, fpr):
    rng = np.random.default_rng(n)
    normal, scores = np.round(rng.random(n), 2), np.round(rng.random(300), 2)
    above = scores > conformal_threshold(normal, fpr)
    np.testing.assert_array_equal(above, conformal_p_values(scores, normal) <= fpr)


def test_new_normal_images_raise_no_more_alarms_than_promised():
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(3000):
        *normal, new = rng.random(30)
        alarms.append(new > conformal_threshold(normal, 0.1))
    # Exactly 3 of 31 on average; three standard errors are 0.016.
    assert abs(np.mean(alarms) - 3 / 30 * 30 / 31) < 0.017


@pytest.mark.parametrize(
    "n, fpr, message",
    [
        (
            98,
            0.01,
            "a share of 0.01 takes 99 of them at least. Bring more, or allow 0.01",
        ),
        (5, 0.1, "takes 9 of them"),
        (5, 0.0, "Got fpr=0.0 but"),
        (5, 1.0, "Got fpr=1.0 but"),
        (0, 0.5, "Got no normal score"),
    ],
)
def test_too_few_normal_images_are_refused(n, fpr, message):
    with pytest.raises(ValueError, match=message):
        conformal_threshold(np.linspace(0, 1, n), fpr)


def test_a_robust_threshold_is_not_moved_by_the_damaged_ones():
    rng = np.random.default_rng(0)
    good = 1 / (1 + np.exp(2 - 0.3 * rng.normal(size=200)))
    alone = robust_threshold(good)
    mixed = robust_threshold([*good, *np.full(20, 0.99), np.nan])
    assert np.mean(good > alone) < 0.01 and 0 < alone < 0.5
    assert alone <= mixed < alone + 0.05
    assert robust_threshold(good, n_spreads=1) < alone


@pytest.mark.parametrize(
    "scores, more, message",
    [
        (np.linspace(0, 1, 9), {}, "Got 9 scores, but expected 10"),
        ([0.5] * 6 + [0.6] * 5, {}, "they have no spread"),
        (np.linspace(0, 2, 20), {}, "from 0 to 2, but expected them in"),
        (np.linspace(0, 1, 20), {"n_spreads": 0}, "Got n_spreads=0"),
    ],
)
def test_scores_that_suggest_no_threshold_are_refused(scores, more, message):
    with pytest.raises(ValueError, match=message):
        robust_threshold(scores, **more)


def test_saturated_scores_have_a_threshold_within_their_range():
    scores = np.append(np.linspace(0.99999, 1, 50), 0.5)
    assert np.median(scores) < robust_threshold(scores) < 1


# Shares


@pytest.mark.parametrize(
    "k, n, low, high",
    # From tables of Clopper and Pearson's interval.
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (1, 10, 0.0025, 0.4450)],
)
def test_intervals_of_shares_are_those_of_the_tables(k, n, low, high):
    interval = binomial_interval(k, n)
    assert interval == pytest.approx((k / n, low, high), abs=5e-5)


def test_the_interval_of_no_image_is_everything():
    value, low, high = binomial_interval(0, 0)
    assert np.isnan(value) and (low, high) == (0, 1)
    with pytest.raises(ValueError, match="Got 3 of 2"):
        binomial_interval(3, 2)
