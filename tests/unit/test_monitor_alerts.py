"""Alerts: the false-alarm rates that the thresholds promise, on series with and without memory."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from casebook.monitor import (
    alarms,
    average_run_length,
    block_bootstrap,
    cusum_statistic,
    detection_delay,
    first_alarm,
    threshold_for_run_length,
    threshold_from_history,
)
from casebook.rng import stream


def rng(name, seed=0):
    return stream("test_alerts", name, seed=seed)


def test_alarms_by_hand():
    series = [0, 2, 1, 3, 0]
    assert alarms(series, 1).tolist() == [False, True, False, True, False]
    assert first_alarm(series, 1) == 1 and first_alarm(series, 3) is None
    assert detection_delay(series, 1, onset=2) == 1
    assert detection_delay(series, 1, onset=3) == 0
    assert detection_delay(series, 1, onset=4) is None


def test_threshold_from_history_by_hand():
    threshold = threshold_from_history(np.arange(99), 20)
    assert threshold.value == 94  # the fifth largest of 99: five of the hundred places of a new value lie above it
    assert threshold.false_alarm_rate.estimate == pytest.approx(0.05)
    low, high = stats.beta.ppf([0.025, 0.975], 5, 95)
    assert (threshold.false_alarm_rate.low, threshold.false_alarm_rate.high) == pytest.approx((low, high))


@pytest.mark.parametrize("draw", ["normal", "standard_cauchy", "exponential"])
def test_the_promised_rate_holds_whatever_the_distribution(draw):
    true_tail = {"normal": stats.norm, "standard_cauchy": stats.cauchy, "exponential": stats.expon}[draw].sf
    rates, covered = [], 0
    for seed in range(400):
        threshold = threshold_from_history(getattr(rng(draw, seed), draw)(size=119), 30)
        rates.append(true_tail(threshold.value))
        covered += rates[-1] in threshold.false_alarm_rate
    assert np.mean(rates) == pytest.approx(4 / 120, rel=0.1)
    assert 365 <= covered <= 395


def test_a_short_history_cannot_promise_a_rare_alarm():
    with pytest.raises(ValueError, match="history has 10 periods: expected at least 29"):
        threshold_from_history(np.arange(10), 30)
    assert threshold_from_history(np.arange(29), 30).value == 28


def test_block_bootstrap_keeps_blocks_and_columns_together():
    history = np.column_stack([np.arange(20), 100 + np.arange(20)])
    paths = block_bootstrap(history, periods=17, block=5, replicates=50, rng=rng("blocks"))
    assert paths.shape == (50, 17, 2)
    assert (paths[..., 1] - paths[..., 0] == 100).all()
    steps = np.diff(paths[..., 0], axis=1) % 20
    inside = np.arange(16) % 5 != 4
    assert (steps[:, inside] == 1).all()
    assert len(np.unique(paths[..., 0])) == 20


def test_block_bootstrap_keeps_the_memory_of_the_series():
    draw = rng("memory").normal(size=3000)
    series = np.zeros(3000)
    for t in range(1, 3000):
        series[t] = 0.8 * series[t - 1] + draw[t]
    futures = block_bootstrap(series, periods=2000, block=50, replicates=5, rng=rng("futures"))
    shuffled = block_bootstrap(series, periods=2000, block=1, replicates=5, rng=rng("futures"))
    correlation = [np.corrcoef(path[:-1], path[1:])[0, 1] for path in (futures[0], shuffled[0])]
    assert correlation[0] > 0.7 and abs(correlation[1]) < 0.1


def test_average_run_length_of_independent_periods_is_one_over_the_rate():
    paths = rng("independent").random((400, 200))
    run = average_run_length(paths, 0.98)
    assert 50 in run
    assert run.high - run.low < 15


def test_average_run_length_counts_series_that_never_alarm():
    # Alarms in periods 1 and 3, counted from 1, and a series of 4 periods without any: 8 periods, 2 alarms.
    assert average_run_length([[5, 0, 0, 0], [0, 0, 5, 0], [0, 0, 0, 0]], 1).estimate == 4


@given(st.integers(0, 1000), st.floats(1.5, 30))
def test_threshold_for_run_length_is_the_lowest_that_keeps_the_promise(seed, target):
    paths = np.random.default_rng(seed).integers(0, 50, (30, 60)).astype(float)
    threshold = threshold_for_run_length(paths, target)
    assert average_run_length(paths, threshold).estimate >= target
    lower = np.unique(paths[paths < threshold])
    if len(lower):
        assert average_run_length(paths, lower[-1]).estimate < target


def test_a_cusum_gets_its_threshold_from_futures_of_its_history_and_keeps_it():
    """Counts vary more than Poisson's: the threshold of a Poisson law cries wolf, the one from history does not."""
    draw = rng("history")
    expected = np.full(400, 100.0)
    observed = draw.poisson(expected * draw.gamma(100, 1 / 100, 400))
    paths = block_bootstrap(np.column_stack([observed, expected]), periods=250, block=7, replicates=300, rng=rng("b"))
    statistic = np.maximum(*cusum_statistic(paths[..., 0], paths[..., 1]))
    threshold = threshold_for_run_length(statistic, 100)
    fresh = rng("fresh")
    counts = fresh.poisson(100 * fresh.gamma(100, 1 / 100, (400, 250)))
    truth = average_run_length(np.maximum(*cusum_statistic(counts, np.full(counts.shape, 100.0))), threshold)
    assert 50 < truth.estimate < 200
    poisson = fresh.poisson(100, (300, 250))
    naive = threshold_for_run_length(np.maximum(*cusum_statistic(poisson, np.full(poisson.shape, 100.0))), 100)
    assert naive < threshold


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: alarms([1, math.nan], 1), "statistic has nan at 1"),
        (lambda: first_alarm([[1]], 1), r"statistic has shape \(1, 1\)"),
        (lambda: detection_delay([1, 2], 1, onset=2), "onset is 2: expected a period before 2"),
        (lambda: threshold_from_history([], 30), "history is empty"),
        (lambda: threshold_from_history([1, 2], 1), "periods_per_false_alarm is 1"),
        (lambda: block_bootstrap([1, 2], periods=2, block=3, replicates=1, rng=rng("x")), "block is 3"),
        (lambda: block_bootstrap([[[1]]], periods=2, block=1, replicates=1, rng=rng("x")), "history has shape"),
        (lambda: block_bootstrap([1, 2], periods=2, block=1, replicates=1, rng=None), "rng is None"),
        (lambda: average_run_length([[0, 0]], 1), "threshold is 1: expected one that some series crosses"),
        (lambda: average_run_length([0, 0], 1), r"paths has shape \(2,\): expected 2 dimensions"),
        (lambda: threshold_for_run_length([[0, 1], [1, 0]], 100), "periods_per_false_alarm is 100"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
