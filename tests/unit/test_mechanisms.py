"""What happens to observations: against scipy, values done by hand, and counts of many draws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from casebook.rng import stream
from casebook.worlds.mechanisms import (
    delay_cdf,
    examination,
    exponential_delay,
    intercept_for,
    missing_mask,
    random_walk,
    sigmoid,
)


def rng(name="draws"):
    return stream("test_mechanisms", name, seed=0)


def test_examination():
    np.testing.assert_allclose(examination([0, 1, 3], 0.5), [1, 2**-0.5, 0.5])
    np.testing.assert_array_equal(examination(np.arange(5), 0), 1)
    assert examination(np.array([], dtype=int), 1.0).shape == (0,)


@given(st.floats(0, 5), st.integers(0, 100))
def test_examination_falls_with_position(exponent, position):
    above, below = examination([position, position + 1], exponent)
    assert 0 < below <= above <= 1


def test_delays_are_exponential():
    uniform = rng().random(5_000)
    np.testing.assert_allclose(exponential_delay(2.0, uniform), stats.expon(scale=2.0).ppf(uniform))
    assert stats.kstest(exponential_delay(np.full(5_000, 0.7), uniform), stats.expon(scale=0.7).cdf).pvalue > 0.01
    assert (exponential_delay(0.0, uniform) == 0).all()
    assert exponential_delay(np.array([]), np.array([])).shape == (0,)


@given(st.floats(-5, 50), st.floats(0.01, 20))
def test_delay_cdf_matches_scipy(elapsed, mean):
    assert delay_cdf(elapsed, mean) == pytest.approx(stats.expon(scale=mean).cdf(elapsed), abs=1e-12)


def test_delay_cdf_undoes_the_delay_and_knows_no_delay():
    uniform = rng().random(100)
    np.testing.assert_allclose(delay_cdf(exponential_delay(3.0, uniform), 3.0), uniform)
    np.testing.assert_array_equal(delay_cdf([-1.0, 0.0, 1.0], 0.0), [0, 1, 1])
    np.testing.assert_allclose(delay_cdf([[1.0], [2.0]], [1.0, 4.0]), 1 - np.exp([[-1, -0.25], [-2, -0.5]]))


def test_random_walk():
    walk = random_walk(50, 4_000, 0.2, rng())
    assert walk.shape == (50, 4_000) and walk.dtype == np.float32
    assert (walk[0] == 0).all()
    np.testing.assert_allclose(walk.std(axis=1), 0.2 * np.sqrt(np.arange(50)), rtol=0.06)
    steps = np.diff(walk, axis=0)
    assert abs(np.corrcoef(steps[0], steps[1])[0, 1]) < 0.05
    assert (random_walk(3, 2, 0.0, rng()) == 0).all()


@pytest.mark.parametrize("mechanism", ["mcar", "mar", "mnar"])
@pytest.mark.parametrize("rate", [0.05, 0.3, 0.8])
def test_missing_values(mechanism, rate):
    values, observed = rng("values").standard_normal((2, 20_000))
    gone = missing_mask(mechanism, rate, values=values, observed=observed, rng=rng())
    assert gone.mean() == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / 20_000))
    for driver, name in ((values, "mnar"), (observed, "mar")):
        gap = driver[gone].mean() - driver[~gone].mean()
        assert gap > 0.5 if mechanism == name else abs(gap) < 0.1


def test_mechanisms_share_their_draws():
    values, observed = rng("values").standard_normal((2, 500))
    ends = []
    for mechanism in ("mcar", "mar", "mnar"):
        for rate in (0.0, 0.4):
            generator = rng()
            gone = missing_mask(mechanism, rate, values=values, observed=observed, rng=generator)
            assert gone.any() == (rate > 0)
            ends.append(str(generator.bit_generator.state))
    assert len(set(ends)) == 1
    few, many = (missing_mask("mnar", r, values=values, observed=observed, rng=rng()) for r in (0.2, 0.5))
    assert (many | ~few).all(), "what is missing at a low rate is missing at a higher one"


def test_slope_is_log_odds_per_deviation():
    values = rng("values").standard_normal(100_000)
    gone = missing_mask("mnar", 0.5, values=10 * values, observed=values, rng=rng(), slope=1.0)
    high, low = (gone[np.abs(values - centre) < 0.1].mean() for centre in (1, -1))
    assert special.logit(high) - special.logit(low) == pytest.approx(2.0, abs=0.15)
    flat = missing_mask("mnar", 0.3, values=np.ones(5_000), observed=np.ones(5_000), rng=rng())
    assert flat.mean() == pytest.approx(0.3, abs=0.03)


@given(st.floats(-29, 29))
def test_sigmoid_matches_scipy(x):
    assert sigmoid(x) == pytest.approx(special.expit(x), rel=1e-12)


def test_sigmoid_keeps_precision_and_does_not_overflow():
    assert sigmoid(np.float32([1.0])).dtype == np.float32 and sigmoid([1, 2]).dtype == np.float64
    with np.errstate(all="raise"):
        low, high = sigmoid([-1e9, 1e9])
    assert 0 < low < 1e-12 and 1 - 1e-12 < high <= 1


@given(st.floats(0.001, 0.999), st.floats(0, 8), st.floats(-20, 20))
def test_intercept_hits_the_mean(mean, spread, shift):
    score = shift + spread * rng().standard_normal(200)
    assert sigmoid(score + intercept_for(score, mean)).mean() == pytest.approx(mean, rel=1e-6)


def test_intercept_with_weights():
    assert intercept_for(np.zeros(3), 0.5) == pytest.approx(0, abs=1e-9)
    assert intercept_for(np.zeros(1), 0.2) == pytest.approx(special.logit(0.2))
    score, weight = rng().standard_normal((2, 500))
    weight = 0.2 + 0.3 * np.abs(weight)
    found = intercept_for(score, 0.1, weight=weight)
    assert (weight * sigmoid(score + found)).mean() == pytest.approx(0.1)


def mask(**change):
    given = {"mechanism": "mar", "rate": 0.3, "values": [1.0, 2.0], "observed": [0.0, 1.0], "rng": rng(), **change}
    return missing_mask(given.pop("mechanism"), given.pop("rate"), **given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: examination([-1], 0.5), "position has -1: expected positions from 0"),
        (lambda: examination([0], -0.5), r"exponent is -0\.5: expected"),
        (lambda: examination([np.nan], 0.5), "position has nan"),
        (lambda: exponential_delay(-1.0, [0.5]), "mean has -1: expected delays of at least 0 days"),
        (lambda: exponential_delay(1.0, [1.5]), r"uniform has 1\.5 at 0"),
        (lambda: delay_cdf(1.0, -2.0), "mean has -2: expected delays of at least 0 days"),
        (lambda: delay_cdf(np.nan, 2.0), "elapsed has nan"),
        (lambda: random_walk(0, 1, 0.1, rng()), "steps is 0: expected"),
        (lambda: random_walk(1, 0, 0.1, rng()), "things is 0: expected"),
        (lambda: random_walk(1, 1, -0.1, rng()), r"scale is -0\.1: expected"),
        (lambda: random_walk(1, 1, 0.1, 3), "rng is 3: expected"),
        (lambda: mask(mechanism="nmar"), "mechanism is 'nmar': expected one of mcar, mar, mnar"),
        (lambda: mask(rate=1.0), r"rate is 1\.0: expected"),
        (lambda: mask(values=[1.0]), "lengths differ: values has 1, observed has 2; expected the same"),
        (lambda: mask(values=[1.0, np.nan]), "values has nan at 1"),
        (lambda: mask(observed=[]), "observed is empty"),
        (lambda: mask(rng=None), "rng is None: expected"),
        (lambda: intercept_for(np.zeros(2), 0.0), r"mean is 0\.0: expected .* above 0"),
        (lambda: intercept_for(np.array([]), 0.5), "score is empty"),
        (lambda: intercept_for(np.zeros(2), 0.5, weight=np.full(2, 0.4)), r"mean is 0\.5: expected less than .*0\.4"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
