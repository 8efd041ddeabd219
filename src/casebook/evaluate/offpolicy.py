"""Off-policy estimates: what another policy would have earned, from a log that kept its propensities.

The log holds one choice a row, with the probability that the logging policy gave that choice (its propensity) and the
reward that followed. The value of a target policy is its mean reward on the same contexts. Intervals are normal
approximations over rows: a small effective sample size says that they are too narrow.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from casebook import validate
from casebook.evaluate.intervals import Interval

__all__ = ["doubly_robust", "effective_sample_size", "importance_weights", "ips", "snips"]


def importance_weights(propensity: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """How much more often the target policy makes each logged choice than the logging policy did.

    Args:
        propensity: probability of the logged choice under the logging policy, in (0, 1], shape (rows,).
        target: probability of the same choice under the target policy, in [0, 1], shape (rows,).

    Returns:
        target / propensity, shape (rows,); its mean is about 1 if the propensities are right.

    Raises:
        ValueError: a propensity of 0, probabilities outside [0, 1], lengths that differ.
    """
    propensity, target = validate.probabilities("propensity", propensity), validate.probabilities("target", target)
    validate.same_length(propensity=propensity, target=target)
    if (propensity == 0).any():
        raise ValueError(f"propensity is 0 at {int(np.argmax(propensity == 0))}: expected above 0, for it was chosen")
    return target / propensity


def effective_sample_size(weights: ArrayLike) -> float:
    """Number of equally weighted rows that would be as informative: (sum w)^2 / sum w^2 (Kish's formula).

    Args:
        weights: weights of at least 0, not all 0, shape (rows,).

    Raises:
        ValueError: a negative weight, or none above 0.
    """
    weights = validate.finite("weights", weights)
    if (weights < 0).any() or not weights.any():
        raise ValueError(f"weights lies in [{weights.min():g}, {weights.max():g}]: expected at least 0, and some above")
    return float(weights.sum() ** 2 / (weights @ weights))


def ips(reward: ArrayLike, propensity: ArrayLike, target: ArrayLike, *, level: float = 0.95) -> Interval:
    """Inverse propensity scoring, mean(w r): unbiased, but its variance grows with the weights.

    Args:
        reward: reward of each logged choice, shape (rows,).
        propensity: probability of the logged choice under the logging policy, in (0, 1], shape (rows,).
        target: probability of the same choice under the target policy, in [0, 1], shape (rows,).
        level: coverage, in (0, 1).

    Raises:
        ValueError: as :func:`importance_weights`; fewer than two rows.
    """
    reward, weights = _reward_and_weights(reward, propensity, target)
    return _mean(weights * reward, level)


def snips(reward: ArrayLike, propensity: ArrayLike, target: ArrayLike, *, level: float = 0.95) -> Interval:
    """Self-normalised inverse propensity scoring, sum(w r) / sum(w) (Swaminathan and Joachims 2015).

    Slightly biased, steadier than :func:`ips`; it never leaves the rewards' range. The interval is the delta method's.

    Args:
        reward: reward of each logged choice, shape (rows,).
        propensity: probability of the logged choice under the logging policy, in (0, 1], shape (rows,).
        target: probability of the same choice under the target policy, in [0, 1], shape (rows,).
        level: coverage, in (0, 1).

    Raises:
        ValueError: as :func:`ips`; a target policy that makes none of the logged choices.
    """
    reward, weights = _reward_and_weights(reward, propensity, target)
    if not weights.any():
        raise ValueError("target is 0 everywhere: expected a policy that makes some of the logged choices")
    value = float(weights @ reward / weights.sum())
    return _mean(value + weights * (reward - value) / weights.mean(), level)


def doubly_robust(
    reward: ArrayLike,
    propensity: ArrayLike,
    target: ArrayLike,
    predicted: ArrayLike,
    predicted_target: ArrayLike,
    *,
    level: float = 0.95,
) -> Interval:
    """A reward model's answer plus the inverse-propensity estimate of its error (Dudík, Langford and Li 2011).

    mean(q(x, pi) + w (r - q(x, a))): right if either the model or the propensities are, and less variable than
    :func:`ips` as far as the model is good. Fit the model on other rows than these.

    Args:
        reward: reward r of each logged choice a, shape (rows,).
        propensity: probability of the logged choice under the logging policy, in (0, 1], shape (rows,).
        target: probability of the same choice under the target policy, in [0, 1], shape (rows,).
        predicted: the model's reward q(x, a) of the logged choice, shape (rows,).
        predicted_target: the model's mean reward q(x, pi) over the target policy's choices, shape (rows,).
        level: coverage, in (0, 1).

    Raises:
        ValueError: as :func:`ips`.
    """
    reward, weights = _reward_and_weights(reward, propensity, target)
    predicted = validate.finite("predicted", predicted)
    predicted_target = validate.finite("predicted_target", predicted_target)
    validate.same_length(reward=reward, predicted=predicted, predicted_target=predicted_target)
    return _mean(predicted_target + weights * (reward - predicted), level)


def _reward_and_weights(
    reward: ArrayLike, propensity: ArrayLike, target: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    reward, weights = validate.finite("reward", reward), importance_weights(propensity, target)
    if validate.same_length(reward=reward, propensity=weights) < 2:
        raise ValueError("reward has 1 row: expected at least 2")
    return reward, weights


def _mean(values: NDArray[np.float64], level: float) -> Interval:
    z = float(stats.norm.ppf(0.5 + validate.number("level", level, above=0, below=1) / 2))
    estimate, half = float(values.mean()), z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Interval(estimate, estimate - half, estimate + half, level)
