"""Named streams: the same for the same name, unrelated for another; keyed draws do not care about order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from casebook.rng import keyed_uniform, stream


def test_a_stream_is_its_names_and_seed():
    first = stream("world", "users", seed=1).random(5)
    assert (first == stream("world", "users", seed=1).random(5)).all()
    for other in (("world", "items", 1), ("elsewhere", "users", 1), ("world", "users", 2), ("users", "world", 1)):
        assert not np.isclose(first, stream(other[0], other[1], seed=other[2]).random(5)).any()


def test_streams_do_not_shift_one_another():
    alone = stream("world", "b", seed=0).random(3)
    stream("world", "a", seed=0).random(1000)
    assert (alone == stream("world", "b", seed=0).random(3)).all()


def test_streams_of_other_names_are_uncorrelated():
    draws = np.stack([stream("world", f"name {i}", seed=0).normal(size=4000) for i in range(20)])
    correlation = np.corrcoef(draws)[np.triu_indices(20, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)


def test_the_seed_comes_from_the_settings(monkeypatch):
    monkeypatch.setenv("CASEBOOK_SEED", "7")
    assert stream("world", "users").random() == stream("world", "users", seed=7).random()
    assert keyed_uniform("world", "click", 3) == keyed_uniform("world", "click", 3, seed=7)


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20), st.randoms())
def test_keyed_draws_do_not_depend_on_order_or_company(keys, random):
    together = dict(zip(keys, keyed_uniform("world", "click", keys, seed=0), strict=True))
    random.shuffle(keys)
    for key, value in zip(keys, keyed_uniform("world", "click", keys, seed=0), strict=True):
        assert value == together[key] == keyed_uniform("world", "click", key, seed=0)


def test_keys_broadcast():
    grid = keyed_uniform("world", "click", np.arange(3)[:, None], np.arange(4), seed=0)
    assert grid.shape == (3, 4)
    assert grid[2, 1] == keyed_uniform("world", "click", 2, 1, seed=0)
    assert grid[2, 1] != grid[1, 2]
    assert np.ndim(keyed_uniform("world", "click", 2, 1, seed=0)) == 0


@pytest.mark.parametrize("seed", [0, 1, 2**64, 2**70])
def test_keyed_draws_look_uniform_and_independent(seed):
    grid = keyed_uniform("world", "click", np.arange(200)[:, None], np.arange(200), seed=seed)
    assert 0 <= grid.min() and grid.max() < 1
    assert stats.kstest(grid.ravel(), "uniform").pvalue > 1e-4
    for a, b in ((grid[:-1], grid[1:]), (grid[:, :-1], grid[:, 1:]), (grid, grid.T.copy())):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.03
    # A stuck low bit would spoil draws that are compared with rare rates.
    assert ((grid * 2**53).astype(np.uint64) & np.uint64(1)).mean() == pytest.approx(0.5, abs=0.02)


def test_keyed_draws_differ_by_name_and_seed():
    keys = np.arange(2000)
    first = keyed_uniform("world", "click", keys, seed=0)
    for owner, name, seed in (
        ("world", "hide", 0),
        ("other", "click", 0),
        ("world", "click", 1),
        ("world", "click", 2**64),
    ):
        assert abs(np.corrcoef(first, keyed_uniform(owner, name, keys, seed=seed))[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stream("", "users"), "owner is ''"),
        (lambda: stream("world", 3), "name is 3"),
        (lambda: stream("world", "users", seed=-1), "seed is -1: expected a whole number of at least 0"),
        (lambda: stream("world", "users", seed=1.0), "seed is 1.0"),
        (lambda: stream("world", "users", seed=True), "seed is True"),
        (lambda: keyed_uniform("world", "click"), "keys is empty"),
        (lambda: keyed_uniform("world", "click", [1, -1]), r"keys\[0\]"),
        (lambda: keyed_uniform("world", "click", 1, [0.5]), r"keys\[1\] has dtype float64"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
