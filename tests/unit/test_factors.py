"""Implicit factors: the closed form, what they recover, what they refuse."""

import numpy as np
import pytest
import scipy.sparse as sp

from casebook.factors import fold_in, implicit_factors


@pytest.fixture
def draws():
    return np.random.default_rng(0)


def test_fold_in_is_the_ridge_solution_of_each_user(draws):
    seen = sp.csr_matrix(np.array([[0.5, 0, 1.0, 0], [0, 0, 0, 0], [0, 2.0, 0, 0]]))
    items = draws.standard_normal((4, 3))
    found = fold_in(seen, items, weight=7, penalty=2)
    for row, vector in zip(seen.toarray(), found, strict=True):
        confidence, likes = 1 + 7 * row, (row > 0).astype(float)
        left = items.T @ (confidence[:, None] * items) + 2 * np.eye(3)
        np.testing.assert_allclose(left @ vector, items.T @ (confidence * likes), atol=1e-9)
    assert (found[1] == 0).all()


def test_two_tastes_are_told_apart(draws):
    taste, topic = draws.integers(0, 2, 300), draws.integers(0, 2, 40)
    seen = sp.csr_matrix((draws.random((300, 40)) < np.where(taste[:, None] == topic, 0.3, 0.02)).astype(float))
    items = implicit_factors(seen, rng=draws, dimensions=4)
    score = fold_in(seen, items) @ items.T
    unseen = seen.toarray() == 0
    same = taste[:, None] == topic
    assert score[unseen & same].mean() > score[unseen & ~same].mean() + 0.1


def test_what_is_no_matrix_is_refused(draws):
    seen = sp.csr_matrix(np.eye(3))
    with pytest.raises(ValueError, match="expected a sparse matrix"):
        implicit_factors(np.eye(3), rng=draws)
    with pytest.raises(ValueError, match="at least 0"):
        implicit_factors(-seen, rng=draws)
    with pytest.raises(ValueError, match="expected 2, one an item"):
        fold_in(seen, np.ones((2, 2)))
    for bad in ({"penalty": 0.0}, {"weight": -1.0}):
        with pytest.raises(ValueError, match="expected a finite number and above 0"):
            fold_in(seen, np.ones((3, 2)), **bad)
    with pytest.raises(ValueError, match="dimensions is 0"):
        implicit_factors(seen, rng=draws, dimensions=0)
