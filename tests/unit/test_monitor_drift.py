"""Drift: PSI by hand and in its law under no drift, KS and its large-sample trap."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from casebook.monitor import Reference, ks, null_rate, psi, psi_threshold
from casebook.rng import stream


def rng(name, seed=0):
    return stream("test_drift", name, seed=seed)


def test_psi_of_categories_by_hand():
    e, a = [50.5 / 101, 50.5 / 101], [80.5 / 101, 20.5 / 101]
    by_hand = sum((x - y) * math.log(x / y) for x, y in zip(a, e, strict=True))
    assert psi(["x"] * 50 + ["y"] * 50, ["x"] * 80 + ["y"] * 20) == pytest.approx(by_hand)


def test_psi_of_numbers_uses_the_deciles_of_the_reference():
    expected = np.arange(1000)
    actual = np.r_[np.arange(100), np.arange(900)]
    counts_actual = np.r_[200, np.full(8, 100), 0]
    e = np.full(10, 0.1)
    a = (counts_actual + 0.5) / 1005
    assert psi(expected, actual) == pytest.approx(((a - e) * np.log(a / e)).sum())


@given(st.lists(st.floats(-100, 100) | st.none(), min_size=1, max_size=50))
def test_psi_of_identical_samples_is_zero_and_never_negative(values):
    values = [math.nan if value is None else value for value in values]
    assert psi(values, values) == 0
    assert psi(values, [0.0, 1.0, math.nan]) >= 0
    assert psi([str(v) for v in values], [str(v) for v in values[::-1]]) == 0


@given(st.integers(0, 10_000))
def test_psi_of_categories_is_symmetric(seed):
    draw = np.random.default_rng(seed)
    a, b = draw.choice(list("abc"), 40), draw.choice(list("abcd"), 60)
    a[:3], b[:4] = list("abc"), list("abcd")
    a[3] = "d"
    assert psi(a, b) == pytest.approx(psi(b, a))


def test_missing_values_and_new_categories_are_drift():
    values = rng("values").normal(size=2000)
    gone = values.copy()
    gone[:1000] = np.nan
    assert psi(values, gone) > 1
    reference = Reference(["a", "b", None] * 100)
    assert reference.psi(["a", "b", None] * 10) == pytest.approx(0, abs=0.001)
    assert reference.psi(["a", "b", "new"] * 10) > 1
    assert reference.psi(["new", "newer"]) == pytest.approx(reference.psi(["new", "new"]))


def test_codes_written_as_numbers_can_be_categories():
    expected, actual = np.arange(1000) % 4, np.where(np.arange(1000) % 4 == 2, 1, np.arange(1000) % 4)
    assert psi(expected, actual, categorical=True) > 0.5
    assert psi(pd.Categorical(expected), pd.Categorical(actual)) == pytest.approx(
        psi(expected, actual, categorical=True)
    )


def test_one_reference_serves_many_days():
    values = rng("values").normal(size=5000)
    reference = Reference(values)
    assert reference.psi(values + 0.5) == pytest.approx(psi(values, values + 0.5))
    assert reference.psi(values + 0.5) > 0.1
    assert reference.psi(values[::2]) < 0.01


def test_threshold_is_exceeded_by_chance_as_often_as_it_says():
    reference_size, day = 5000, 1000
    threshold = psi_threshold(reference_size, day, 10, false_alarm_rate=0.05)
    exceeded = [
        psi(rng("reference", seed).normal(size=reference_size), rng("day", seed).normal(size=day)) > threshold
        for seed in range(400)
    ]
    assert np.mean(exceeded) == pytest.approx(0.05, abs=0.035)


def test_threshold_by_hand():
    assert psi_threshold(1000, 1000, 10, false_alarm_rate=0.05) == pytest.approx(16.919 * 0.002, rel=1e-4)
    # Small samples pass the customary 0.1 by chance; large ones stay far below it.
    assert psi_threshold(200, 200, 10) > 0.1 > 100 * psi_threshold(10**6, 10**6, 10)


def test_ks_matches_scipy_and_alarms_on_trifles_when_samples_are_large():
    draw = rng("ks")
    expected, actual = draw.normal(size=200_000), draw.normal(0.02, size=200_000)
    result = ks(expected, actual)
    assert result == pytest.approx(tuple(stats.ks_2samp(expected, actual)))
    assert result.p_value < 0.001
    assert psi(expected, actual) < 0.01
    assert ks(expected[:2000], actual[:2000]).p_value > 0.001


def test_null_rate():
    assert null_rate([1.0, math.nan, 2.0, None]) == 0.5
    assert null_rate(["a", None]) == 0.5
    assert null_rate([1, 2]) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: psi([], [1]), "values is empty"),
        (lambda: psi([1], []), "actual is empty"),
        (lambda: psi([1, math.inf], [1]), "values has inf at 1"),
        (lambda: psi([1, 2], ["a"]), "actual has dtype .*: expected numbers"),
        (lambda: psi([1, 2], [1], bins=1), "bins is 1: expected a whole number of at least 2"),
        (lambda: psi([[1, 2]], [1]), r"values has shape \(1, 2\)"),
        (lambda: psi_threshold(0, 1, 10), "n_expected is 0"),
        (lambda: psi_threshold(1, 1, 10, false_alarm_rate=1), "false_alarm_rate is 1"),
        (lambda: ks([1, math.nan], [1]), "expected has nan at 1"),
        (lambda: null_rate([]), "values is empty"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
