"""The always-valid test, against its formula, its promise over many simulated experiments, and a fixed-length test."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from casebook.evaluate.sequential import always_valid, always_valid_half_width, first_crossing
from casebook.rng import stream

LOOKS = np.arange(1, 61)


def walks(effect, experiments=2000, sd=1.0, name="walks"):
    """Estimates of an effect from a growing number of unit-variance observations, and their standard errors."""
    steps = effect + sd * stream("test_sequential", name, seed=0).standard_normal((experiments, len(LOOKS)))
    return np.cumsum(steps, axis=1) / LOOKS, sd / np.sqrt(LOOKS)


def test_interval_and_p_value_agree_at_every_look():
    d, error = walks(0.3, 1)
    table = always_valid(d[0], error, scale=0.5)
    ever_left = np.logical_or.accumulate((table["low"] > 0) | (table["high"] < 0))
    assert ((table["p_value"] < 0.05) == ever_left).all()


@given(st.floats(-6, 6), st.floats(0.01, 2), st.floats(0.01, 5))
def test_matches_the_likelihood_ratio(z, error, scale):
    # The density of the estimate under the mixture over that under no effect.
    density, without = stats.norm(0, math.hypot(error, scale)).pdf(z * error), stats.norm(0, error).pdf(z * error)
    found = always_valid([z * error], [error], scale=scale)["p_value"][0]
    assert found == pytest.approx(min(1, without / density), rel=1e-6)


@given(st.floats(0.01, 2), st.floats(0.05, 5), st.floats(0.5, 0.99))
def test_wider_than_a_fixed_interval(error, scale, level):
    assert always_valid_half_width(error, scale=scale, level=level) > stats.norm.ppf(0.5 + level / 2) * error


def test_p_values_never_rise():
    d, error = walks(0.2, 5)
    for row in d:
        assert (np.diff(always_valid(row, error, scale=0.3)["p_value"]) <= 0).all()


@pytest.mark.parametrize("scale", [0.05, 0.3, 2.0])
def test_keeps_its_promise_over_all_looks_and_peeking_does_not(scale):
    d, error = walks(0.0)
    peeking = (first_crossing(d, 1.96 * error) >= 0).mean()
    always = (first_crossing(d, always_valid_half_width(error, scale=scale)) >= 0).mean()
    assert peeking > 0.2
    assert always < 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(d))


def test_finds_what_is_there():
    d, error = walks(0.5)
    found = first_crossing(d, always_valid_half_width(error, scale=0.5))
    assert (found >= 0).mean() > 0.8
    assert (d[np.arange(len(d)), found][found >= 0] > 0).mean() > 0.99


def test_covers_the_effect_at_all_looks_together():
    d, error = walks(0.4, name="covered")
    half = always_valid_half_width(error, scale=0.4)
    assert (np.abs(d - 0.4) <= half).all(axis=1).mean() > 0.95 - 3 * math.sqrt(0.05 * 0.95 / len(d))


def test_first_crossing_counts_looks_from_zero():
    assert first_crossing([[0, 2, 0], [0, 0, 0], [-5, 0, 9]], [1, 1, 1]).tolist() == [1, -1, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: always_valid([0, 1], [1], scale=1), "lengths differ"),
        (lambda: always_valid([0], [0], scale=1), "standard_errors has 0"),
        (lambda: always_valid([0], [1], scale=0), "scale is 0"),
        (lambda: always_valid([0], [1], scale=1, level=1), "level is 1"),
        (lambda: always_valid([np.nan], [1], scale=1), "estimates has nan"),
        (lambda: first_crossing([0, 1], 1), "estimates has shape"),
        (lambda: first_crossing([[0, 1]], [1, 1, 1]), "limits has shape"),
        (lambda: first_crossing([[0, 1]], -1), "limits has -1"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()
