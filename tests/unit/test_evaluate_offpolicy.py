"""Off-policy estimators against the truth of a tiny problem: two contexts, three choices, known mean rewards."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casebook.evaluate import doubly_robust, effective_sample_size, importance_weights, ips, snips
from casebook.rng import stream

REWARD = np.array([[0.1, 0.3, 0.6], [0.5, 0.2, 0.4]])
LOGGING = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3]])
TARGET = np.array([[0.1, 0.2, 0.7], [0.6, 0.1, 0.3]])
TRUTH = (0.5 * (REWARD * TARGET).sum(axis=1)).sum()
SEEDS = 200


def log(seed, n=400):
    draw = stream("test_offpolicy", "log", seed=seed)
    context = draw.integers(0, 2, n)
    choice = (draw.random(n)[:, None] > LOGGING[context].cumsum(axis=1)).sum(axis=1)
    reward = (draw.random(n) < REWARD[context, choice]).astype(float)
    return context, choice, reward, LOGGING[context, choice], TARGET[context, choice]


def estimates(estimate):
    """Mean and standard deviation over seeds, and how many intervals held the truth."""
    intervals = [estimate(*log(seed)) for seed in range(SEEDS)]
    values = np.array([interval.estimate for interval in intervals])
    return values.mean(), values.std(), sum(TRUTH in interval for interval in intervals)


def with_model(model):
    def estimate(context, choice, reward, propensity, target):
        predicted_target = (model * TARGET).sum(axis=1)[context]
        return doubly_robust(reward, propensity, target, model[context, choice], predicted_target)

    return estimate


def plain_ips(context, choice, reward, propensity, target):
    return ips(reward, propensity, target)


@pytest.mark.parametrize(
    "estimate",
    [
        plain_ips,
        lambda context, choice, reward, propensity, target: snips(reward, propensity, target),
        with_model(REWARD),
        with_model(np.full((2, 3), 0.9)),
    ],
    ids=["ips", "snips", "dr with the true model", "dr with a wrong model"],
)
def test_estimators_find_the_truth_and_know_how_sure_they_are(estimate):
    mean, deviation, covered = estimates(estimate)
    assert mean == pytest.approx(TRUTH, abs=3.5 * deviation / math.sqrt(SEEDS))
    assert 178 <= covered <= SEEDS


def test_the_mean_logged_reward_is_not_the_answer():
    mean = np.mean([log(seed)[2].mean() for seed in range(20)])
    assert abs(mean - TRUTH) > 0.1


def test_a_good_model_narrows_and_a_wrong_propensity_biases():
    assert estimates(with_model(REWARD))[1] < 0.8 * estimates(plain_ips)[1]

    def wrong(context, choice, reward, propensity, target):
        return ips(reward, np.full(len(reward), 1 / 3), target)

    mean, deviation, _ = estimates(wrong)
    assert abs(mean - TRUTH) > 10 * deviation / math.sqrt(SEEDS)


def test_doubly_robust_survives_wrong_propensities_with_the_true_model():
    def wrong(context, choice, reward, propensity, target):
        predicted_target = (REWARD * TARGET).sum(axis=1)[context]
        return doubly_robust(reward, np.full(len(reward), 1 / 3), target, REWARD[context, choice], predicted_target)

    mean, deviation, _ = estimates(wrong)
    assert mean == pytest.approx(TRUTH, abs=3.5 * deviation / math.sqrt(SEEDS))


def test_by_hand():
    assert importance_weights([0.5, 0.25], [0.25, 1]).tolist() == [0.5, 4]
    assert ips([1, 2], [0.5, 0.25], [0.25, 1]).estimate == pytest.approx((0.5 + 8) / 2)
    assert snips([1, 2], [0.5, 0.25], [0.25, 1]).estimate == pytest.approx(8.5 / 4.5)
    result = doubly_robust([1, 2], [0.5, 0.25], [0.25, 1], [0.5, 1], [0.7, 0.9])
    assert result.estimate == pytest.approx((0.7 + 0.5 * 0.5 + 0.9 + 4 * 1) / 2)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=30), st.floats(-5, 5))
def test_snips_of_a_constant_reward_is_that_constant(propensity, reward):
    assert snips(np.full(len(propensity), reward), propensity, np.full(len(propensity), 0.5)).estimate == pytest.approx(
        reward
    )


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=30), st.floats(0.1, 10))
def test_effective_sample_size(weights, scale):
    size = effective_sample_size(weights)
    assert 1 - 1e-9 <= size <= len(weights) + 1e-9
    assert size == pytest.approx(effective_sample_size(np.multiply(scale, weights)))
    assert effective_sample_size(np.full(len(weights), scale)) == pytest.approx(len(weights))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ips([1, 1], [0, 0.5], [1, 1]), "propensity is 0 at 0: expected above 0"),
        (lambda: ips([1, 1], [0.5, 1.5], [1, 1]), "propensity has 1.5 at 1"),
        (lambda: ips([1, 1], [0.5], [1]), "lengths differ: reward has 2, propensity has 1"),
        (lambda: ips([1], [0.5], [1]), "reward has 1 row: expected at least 2"),
        (lambda: ips([1, 1], [0.5, 0.5], [1, 1], level=0), "level is 0"),
        (lambda: snips([1, 1], [0.5, 0.5], [0, 0]), "target is 0 everywhere"),
        (lambda: doubly_robust([1, 1], [0.5, 0.5], [1, 1], [1], [1, 1]), "predicted has 1"),
        (lambda: effective_sample_size([-1, 2]), "expected at least 0"),
        (lambda: effective_sample_size([0, 0]), "and some above"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
