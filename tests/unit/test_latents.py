"""Hidden traits: their scale, and how much of them groups explain."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.rng import stream
from casebook.worlds.latents import group_latents, standardise, zipf_weights


def rng(name="draws"):
    return stream("test_latents", name, seed=0)


@given(st.integers(1, 300), st.floats(0, 3))
def test_zipf(n, exponent):
    weights = zipf_weights(n, exponent, rng())
    ranked = np.sort(weights)[::-1]
    assert weights.shape == (n,) and weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(ranked / ranked[0], np.arange(1, n + 1, dtype=float) ** -exponent)


def test_zipf_is_in_random_order():
    assert not np.array_equal(zipf_weights(50, 1.0, rng("a")), zipf_weights(50, 1.0, rng("b")))
    np.testing.assert_allclose(zipf_weights(4, 0.0, rng()), 0.25)
    assert sorted(zipf_weights(2, 1.0, rng())) == [pytest.approx(1 / 3), pytest.approx(2 / 3)]


@pytest.mark.parametrize("explained", [0.0, 0.3, 0.7, 1.0])
def test_groups_explain_the_share_they_should(explained):
    group = rng("groups").integers(0, 400, 20_000)
    vectors, mean = group_latents(group, 5, explained, rng())
    assert vectors.shape == mean.shape == (20_000, 5) and vectors.dtype == mean.dtype == np.float32
    assert vectors.var() == pytest.approx(1, abs=0.06)
    assert mean.var() == pytest.approx(explained, abs=0.06)
    # The mean is the same within a group, and what is left has none.
    assert all(len(np.unique(mean[group == g], axis=0)) == 1 for g in range(5))
    rest = vectors - mean
    assert abs(rest.mean()) < 0.02 and rest.var() == pytest.approx(1 - explained, abs=0.03)
    assert abs((rest * mean).mean()) < 0.02
    by_group = np.array([rest[group == g].mean(axis=0) for g in range(400)])
    assert by_group.var() == pytest.approx((1 - explained) / 50, rel=0.2, abs=1e-9)


def test_the_share_changes_no_draw():
    group = np.arange(100) % 10
    ends = []
    for explained in (0.0, 0.5):
        generator = rng()
        group_latents(group, 3, explained, generator)
        ends.append(generator.bit_generator.state)
    assert ends[0] == ends[1]


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50))
def test_standardise(values):
    mean, deviation = standardise(np.array(values))
    if np.ptp(values) > 0.01:
        z = (np.array(values) - mean) / deviation
        assert z.mean() == pytest.approx(0, abs=1e-6) and z.std() == pytest.approx(1, abs=1e-6)


def test_a_constant_is_not_divided_by_zero():
    for constant in (0.0, 3.0, 0.1, 1e-9):
        assert standardise(np.full(7, constant)) == (pytest.approx(constant), 1.0)
    assert standardise(np.array([[1.0, 3.0], [1.0, 3.0]])) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: zipf_weights(0, 1.0, rng()), "n is 0: expected a whole number of at least 1"),
        (lambda: zipf_weights(3, -1.0, rng()), r"exponent is -1\.0: expected"),
        (lambda: zipf_weights(3, 1.0, 7), r"rng is 7: expected a numpy\.random\.Generator"),
        (lambda: group_latents(np.array([]), 2, 0.5, rng()), "group is empty"),
        (
            lambda: group_latents(np.array([0, -1]), 2, 0.5, rng()),
            "group has minimum -1: expected whole numbers from 0",
        ),
        (lambda: group_latents(np.array([0.5]), 2, 0.5, rng()), r"group has minimum 0\.5: expected whole numbers"),
        (lambda: group_latents(np.array([0]), 0, 0.5, rng()), "dimensions is 0: expected"),
        (lambda: group_latents(np.array([0]), 2, 1.5, rng()), r"explained is 1\.5: expected"),
        (lambda: group_latents(np.array([0]), 2, 0.5, None), "rng is None: expected"),
        (lambda: standardise(np.array([1.0, np.nan])), "values has nan at 1"),
        (lambda: standardise(np.array([])), "values is empty"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
