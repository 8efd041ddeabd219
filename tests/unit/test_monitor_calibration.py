"""Calibration over time: the CUSUM against its recursion, delayed conversions against a world with a known delay."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.rates import confint_poisson

from casebook.monitor import calibration_cusum, cusum_statistic, observed_over_expected
from casebook.rng import stream


@given(st.integers(0, 10_000), st.floats(1.05, 2))
def test_cusum_is_its_recursion_of_log_likelihood_ratios(seed, ratio):
    draw = np.random.default_rng(seed)
    expected = draw.uniform(5, 50, 30)
    observed = draw.poisson(expected * draw.choice([0.7, 1, 1.4]))
    high, low = cusum_statistic(observed, expected, ratio=ratio)
    for path, r in ((high, ratio), (low, 1 / ratio)):
        level = 0.0
        for t in range(30):
            step = stats.poisson.logpmf(observed[t], r * expected[t]) - stats.poisson.logpmf(observed[t], expected[t])
            level = max(0.0, level + step)
            assert path[t] == pytest.approx(level, abs=1e-7)


def test_cusum_of_many_series_at_once():
    draw = stream("test_calibration", "many", seed=0)
    observed, expected = draw.poisson(20, (3, 10)), np.full((3, 10), 20.0)
    together, _ = cusum_statistic(observed, expected)
    for i in range(3):
        assert together[i] == pytest.approx(cusum_statistic(observed[i], expected[i])[0])


@pytest.mark.parametrize(("shift", "side"), [(1.3, "high"), (0.75, "low")])
def test_a_shift_is_found_soon_and_on_its_side(shift, side):
    draw = stream("test_calibration", "shift", seed=0)
    expected = np.full(40, 100.0)
    observed = np.r_[draw.poisson(expected[:20]), draw.poisson(shift * expected[20:])]
    result = calibration_cusum(observed, expected, threshold=5)
    assert result.side == side and 20 <= result.alarm <= 24
    assert (result.high if side == "high" else result.low)[result.alarm] > 5


def test_no_shift_no_alarm():
    result = calibration_cusum([100, 101, 99], [100, 100, 100], threshold=5)
    assert result.alarm is None and result.side is None


def delayed_world(outage=False, n=60_000):
    """Thirty days of clicks; conversions arrive after an exponential delay of 4 days, those after now are unseen."""
    draw = stream("test_calibration", "delay", seed=0)
    day = draw.integers(0, 30, n)
    predicted = draw.beta(2, 8, n)
    converts = draw.random(n) < predicted
    age = 30 - day - draw.random(n)
    arrived = draw.exponential(4, n) < age
    if outage:
        arrived &= day < 25
    return (converts & arrived).astype(int), predicted, -np.expm1(-age / 4), day


def test_delay_adjustment_sees_no_fall_where_there_is_none():
    table = observed_over_expected(*delayed_world())
    raw = table["observed"] / table["predicted"]
    assert raw.iloc[-1] < 0.25
    assert table["ratio"].between(0.75, 1.25).all()
    assert ((table["low"] <= 1) & (1 <= table["high"])).sum() >= 26


def test_delay_adjustment_sees_an_outage():
    table = observed_over_expected(*delayed_world(outage=True)).set_index("period")
    assert (table.loc[25:, "high"] < 0.5).all()
    assert (table.loc[:24, "ratio"] > 0.75).all()


def test_observed_over_expected_by_hand():
    table = observed_over_expected([1, 0, 0, 1], [0.5, 0.5, 0.2, 0.8], [1, 0.5, 0.5, 0.5], [1, 1, 0, 1], level=0.9)
    assert table["period"].tolist() == [0, 1] and table["rows"].tolist() == [1, 3]
    assert table["observed"].tolist() == [0, 2]
    assert table["predicted"].tolist() == pytest.approx([0.2, 1.8])
    assert table["expected"].tolist() == pytest.approx([0.1, 1.15])
    assert table["ratio"].tolist() == pytest.approx([0, 2 / 1.15])
    low, high = confint_poisson(2, 1.15, method="exact-c", alpha=0.1)
    assert table.loc[1, ["low", "high"]].tolist() == pytest.approx([low, high])
    assert table.loc[0, ["low", "high"]].tolist() == pytest.approx([0, -math.log(0.05) / 0.1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cusum_statistic([1, 2], [1]), r"observed has shape \(2,\) and expected \(1,\)"),
        (lambda: cusum_statistic([1, -2], [1, 1]), "observed has -2: expected counts of at least 0"),
        (lambda: cusum_statistic([1, 2], [1, 0]), "expected has 0: expected sums above 0"),
        (lambda: cusum_statistic([1], [1], ratio=1), "ratio is 1.*above 1"),
        (lambda: cusum_statistic([], []), "observed is empty"),
        (lambda: calibration_cusum([1], [1], threshold=0), "threshold is 0"),
        (lambda: calibration_cusum([[1]], [[1]], threshold=1), r"observed has shape \(1, 1\)"),
        (lambda: observed_over_expected([1], [0.5], [1.5], [0]), "matured has 1.5 at 0"),
        (lambda: observed_over_expected([2], [0.5], [1], [0]), "converted has 2 at 0"),
        (lambda: observed_over_expected([1], [0.5], [0], [3]), "matured leaves nothing to expect in period 3"),
        (lambda: observed_over_expected([1, 0], [0.5, 0.5], [1, 1], [0]), "periods has 1"),
        (lambda: observed_over_expected([1, 0], [0.5, 0.5], [1, 1], [0, math.nan]), "periods is missing at 1"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
