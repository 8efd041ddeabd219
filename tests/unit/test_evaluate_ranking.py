"""Ranking metrics, against scikit-learn and against a loop over lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

from casebook.evaluate.ranking import mrr, ndcg, recall_at_k
from casebook.rng import stream


def lists(name, n=40, size=12, graded=False):
    """Relevance and scores without ties, as (lists, items), every list with something relevant."""
    rng = stream("test_ranking", name, seed=0)
    relevance = rng.integers(0, 4, (n, size)) if graded else (rng.random((n, size)) < 0.2).astype(int)
    relevance[:, 0] = np.maximum(relevance[:, 0], relevance.sum(1) == 0)
    return relevance, rng.standard_normal((n, size))


def flat(relevance, score):
    groups = np.repeat(np.arange(len(score)), score.shape[1])
    mixed = stream("test_ranking", "order", seed=0).permutation(score.size)
    return relevance.ravel()[mixed], score.ravel()[mixed], groups[mixed]


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("k", [None, 1, 5, 12, 50])
def test_ndcg_matches_scikit_learn(graded, k):
    relevance, score = lists("ndcg", graded=graded)
    assert ndcg(*flat(relevance, score), k=k) == pytest.approx(ndcg_score(relevance, score, k=k))


def test_mrr_matches_scikit_learn_where_one_item_is_relevant():
    relevance, score = lists("mrr")
    relevance = np.eye(12, dtype=int)[np.arange(40) % 12]
    assert mrr(*flat(relevance, score)) == pytest.approx(label_ranking_average_precision_score(relevance, score))


@pytest.mark.parametrize("k", [1, 3, 12])
def test_recall_and_mrr_match_a_loop(k):
    relevance, score = lists("recall")
    order = np.argsort(-score, axis=1)
    sorted_ = np.take_along_axis(relevance, order, 1)
    assert recall_at_k(*flat(relevance, score), k=k) == pytest.approx((sorted_[:, :k].sum(1) / sorted_.sum(1)).mean())
    assert mrr(*flat(relevance, score)) == pytest.approx((1 / (sorted_.argmax(1) + 1)).mean())


def test_lists_without_relevance_are_left_out():
    relevance, score, groups = [1, 0, 0, 0], [2, 1, 2, 1], ["a", "a", "b", "b"]
    assert ndcg(relevance, score, groups) == mrr(relevance, score, groups) == 1


@given(st.integers(2, 20))
def test_a_constant_score_earns_what_a_random_order_does(n):
    relevance, groups = [1] + [0] * (n - 1), [0] * n
    assert mrr(relevance, np.zeros(n), groups) == pytest.approx(np.mean(1 / np.arange(1, n + 1)))
    assert recall_at_k(relevance, np.zeros(n), groups, k=n - 1) == pytest.approx((n - 1) / n)


@pytest.mark.parametrize("k", [1, 3, 12])
def test_ties_in_ndcg_match_scikit_learn(k):
    relevance, score = lists("ties", graded=True)
    score = np.round(score)
    assert ndcg(*flat(relevance, score), k=k) == pytest.approx(ndcg_score(relevance, score, k=k))


@pytest.mark.parametrize("metric", [mrr, lambda *a: recall_at_k(*a, k=3)])
def test_ties_are_the_mean_over_their_orders(metric):
    relevance, score = lists("orders", n=6)
    rough, luck = np.round(score), stream("test_ranking", "luck", seed=0)
    orders = [metric(*flat(relevance, rough + 1e-6 * luck.standard_normal(score.shape))) for _ in range(4_000)]
    assert metric(*flat(relevance, rough)) == pytest.approx(np.mean(orders), abs=5 * np.std(orders) / 4_000**0.5)


@pytest.mark.parametrize("metric", [ndcg, mrr, lambda *a: recall_at_k(*a, k=3)])
def test_perfect_order_is_one_and_monotone_changes_nothing(metric):
    relevance, score = lists("perfect")
    relevance[:, 1:] = 0
    relevance[:, 0] = 1
    assert metric(*flat(relevance, relevance.astype(float))) == 1
    assert metric(*flat(relevance, np.exp(score))) == metric(*flat(relevance, score))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 0], [1, 2], [0, 0]), "some above"),
        (([-1, 1], [1, 2], [0, 0]), "at least 0"),
        (([1, 0], [1, 2], [0]), "lengths differ"),
        (([1, 0], [1, np.inf], [0, 0]), "score has inf"),
        (([1, 0], [1, 2], [0, None]), "groups is missing"),
    ],
)
@pytest.mark.parametrize("metric", [ndcg, mrr, lambda *a: recall_at_k(*a, k=3)])
def test_refuses(metric, arguments, message):
    with pytest.raises(ValueError, match=message):
        metric(*arguments)


def test_refuses_no_rank():
    with pytest.raises(ValueError, match="k is 0"):
        recall_at_k([1, 0], [1, 2], [0, 0], k=0)
