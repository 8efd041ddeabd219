"""Implicit matrix factorisation by alternating least squares, and the vector of a newcomer."""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from casebook import validate

__all__ = ["fold_in", "implicit_factors"]


def implicit_factors(
    seen: sp.csr_matrix,
    *,
    rng: np.random.Generator,
    dimensions: int = 24,
    weight: float = 20.0,
    penalty: float = 5.0,
    rounds: int = 6,
) -> NDArray[np.float64]:
    """A vector for each item from who interacted with what (Hu, Koren and Volinsky 2008).

    An entry r of ``seen`` says with confidence 1 + weight x r that the user likes the item, an absent one with
    confidence 1 that not. Users and items are solved for in turn.

    Args:
        seen: users by items, entries at least 0.
        rng: source of the first vectors.
        dimensions: length of a vector.
        weight: confidence of an entry of 1, beyond that of an absence.
        penalty: ridge penalty.
        rounds: passes over users and items.

    Returns:
        Shape (items, dimensions).

    Raises:
        ValueError: a matrix that is not sparse or is empty, or a setting outside its range.
    """
    _checked(seen, weight, penalty)
    validate.generator("rng", rng)
    validate.positive_int("rounds", rounds)
    items = 0.1 * rng.standard_normal((seen.shape[1], validate.positive_int("dimensions", dimensions)))
    by_item = seen.T.tocsr()
    for _ in range(rounds):
        items = _solve(by_item, _solve(seen, items, weight, penalty), weight, penalty)
    return items


def fold_in(
    seen: sp.csr_matrix, items: NDArray[np.floating], *, weight: float = 20.0, penalty: float = 5.0
) -> NDArray[np.float64]:
    """Vectors of users from what they interacted with, the items' vectors given; zeros for a user without any.

    Args:
        seen: users by items, entries at least 0.
        items: as :func:`implicit_factors` returns them.
        weight, penalty: those of the training.

    Raises:
        ValueError: a matrix that is not sparse or has another number of items, or a setting outside its range.
    """
    _checked(seen, weight, penalty)
    items = validate.finite("items", items, ndim=2)
    if seen.shape[1] != len(items):
        raise ValueError(f"seen has {seen.shape[1]} columns: expected {len(items)}, one an item")
    return _solve(seen, items, weight, penalty)


def _checked(seen: sp.csr_matrix, weight: float, penalty: float) -> None:
    if not sp.issparse(seen) or min(seen.shape) < 1:
        raise ValueError(f"seen is a {type(seen).__name__}: expected a sparse matrix of users by items")
    if seen.nnz and seen.min() < 0:
        raise ValueError(f"seen has {seen.min():g}: expected entries of at least 0")
    validate.number("weight", weight, above=0)
    validate.number("penalty", penalty, above=0)


def _solve(seen: sp.csr_matrix, other: NDArray[np.floating], weight: float, penalty: float) -> NDArray[np.float64]:
    """The ridge solution of every row, the other side given."""
    dimensions = other.shape[1]
    pairs = (other[:, :, None] * other[:, None, :]).reshape(len(other), -1)
    left = (other.T @ other + penalty * np.eye(dimensions)).ravel() + weight * (seen @ pairs)
    # An entry says 1, with its confidence.
    said = (seen > 0).astype(float) + weight * seen
    return np.linalg.solve(left.reshape(-1, dimensions, dimensions), (said @ other)[:, :, None])[:, :, 0]
