"""Metrics of a ranked list, averaged over lists: where the relevant items stand, and how many made it to the top.

Rows are items, each with the list (request, session, user) that it belongs to. Ties count against the model: an item of
less relevance is taken to stand first, so a model that says the same of everything earns the least.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from casebook import validate
from casebook.evaluate.intervals import unit_codes

__all__ = ["mrr", "ndcg", "recall_at_k"]


def ndcg(relevance: ArrayLike, score: ArrayLike, groups: ArrayLike, *, k: int | None = None) -> float:
    """Normalised discounted cumulative gain (Järvelin and Kekäläinen 2002), averaged over lists with any relevance.

    A relevant item at rank i adds its relevance over log2(i + 1); the sum is divided by that of the best order.

    Args:
        relevance: at least 0, shape (rows,); 1 for a click or an order.
        score: any finite score, shape (rows,).
        groups: list of each row, shape (rows,).
        k: ranks that count; all by default.

    Raises:
        ValueError: lengths that differ, a negative relevance, no list with any relevance.
    """
    gain, rank, ideal, codes, n = _ranked(relevance, score, groups)
    last = np.inf if k is None else validate.positive_int("k", k)

    def total(at: NDArray[np.int64]) -> NDArray[np.float64]:
        discounted = np.where(at <= last, gain / np.log2(at + 1.0), 0.0)
        return np.bincount(codes, weights=discounted, minlength=n).astype(np.float64)

    found, best = total(rank), total(ideal)
    return float(np.mean(found[best > 0] / best[best > 0]))


def mrr(relevance: ArrayLike, score: ArrayLike, groups: ArrayLike) -> float:
    """Mean reciprocal rank of the first relevant item, over lists that have one; arguments as :func:`ndcg`."""
    gain, rank, _, codes, n = _ranked(relevance, score, groups)
    first = np.full(n, np.inf)
    np.minimum.at(first, codes[gain > 0], rank[gain > 0])
    return float(np.mean(1 / first[np.isfinite(first)]))


def recall_at_k(relevance: ArrayLike, score: ArrayLike, groups: ArrayLike, *, k: int) -> float:
    """Share of a list's relevant items among its first k, over lists that have any; arguments as :func:`ndcg`."""
    gain, rank, _, codes, n = _ranked(relevance, score, groups)
    top = rank <= validate.positive_int("k", k)
    relevant, found = (np.bincount(codes, weights=hit, minlength=n) for hit in (gain > 0, (gain > 0) & top))
    return float(np.mean(found[relevant > 0] / relevant[relevant > 0]))


def _ranked(
    relevance: ArrayLike, score: ArrayLike, groups: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.intp], int]:
    """Relevance, rank by score, rank in the best order, list and number of lists; ranks begin with 1."""
    gain, score = validate.finite("relevance", relevance), validate.finite("score", score)
    codes, n = unit_codes("groups", groups)
    validate.same_length(relevance=gain, score=score, groups=codes)
    if (gain < 0).any() or not gain.any():
        raise ValueError(f"relevance lies in [{gain.min():g}, {gain.max():g}]: expected at least 0, and some above")
    size = np.bincount(codes, minlength=n)
    start = np.cumsum(size) - size

    def rank(*keys: NDArray[np.float64]) -> NDArray[np.int64]:
        order = np.lexsort((*keys, codes))
        result = np.empty(len(codes), dtype=np.int64)
        result[order] = np.arange(len(codes)) - start[codes[order]] + 1
        return result

    return gain, rank(gain, -score), rank(-gain), codes, n
