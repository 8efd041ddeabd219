"""Splits in time: no row on two sides, no row of training at or after the start of the test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.data import rolling_origin, time_split


def test_time_split_by_hand():
    split = time_split(np.arange(10), 6, 8)
    assert np.flatnonzero(split.train).tolist() == [0, 1, 2, 3, 4, 5]
    assert np.flatnonzero(split.valid).tolist() == [6, 7]
    assert np.flatnonzero(split.test).tolist() == [8, 9]


def test_gap_leaves_rows_out_after_each_end():
    split = time_split(np.arange(10), 5, 8, gap=1)
    assert np.flatnonzero(split.valid).tolist() == [6, 7]
    assert np.flatnonzero(split.test).tolist() == [9]


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_parts_are_disjoint_and_in_order(seed, gap):
    times = np.random.default_rng(seed).uniform(0, 10, 400)
    split = time_split(times, 5, 7, gap=gap)
    assert (np.sum(split, axis=0) <= 1).all()
    assert times[split.train].max() + gap <= times[split.valid].min() + 1e-9
    assert times[split.valid].max() + gap <= times[split.test].min() + 1e-9
    if gap == 0:
        assert (np.sum(split, axis=0) == 1).all()


def test_rolling_origin_grows_or_slides():
    growing = rolling_origin(np.arange(8), 3, horizon=2, folds=2)
    assert [np.flatnonzero(fold.train).tolist() for fold in growing] == [[0, 1, 2], [0, 1, 2, 3, 4]]
    assert [np.flatnonzero(fold.test).tolist() for fold in growing] == [[3, 4], [5, 6]]
    sliding = rolling_origin(np.arange(8), 3, horizon=2, folds=2, window=2, gap=1)
    assert [np.flatnonzero(fold.train).tolist() for fold in sliding] == [[1, 2], [3, 4]]
    assert [np.flatnonzero(fold.test).tolist() for fold in sliding] == [[4, 5], [6, 7]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: time_split([1, 2], 5, 4), "valid_end is 4: expected a finite number and above 5"),
        (lambda: time_split([1, 2], 5, 6, gap=2), "valid_end is 6.*above 7"),
        (lambda: time_split([1, 2], 5, 6), r"valid has no rows: expected ends within the times, \[1, 2\]"),
        (lambda: time_split([1, 2], 5, 8, gap=-1), "gap is -1"),
        (lambda: time_split([], 5, 8), "times is empty"),
        (lambda: time_split([1, np.nan], 5, 8), "times has nan at 1"),
        (lambda: rolling_origin(np.arange(4), 2, horizon=1, folds=3), "test of fold 2 has no rows"),
        (lambda: rolling_origin(np.arange(4), 0, horizon=1, folds=1), "train of fold 0 has no rows"),
        (lambda: rolling_origin(np.arange(4), 2, horizon=0, folds=1), "horizon is 0"),
        (lambda: rolling_origin(np.arange(4), 2, horizon=1, folds=0), "folds is 0"),
        (lambda: rolling_origin(np.arange(4), 2, horizon=1, folds=1, window=0), "window is 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
