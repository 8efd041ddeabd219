"""What the store holds of users and videos, and how a page is read from it."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook import rng
from casebook.serve.videopage import best, page_inputs, ranker_inputs, spread, user_vectors, video_vectors

USERS = pd.DataFrame({"age_band": [3, 5], "country": [1, 7]})
VIDEOS = pd.DataFrame({"uploaded": [0, 8, -3], "length": [1.0, 4.0, 60.0], "tag_a": [2, 2, 23]})
STATE = SimpleNamespace(
    day=10, user_sessions=np.array([4, 0]), pages=np.array([[0, 1, 0], [-1, -1, -1]]),
    shown=np.array([10, 0, 4]), clicks=np.array([5, 0, 1]), minutes=np.array([20.0, 0.0, 30.0]),
    popularity=np.array([3.0, 1.0, 2.0]),
)  # fmt: skip
HISTORY = np.full((2, 20), -1)
HISTORY[0, :3] = [0, 2, 1]
TOWER = rng.stream("test", "towers", seed=1).standard_normal((3, 32))


@pytest.fixture
def people():
    return user_vectors(USERS, VIDEOS["tag_a"], HISTORY, STATE)


@pytest.fixture
def items():
    return video_vectors(VIDEOS, TOWER, STATE)


def test_a_user_is_history_who_counts_shares_and_last_pages(people):
    assert people.shape == (2, 20 + 3 + 24 + 3)
    assert people[0, :4].tolist() == [0, 2, 1, -1]
    assert people[0, 20:23].tolist() == [3, 1, 4]
    assert people[0, 23 + 2] == pytest.approx(2 / 3)
    assert people[1, 23:47].sum() == 0


def test_a_video_is_its_vector_and_last_nights_counts(items):
    assert items[0, 32:].tolist() == [10, 1, 3, 0.5, 4, 2, 0]
    assert items[1, 32:].tolist() == [2, 4, 1, 0, 0, 2, 4]
    np.testing.assert_allclose(items[:, :32], TOWER, rtol=1e-6)


def test_an_unknown_device_is_code_zero(people):
    given_ = page_inputs(people[0], {"device": -1, "hour": 23})
    assert given_["codes"].tolist() == [[3, 1, 0, 23]]
    assert given_["past"].shape == (1, 20)


def test_ranker_inputs_stand_in_the_order_of_training(people, items):
    ids = np.array([0, 2])
    given_ = ranker_inputs(people[0], np.ones(32), {"device": 1, "hour": 8}, ids, items[ids])
    numbers, codes = given_["numbers"], given_["codes"]
    assert numbers.shape == (2, 8 + 32 + 1)
    assert codes.tolist() == [[2, 8, 3, 1, 2, 0, 0], [2, 8, 3, 1, 23, 11, 0]]
    assert np.expm1(numbers[0, :8]) == pytest.approx([10, 1, 3, 0.5, 4, 2 / 3, 2, 4], rel=1e-5)
    np.testing.assert_allclose(numbers[:, -1], TOWER[ids].sum(1), rtol=1e-5)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="history has shape"):
        user_vectors(USERS, VIDEOS["tag_a"], HISTORY[:, :5], STATE)
    with pytest.raises(ValueError, match="vectors has shape"):
        video_vectors(VIDEOS, TOWER[:, :3], STATE)
    with pytest.raises(ValueError, match="group has shape"):
        spread([1.0, 2.0], [1], 2)
    with pytest.raises(ValueError, match="k"):
        best([1.0], 0)


def test_best_leaves_out_what_was_watched_and_what_is_not_there():
    assert best([1.0, 5.0, -np.inf, 3.0, 2.0], 4, without=[1, -1]).tolist() == [3, 4, 0]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20), st.integers(1, 25))
def test_best_is_a_sort(score, k):
    found = np.array(score)[best(score, k)]
    np.testing.assert_array_equal(found, np.sort(score)[::-1][:k])


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 2)), min_size=1, max_size=20))
def test_spread_is_a_permutation_and_plain_without_a_penalty(pairs):
    score, group = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])
    assert sorted(spread(score, group, 20).tolist()) == list(range(len(pairs)))
    np.testing.assert_array_equal(spread(score, group, 20, penalty=0), np.argsort(-score, kind="stable"))


def test_spread_lets_another_group_pass():
    assert spread([1.0, 0.9, 0.8], [0, 0, 1], 3, penalty=0.15).tolist() == [0, 2, 1]
