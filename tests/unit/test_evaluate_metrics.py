"""Metrics against scikit-learn, statsmodels, loops over rows and values computed by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import calibration as sk_calibration
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

from casebook.evaluate import (
    brier_score,
    calibration_by_slice,
    calibration_ratio,
    expected_calibration_error,
    grouped_auc,
    log_loss,
    normalized_entropy,
    pointwise_log_loss,
    reliability_curve,
    roc_auc,
    share_of_gain,
)
from casebook.rng import stream


def clicks(n=2000, name="clicks"):
    """Labels drawn from the predictions themselves: calibrated by construction."""
    rng = stream("test_metrics", name, seed=0)
    p = rng.beta(1, 8, n)
    return (rng.random(n) < p).astype(int), p


def test_log_loss_by_hand():
    assert log_loss([1, 0], [0.5, 0.75]) == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert pointwise_log_loss([1, 0], [0.5, 0.75]) == pytest.approx([math.log(2), math.log(4)])


def test_log_loss_and_brier_match_scikit_learn():
    y, p = clicks()
    assert log_loss(y, p) == pytest.approx(sk.log_loss(y, p))
    assert brier_score(y, p) == pytest.approx(sk.brier_score_loss(y, p))


def test_log_loss_of_a_certain_mistake_is_finite_and_large():
    assert log_loss([1, 0], [0.0, 1.0]) == pytest.approx(sk.log_loss([1, 0], [0.0, 1.0]))
    assert log_loss([1, 0], [1.0, 0.0]) == pytest.approx(0, abs=1e-15)


def test_normalized_entropy_of_the_base_rate_is_one():
    y, _ = clicks()
    assert normalized_entropy(y, np.full(len(y), y.mean())) == pytest.approx(1)
    assert normalized_entropy(y, np.full(len(y), 0.3), base_rate=0.3) == pytest.approx(1)


def test_normalized_entropy_is_the_papers_formula():
    y, p = clicks()
    rate = y.mean()
    entropy = -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate))
    assert normalized_entropy(y, p) == pytest.approx(sk.log_loss(y, p) / entropy)
    assert normalized_entropy(y, p) < 1


def test_normalized_entropy_needs_both_classes_or_a_base_rate():
    with pytest.raises(ValueError, match="y is 0 everywhere: expected both classes, or a base_rate"):
        normalized_entropy([0, 0], [0.1, 0.1])
    assert normalized_entropy([0, 0], [0.1, 0.1], base_rate=0.1) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"base_rate is 1.*below 1"):
        normalized_entropy([0, 1], [0.1, 0.1], base_rate=1)


def test_calibration_ratio_by_hand():
    assert calibration_ratio([1, 0, 0, 1], [0.5, 0.5, 0.5, 1.0]) == pytest.approx(1.25)
    with pytest.raises(ValueError, match="y is 0 everywhere: expected at least one positive"):
        calibration_ratio([0], [0.5])


@pytest.mark.parametrize("strategy", ["quantile", "uniform"])
def test_reliability_curve_matches_scikit_learn(strategy):
    y, p = clicks()
    observed, predicted = sk_calibration.calibration_curve(y, p, n_bins=10, strategy=strategy)
    curve = reliability_curve(y, p, bins=10, strategy=strategy)
    assert curve["observed"].to_numpy() == pytest.approx(observed)
    assert curve["predicted"].to_numpy() == pytest.approx(predicted)
    assert curve["count"].sum() == len(y)


def test_reliability_intervals_match_statsmodels():
    y, p = clicks()
    curve = reliability_curve(y, p, bins=7, level=0.9)
    positives = curve["observed"] * curve["count"]
    low, high = proportion_confint(positives, curve["count"], alpha=0.1, method="wilson")
    assert curve["low"].to_numpy() == pytest.approx(np.asarray(low))
    assert curve["high"].to_numpy() == pytest.approx(np.asarray(high))


def test_quantile_bins_keep_ties_together():
    curve = reliability_curve([0, 1, 0, 1], [0.2, 0.2, 0.2, 0.9], bins=4)
    assert curve["count"].tolist() == [3, 1]


def test_expected_calibration_error_by_hand():
    # Uniform bins up to .5 and above: |mean(.1, .3) - .5| and |mean(.7, .9) - .5|, of opposite sign, of half the rows.
    error = expected_calibration_error([0, 1, 0, 1], [0.1, 0.3, 0.7, 0.9], bins=2, strategy="uniform")
    assert error == pytest.approx(0.5 * 0.3 + 0.5 * 0.3)


def test_expected_calibration_error_sees_miscalibration_and_little_else():
    y, p = clicks(50_000)
    calibrated, inflated = expected_calibration_error(y, p), expected_calibration_error(y, np.minimum(1.5 * p, 1))
    assert calibrated < 0.006
    assert inflated == pytest.approx(0.5 * p.mean(), rel=0.1)


def test_calibration_by_slice():
    slices = ["b", "a", "b", None, "a", "b"]
    table = calibration_by_slice([1, 0, 0, 1, 0, 1], [0.4, 0.1, 0.4, 0.5, 0.3, 0.4], slices)
    assert table["slice"].tolist()[:2] == ["a", "b"] and pd.isna(table["slice"].iloc[2])
    assert table["n"].tolist() == [2, 3, 1]
    assert table["positives"].tolist() == [0, 2, 1]
    assert table["predicted"].tolist() == pytest.approx([0.2, 0.4, 0.5])
    assert table["ratio"].tolist() == pytest.approx([math.inf, 0.6, 0.5])
    low, high = proportion_confint(2, 3, method="wilson")
    assert table.loc[1, ["low", "high"]].tolist() == pytest.approx([0.4 / high, 0.4 / low])
    assert table.loc[0, "high"] == math.inf


def test_calibration_by_slice_finds_the_slice_that_the_average_hides():
    y, p = clicks(20_000)
    half = np.arange(len(y)) % 2
    wrong = np.minimum(np.where(half, 0.5 * p, 1.5 * p), 1)
    assert calibration_ratio(y, wrong) == pytest.approx(1, abs=0.05)
    table = calibration_by_slice(y, wrong, half)
    assert table["low"][0] > 1 and table["high"][1] < 1


def test_calibration_by_slice_keeps_the_order_of_a_categorical():
    slices = pd.cut(pd.Series([5, 15, 25], index=[9, 4, 7]), [0, 10, 20, 30], labels=["young", "old", "ancient"])
    assert calibration_by_slice([0, 1, 1], [0.1, 0.5, 0.9], slices)["slice"].tolist() == ["young", "old", "ancient"]


def test_roc_auc_matches_scikit_learn_with_ties():
    y, p = clicks()
    assert roc_auc(y, p.round(2)) == pytest.approx(sk.roc_auc_score(y, p.round(2)))
    with pytest.raises(ValueError, match="y is 1 everywhere: expected both classes"):
        roc_auc([1, 1], [0.1, 0.2])


@given(st.integers(0, 10_000), st.sampled_from([np.exp, np.cbrt, lambda x: 3 * x - 7]))
def test_auc_is_invariant_to_monotone_transforms(seed, transform):
    rng = np.random.default_rng(seed)
    y, score, groups = rng.integers(0, 2, 40), rng.integers(-9, 10, 40) / 4.0, rng.integers(0, 4, 40)
    y[:2] = 0, 1
    assert roc_auc(y, transform(score)) == pytest.approx(roc_auc(y, score))
    groups[:2] = 0
    assert grouped_auc(y, transform(score), groups) == pytest.approx(grouped_auc(y, score, groups))


@given(st.integers(0, 10_000))
def test_reversing_the_score_reverses_the_auc(seed):
    rng = np.random.default_rng(seed)
    y, score = np.r_[0, 1, rng.integers(0, 2, 30)], rng.integers(0, 9, 32)
    assert roc_auc(y, -score) == pytest.approx(1 - roc_auc(y, score))


@given(st.integers(0, 10_000))
def test_grouped_auc_matches_a_loop_over_groups(seed):
    rng = np.random.default_rng(seed)
    y, score, groups = rng.integers(0, 2, 60), rng.integers(0, 6, 60) / 5, rng.choice(list("abcdefgh"), 60)
    groups[:2], y[:2] = "a", (0, 1)
    values, weights = [], []
    for group in np.unique(groups):
        rows = groups == group
        if 0 < y[rows].mean() < 1:
            values.append(sk.roc_auc_score(y[rows], score[rows]))
            weights.append(rows.sum())
    result = grouped_auc(y, score, groups)
    assert result.value == pytest.approx(np.average(values, weights=weights))
    assert result.coverage == pytest.approx(sum(weights) / 60)


def test_grouped_auc_gives_nothing_for_knowing_the_user():
    rng = stream("test_metrics", "users", seed=0)
    users = np.repeat(np.arange(200), 20)
    rate = rng.beta(1, 2, 200)[users]
    y = (rng.random(4000) < rate).astype(int)
    assert roc_auc(y, rate) > 0.7
    assert grouped_auc(y, rate, users).value == pytest.approx(0.5)


def test_grouped_auc_needs_a_group_with_both_classes():
    with pytest.raises(ValueError, match="groups has none with both classes"):
        grouped_auc([0, 1], [0.1, 0.2], ["a", "b"])
    with pytest.raises(ValueError, match="groups is missing at 1"):
        grouped_auc([0, 1], [0.1, 0.2], ["a", None])


def test_share_of_gain():
    assert share_of_gain(0.5, 0.6, 0.4) == pytest.approx(0.5)
    assert share_of_gain(0.6, 0.6, 0.4) == 0
    assert share_of_gain(0.7, 0.6, 0.4) < 0
    with pytest.raises(ValueError, match=r"loss_oracle is 0.6: expected a finite number and below 0.6"):
        share_of_gain(0.5, 0.6, 0.6)


@pytest.mark.parametrize(
    "metric",
    [log_loss, normalized_entropy, calibration_ratio, reliability_curve, expected_calibration_error, brier_score],
)
@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 1], [0.1, 1.2], "p has 1.2 at 1"),
        ([0, 2], [0.1, 0.2], "y has 2 at 1"),
        ([0, 1], [0.1, math.nan], "p has nan at 1"),
        ([0, 1], [0.1], "lengths differ: y has 2, p has 1"),
        ([], [], "y is empty"),
        ([[0, 1]], [0.1, 0.2], r"y has shape \(1, 2\)"),
    ],
)
def test_bad_input_is_refused(metric, y, p, message):
    with pytest.raises(ValueError, match=message):
        metric(y, p)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="strategy is 'equal': expected one of quantile, uniform"):
        reliability_curve([0, 1], [0.1, 0.2], strategy="equal")
    with pytest.raises(ValueError, match="bins is 0"):
        expected_calibration_error([0, 1], [0.1, 0.2], bins=0)
    with pytest.raises(ValueError, match="lengths differ: y has 2, slices has 1"):
        calibration_by_slice([0, 1], [0.1, 0.2], ["a"])
