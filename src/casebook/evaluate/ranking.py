"""Metrics of a ranked list, averaged over lists: where the relevant items stand, and how many made it to the top.

Rows are items, each with the list (request, session, user) that it belongs to. Items of one score may stand in any
order, and a metric is its mean over those orders: one score for everything earns what a random order does.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb

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
    gain, codes, n = _checked(relevance, score, groups)
    last = np.inf if k is None else validate.positive_int("k", k)

    def total(by: NDArray[np.float64]) -> NDArray[np.float64]:
        rank, tie = _ranked(by, codes)
        discount = _mean_of_ties(np.where(rank <= last, 1 / np.log2(rank + 1.0), 0.0), tie)
        return np.bincount(codes, weights=gain * discount, minlength=n).astype(np.float64)

    found, best = total(np.asarray(score, dtype=np.float64)), total(gain)
    return float(np.mean(found[best > 0] / best[best > 0]))


def mrr(relevance: ArrayLike, score: ArrayLike, groups: ArrayLike) -> float:
    """Mean reciprocal rank of the first relevant item, over lists that have one; arguments as :func:`ndcg`."""
    gain, codes, _ = _checked(relevance, score, groups)
    rank, tie = _ranked(np.asarray(score, dtype=np.float64), codes)
    relevant = np.flatnonzero(gain > 0)
    relevant = relevant[np.argsort(rank[relevant])]
    _, at = np.unique(codes[relevant], return_index=True)
    first = tie[relevant[at]]  # of each list, the tie with its first relevant item
    begin = np.full(tie.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(begin, tie, rank)
    ties = np.column_stack([begin, np.bincount(tie), np.bincount(tie, gain > 0).astype(np.int64)])[first]
    distinct, count = np.unique(ties, axis=0, return_counts=True)

    def reciprocal(start: int, items: int, hits: int) -> float:
        behind = np.arange(items - hits + 1)  # items of the tie that stand before its first relevant one
        chance = comb(items - 1 - behind, hits - 1) / comb(items, hits)
        return float(np.sum(chance / (start + behind)))

    return float(np.average([reciprocal(*row) for row in distinct.tolist()], weights=count))


def recall_at_k(relevance: ArrayLike, score: ArrayLike, groups: ArrayLike, *, k: int) -> float:
    """Share of a list's relevant items among its first k, over lists that have any; arguments as :func:`ndcg`."""
    gain, codes, n = _checked(relevance, score, groups)
    rank, tie = _ranked(np.asarray(score, dtype=np.float64), codes)
    top = _mean_of_ties((rank <= validate.positive_int("k", k)).astype(np.float64), tie)
    relevant, found = (np.bincount(codes, weights=hit, minlength=n) for hit in (gain > 0, (gain > 0) * top))
    return float(np.mean(found[relevant > 0] / relevant[relevant > 0]))


def _checked(
    relevance: ArrayLike, score: ArrayLike, groups: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.intp], int]:
    """Relevance, list of each row and number of lists."""
    gain = validate.finite("relevance", relevance)
    codes, n = unit_codes("groups", groups)
    validate.same_length(relevance=gain, score=validate.finite("score", score), groups=codes)
    if (gain < 0).any() or not gain.any():
        raise ValueError(f"relevance lies in [{gain.min():g}, {gain.max():g}]: expected at least 0, and some above")
    return gain, codes, n


def _ranked(score: NDArray[np.float64], codes: NDArray[np.intp]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank of each row in its list, from 1, in one order of the ties; and a number for each tie."""
    order = np.lexsort((-score, codes))
    size = np.bincount(codes)
    start = np.cumsum(size) - size
    rank, tie = np.empty(len(codes), dtype=np.int64), np.empty(len(codes), dtype=np.int64)
    rank[order] = np.arange(len(codes)) - start[codes[order]] + 1
    new = (np.diff(codes[order]) != 0) | (np.diff(score[order]) != 0)
    tie[order] = np.concatenate([[0], np.cumsum(new)])
    return rank, tie


def _mean_of_ties(value: NDArray[np.float64], tie: NDArray[np.int64]) -> NDArray[np.float64]:
    """Each row gets the mean over its tie."""
    return (np.bincount(tie, value) / np.bincount(tie))[tie]
