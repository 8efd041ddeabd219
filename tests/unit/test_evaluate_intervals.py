"""Intervals: against statsmodels and scipy, and their coverage over many simulated data sets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from casebook.evaluate import (
    Interval,
    bootstrap_mean,
    bootstrap_metric,
    bootstrap_ratio,
    cluster_bootstrap,
    grouped_auc,
    paired_bootstrap,
    sums_by_unit,
    wilson_interval,
)
from casebook.rng import stream


def rng(name="draws", seed=0):
    return stream("test_intervals", name, seed=seed)


def test_interval_prints_and_contains():
    interval = Interval(0.1234, 0.1, 0.15)
    assert str(interval) == "0.123 [0.1, 0.15]"
    assert f"{interval:.1%}" == "12.3% [10.0%, 15.0%]"
    assert 0.1 in interval and 0.151 not in interval


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95]))
def test_wilson_matches_statsmodels(counts, level):
    positives, n = counts
    low, high = wilson_interval(positives, n, level=level)
    assert (low, high) == pytest.approx(proportion_confint(positives, n, alpha=1 - level, method="wilson"), abs=1e-12)
    assert 0 <= low <= positives / n <= high <= 1


def test_wilson_refuses_impossible_counts():
    with pytest.raises(ValueError, match=r"positives is outside \[0, n\]"):
        wilson_interval([3], [2])
    with pytest.raises(ValueError, match="n has 0: expected at least 1 trial"):
        wilson_interval([0], [0])
    with pytest.raises(ValueError, match="level is 1"):
        wilson_interval([0], [1], level=1)


def test_sums_by_unit_by_hand():
    assert sums_by_unit(["b", "a", "b"], [1, 2, 3], [1, 1, 1]).tolist() == [[4, 2], [2, 1]]
    with pytest.raises(ValueError, match="units is missing at 1"):
        sums_by_unit(["b", None], [1, 2])
    with pytest.raises(ValueError, match=r"lengths differ: units has 1, columns\[0\] has 2"):
        sums_by_unit(["b"], [1, 2])
    with pytest.raises(ValueError, match="columns is empty"):
        sums_by_unit(["b"])


def test_bootstrap_of_independent_rows_matches_scipy():
    values = rng("values").exponential(size=400)
    ours = bootstrap_mean(values, np.arange(400), rng=rng(), replicates=4000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1))
    assert ours.estimate == pytest.approx(values.mean())
    width = ours.high - ours.low
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)


def test_the_same_generator_gives_the_same_interval():
    values, units = rng("values").normal(size=100), np.arange(100) // 4
    first, second, other = (bootstrap_mean(values, units, rng=rng(name)) for name in ("a", "a", "b"))
    assert first == second != other


def test_coverage_needs_the_right_unit():
    """Twenty users' worth of luck spread over 400 rows: intervals over rows miss the truth far more often."""
    over_users = over_rows = 0
    for seed in range(100):
        draw = rng("world", seed)
        users = np.repeat(np.arange(60), 10)
        values = draw.normal(size=60)[users] + draw.normal(size=600)
        over_users += 0.0 in bootstrap_mean(values, users, rng=rng("users", seed), replicates=200)
        over_rows += 0.0 in bootstrap_mean(values, np.arange(600), rng=rng("rows", seed), replicates=200)
    assert 88 <= over_users <= 99
    assert over_rows < 75


def test_ratio_agrees_with_the_delta_method():
    draw = rng("ratio")
    users = np.repeat(np.arange(500), 4)
    shown = draw.poisson(3, 2000) + 1.0
    clicked = draw.binomial(shown.astype(int), draw.beta(2, 20, 500)[users]).astype(float)
    ours = bootstrap_ratio(clicked, shown, users, rng=rng(), replicates=4000)
    x, y = sums_by_unit(users, clicked, shown).T
    error = np.std(x - ours.estimate * y, ddof=1) / math.sqrt(500) / y.mean()
    assert ours.estimate == pytest.approx(clicked.sum() / shown.sum())
    assert ours.high - ours.low == pytest.approx(2 * 1.96 * error, rel=0.07)


def test_paired_bootstrap_is_surer_than_either_loss():
    draw = rng("paired")
    users = np.arange(2000) // 5
    hardness = draw.exponential(size=2000)
    loss_a, loss_b = hardness + 0.01 * draw.normal(size=2000), hardness + 0.005 + 0.01 * draw.normal(size=2000)
    difference = paired_bootstrap(loss_a, loss_b, users, rng=rng())
    alone = bootstrap_mean(loss_a, users, rng=rng())
    assert difference.high < 0
    assert difference.estimate == pytest.approx((loss_a - loss_b).mean())
    assert difference.high - difference.low < 0.05 * (alone.high - alone.low)


def test_metric_bootstrap_agrees_with_the_one_over_sums():
    values, units = rng("values").normal(size=300), np.arange(300) // 3
    by_rows = bootstrap_metric(np.mean, values, units=units, rng=rng(), replicates=300)
    by_sums = bootstrap_mean(values, units, rng=rng(), replicates=300)
    assert (by_rows.low, by_rows.estimate, by_rows.high) == pytest.approx((by_sums.low, by_sums.estimate, by_sums.high))


def test_metric_bootstrap_of_the_auc_covers_the_truth():
    """Scores normal with means 0 and 1: the AUC is P(N(1, 2) > 0)."""
    truth, covered = stats.norm.cdf(1 / math.sqrt(2)), 0

    def auc(y, score):
        return grouped_auc(y, score, np.zeros(len(y))).value

    for seed in range(40):
        y = np.arange(300) % 2
        score = y + rng("score", seed).normal(size=300)
        covered += truth in bootstrap_metric(auc, y, score, units=np.arange(300), rng=rng("auc", seed), replicates=100)
    assert covered >= 34


def test_cluster_bootstrap_of_any_function_of_sums():
    sums = rng("sums").exponential(size=(200, 3))
    interval = cluster_bootstrap(lambda t: t[..., 0] * t[..., 1] / t[..., 2] ** 2, sums, rng=rng())
    total = sums.sum(axis=0)
    assert interval.estimate == pytest.approx(total[0] * total[1] / total[2] ** 2)
    assert interval.low < interval.estimate < interval.high


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="units has 1 distinct value: expected at least 2"):
        bootstrap_mean([1, 2], ["a", "a"], rng=rng())
    with pytest.raises(ValueError, match=r"rng is 0: expected a numpy.random.Generator"):
        bootstrap_mean([1, 2], ["a", "b"], rng=0)
    with pytest.raises(ValueError, match="replicates is 0"):
        bootstrap_mean([1, 2], ["a", "b"], rng=rng(), replicates=0)
    with pytest.raises(ValueError, match="denominator sums to 0"):
        bootstrap_ratio([1, 2], [0, 0], ["a", "b"], rng=rng())
    with pytest.raises(ValueError, match="lengths differ: loss_a has 2, loss_b has 1"):
        paired_bootstrap([1, 2], [1], ["a", "b"], rng=rng())
    with pytest.raises(ValueError, match="columns is empty"):
        bootstrap_metric(np.mean, units=["a", "b"], rng=rng())
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"not finite on \d+ of 50 draws"):
        cluster_bootstrap(lambda t: t[..., 0] / t[..., 1], [[1, 0], [1, 1]], rng=rng(), replicates=50)
